"""After hundreds of uploads the daemon holds no more files, threads, children, tasks and memory than after twenty."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import pytest

from lumilio import daemon as composition
from lumilio.config import load_config
from lumilio.daemon import Started
from tests.acceptance.evidence import decoders, descendants, photos, settled
from tests.running import CONFIG, RunningDaemon, finished, upload

WARM_UP = 20
UPLOADS = 200
SLACK = 10
"""Connections and threads that pools may still add; one left by every twentieth upload would not go unnoticed."""
GROWTH_MIB = 8.0
"""Of the daemon's resident memory: measured 0.2, of 84."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What a process holds. PostgreSQL's own children come and go with the pool, hence only their bound counts."""

    files: int
    threads: int
    children: tuple[str, ...]
    resident_mib: float

    @classmethod
    def of(cls, daemon: RunningDaemon) -> "Holdings":
        process = psutil.Process(daemon.process.pid)
        children = [child for child in process.children() if child.status() != psutil.STATUS_ZOMBIE]
        return cls(
            files=process.num_fds(),
            threads=process.num_threads(),
            children=tuple(sorted(child.name() for child in children)),
            resident_mib=process.memory_info().rss / 2**20,
        )


async def _send(daemon: RunningDaemon, count: int, *, seed: int) -> None:
    """Uploads with everything that goes with them: good, damaged, repeated and broken off ones."""
    files = list(photos(count, seed=seed, size=(96, 64)).values())
    async with daemon.session() as client:
        for number, data in enumerate(files):
            data = data[: len(data) // 2] if number % 10 == 3 else data
            status, answer = await upload(client, f"{number}.jpg", data)
            assert status == 202
            if number % 10 == 5:
                assert (await upload(client, f"{number}.jpg", data))[0] in (200, 202)
            if number % 10 == 7:
                await _break_off(client)
            if number % 20 == 19:
                await finished(client, answer["task_id"])
    await settled(daemon)


async def _break_off(client: aiohttp.ClientSession) -> None:
    """A client that goes away in the middle of its body."""

    async def body() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="half.jpg"\r\n\r\n\xff\xd8\xff'
        raise ConnectionAbortedError("the client goes away")

    try:
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        async with client.post("/api/v1/assets", data=body(), headers=headers) as response:
            await response.read()
    except (aiohttp.ClientError, ConnectionAbortedError):
        return
    raise AssertionError("the upload was not broken off")


async def test_two_hundred_uploads_leave_nothing_open(daemon: RunningDaemon) -> None:
    await _send(daemon, WARM_UP, seed=1)
    await _all_pooled(daemon)
    before = Holdings.of(daemon)
    decoders_before = len(decoders(daemon))
    await _send(daemon, UPLOADS, seed=2)
    after = await _calm(daemon, before)
    assert after.files <= before.files + SLACK
    assert after.threads <= before.threads + SLACK
    assert after.children == before.children
    assert len(decoders(daemon)) == decoders_before
    assert after.resident_mib - before.resident_mib < GROWTH_MIB
    assert [child for child in descendants(daemon) if child.status() == psutil.STATUS_ZOMBIE] == []
    assert list((daemon.library / ".lumilio/staging/incoming").iterdir()) == []


async def _all_pooled(daemon: RunningDaemon) -> None:
    """Fill what is filled on demand and kept: database connections, threads, decoders."""
    data = list(photos(40, seed=3, size=(640, 480)).values())
    async with daemon.session() as client, asyncio.TaskGroup() as group:
        for number, content in enumerate(data):
            group.create_task(upload(client, f"{number}.jpg", content))
    await settled(daemon)


async def _calm(daemon: RunningDaemon, before: Holdings) -> Holdings:
    """Connections of clients that left are noticed soon, not at once."""
    for _ in range(100):
        after = Holdings.of(daemon)
        if after.files <= before.files and after.children == before.children:
            break
        await asyncio.sleep(0.1)
    return after


@asynccontextmanager
async def _daemon_in_this_process(directory: Path) -> AsyncIterator[tuple[str, str]]:
    """The composition root on the loop of the test: its address and the password of its administrator."""
    config = directory / "lumilio.toml"
    config.write_text(CONFIG.format(data=directory / "data", more=""), encoding="utf-8")
    ready = asyncio.Queue[Started]()
    running = asyncio.create_task(composition.run(load_config(config), ready.put_nowait), name="daemon under test")
    async with asyncio.timeout(90):
        started = await ready.get()
    assert started.password_file is not None
    yield started.url, started.password_file.read_text(encoding="utf-8").strip()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(60):
        await running


@pytest.mark.filterwarnings("ignore:.*socket.socket:pytest.PytestUnraisableExceptionWarning")  # of sdnotify
async def test_no_task_outlives_its_upload_or_the_daemon(tmp_path: Path) -> None:
    begun = asyncio.all_tasks()
    async with _daemon_in_this_process(tmp_path) as (url, password):
        await _upload_here(url, password, seed=1)
        before = _tasks()
        await _upload_here(url, password, seed=2)
        async with asyncio.timeout(10):
            while len(_tasks()) > len(before):
                await asyncio.sleep(0.05)
        assert _tasks() == before
    async with asyncio.timeout(10):
        while asyncio.all_tasks() - begun:
            await asyncio.sleep(0.05)


async def _upload_here(url: str, password: str, *, seed: int) -> None:
    async with aiohttp.ClientSession(url) as client:
        credentials = {"username": "admin", "password": password}
        async with client.post("/api/v1/auth/login", json=credentials) as response:
            client.headers["Authorization"] = f"Bearer {(await response.json())['access_token']}"
        for name, data in photos(20, seed=seed, size=(96, 64)).items():
            status, answer = await upload(client, name, data)
            assert status == 202
            await finished(client, answer["task_id"])


def _tasks() -> list[str]:
    """The names of all tasks but those that asyncio numbered: those are waits of a moment."""
    return sorted(task.get_name() for task in asyncio.all_tasks() if not task.get_name().startswith("Task-"))
