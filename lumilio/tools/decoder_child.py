"""The life of a decoder child: it limits and fences itself, then does one task after the other.

Everything in here runs in the child. Nothing that it may have been made to send is believed by the daemon.
"""

import contextlib
import importlib
import math
import os
import pickle
import resource
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from lumilio.errors import LumilioError, MediaOverBudget, ToolError
from lumilio.tools import decoding, fence
from lumilio.tools.decoder_wire import Answer, Progress, Task
from lumilio.tools.originals import granted

_NICENESS = 10
_OOM_SCORE = 500
_DESCRIPTORS = 256
_PROGRESS_SECONDS = 0.1
MOST_FILES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderLimits:
    """What one child may use.

    ``memory`` is bytes of private memory beyond what it has after its start; the address space is not limited because
    shared libraries and mapped files fill it without costing anything. ``file_bytes`` is the largest file that it may
    write, None for no limit. A child is replaced after ``tasks`` files, and once it keeps ``growth`` bytes beyond what
    it had at its start: what a library leaks stays small. ``devices`` opens graphics processors to it.
    """

    memory: int = 512 * 1024 * 1024
    tasks: int = 500
    file_bytes: int | None = 16 * 1024 * 1024
    growth: int = 256 * 1024 * 1024
    devices: bool = False


def serve(pipe: Connection, limits: DecoderLimits, modules: Sequence[str]) -> None:
    """Answer tasks until the daemon closes the pipe. ``modules`` are imported before the fence, and stay usable."""
    try:
        _leave_fork_server()
        for name in modules:
            with contextlib.suppress(ImportError):  # whoever needs it says so
                importlib.import_module(name)
        memory = _Memory()
        _limit(limits, memory)
        fence.enclose(devices=limits.devices)
        refusal = None
    except (OSError, ValueError) as exc:
        refusal = ToolError(f"a decoder cannot limit itself: {exc}; allow setrlimit, prctl and landlock to the service")
    reporter = _Reporter(pipe)
    with socket.socket(fileno=os.dup(pipe.fileno())) as descriptors:
        while True:
            try:
                request = pipe.recv_bytes()
                _, received, _, _ = socket.recv_fds(descriptors, 1, MOST_FILES, socket.MSG_CMSG_CLOEXEC)
            except (EOFError, OSError):
                return
            if refusal is not None:
                pipe.send_bytes(Answer(error=refusal).to_bytes())
                return
            pipe.send_bytes(_answer(request, received, reporter, memory))


class _Reporter:
    """Sends progress on: not so often that it costs anything, and the end always."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._next = 0.0

    def __call__(self, fraction: float) -> None:
        now = time.monotonic()
        if now >= self._next or fraction >= 1:
            self._next = now + _PROGRESS_SECONDS
            self._pipe.send_bytes(Progress(fraction=fraction).to_bytes())


class _Memory:
    """The memory of this process, by a file that is opened before the fence."""

    def __init__(self) -> None:
        self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        self._start = self._read("RssAnon")

    def limited(self) -> int:
        """Bytes that count towards RLIMIT_DATA now."""
        return self._read("VmData")

    def grown(self) -> int:
        """Bytes that are resident and nobody else's, beyond those at the start."""
        return self._read("RssAnon") - self._start

    def _read(self, name: str) -> int:
        """A size out of proc_pid_status(5)."""
        for line in os.pread(self._status, 8192, 0).decode(errors="replace").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) * 1024
        raise OSError(f"no {name} in /proc/self/status")


def _answer(request: bytes, received: list[int], reporter: _Reporter, memory: _Memory) -> bytes:
    try:
        task: Task = pickle.loads(request)  # noqa: S301  # the daemon's
    except Exception as exc:  # noqa: BLE001  # importing the function's module may raise anything
        for descriptor in received:
            os.close(descriptor)
        return Answer(error=ToolError(f"a decoder does not know its task: {exc}")).to_bytes()
    files = {path: descriptor for (path, _), descriptor in zip(task.files, received, strict=True)}
    writable = frozenset(path for path, write in task.files if write)
    with granted(files, writable=writable, report=reporter):
        answer = _attempt(task)
    try:
        return Answer(result=answer.result, error=answer.error, grown=memory.grown()).to_bytes()
    except TypeError as exc:
        return Answer(error=ToolError(f"{task.function.__name__!r} gave no usable result: {exc}")).to_bytes()


def _attempt(task: Task) -> Answer:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    spent = math.ceil(usage.ru_utime + usage.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + task.seconds, resource.RLIM_INFINITY))
    try:
        return Answer(result=task.function(*task.arguments))
    except LumilioError as exc:
        return Answer(error=exc)
    except MemoryError:
        return Answer(error=MediaOverBudget("decoding needs more memory than a decoder may use"))
    except Exception as exc:  # noqa: BLE001  # whatever a library raises belongs to this one file
        return Answer(error=ToolError(f"{task.function.__name__!r} raised {type(exc).__name__}: {exc}"[:1000]))


def _leave_fork_server() -> None:
    """Tie the life of this process to the fork server's, hence to the daemon's, and keep nothing else of it.

    The fork server ends when nobody holds its alive pipe any more. It gives every child a copy of that pipe, with
    which a child that hangs would keep itself and the server alive after the daemon: the copy is closed here.
    """
    parent = os.getppid()
    server: Any = forkserver
    os.close(server._forkserver._forkserver_alive_fd)
    fence.end_with_parent(parent)
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(null, descriptor)
    os.close(null)


def _limit(limits: DecoderLimits, memory: _Memory) -> None:
    """Bound what this process can do to the machine."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, _DESCRIPTORS))
    if limits.file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    ceiling = memory.limited() + limits.memory
    resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))
    decoding.confine_to(limits.memory)
    with contextlib.suppress(OSError):  # a systemd sandbox may forbid both, and sets them for the unit instead
        os.nice(_NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE))
