"""Child processes in which untrusted files are decoded: killable, bounded in memory and time, a few tasks long.

Each child is forked from a fork server that has the imaging libraries loaded already, and talks to the daemon over a
pipe of its own, so that nothing that happens to one child can reach another. A thread per child waits on that pipe;
killing the child is what ends the wait, whether the reason is a time-out, a cancellation or the end of the daemon.

Why not pebble: one of its idle children killed (by the kernel's out-of-memory killer, say) ends the whole pool for
good with "Unexpected error within the Pool"; its children share one pipe and its locks, which a child killed at the
wrong moment keeps; and its time-outs follow the wall clock.
"""

import asyncio
import contextlib
import ctypes
import math
import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver, process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple

from lumilio.errors import DecoderCrashed, LumilioError, MediaOverBudget, ToolError, ToolTimedOut
from lumilio.tools.threads import DaemonThreads

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_PR_SET_PDEATHSIG = 1
_NICENESS = 10
_OOM_SCORE = 500
_FILE_SIZE_LIMIT = 16 * 1024 * 1024
_BURIAL_SECONDS = 5.0
_SPARES = 3
"""Threads for each child beyond one: so many may be lost to children that do not die before the others have to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderLimits:
    """What one child may use. ``memory`` is bytes of private memory beyond what it has after its start; the address
    space is not limited because shared libraries and mapped files fill it without costing anything. ``tasks`` is the
    number of files after which a child is replaced, so that what a library leaks stays small."""

    memory: int = 512 * 1024 * 1024
    tasks: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """One request to a child. ``seconds`` is the CPU time after which the kernel kills it, should the daemon not."""

    function: Callable[..., object]
    arguments: tuple[object, ...]
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What a child sends back: a result, or the error to raise."""

    result: object = None
    error: LumilioError | None = None


class _Child:
    """One decoder process and the daemon's end of its pipe."""

    def __init__(self, limits: DecoderLimits, preload: Sequence[str]) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(preload))
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve, args=(theirs, limits), name="lumilio-decoder", daemon=True
        )
        self._process.start()
        theirs.close()
        self.tasks_left = limits.tasks

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def is_sound(self) -> bool:
        """Whether the child still waits for work: an idle child says nothing unless its pipe has closed."""
        return self._process.is_alive() and not self._pipe.poll(0)

    def ask(self, task: _Task) -> _Answer:
        """Block until the child has answered. Raises OSError or EOFError when it is gone."""
        self._pipe.send(task)
        answer = self._pipe.recv()
        if not isinstance(answer, _Answer):
            raise EOFError("not an answer")
        self.tasks_left -= 1
        return answer

    def kill(self) -> None:
        """Kill it and make multiprocessing forget it, which waits for all it knows when the daemon ends: in the kernel,
        as on a dead disk, a child may live on."""
        self._process.kill()
        known: Any = process
        known._children.discard(self._process)

    def bury(self) -> int | None:
        """Kill what is left and return the exit status: negative for the signal that ended it, None if it lives on."""
        self._process.join(0.1)
        self.kill()
        self._process.join(_BURIAL_SECONDS)
        self._pipe.close()
        return self._process.exitcode


@dataclass(slots=True, eq=False)
class _Call:
    """A task on its way through a thread. The lock decides between an answer and a kill that cross each other."""

    task: _Task
    lock: threading.Lock = field(default_factory=threading.Lock)
    child: _Child | None = None
    abandoned: bool = False
    begun: "asyncio.Future[None]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def begin(self) -> None:
        """From the thread that has the call: its time runs from here."""
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            self.begun.get_loop().call_soon_threadsafe(self._has_begun)

    def _has_begun(self) -> None:
        if not self.begun.done():
            self.begun.set_result(None)

    def hold(self, child: _Child | None) -> bool:
        """Tie the call to a child, or untie it with None; False when the caller has left meanwhile."""
        with self.lock:
            self.child = child
            return not self.abandoned

    def abandon(self) -> None:
        with self.lock:
            self.abandoned = True
            if self.child is not None:
                self.child.kill()


class DecoderPool:
    """Runs functions on untrusted files in ``size`` children, started when first needed.

    ``preload`` names modules that the fork server imports once, so that the children share their memory.
    """

    def __init__(
        self,
        *,
        size: int,
        limits: DecoderLimits | None = None,
        preload: Sequence[str] = ("lumilio.tools.decoders", "lumilio.tools.imaging"),
    ) -> None:
        self._limits = limits or DecoderLimits()
        self._preload = preload
        self._slots = asyncio.Semaphore(size)
        self._threads = DaemonThreads("decoder", size * (1 + _SPARES))
        self._idle: list[_Child] = []
        self._calls: dict[asyncio.Future[_Answer], _Call] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
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
            child.bury()

    async def run(self, function: Callable[[*Ts], T], *args: *Ts, timeout: float) -> T:
        """Call ``function(*args)`` in a child and return its result; the time-out counts from when a thread has it.

        Function, arguments and result travel by pickle: the function is one of a module, not a closure. A time-out or
        a cancellation kills the child, and only that one. Errors of the LumilioError tree arrive as they were raised.

        Raises ToolTimedOut, DecoderCrashed when the child dies, MediaOverBudget when it runs out of memory, ToolError
        for any other exception of the function and when the pool is closed.
        """
        async with self._slots:
            if self._closed:
                raise ToolError("the decoders have been stopped")
            call = _Call(task=_Task(function=function, arguments=args, seconds=math.ceil(timeout) + 1))
            answer = await self._answered(call, timeout)
        if answer.error is not None:
            raise answer.error
        return answer.result  # type: ignore[return-value]  # the child ran this very function

    async def _answered(self, call: _Call, timeout: float) -> _Answer:
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

    def _settle(self, pending: "asyncio.Future[_Answer]") -> None:
        """Take the exception of a call that nobody waits for any more: asyncio would report it as forgotten."""
        del self._calls[pending]
        if not pending.cancelled():
            pending.exception()

    def _perform(self, call: _Call) -> _Answer:
        """In a thread of the pool: have one child do the task, and put it back if it is fit for more."""
        call.begin()
        child = self._take()
        try:
            if not call.hold(child):
                raise ToolError("the call was abandoned")
            answer = child.ask(call.task)
        except (OSError, EOFError) as exc:
            call.hold(None)
            status = child.bury()
            if self._closed:
                raise ToolError("the decoders have been stopped") from exc
            raise _death(status, call.task) from exc
        except BaseException:
            call.hold(None)
            child.bury()
            raise
        if call.hold(None) and child.tasks_left > 0:
            self._idle.append(child)
        else:
            child.bury()
        return answer

    def _take(self) -> _Child:
        while self._idle:
            try:
                child = self._idle.pop()
            except IndexError:
                break
            if child.is_sound():
                return child
            child.bury()
        try:
            return _Child(self._limits, self._preload)
        except (OSError, EOFError) as exc:
            raise ToolError(f"a decoder process cannot be started: {exc}") from exc


def _death(status: int | None, task: _Task) -> ToolError:
    name = task.function.__name__
    if status == -signal.SIGXCPU:
        return ToolTimedOut(f"{name!r} used more than {task.seconds} s of processor time and was killed")
    if status is not None and status < 0:
        return DecoderCrashed(f"the decoder died in {name!r}: signal {-status} ({signal.Signals(-status).name})")
    return DecoderCrashed(f"the decoder died in {name!r}: exit status {status}")


def _serve(pipe: Connection, limits: DecoderLimits) -> None:
    """The life of a child: limit itself, then answer until the daemon closes the pipe."""
    try:
        _confine(limits)
        refusal = None
    except (OSError, ValueError) as exc:
        refusal = ToolError(f"a decoder cannot limit itself: {exc}; allow setrlimit and prctl to the service")
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(_Answer(error=refusal) if refusal else _attempt(task))


def _attempt(task: _Task) -> _Answer:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = math.ceil(usage.ru_utime + usage.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + task.seconds, resource.RLIM_INFINITY))
    try:
        return _Answer(result=task.function(*task.arguments))
    except LumilioError as exc:
        return _Answer(error=exc)
    except MemoryError:
        return _Answer(error=MediaOverBudget("decoding needs more memory than a decoder may use"))
    except Exception as exc:  # noqa: BLE001  # whatever a library raises belongs to this one file
        return _Answer(error=ToolError(f"{task.function.__name__!r} raised {type(exc).__name__}: {exc}"[:1000]))


def _confine(limits: DecoderLimits) -> None:
    """Bound what this process can do to the machine, and tie its life to the fork server's, hence to the daemon's.

    The fork server ends when nobody holds its alive pipe any more. It gives every child a copy of that pipe, with
    which a child that hangs would keep itself and the server alive after the daemon: the copy is closed here.
    """
    parent = os.getppid()
    server: Any = forkserver
    os.close(server._forkserver._forkserver_alive_fd)
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.environ["OMP_NUM_THREADS"] = "1"
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.close(null)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_SIZE_LIMIT, _FILE_SIZE_LIMIT))
    ceiling = _private_memory() + limits.memory
    resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))
    with contextlib.suppress(OSError):  # a systemd sandbox may forbid both, and sets them for the unit instead
        os.nice(_NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))


def _private_memory() -> int:
    """Bytes that count towards RLIMIT_DATA now (VmData in proc(5))."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmData in /proc/self/status")
