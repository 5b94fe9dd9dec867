"""``lumilio worker``: the queues of a daemon in a process without an API, and what it costs when either one dies."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.acceptance.evidence import assert_whole, decoders, decoding_held_up, photos, rows_of, send, settled, until
from tests.running import STOP_SECONDS, RunningDaemon, running_daemon


@contextmanager
def _worker(daemon: RunningDaemon, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    log = daemon.log.with_name("worker.log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lumilio.cli", "worker", "--config", str(daemon.config), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait(STOP_SECONDS)


def _events(daemon: RunningDaemon) -> list[str]:
    log = daemon.log.with_name("worker.log")
    return [str(json.loads(line)["event"]) for line in log.read_text().splitlines() if line.startswith("{")]


async def _sessions(daemon: RunningDaemon) -> int:
    async with rows_of(daemon) as rows:
        return int(await rows.fetchval("SELECT count(*) FROM job_sessions WHERE role = 'worker'"))


async def test_a_worker_processes_what_a_frozen_daemon_cannot_and_the_daemon_goes_on_afterwards(
    daemon: RunningDaemon,
) -> None:
    files = photos(12, seed=301)
    acknowledged: dict[str, bytes] = {}
    with _worker(daemon, "--queues", "process_asset=3,files") as worker:
        await until(lambda: "worker.ready" in _events(daemon), "the worker is ready")
        assert await _sessions(daemon) == 2
        async with rows_of(daemon) as rows:
            await rows.execute("INSERT INTO job_queues (name) VALUES ('process_asset')")
            await send(daemon, files, acknowledged)
            assert acknowledged == files
            daemon.process.send_signal(signal.SIGSTOP)
            try:
                await rows.execute("DELETE FROM job_queues")
                async with asyncio.timeout(60):
                    while await rows.fetchval("SELECT count(*) FROM jobs WHERE kind = 'process_asset'"):
                        await asyncio.sleep(0.05)
            finally:
                daemon.process.send_signal(signal.SIGCONT)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(STOP_SECONDS) == 0
    await settled(daemon)
    await assert_whole(daemon, files.values())
    assert not list(daemon.data_dir.glob("tmp-worker-*"))


async def test_a_killed_worker_leaves_its_jobs_to_the_daemon_and_nothing_behind(daemon: RunningDaemon) -> None:
    files = photos(30, seed=302)
    acknowledged: dict[str, bytes] = {}
    with _worker(daemon) as worker:
        await until(lambda: "worker.ready" in _events(daemon), "the worker is ready")
        await send(daemon, files, acknowledged)
        worker.kill()
        worker.wait(STOP_SECONDS)
    await settled(daemon)
    await assert_whole(daemon, files.values())
    with _worker(daemon) as again:
        await until(lambda: _events(daemon).count("worker.ready") == 2, "another worker is ready")
        links = list(daemon.data_dir.glob("tmp-worker-*"))
        assert [link.name for link in links] == [f"tmp-worker-{again.pid}"]


async def test_a_job_that_is_cancelled_while_it_decodes_loses_its_decoder_and_can_be_retried(
    daemon: RunningDaemon,
) -> None:
    (first, one), (second, other) = photos(2, seed=303).items()
    await send(daemon, {first: one}, {})
    await settled(daemon)
    (child,) = decoders(daemon)
    with decoding_held_up(daemon):
        await send(daemon, {second: other}, {})
        async with rows_of(daemon) as rows, asyncio.timeout(60):
            while await rows.fetchval("SELECT count(*) FROM assets WHERE state = 'stored'") == 0:
                await asyncio.sleep(0.02)  # when its row is there it decodes, or is about to
            job_id = await rows.fetchval("SELECT id FROM jobs WHERE kind = 'process_asset'")
            done = daemon.run_cli("jobs", "cancel", str(job_id))
            assert done.returncode == 0, done.stderr
            while await rows.fetchval("SELECT count(*) FROM jobs WHERE id = $1", job_id):
                await asyncio.sleep(0.02)
            assert await rows.fetchval("SELECT state FROM finished_jobs WHERE id = $1", job_id) == "cancelled"
            assert await rows.fetchval("SELECT code FROM problems") == "queue.cancelled"
        await until(lambda: child.status() == psutil.STATUS_ZOMBIE, "the decoder was killed")
    done = daemon.run_cli("jobs", "retry", str(job_id))
    assert done.returncode == 0, done.stderr
    await settled(daemon)
    await assert_whole(daemon, [one, other])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--queues", "nonsense"], "queue 'nonsense' is unknown; known: files, process_asset"),
        (["--queues", "files=0"], "is not NAME or NAME=SLOTS"),
        (["--queues", "files,files"], "named twice"),
    ],
)
def test_a_worker_with_wrong_queues_says_what_is_right(tmp_path: Path, options: list[str], told: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lumilio.cli", "worker", "--data", str(tmp_path), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert told in done.stderr


def test_a_worker_without_a_database_says_what_to_start(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lumilio.cli", "worker", "--data", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "start the daemon first" in done.stderr


async def test_a_killed_leader_is_followed_within_15_seconds(tmp_path: Path) -> None:
    sooner = "[queue]\nrescue_after_seconds = 15"
    with running_daemon(tmp_path / "daemon", more_config=sooner) as daemon, _worker(daemon) as first:
        await until(lambda: "worker.ready" in _events(daemon), "the worker is ready")
        daemon.process.send_signal(signal.SIGSTOP)  # the leader freezes, and PostgreSQL lives on
        try:
            async with asyncio.timeout(30):
                while "queue.leader_elected" not in _events(daemon):
                    await asyncio.sleep(0.1)
            with _worker(daemon) as second:
                await until(lambda: _events(daemon).count("worker.ready") == 2, "a second worker is ready")
                os.kill(first.pid, signal.SIGKILL)
                first.wait(STOP_SECONDS)
                await until(lambda: _events(daemon).count("queue.leader_elected") == 2, "the second leads", seconds=15)
                assert psutil.Process(second.pid).is_running()
        finally:
            daemon.process.send_signal(signal.SIGCONT)
