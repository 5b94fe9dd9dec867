"""Told to stop, the daemon finishes what it has begun, gives the rest back and leaves no process behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from lumilio.tools.postgres import run_cluster
from tests.acceptance.evidence import (
    LIVE,
    assert_whole,
    big_photo,
    count_files,
    decoders,
    descendants,
    photos,
    send,
    settled,
    spoken,
    survivors,
    until,
    write_tree,
)
from tests.running import CONFIG, RunningDaemon, running_daemon


def slow_photos() -> dict[str, bytes]:
    """A third of a second of a decoder each."""
    return {f"slow-{number}.png": big_photo(number) for number in range(8)}


@asynccontextmanager
async def rows_at_rest(daemon: RunningDaemon) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """The database of a daemon that has ended, as it left it."""
    async with run_cluster(daemon.data_dir / "postgres", start_timeout=60) as cluster:
        at = cluster.address
        connection: asyncpg.Connection[Any] = await asyncpg.connect(host=at.host, user=at.user, database=at.database)
        try:
            yield connection
        finally:
            await connection.close()


async def _assert_drained(daemon: RunningDaemon, acknowledged: Mapping[str, bytes]) -> int:
    """Nothing runs, no attempt was burned and no error recorded; returns how many jobs are left to do."""
    assert not (daemon.data_dir / "daemon.json").exists()
    async with rows_at_rest(daemon) as rows:
        jobs = await rows.fetch("SELECT state, attempt, errors, args ->> 'upload_id' AS upload FROM all_jobs")
        live = [job for job in jobs if job["state"] in LIVE]
        uploads = [job for job in jobs if job["upload"]]
    assert {(job["state"], job["attempt"]) for job in live} <= {("available", 0)}
    assert [job["errors"] for job in jobs if job["errors"] != "[]"] == []
    assert len(uploads) >= len(acknowledged)
    staged = {path.name for path in (daemon.library / ".lumilio/staging/incoming").iterdir()}
    assert staged <= {job["upload"] for job in live}, "an upload that was not acknowledged left its bytes"
    return len(live)


async def test_sigterm_in_the_middle_of_an_import_loses_nothing_and_burns_no_attempt(tmp_path: Path) -> None:
    files = photos(80, seed=1)
    acknowledged: dict[str, bytes] = {}
    with running_daemon(tmp_path / "daemon") as daemon:
        family = descendants(daemon)
        sending = asyncio.create_task(send(daemon, files, acknowledged))
        await until(lambda: count_files(daemon.library / "inbox") >= 5, "five files are committed")
        family = list({*family, *descendants(daemon)})
        assert await asyncio.to_thread(daemon.stop) == 0
        await sending
        assert survivors(family) == []
        assert spoken(daemon) == ""
    assert await _assert_drained(daemon, acknowledged) > 0
    with running_daemon(tmp_path / "daemon") as daemon:
        await settled(daemon)
        await assert_whole(daemon, acknowledged.values(), optional=files.values())


async def test_work_that_outlasts_the_shutdown_goes_back_as_if_it_had_not_begun(tmp_path: Path) -> None:
    acknowledged: dict[str, bytes] = {}
    with running_daemon(tmp_path / "daemon", more_config="[daemon]\nshutdown_timeout_seconds = 1") as daemon:
        await send(daemon, slow_photos(), acknowledged)
        await until(lambda: decoders(daemon), "decoders work")
        for child in decoders(daemon):  # however fast the machine is
            child.suspend()
        family = descendants(daemon)
        assert await asyncio.to_thread(daemon.stop) == 0
        assert survivors(family) == []
        assert any(event["event"] == "daemon.drain_deadline_passed" for event in daemon.log_events())
    assert await _assert_drained(daemon, acknowledged) > 0
    with running_daemon(tmp_path / "daemon") as daemon:
        await settled(daemon)
        await assert_whole(daemon, slow_photos().values())


async def test_a_second_sigterm_does_not_wait_for_running_work(tmp_path: Path) -> None:
    acknowledged: dict[str, bytes] = {}
    with running_daemon(tmp_path / "daemon") as daemon:
        await send(daemon, slow_photos(), acknowledged)
        await until(lambda: decoders(daemon), "decoders work")
        for child in decoders(daemon):
            child.suspend()
        family = descendants(daemon)
        daemon.process.send_signal(signal.SIGTERM)
        await until(lambda: '"daemon.stopping"' in daemon.log.read_text(), "the daemon drains")
        began = time.monotonic()
        assert await asyncio.to_thread(daemon.stop) == 1
        assert time.monotonic() - began < 15
        assert survivors(family) == []
    assert await _assert_drained(daemon, acknowledged) > 0


def _start(*args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "lumilio.cli", *args], capture_output=True, text=True, timeout=90, check=False
    )


def _own_lines(text: str) -> Sequence[str]:
    return [line for line in text.splitlines() if line and not line.startswith("{")]


def test_a_port_in_use_ends_the_start_with_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = tmp_path / "lumilio.toml"
        config.write_text(CONFIG.format(data=tmp_path / "data", more="").replace("port = 0", f"port = {port}"))
        ended = _start("serve", "--config", str(config))
    assert ended.returncode in (1, 2)
    (line,) = _own_lines(ended.stderr)
    assert line.startswith(f"lumilio: cannot listen on 127.0.0.1:{port}")
    assert "choose another server.port" in line
    assert ended.stdout == ""
    assert not (tmp_path / "data/daemon.json").exists()
    assert not (tmp_path / "data/postgres/data/postmaster.pid").exists()


def test_a_second_daemon_on_the_same_data_is_refused_with_one_clear_line(daemon: RunningDaemon) -> None:
    ended = _start("serve", "--config", str(daemon.config))
    assert ended.returncode == 2
    (line,) = _own_lines(ended.stderr)
    assert line.startswith(f"lumilio: another Lumilio runs on {str(daemon.data_dir)!r}")
    assert (daemon.data_dir / "daemon.json").exists()
    assert daemon.process.poll() is None


@pytest.mark.parametrize("interrupts", [1, 2])
async def test_ctrl_c_ends_lumilio_up_and_every_process_that_it_started(tmp_path: Path, interrupts: int) -> None:
    """Ctrl-C reaches the whole process group: exiftool and the decoders too. The second one does not wait."""
    data, log = tmp_path / "data", tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lumilio.cli", "up", "--data", str(data), "--host", "127.0.0.1", "--port", "0"],
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        await until(lambda: "Ctrl-C" in log.read_text(), "the daemon is ready")
        for more, name, files in (((), "first", photos(3, seed=5)), (("--no-wait",), "rest", slow_photos())):
            tree = write_tree(tmp_path / name, files)
            imported = await asyncio.to_thread(_start, "import", *more, "--data", str(data), str(tree))
            assert imported.returncode == 0, imported.stderr
        family = psutil.Process(process.pid).children(recursive=True)
        assert {"postgres", "exiftool"} <= {child.name() for child in family}
        os.killpg(process.pid, signal.SIGINT)
        await until(lambda: '"daemon.stopping"' in log.read_text(), "the daemon drains")
        if interrupts > 1:
            os.killpg(process.pid, signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 40) == (0 if interrupts == 1 else 1)
        assert survivors(family) == []
        assert "Traceback" not in log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
