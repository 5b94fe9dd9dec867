"""A decoder child, as the daemon sees it: a process to ask, to kill, and to bury."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
from collections.abc import Callable, Sequence
from multiprocessing import process
from multiprocessing.process import BaseProcess
from typing import Any

from lumilio.errors import DecoderCrashed, ToolError, ToolTimedOut
from lumilio.tools.decoder_child import DecoderLimits, serve
from lumilio.tools.decoder_wire import Answer, Progress, Task, parse_message

_FIRST = ("lumilio.tools.one_thread", "lumilio.tools.decoders")
_LAST = "lumilio.tools.frozen_heap"
_LONGEST_MESSAGE = 64 * 1024 * 1024


class DecoderProcess:
    """One child, forked from the fork server, and the daemon's end of its pipe."""

    def __init__(self, limits: DecoderLimits, modules: Sequence[str]) -> None:
        context = multiprocessing.get_context("forkserver")
        modules = [*_FIRST, *modules, _LAST]
        context.set_forkserver_preload(modules)
        self._pipe, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=serve, args=(theirs, limits, modules), name="lumilio-decoder", daemon=True
        )
        self._process.start()
        theirs.close()
        self._descriptors = socket.socket(fileno=os.dup(self._pipe.fileno()))
        self._limits = limits
        self._tasks_left = limits.tasks
        self._grown = 0

    @property
    def is_fit(self) -> bool:
        """Whether it may take one more task."""
        return self._tasks_left > 0 and self._grown <= self._limits.growth

    def is_sound(self) -> bool:
        """Whether the child still waits for work: an idle child says nothing unless its pipe has closed."""
        return self._process.is_alive() and not self._pipe.poll(0)

    def ask(self, task: Task, descriptors: Sequence[int], on_progress: Callable[[float], None]) -> Answer:
        """Block until the child has answered. Raises OSError or EOFError when it is gone."""
        self._pipe.send_bytes(pickle.dumps(task))
        socket.send_fds(self._descriptors, [b"\0"], descriptors)
        while isinstance(message := parse_message(self._pipe.recv_bytes(_LONGEST_MESSAGE)), Progress):
            on_progress(message.fraction)
        self._tasks_left -= 1
        self._grown = message.grown
        return message

    def kill(self) -> None:
        """Kill it with all that it started, and make multiprocessing forget it, which waits for all it knows when the
        daemon ends: in the kernel, as on a dead disk, a child may live on."""
        if self._process.pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        known: Any = process
        known._children.discard(self._process)

    def bury(self, patience: float) -> int | None:
        """Kill what is left and return the exit status: negative for the signal that ended it, None if it lives on
        after ``patience`` seconds."""
        self._process.join(0.1)
        self.kill()
        self._process.join(patience)
        self._pipe.close()
        self._descriptors.close()
        return self._process.exitcode


def death(status: int | None, task: Task) -> ToolError:
    """The error that a child's end at its work is."""
    name = task.function.__name__
    if status == -signal.SIGXCPU:
        return ToolTimedOut(f"{name!r} used more than {task.seconds} s of processor time and was killed")
    if status is not None and status < 0:
        return DecoderCrashed(f"the decoder died in {name!r}: signal {-status} ({signal.Signals(-status).name})")
    return DecoderCrashed(f"the decoder died in {name!r}: exit status {status}")
