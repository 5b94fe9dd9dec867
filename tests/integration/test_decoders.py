"""Decoder children: what happens in one stays in one."""

import asyncio
import ctypes
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from PIL import Image

from lumilio.errors import (
    DecoderCrashed,
    MediaDamaged,
    MediaOverBudget,
    NotFound,
    ToolError,
    ToolTimedOut,
)
from lumilio.media.photo import process_photo
from lumilio.tools import decoders
from lumilio.tools.decoders import DecoderLimits, DecoderPool
from tests.conformance.reference import CORPUS, FIXTURES
from tests.integration.decoder_tasks import (
    LOADED,
    MIB,
    announce_and_hang,
    content_of,
    die_by,
    hang_in_c,
    keep_memory,
    limits_of_child,
    own_pid,
    peak_memory,
    raise_value_error,
    raise_with_details,
    start_a_program,
    start_a_program_and_hang,
    take_memory,
)

PICTURE = FIXTURES / "jpeg/digicamcor-POL_0136.JPG"


@pytest.fixture
async def pool() -> AsyncIterator[DecoderPool]:
    async with DecoderPool(size=2, preload=LOADED) as running:
        yield running


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


def pools_children() -> list[psutil.Process]:
    """Decoders of this process."""
    return [
        child
        for server in psutil.Process().children()
        if "forkserver" in " ".join(server.cmdline())
        for child in server.children()
    ]


async def hanging(pool: DecoderPool, function: Callable[[], None]) -> "tuple[asyncio.Task[None], int]":
    """A call that reports once and then hangs, and the child that has it."""
    working = asyncio.Event()
    before = {child.pid for child in pools_children()}
    call = asyncio.create_task(pool.run(function, timeout=60, on_progress=lambda _: working.set()))
    async with asyncio.timeout(30):
        await working.wait()
    (pid,) = {child.pid for child in pools_children()} - before
    return call, pid


async def test_a_photo_is_rendered_in_a_child(pool: DecoderPool) -> None:
    rendition = await pool.run(process_photo, PICTURE, timeout=30)

    assert (rendition.width, rendition.height) == (640, 480)
    assert len(rendition.thumbnails) == 3


async def test_a_child_serves_many_tasks_and_is_then_replaced() -> None:
    async with DecoderPool(size=1, preload=LOADED, limits=DecoderLimits(tasks=3)) as pool:
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


async def test_a_cancelled_call_kills_its_child(pool: DecoderPool) -> None:
    call, pid = await hanging(pool, announce_and_hang)

    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually_gone(pid)
    assert await pool.run(own_pid, timeout=30) != pid


async def test_a_child_killed_at_its_work_costs_that_task_alone(pool: DecoderPool) -> None:
    call, pid = await hanging(pool, announce_and_hang)
    os.kill(pid, signal.SIGKILL)

    with pytest.raises(DecoderCrashed, match=r"signal 9 \(SIGKILL\)"):
        await call
    assert (await pool.run(process_photo, PICTURE, timeout=30)).width == 640


async def test_a_child_killed_while_idle_is_replaced_unnoticed() -> None:
    async with DecoderPool(size=1, preload=LOADED) as pool:
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
        "from lumilio.tools.decoder_process import DecoderProcess, death\n"
        "from lumilio.tools.decoder_wire import Task\n"
        "from lumilio.tools.decoders import DecoderLimits\n"
        "from tests.integration.decoder_tasks import burn\n"
        "if __name__ == '__main__':\n"
        "    child = DecoderProcess(DecoderLimits(), ['tests.integration.decoder_tasks'])\n"
        "    task = Task(function=burn, arguments=(), seconds=1)\n"
        "    try:\n"
        "        child.ask(task, [], print)\n"
        "    except EOFError:\n"
        "        print(type(death(child.bury(5), task)).__name__)\n"
    )
    assert await output_of_script(script) == "ToolTimedOut"


async def output_of_script(script: Path) -> str:
    process = await started(script)
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return out.decode().strip()


async def test_a_child_that_wants_too_much_memory_is_refused_it_and_lives_on() -> None:
    async with DecoderPool(size=1, preload=LOADED, limits=DecoderLimits(memory=250 * MIB)) as pool:
        pid = await pool.run(own_pid, timeout=30)
        assert await pool.run(take_memory, 100 * MIB, timeout=30) == 100 * MIB
        with pytest.raises(MediaOverBudget):
            await pool.run(take_memory, 260 * MIB, timeout=30)
        assert await pool.run(own_pid, timeout=30) == pid


async def test_a_child_that_keeps_too_much_memory_is_replaced() -> None:
    limits = DecoderLimits(growth=100 * MIB)
    async with DecoderPool(size=1, preload=LOADED, limits=limits) as pool:
        pids = [await pool.run(keep_memory, size * MIB, timeout=30) for size in (10, 10, 120, 10)]

    assert pids[0] == pids[1] == pids[2] != pids[3]


async def test_a_child_is_confined_and_holds_nothing_of_the_daemon(pool: DecoderPool, tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w"):
        found = await pool.run(limits_of_child, timeout=30)
        again = await pool.run(content_of, PICTURE, timeout=30)

    assert again == PICTURE.read_bytes()
    assert found["session"] is True
    assert found["core"] == 0
    assert found["file size"] == 16 * MIB
    assert found["threads"] == "1"
    kinds = found["descriptors"]
    assert isinstance(kinds, list)
    assert kinds.count(stat.S_IFREG) == 1, "the status of the process itself"
    assert set(kinds) <= {stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK}, "devices, or folders"


async def test_what_a_child_started_dies_with_it() -> None:
    """Whether the child is killed, dies by itself, or is replaced."""
    async with DecoderPool(size=1, preload=LOADED, limits=DecoderLimits(tasks=1)) as pool:
        call, _ = await hanging(pool, start_a_program_and_hang)
        (cancelled,) = sleepers()
        call.cancel()
        await asyncio.wait({call})
        await eventually_gone(cancelled)

        call, child = await hanging(pool, start_a_program_and_hang)
        (orphaned,) = sleepers()
        os.kill(child, signal.SIGKILL)
        with pytest.raises(DecoderCrashed):
            await call
        await eventually_gone(orphaned)

        await eventually_gone(await pool.run(start_a_program, timeout=30))


def sleepers() -> list[int]:
    """Programs that the decoders have started."""
    return [each.pid for child in pools_children() for each in child.children()]


async def test_no_picture_of_the_throughput_set_takes_a_child_past_300_mib() -> None:
    """12 to 26 megapixels where the corpus lies beside the checkout; else one of 24 that is made here."""
    pictures = sorted((CORPUS / "throughput").glob("*.jpg"))[::4]
    async with DecoderPool(size=1, preload=LOADED) as pool:
        for picture in pictures:
            await pool.run(process_photo, picture, timeout=60)
        assert await pool.run(peak_memory, timeout=30) < 300 * MIB


async def test_a_progressive_picture_of_24_megapixels_stays_below_300_mib(tmp_path: Path) -> None:
    path = tmp_path / "progressive.jpg"
    Image.effect_noise((6000, 4000), 60).convert("RGB").save(path, "JPEG", progressive=True)
    async with DecoderPool(size=1, preload=LOADED) as pool:
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


async def test_stopping_does_not_wait_for_busy_children() -> None:
    async with DecoderPool(size=1, preload=LOADED) as pool:
        call, pid = await hanging(pool, announce_and_hang)
        started = time.monotonic()

    assert time.monotonic() - started < 10
    with pytest.raises(ToolError, match="stopped"):
        await call
    await eventually_gone(pid)
    with pytest.raises(ToolError, match="stopped"):
        await pool.run(own_pid, timeout=1)


PIDFD_GETFD = 438


def held(stack: ExitStack, pid: int) -> int:
    """Take a copy of a child's end of its pipe. To the pool, a child whose pipe stays open cannot be killed."""
    child = os.pidfd_open(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    pipe = next(each for each in Path(f"/proc/{pid}/fd").iterdir() if str(each.readlink()).startswith("socket:"))
    copy = libc.syscall(PIDFD_GETFD, child, int(pipe.name), 0)
    os.close(child)
    assert copy >= 0, os.strerror(ctypes.get_errno())
    stack.callback(_close, copy)
    return int(copy)


def _close(descriptor: int) -> None:
    os.close(descriptor)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


async def test_a_child_that_cannot_be_killed_costs_neither_its_place_nor_the_time_of_another_file(
    monkeypatch: pytest.MonkeyPatch, stack: ExitStack
) -> None:
    monkeypatch.setattr(decoders, "_BURIAL_SECONDS", 0.5)
    async with DecoderPool(size=1, preload=LOADED) as pool:
        held(stack, await pool.run(own_pid, timeout=30))
        with pytest.raises(ToolTimedOut):
            await pool.run(hang_in_c, timeout=0.5)

        assert (await pool.run(process_photo, PICTURE, timeout=30)).width == 640


async def test_when_too_many_children_cannot_be_killed_a_file_waits_without_its_clock_running(
    monkeypatch: pytest.MonkeyPatch, stack: ExitStack
) -> None:
    monkeypatch.setattr(decoders, "_BURIAL_SECONDS", 0.1)
    async with DecoderPool(size=1, preload=LOADED) as pool:
        first = ExitStack()
        for number in range(4):
            held(stack if number else first, await pool.run(own_pid, timeout=30))
            with pytest.raises(ToolTimedOut):
                await pool.run(hang_in_c, timeout=0.5)
        waiting = asyncio.create_task(pool.run(own_pid, timeout=10))
        given_up = asyncio.create_task(pool.run(own_pid, timeout=10))
        await asyncio.wait({waiting}, timeout=0.5)
        given_up.cancel()
        assert not waiting.done()
        first.close()

        assert await waiting > 0


async def test_a_daemon_ends_although_a_child_cannot_be_killed(tmp_path: Path, stack: ExitStack) -> None:
    script = tmp_path / "daemon.py"
    script.write_text(
        "import asyncio, sys\n"
        "from lumilio.errors import ToolTimedOut\n"
        "from lumilio.tools import decoders\n"
        "from tests.integration.decoder_tasks import hang_in_c, own_pid\n"
        "decoders._BURIAL_SECONDS = 0.5\n"
        "async def main():\n"
        "    async with decoders.DecoderPool(size=1, preload=['tests.integration.decoder_tasks']) as pool:\n"
        "        print(await pool.run(own_pid, timeout=30), flush=True)\n"
        "        await asyncio.to_thread(sys.stdin.readline)\n"
        "        try:\n"
        "            await pool.run(hang_in_c, timeout=2)\n"
        "        except ToolTimedOut:\n"
        "            print('timed out', flush=True)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    daemon = await started(script, stdin=subprocess.PIPE)
    assert daemon.stdin is not None
    assert daemon.stdout is not None
    try:
        async with asyncio.timeout(40):
            held(stack, int(await daemon.stdout.readline()))
            daemon.stdin.write(b"go\n")
            assert await daemon.stdout.readline() == b"timed out\n"
            assert await daemon.wait() == 0
    finally:
        if daemon.returncode is None:
            daemon.kill()


async def started(script: Path, *, stdin: int | None = None) -> asyncio.subprocess.Process:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return await asyncio.create_subprocess_exec(
        sys.executable, str(script), stdin=stdin, stdout=subprocess.PIPE, env=environment
    )


async def test_no_child_survives_a_daemon_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "daemon.py"
    script.write_text(
        "import asyncio\n"
        "from lumilio.tools.decoders import DecoderPool\n"
        "from tests.integration.decoder_tasks import announce_and_hang, own_pid\n"
        "async def main():\n"
        "    async with DecoderPool(size=1, preload=['tests.integration.decoder_tasks']) as pool:\n"
        "        pid = await pool.run(own_pid, timeout=30)\n"
        "        tell = lambda _: print(pid, flush=True)\n"
        "        await pool.run(announce_and_hang, timeout=600, on_progress=tell)\n"
        "if __name__ == '__main__':\n"
        "    asyncio.run(main())\n"
    )
    daemon = await started(script)
    assert daemon.stdout is not None
    async with asyncio.timeout(30):
        child = psutil.Process(int(await daemon.stdout.readline()))
    server = child.parent()
    assert server is not None

    daemon.kill()
    await daemon.wait()

    await eventually_gone(child.pid)
    await eventually_gone(server.pid)
