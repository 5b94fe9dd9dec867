"""kill -9 at any moment: whatever was acknowledged is there afterwards, once, whole and processed."""

import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import asyncpg
import psutil
import pytest

from tests.acceptance.evidence import (
    assert_tidy,
    assert_whole,
    big_photo,
    count_files,
    decoders,
    descendants,
    exiftools,
    noise_photo,
    photos,
    postmaster,
    rows_of,
    send,
    settled,
    spoken,
    survivors,
    until,
    write_tree,
)
from tests.running import RunningDaemon, finished, running_daemon, upload


@pytest.fixture(autouse=True)
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the daemon's temporary files go; as empty in the end as in the beginning."""
    path = Path(tempfile.mkdtemp(prefix="lt-"))
    monkeypatch.setenv("TMPDIR", str(path))
    yield path
    left = [each.name for each in path.iterdir()]
    shutil.rmtree(path)
    assert left == []


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """How far one life of the daemon came, compared with its beginning."""

    acknowledged: int
    staged: int
    committed: int
    thumbnails: int

    @classmethod
    def so_far(cls, daemon: RunningDaemon, acknowledged: Mapping[str, bytes]) -> "Life":
        return cls(
            acknowledged=len(acknowledged),
            staged=count_files(daemon.library / ".lumilio/staging/incoming"),
            committed=count_files(daemon.library / "inbox"),
            thumbnails=count_files(daemon.library / ".lumilio/assets/thumbnails"),
        )


Moment = Callable[[Life, Life], bool]
MOMENTS: Mapping[str, Moment] = {
    "some were acknowledged": lambda before, now: now.acknowledged >= before.acknowledged + 5,
    "some are in staging": lambda _before, now: now.staged >= 3,
    "some were committed": lambda before, now: now.committed >= before.committed + 8,
    "some were rendered": lambda before, now: now.thumbnails >= before.thumbnails + 10,
}


async def test_what_was_acknowledged_before_a_kill_is_whole_after_the_restart(tmp_path: Path) -> None:
    """One life of the daemon after the other on the same data, each ended at another moment of another import."""
    sent: dict[str, bytes] = {}
    acknowledged: dict[str, bytes] = {}
    for number, (what, came) in enumerate(MOMENTS.items()):
        files = photos(20, seed=100 + number)
        sent |= files
        with running_daemon(tmp_path / "daemon") as daemon:
            await settled(daemon)
            await assert_whole(daemon, acknowledged.values(), optional=sent.values())
            before = Life.so_far(daemon, acknowledged)
            sending = asyncio.create_task(send(daemon, files, acknowledged))
            await until(partial(_came, came, before, daemon, acknowledged), what)
            family = descendants(daemon)
            daemon.kill()
            await sending
            assert survivors(family) == []
    with running_daemon(tmp_path / "daemon") as daemon:
        await settled(daemon)
        await assert_whole(daemon, acknowledged.values(), optional=sent.values())
        await send(daemon, {name: data for name, data in sent.items() if name not in acknowledged}, {})
        await settled(daemon)
        await assert_whole(daemon, sent.values())


def _came(moment: Moment, before: Life, daemon: RunningDaemon, acknowledged: Mapping[str, bytes]) -> bool:
    return moment(before, Life.so_far(daemon, acknowledged))


async def test_an_import_goes_on_through_two_kills_and_ends_with_one_asset_a_file(tmp_path: Path) -> None:
    files = photos(60, seed=2)
    tree = write_tree(tmp_path / "tree", files)
    with running_daemon(tmp_path / "daemon") as daemon:
        data = daemon.data_dir
        importing = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "lumilio.cli", "import", "--json", "--data", str(data), str(tree),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        await until(lambda: count_files(daemon.library / "inbox") >= 10, "ten files are in the inbox")
        daemon.kill()
    with running_daemon(tmp_path / "daemon") as daemon:
        await until(lambda: count_files(daemon.library / "inbox") >= 35, "thirty-five files are in the inbox")
        daemon.kill()
    with running_daemon(tmp_path / "daemon") as daemon:
        async with asyncio.timeout(60):
            output, _ = await importing.communicate()
        assert importing.returncode == 0, output.decode()[-3000:]
        await settled(daemon)
        await assert_whole(daemon, files.values())


async def test_crashes_in_a_row_cost_no_acknowledged_file(tmp_path: Path) -> None:
    """A power supply that fails again and again is not the fault of the files that happened to be in work."""
    files = photos(4, seed=3)
    acknowledged: dict[str, bytes] = {}
    for crash in range(1, 5):
        with running_daemon(tmp_path / "daemon") as daemon:
            async with rows_of(daemon) as rows:
                with suppress(asyncpg.PostgresError, asyncpg.InterfaceError):
                    async with rows.transaction():
                        await rows.execute("LOCK TABLE thumbnails")
                        await send(
                            daemon,
                            {name: data for name, data in files.items() if name not in acknowledged},
                            acknowledged,
                        )
                        await _all_are_at_work(daemon, attempt=crash)
                        daemon.kill()
    assert len(acknowledged) == 4
    with running_daemon(tmp_path / "daemon") as daemon:
        await settled(daemon)
        await assert_whole(daemon, files.values())


async def _all_are_at_work(daemon: RunningDaemon, *, attempt: int) -> None:
    count = "SELECT count(*) FROM jobs WHERE kind = 'process_asset' AND state = 'running' AND attempt = $1"
    async with rows_of(daemon) as rows, asyncio.timeout(60):
        while await rows.fetchval(count, attempt) < 4:
            await asyncio.sleep(0.02)


async def test_a_daemon_whose_database_dies_ends_with_status_1_and_says_why(tmp_path: Path) -> None:
    files = photos(12, seed=4)
    acknowledged: dict[str, bytes] = {}
    with running_daemon(tmp_path / "daemon") as daemon:
        sending = asyncio.create_task(send(daemon, files, acknowledged))
        await until(lambda: len(acknowledged) >= 4, "four acknowledgements")
        family = descendants(daemon)
        os.kill(postmaster(daemon), signal.SIGKILL)
        assert await asyncio.to_thread(daemon.process.wait, 30) == 1
        await sending
        assert survivors(family) == []
        assert spoken(daemon).startswith("lumilio: PostgreSQL ended by itself (signal SIGKILL)")
        assert "Traceback" not in spoken(daemon)
        assert not (daemon.data_dir / "daemon.json").exists()
    with running_daemon(tmp_path / "daemon") as daemon:
        await settled(daemon, hasten=True)
        await assert_whole(daemon, acknowledged.values(), optional=files.values())


async def test_a_decoder_killed_at_work_costs_one_attempt(daemon: RunningDaemon) -> None:
    async with daemon.session() as client:
        status, answer = await upload(client, "killed.png", big_photo(5))
        assert status == 202
        await until(lambda: _busy_decoders(daemon), "a decoder works")
        for child in _busy_decoders(daemon):
            child.kill()
        await settled(daemon, hasten=True)
        task = await finished(client, answer["task_id"])
        assert (task["state"], task["attempt"]) == ("completed", 2)
        async with rows_of(daemon) as rows:
            errors = await rows.fetchval("SELECT errors FROM all_jobs WHERE id = $1", int(answer["task_id"]))
        assert "tool.decoder_crashed" in errors
        assert "SIGKILL" in errors


def _busy_decoders(daemon: RunningDaemon) -> list[psutil.Process]:
    found = []
    for child in decoders(daemon):
        with suppress(psutil.NoSuchProcess):
            if child.cpu_times().user > 0.05:
                found.append(child)
    return found


async def test_an_exiftool_killed_from_outside_is_started_again(daemon: RunningDaemon) -> None:
    for number in range(3):
        await _process(daemon, noise_photo(random.Random(number), (64, 64)))
        tools = exiftools(daemon)
        assert tools
        for tool in tools:
            tool.kill()
    await _process(daemon, noise_photo(random.Random(20), (64, 64)))
    assert_tidy(daemon)


async def _process(daemon: RunningDaemon, data: bytes) -> None:
    async with daemon.session() as client:
        status, answer = await upload(client, "photo.jpg", data)
        assert status == 202
        task = await finished(client, answer["task_id"])
        assert (task["state"], task["attempt"]) == ("completed", 1)
