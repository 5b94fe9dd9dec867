"""Threads that may be lost."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import uvloop

from lumilio.tools.threads import DaemonThreads


def test_calls_run_at_once_up_to_the_size_and_then_in_turn() -> None:
    threads = DaemonThreads("test", 2)
    both = threading.Barrier(3)
    order: list[int] = []
    blocking = [threads.submit(both.wait, 20) for _ in range(2)]
    later = [threads.submit(order.append, number) for number in range(3)]
    assert not any(each.done() for each in later)

    both.wait(20)

    for each in blocking:
        each.result(20)
    for one in later:
        one.result(20)
    assert sorted(order) == [0, 1, 2]
    assert sum(each.name == "test" for each in threading.enumerate()) == 2
    threads.shutdown()


def test_an_exception_arrives_at_the_caller_and_the_thread_lives_on() -> None:
    threads = DaemonThreads("test", 1)
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 1, 0).result(20)
    assert threads.submit(divmod, 7, 2).result(20) == (3, 1)
    threads.shutdown()


def test_a_call_that_is_given_up_while_it_waits_is_dropped_and_one_that_runs_is_not() -> None:
    threads = DaemonThreads("test", 1)
    begun, release = threading.Event(), threading.Event()
    seen: list[str] = []

    def work() -> None:
        begun.set()
        release.wait(20)

    running, waiting = threads.submit(work), threads.submit(seen.append, "dropped")
    assert begun.wait(20)

    assert waiting.cancel()
    assert not running.cancel()
    release.set()

    threads.submit(seen.append, "last").result(20)
    assert seen == ["last"]
    threads.shutdown()


def test_threads_that_were_shut_down_finish_what_they_have_and_refuse_more() -> None:
    threads = DaemonThreads("test", 1)
    begun, release = threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        release.wait(20)
        return "done"

    running, waiting = threads.submit(work), threads.submit(work)
    assert begun.wait(20)
    threads.shutdown(cancel_futures=True)
    release.set()

    assert running.result(20) == "done"
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="shut down"):
        threads.submit(work)


@pytest.mark.parametrize("loop_factory", ["asyncio.new_event_loop", "uvloop.new_event_loop"])
async def test_as_default_executor_they_let_a_process_end_whose_thread_hangs(tmp_path: Path, loop_factory: str) -> None:
    script = tmp_path / "daemon.py"
    script.write_text(
        "import asyncio, os, uvloop\n"
        "from lumilio.tools.threads import DaemonThreads\n"
        "reading, writing = os.pipe()\n"
        "async def main():\n"
        "    asyncio.get_running_loop().set_default_executor(DaemonThreads('default', 4))\n"
        "    stuck = asyncio.create_task(asyncio.to_thread(os.read, reading, 1))\n"
        "    await asyncio.wait({stuck}, timeout=0.2)\n"
        f"with asyncio.Runner(loop_factory={loop_factory}) as runner:\n"
        "    runner.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = await asyncio.create_subprocess_exec(sys.executable, str(script), env=environment, stderr=subprocess.PIPE)
    try:
        async with asyncio.timeout(20):
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert (errors, process.returncode) == (b"", 0)


def test_uvloop_takes_them_as_default_executor() -> None:
    async def name_of_thread() -> str:
        asyncio.get_running_loop().set_default_executor(DaemonThreads("ours", 4))
        return await asyncio.to_thread(lambda: threading.current_thread().name)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(name_of_thread()) == "ours"
