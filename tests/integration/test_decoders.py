"""Decoder children: what happens in one stays in one."""

import asyncio
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from PIL import Image

from lumilio.errors import DecoderCrashed, MediaDamaged, MediaOverBudget, NotFound, ToolError, ToolTimedOut
from lumilio.media.photo import process_photo
from lumilio.tools import decoders
from lumilio.tools.decoders import DecoderLimits, DecoderPool
from tests.conformance.reference import CORPUS, FIXTURES

PICTURE = FIXTURES / "jpeg/digicamcor-POL_0136.JPG"
MIB = 1024 * 1024


@pytest.fixture
async def pool() -> AsyncIterator[DecoderPool]:
    async with DecoderPool(size=2) as running:
        yield running


def own_pid() -> int:
    return os.getpid()


def announce_and_hang(announcement: Path) -> None:
    announcement.write_text(str(os.getpid()))
    signal.pause()


def hang_in_c() -> None:
    """Wait in a system call with the interpreter locked, as a stuck decoder does."""
    ctypes.PyDLL(None).sleep(600)


def burn() -> None:
    while True:
        pass


def take_memory(size: int) -> int:
    return len(bytearray(size))


def die_by(number: int) -> None:
    os.kill(os.getpid(), number)


def raise_with_details() -> None:
    raise NotFound("no such thing", details={"thing": 7})


def raise_value_error() -> None:
    raise ValueError("odd")


def limits_of_child() -> dict[str, object]:
    return {
        "session": os.getsid(0) == os.getpid(),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "file size": resource.getrlimit(resource.RLIMIT_FSIZE)[0],
        "descriptors": sorted(str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.exists()),
        "threads": os.environ["OMP_NUM_THREADS"],
    }


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fill_disk(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(100):
            file.write(bytes(MIB))


async def eventually_gone(pid: int) -> None:
    """Wait for the end of a process by its pidfd, without polling."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, gone.set)
    try:
        async with asyncio.timeout(20):
            await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


@pytest.fixture
def announcement(tmp_path: Path) -> Path:
    """A named pipe through which a child tells its process id once it works."""
    path = tmp_path / "announcement"
    os.mkfifo(path)
    return path


async def announced(announcement: Path) -> int:
    return int(await asyncio.to_thread(announcement.read_text))


async def test_a_photo_is_rendered_in_a_child(pool: DecoderPool) -> None:
    rendition = await pool.run(process_photo, PICTURE, timeout=30)

    assert (rendition.width, rendition.height) == (640, 480)
    assert len(rendition.thumbnails) == 3


async def test_a_child_serves_many_tasks_and_is_then_replaced() -> None:
    async with DecoderPool(size=1, limits=DecoderLimits(tasks=3)) as pool:
        pids = [await pool.run(own_pid, timeout=30) for _ in range(7)]

    assert pids[0] == pids[1] == pids[2] != pids[3]
    assert len(set(pids)) == 3
    assert os.getpid() not in pids


async def test_errors_of_lumilio_arrive_as_they_were_raised(pool: DecoderPool) -> None:
    with pytest.raises(NotFound, match="no such thing") as caught:
        await pool.run(raise_with_details, timeout=30)
    assert caught.value.details == {"thing": 7}


async def test_other_exceptions_arrive_as_tool_errors_with_their_words(pool: DecoderPool) -> None:
    with pytest.raises(ToolError, match="'raise_value_error' raised ValueError: odd"):
        await pool.run(raise_value_error, timeout=30)


async def test_a_time_out_kills_only_the_child_that_hangs(pool: DecoderPool) -> None:
    good, _ = await asyncio.gather(pool.run(own_pid, timeout=30), pool.run(own_pid, timeout=30))

    async def is_killed() -> None:
        with pytest.raises(ToolTimedOut, match=r"longer than 0\.5 s"):
            await pool.run(hang_in_c, timeout=0.5)

    async with asyncio.TaskGroup() as both:
        both.create_task(is_killed())
        rendition = both.create_task(pool.run(process_photo, PICTURE, timeout=30))

    assert rendition.result().width == 640
    assert good > 0


async def test_a_cancelled_call_kills_its_child(pool: DecoderPool, announcement: Path) -> None:
    call = asyncio.create_task(pool.run(announce_and_hang, announcement, timeout=60))
    pid = await announced(announcement)

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually_gone(pid)
    assert await pool.run(own_pid, timeout=30) != pid


async def test_a_child_killed_at_its_work_costs_that_task_alone(pool: DecoderPool, announcement: Path) -> None:
    call = asyncio.create_task(pool.run(announce_and_hang, announcement, timeout=60))
    os.kill(await announced(announcement), signal.SIGKILL)

    with pytest.raises(DecoderCrashed, match=r"signal 9 \(SIGKILL\)"):
        await call
    assert (await pool.run(process_photo, PICTURE, timeout=30)).width == 640


async def test_a_child_killed_while_idle_is_replaced_unnoticed() -> None:
    async with DecoderPool(size=1) as pool:
        pid = await pool.run(own_pid, timeout=30)
        os.kill(pid, signal.SIGKILL)
        await eventually_gone(pid)

        assert await pool.run(own_pid, timeout=30) != pid


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM])
async def test_a_crash_names_its_signal(pool: DecoderPool, number: signal.Signals) -> None:
    with pytest.raises(DecoderCrashed, match=number.name):
        await pool.run(die_by, int(number), timeout=30)


async def test_processor_time_is_bounded_even_where_nobody_watches_the_clock(tmp_path: Path) -> None:
    """The daemon's time-out comes first; the kernel's limit is for a daemon that is too busy to see it."""
    script = tmp_path / "burn.py"
    script.write_text(
        "from lumilio.tools.decoders import _Child, DecoderLimits, _Task, _death\n"
        "from tests.integration.test_decoders import burn\n"
        "if __name__ == '__main__':\n"
        "    child = _Child(DecoderLimits(), ())\n"
        "    task = _Task(function=burn, arguments=(), seconds=1)\n"
        "    try:\n"
        "        child.ask(task)\n"
        "    except EOFError:\n"
        "        print(type(_death(child.bury(), task)).__name__)\n"
    )
    assert await output_of_script(script) == "ToolTimedOut"


async def output_of_script(script: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = await asyncio.create_subprocess_exec(sys.executable, str(script), stdout=subprocess.PIPE, env=environment)
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return out.decode().strip()


async def test_a_child_that_wants_too_much_memory_is_refused_it_and_lives_on() -> None:
    async with DecoderPool(size=1, limits=DecoderLimits(memory=250 * MIB)) as pool:
        pid = await pool.run(own_pid, timeout=30)
        assert await pool.run(take_memory, 100 * MIB, timeout=30) == 100 * MIB
        with pytest.raises(MediaOverBudget):
            await pool.run(take_memory, 260 * MIB, timeout=30)
        assert await pool.run(own_pid, timeout=30) == pid


async def test_a_child_cannot_fill_the_disk(pool: DecoderPool, tmp_path: Path) -> None:
    with pytest.raises(ToolError):
        await pool.run(fill_disk, tmp_path / "large", timeout=30)
    assert (tmp_path / "large").stat().st_size <= 16 * MIB


async def test_a_child_is_confined_and_holds_nothing_of_the_daemon(pool: DecoderPool, tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w"):
        found = await pool.run(limits_of_child, timeout=30)

    assert found["session"] is True
    assert found["core"] == 0
    assert found["file size"] == 16 * MIB
    assert found["threads"] == "1"
    descriptors = found["descriptors"]
    assert isinstance(descriptors, list)
    assert all(each == "/dev/null" or each.startswith(("pipe:", "socket:", "/proc/")) for each in descriptors)


async def test_no_picture_of_the_throughput_set_takes_a_child_past_300_mib() -> None:
    """12 to 26 megapixels where the corpus lies beside the checkout; else one of 24 that is made here."""
    pictures = sorted((CORPUS / "throughput").glob("*.jpg"))[::4]
    async with DecoderPool(size=1) as pool:
        for picture in pictures:
            await pool.run(process_photo, picture, timeout=60)
        assert await pool.run(peak_memory, timeout=30) < 300 * MIB


async def test_a_progressive_picture_of_24_megapixels_stays_below_300_mib(tmp_path: Path) -> None:
    path = tmp_path / "progressive.jpg"
    Image.effect_noise((6000, 4000), 60).convert("RGB").save(path, "JPEG", progressive=True)
    async with DecoderPool(size=1) as pool:
        await pool.run(process_photo, path, timeout=60)
        assert await pool.run(peak_memory, timeout=30) < 300 * MIB


async def test_damaged_files_among_good_ones_spoil_nothing(pool: DecoderPool, tmp_path: Path) -> None:
    content = PICTURE.read_bytes()
    outcomes = []
    async with asyncio.TaskGroup() as group:
        for number in range(30):
            path = tmp_path / f"{number}.jpg"
            path.write_bytes(content if number % 3 else content[: number * 500])
            outcomes.append(group.create_task(attempt(pool, path)))

    widths = [each.result() for each in outcomes]

    assert widths == [640 if number % 3 else None for number in range(30)]


async def attempt(pool: DecoderPool, path: Path) -> int | None:
    try:
        return (await pool.run(process_photo, path, timeout=30)).width
    except MediaDamaged:
        return None


async def test_stopping_does_not_wait_for_busy_children(announcement: Path) -> None:
    async with DecoderPool(size=1) as pool:
        call = asyncio.create_task(pool.run(announce_and_hang, announcement, timeout=600))
        pid = await announced(announcement)
        started = time.monotonic()

    assert time.monotonic() - started < 10
    with pytest.raises(ToolError, match="stopped"):
        await call
    await eventually_gone(pid)
    with pytest.raises(ToolError, match="stopped"):
        await pool.run(own_pid, timeout=1)


def leave_pipe_open(pids: Path) -> None:
    """Hand the child's end of the pipe to a process that lives on: to the daemon, the child cannot be killed."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    with pids.open("a") as file:
        file.write(f"{pid}\n")
    signal.pause()


@pytest.fixture
def pids(tmp_path: Path) -> Iterator[Path]:
    """Where processes are written down that are killed after the test."""
    path = tmp_path / "pids"
    path.touch()
    yield path
    for pid in path.read_text().split():
        os.kill(int(pid), signal.SIGKILL)


async def test_a_child_that_cannot_be_killed_costs_neither_its_place_nor_the_time_of_another_file(
    monkeypatch: pytest.MonkeyPatch, pids: Path
) -> None:
    monkeypatch.setattr(decoders, "_BURIAL_SECONDS", 0.5)
    async with DecoderPool(size=1) as pool:
        await pool.run(own_pid, timeout=30)
        with pytest.raises(ToolTimedOut):
            await pool.run(leave_pipe_open, pids, timeout=0.5)

        assert (await pool.run(process_photo, PICTURE, timeout=30)).width == 640


async def test_when_too_many_children_cannot_be_killed_a_file_waits_without_its_clock_running(
    monkeypatch: pytest.MonkeyPatch, pids: Path
) -> None:
    monkeypatch.setattr(decoders, "_BURIAL_SECONDS", 0.1)
    async with DecoderPool(size=1) as pool:
        for _ in range(4):
            await pool.run(own_pid, timeout=30)
            with pytest.raises(ToolTimedOut):
                await pool.run(leave_pipe_open, pids, timeout=0.5)
        waiting = asyncio.create_task(pool.run(own_pid, timeout=10))
        given_up = asyncio.create_task(pool.run(own_pid, timeout=10))
        await asyncio.wait({waiting}, timeout=0.5)
        given_up.cancel()
        assert not waiting.done()
        os.kill(int(pids.read_text().split()[0]), signal.SIGKILL)

        assert await waiting > 0
    pids.write_text("\n".join(pids.read_text().split()[1:]))


async def test_a_daemon_ends_although_a_child_cannot_be_killed(tmp_path: Path, pids: Path) -> None:
    script = tmp_path / "daemon.py"
    script.write_text(
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from lumilio.errors import ToolTimedOut\n"
        "from lumilio.tools import decoders\n"
        "from tests.integration.test_decoders import leave_pipe_open\n"
        "decoders._BURIAL_SECONDS = 0.5\n"
        "async def main():\n"
        "    async with decoders.DecoderPool(size=1) as pool:\n"
        "        try:\n"
        "            await pool.run(leave_pipe_open, Path(sys.argv[1]), timeout=5)\n"
        "        except ToolTimedOut:\n"
        "            Path(sys.argv[2]).touch()\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    timed_out = tmp_path / "timed out"
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, str(script), str(pids), str(timed_out), env=environment
    )
    try:
        async with asyncio.timeout(40):
            assert await daemon.wait() == 0
        assert timed_out.exists()
    finally:
        if daemon.returncode is None:
            daemon.kill()


async def test_no_child_survives_a_daemon_that_was_killed(tmp_path: Path, announcement: Path) -> None:
    script = tmp_path / "daemon.py"
    script.write_text(
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from lumilio.tools.decoders import DecoderPool\n"
        "from tests.integration.test_decoders import announce_and_hang\n"
        "async def main():\n"
        "    async with DecoderPool(size=1) as pool:\n"
        "        await pool.run(announce_and_hang, Path(sys.argv[1]), timeout=600)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    daemon = await asyncio.create_subprocess_exec(sys.executable, str(script), str(announcement), env=environment)
    child = psutil.Process(await announced(announcement))
    server = child.parent()
    assert server is not None

    daemon.kill()
    await daemon.wait()

    await eventually_gone(child.pid)
    await eventually_gone(server.pid)
