"""Disks that do not answer: what hangs is a read of a pipe that nobody writes to, as a system call on a dead mount."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from lumilio.errors import RepositoryOffline
from lumilio.model import UploadId
from lumilio.storage import disk
from lumilio.storage.creation import create_repository
from lumilio.storage.disk import run_blocking
from lumilio.storage.repository import Repository
from lumilio.storage.staging import StagedFile, discard, list_staged, receive
from lumilio.tools.passwords import Passwords

Stage = Callable[[bytes], Awaitable[StagedFile]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadDisk:
    """``hang`` returns once ``revive`` was called."""

    root: Path
    reading: int
    writing: int

    def hang(self) -> None:
        os.read(self.reading, 1)

    def revive(self) -> None:
        os.write(self.writing, bytes(100))

    def threads(self) -> int:
        return sum(each.name == f"files of {self.root}" for each in threading.enumerate())


@pytest.fixture
def dead(repository: Repository) -> Iterator[DeadDisk]:
    reading, writing = os.pipe()
    disk = DeadDisk(root=repository.root, reading=reading, writing=writing)
    yield disk
    disk.revive()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(disk, "_SUSPICIOUS_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(disk, "_GRACE_SECONDS", 0.2)


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def hang_everywhere(dead: DeadDisk, calls: int) -> list[BaseException | None]:
    return await asyncio.gather(*(run_blocking(dead.hang) for _ in range(calls)), return_exceptions=True)


@pytest.mark.usefixtures("impatient")
async def test_a_disk_that_does_not_answer_is_offline_and_takes_a_bounded_number_of_threads(dead: DeadDisk) -> None:
    outcomes = await hang_everywhere(dead, 40)

    assert {type(each) for each in outcomes} == {RepositoryOffline}
    assert dead.threads() == 16


@pytest.mark.usefixtures("impatient")
async def test_every_call_of_a_repository_meets_its_own_dead_disk_and_no_other(
    dead: DeadDisk, repository: Repository, stage: Stage, tmp_path: Path
) -> None:
    healthy = await create_repository(tmp_path / "healthy", name="Healthy")
    staged = await stage(b"x")
    await hang_everywhere(dead, 16)

    def look() -> bool:
        return repository.root.exists()

    for call in (
        run_blocking(repository.check_online),
        run_blocking(look),
        run_blocking(staged.path.exists),
        receive(repository, UploadId(uuid4()), stream(b"x"), size_limit=None, reserve_bytes=0),
        list_staged(repository),
        discard(staged),
    ):
        with pytest.raises(RepositoryOffline, match="does not answer"):
            await call

    async with asyncio.timeout(20):
        await receive(healthy, UploadId(uuid4()), stream(b"x"), size_limit=None, reserve_bytes=0)
        assert len(await list_staged(healthy)) == 1
        assert not await Passwords().matches("wrong", None)


@pytest.mark.usefixtures("impatient")
async def test_a_disk_that_answers_again_is_used_again(dead: DeadDisk, repository: Repository) -> None:
    await hang_everywhere(dead, 16)
    with pytest.raises(RepositoryOffline):
        await run_blocking(repository.check_online)

    dead.revive()

    async with asyncio.timeout(20):
        while True:
            try:
                return await run_blocking(repository.check_online)
            except RepositoryOffline:
                continue


@pytest.mark.usefixtures("impatient")
async def test_a_call_that_takes_long_but_gets_anywhere_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_LOOK_SECONDS", 0.4)

    def work(_root: Path) -> str:
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            Path("/proc/self/stat").read_bytes()
        return "done"

    assert await run_blocking(work, tmp_path) == "done"


@pytest.mark.usefixtures("impatient")
async def test_a_cancelled_caller_and_its_cleaning_up_wait_for_a_dead_disk_only_so_long(
    dead: DeadDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_LOOK_SECONDS", 60.0)

    async def work() -> None:
        try:
            await run_blocking(dead.hang)
        except BaseException:
            await run_blocking(dead.hang)
            raise

    task = asyncio.create_task(work())
    await asyncio.wait({task}, timeout=0.05)
    task.cancel()

    await asyncio.wait({task}, timeout=20)

    assert task.cancelled()


@pytest.mark.usefixtures("impatient")
async def test_a_caller_that_is_cancelled_before_its_call_began_does_not_wait_and_the_call_never_runs(
    dead: DeadDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await hang_everywhere(dead, 16)
    monkeypatch.setattr(disk, "_SUSPICIOUS_LOOK_SECONDS", 60.0)
    mark = tmp_path / "mark"
    task = asyncio.create_task(run_blocking(lambda _root: mark.touch(), dead.root))
    await asyncio.wait({task}, timeout=0.05)
    task.cancel()
    await asyncio.wait({task}, timeout=20)
    assert task.cancelled()

    dead.revive()

    await asyncio.gather(*(run_blocking(lambda _root: None, dead.root) for _ in range(32)))
    assert not mark.exists()


async def test_a_process_whose_disk_hangs_for_ever_serves_another_one_and_ends(tmp_path: Path) -> None:
    script = tmp_path / "daemon.py"
    script.write_text(
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from lumilio.storage import disk\n"
        "disk._GRACE_SECONDS = 0.2\n"
        "reading, writing = os.pipe()\n"
        "def hang(_root): os.read(reading, 1)\n"
        "async def main():\n"
        "    stuck = [asyncio.create_task(disk.run_blocking(hang, Path('/dead'))) for _ in range(20)]\n"
        "    await asyncio.wait(stuck, timeout=0.2)\n"
        "    print(await disk.run_blocking(Path('/').is_dir), flush=True)\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert (out, err, process.returncode) == (b"True\n", b"", 0)
