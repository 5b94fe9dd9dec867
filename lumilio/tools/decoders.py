"""Child processes in which untrusted files are decoded: killable, fenced, bounded in memory and time, a few tasks long.

Each child is forked from a fork server that has the imaging libraries loaded already, and talks to the daemon over a
pipe of its own, so that nothing that happens to one child can reach another. A thread per child waits on that pipe;
killing the child is what ends the wait, whether the reason is a time-out, a cancellation or the end of the daemon.

A child opens no files: those of a task are opened here and handed to it (see ``lumilio.tools.originals``).

Why not pebble: one of its idle children killed (by the kernel's out-of-memory killer, say) ends the whole pool for
good with "Unexpected error within the Pool"; its children share one pipe and its locks, which a child killed at the
wrong moment keeps; and its time-outs follow the wall clock.
"""

import asyncio
import contextlib
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple

from lumilio.errors import ToolError, ToolTimedOut
from lumilio.log import get_log
from lumilio.tools import fence
from lumilio.tools.decoder_child import DecoderLimits
from lumilio.tools.decoder_process import DecoderProcess, death
from lumilio.tools.decoder_wire import Answer, Task, check_result
from lumilio.tools.originals import open_descriptor
from lumilio.tools.threads import DaemonThreads

__all__ = ("PRELOAD", "DecoderLimits", "DecoderPool")

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PRELOAD = (
    "lumilio.tools.imaging",
    "lumilio.tools.libraw",
    "lumilio.tools.ffmpeg",
    "lumilio.tools.audio_tags",
    "numpy",
    "av",
    "rawpy",
    "pillow_heif",
    "pillow_jxl",
)
"""What the fork server imports once, so that its children share the memory and need no time for it.

What is not installed is left out. A child that has used all of it has 13 MiB of its own instead of 22, and its first
files take 90 ms less.
"""

_BURIAL_SECONDS = 5.0
_SPARES = 3
"""Threads for each child beyond one: so many may be lost to children that do not die before the others have to wait."""


@dataclass(slots=True, eq=False)
class _Call:
    """A task on its way through a thread. The lock decides between an answer and a kill that cross each other."""

    task: Task
    on_progress: Callable[[float], None] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    child: DecoderProcess | None = None
    abandoned: bool = False
    progress: float | None = None
    begun: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def begin(self) -> None:
        """From the thread that has the call: its time runs from here."""
        self._tell_loop(self._has_begun)

    def _has_begun(self) -> None:
        if not self.begun.done():
            self.begun.set_result(None)

    def _tell_loop(self, function: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            self.begun.get_loop().call_soon_threadsafe(function)

    def hold(self, child: DecoderProcess | None) -> bool:
        """Tie the call to a child, or untie it with None; False when the caller has left meanwhile."""
        with self.lock:
            self.child = child
            return not self.abandoned

    def abandon(self) -> None:
        with self.lock:
            self.abandoned = True
            if self.child is not None:
                self.child.kill()

    def advance(self, fraction: float) -> None:
        """From the thread: pass progress on. What the loop has not come to see is replaced by what came after it."""
        with self.lock:
            waits, self.progress = self.progress is not None, fraction
        if not waits:
            self._tell_loop(self._deliver)

    def _deliver(self) -> None:
        with self.lock:
            fraction, self.progress = self.progress, None
        if fraction is not None and self.on_progress is not None and not self.abandoned:
            self.on_progress(fraction)


class DecoderPool:
    """Runs functions on untrusted files in ``size`` children, started when first needed.

    ``preload`` names modules that the fork server imports once and that children have before they are fenced. There is
    one fork server a process: it imports what its first pool names, and children import the rest themselves.
    """

    def __init__(self, *, size: int, limits: DecoderLimits | None = None, preload: Sequence[str] = PRELOAD) -> None:
        self._limits = limits or DecoderLimits()
        self._preload = preload
        self._slots = asyncio.Semaphore(size)
        self._threads = DaemonThreads("decoder", size * (1 + _SPARES))
        self._processors = len(os.sched_getaffinity(0))
        self._idle: list[DecoderProcess] = []
        self._calls: dict[asyncio.Future[Answer], _Call] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
        if not fence.is_complete():
            get_log().info("decoders.fenced_in_part", state=fence.describe())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        pending = dict(self._calls)
        for call in pending.values():
            call.abandon()
        if pending:
            await asyncio.wait(pending, timeout=_BURIAL_SECONDS)
        burial = asyncio.get_running_loop().run_in_executor(self._threads, self._bury_idle)
        await asyncio.wait({burial}, timeout=_BURIAL_SECONDS)
        self._threads.shutdown(cancel_futures=True)

    def _bury_idle(self) -> None:
        while self._idle:
            child = self._idle.pop()
            child.kill()
            child.bury(_BURIAL_SECONDS)

    async def run(
        self,
        function: Callable[[*Ts], T],
        *args: *Ts,
        timeout: float,
        target: Path | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> T:
        """Call ``function(*args)`` in a child and return its result; the time-out counts from when a thread has it.

        Every Path among the arguments is a file that the function may read, by ``originals.open_original``; ``target``
        is one that exists and may be written to, by ``originals.open_target``. ``on_progress`` is called in the event
        loop with what the function reports, in order, but not with all of it.

        Function and arguments travel by pickle: the function is one of a module, not a closure. Its result is made of
        plain values, collections, and frozen dataclasses and enumerations of Lumilio, and is of the type that the
        function declares. A time-out or a cancellation kills the child with all that it started, and only that one.
        Errors of the LumilioError tree arrive as they were raised.

        Raises StorageError when a file cannot be opened, ToolTimedOut, DecoderCrashed when the child dies,
        MediaOverBudget when it runs out of memory, ToolError for any other exception of the function and when the pool
        is closed.
        """
        reads = [each for each in args if isinstance(each, Path) and each != target]
        files = ((target, True),) if target is not None else ()
        task = Task(
            function=function,
            arguments=args,
            seconds=math.ceil(timeout * self._processors) + 1,
            files=files + tuple((path, False) for path in dict.fromkeys(reads)),
        )
        async with self._slots:
            if self._closed:
                raise ToolError("the decoders have been stopped")
            answer = await self._answered(_Call(task=task, on_progress=on_progress), timeout)
        if answer.error is not None:
            raise answer.error
        return answer.result  # type: ignore[return-value]  # check_result knows it, mypy does not

    async def _answered(self, call: _Call, timeout: float) -> Answer:
        pending = asyncio.get_running_loop().run_in_executor(self._threads, self._perform, call)
        self._calls[pending] = call
        pending.add_done_callback(self._settle)
        try:
            either: set[asyncio.Future[Any]] = {pending, call.begun}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            done, _ = await asyncio.wait({pending}, timeout=timeout)
        finally:
            if not pending.done():
                call.abandon()
            if not call.begun.done():
                pending.cancel()
        if not done:
            await asyncio.wait({pending}, timeout=_BURIAL_SECONDS)
            raise ToolTimedOut(f"{call.task.function.__name__!r} took longer than {timeout:g} s and was killed")
        return pending.result()

    def _settle(self, pending: "asyncio.Future[Answer]") -> None:
        """Take the exception of a call that nobody waits for any more: asyncio would report it as forgotten."""
        del self._calls[pending]
        if not pending.cancelled():
            pending.exception()

    def _perform(self, call: _Call) -> Answer:
        """In a thread of the pool: have one child do the task, and put it back if it is fit for more."""
        call.begin()
        with _opened(call.task.files) as descriptors:
            if not call.hold(None):
                raise ToolError("the call was abandoned")
            child = self._take()
            try:
                if not call.hold(child):
                    raise ToolError("the call was abandoned")
                answer = child.ask(call.task, descriptors, call.advance)
                check_result(answer, call.task)
            except (OSError, EOFError) as exc:
                call.hold(None)
                status = child.bury(_BURIAL_SECONDS)
                if self._closed:
                    raise ToolError("the decoders have been stopped") from exc
                raise death(status, call.task) from exc
            except BaseException:
                call.hold(None)
                child.bury(_BURIAL_SECONDS)
                raise
        if call.hold(None) and child.is_fit:
            self._idle.append(child)
        else:
            child.kill()
            child.bury(_BURIAL_SECONDS)
        return answer

    def _take(self) -> DecoderProcess:
        while self._idle:
            try:
                child = self._idle.pop()
            except IndexError:
                break
            if child.is_sound():
                return child
            child.bury(_BURIAL_SECONDS)
        try:
            return DecoderProcess(self._limits, self._preload)
        except (OSError, EOFError) as exc:
            raise ToolError(f"a decoder process cannot be started: {exc}") from exc


@contextlib.contextmanager
def _opened(files: Sequence[tuple[Path, bool]]) -> Iterator[list[int]]:
    """Descriptors of the files, those of a dead disk after a long time or never. Raises StorageError."""
    descriptors: list[int] = []
    try:
        for path, write in files:
            descriptors.append(open_descriptor(path, write=write))
        yield descriptors
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
