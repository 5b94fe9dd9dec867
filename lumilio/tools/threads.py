"""Threads for calls that may never return, as on a network mount that died: bounded, and in nobody's way at the end.

The threads of ``concurrent.futures`` and of asyncio's default executor are waited for, without a limit, when the loop
or the interpreter ends; one that hangs in the kernel keeps the process from ending. These are not waited for.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_IDLE_SECONDS = 60.0


class DaemonThreads(ThreadPoolExecutor):
    """At most ``size`` threads, started when needed and ended when idle for a minute; calls beyond that queue up.

    Only the type is that of ``ThreadPoolExecutor``, as ``loop.set_default_executor`` wants it. ``cancel`` of a future
    tells whether its call had a thread: true only if it had not, and then it never gets one.
    """

    def __init__(self, name: str, size: int) -> None:
        super().__init__(size, thread_name_prefix=name)
        self._name = name
        self._size = size
        self._changed = threading.Condition()
        self._calls: OrderedDict[Future[Any], Callable[[], Any]] = OrderedDict()
        self._alive = 0
        self._idle = 0
        self._closed = False

    def submit(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Queue a call. Raises RuntimeError once shut down, or when the system gives no thread at all."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError(f"the threads {self._name!r} have been shut down")
            self._calls[future] = partial(function, *args, **kwargs)
            if self._idle >= len(self._calls):
                self._changed.notify()
            elif self._alive < self._size:
                self._start_thread(future)
        future.add_done_callback(self._forget)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls and return at once, whatever ``wait`` says; threads end with the calls that they have."""
        with self._changed:
            self._closed = True
            dropped = list(self._calls) if cancel_futures else []
            self._changed.notify_all()
        for future in dropped:
            future.cancel()

    def _start_thread(self, future: "Future[T]") -> None:
        self._alive += 1
        try:
            threading.Thread(target=self._work, name=self._name, daemon=True).start()
        except RuntimeError:
            self._alive -= 1
            if self._alive == 0:
                del self._calls[future]
                raise

    def _forget(self, future: "Future[T]") -> None:
        """A call that was given up before it began leaves the queue, which may never move again."""
        if future.cancelled():
            with self._changed:
                self._calls.pop(future, None)

    def _work(self) -> None:
        while (taken := self._next()) is not None:
            future, call = taken
            if future.set_running_or_notify_cancel():
                _carry_out(future, call)
            del taken, future, call

    def _next(self) -> "tuple[Future[Any], Callable[[], Any]] | None":
        with self._changed:
            self._idle += 1
            try:
                while not self._calls:
                    if self._closed or not (self._changed.wait(_IDLE_SECONDS) or self._calls):
                        self._alive -= 1
                        return None
                return self._calls.popitem(last=False)
            finally:
                self._idle -= 1


def _carry_out(future: "Future[T]", call: Callable[[], T]) -> None:
    try:
        result = call()
    except BaseException as exc:  # noqa: BLE001  # whatever it is belongs to the caller
        future.set_exception(exc)
    else:
        future.set_result(result)
