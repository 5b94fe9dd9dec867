"""The memory that running jobs declare, kept under one cap for all queues of a process.

Jobs start in the order in which they ask, but one that does not fit does not hold up smaller ones behind it: not until
it has waited for ``PATIENCE`` seconds. From then on what becomes free is kept for it, so that it starts after those
that run now, however many small ones follow.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

PATIENCE = 10.0


@dataclass(slots=True, kw_only=True)
class _Waiter:
    megabytes: int
    since: float
    granted: "asyncio.Future[None]"


class MemoryBudget:
    """``capacity`` in MB. A job that declares more than that must not be started at all."""

    def __init__(self, capacity: int) -> None:
        self._free = capacity
        self._waiting: deque[_Waiter] = deque()

    @property
    def free(self) -> int:
        """MB that nobody has."""
        return self._free

    @asynccontextmanager
    async def reserve(self, megabytes: int) -> AsyncIterator[None]:
        """Wait until so much is free, and keep it meanwhile."""
        if not self._fits_now(megabytes):
            await self._wait(megabytes)
        try:
            yield
        finally:
            self._release(megabytes)

    def _fits_now(self, megabytes: int) -> bool:
        if megabytes > self._free or (self._waiting and self._is_overdue(self._waiting[0])):
            return False
        self._free -= megabytes
        return True

    async def _wait(self, megabytes: int) -> None:
        granted = asyncio.get_running_loop().create_future()
        waiter = _Waiter(megabytes=megabytes, since=time.monotonic(), granted=granted)
        self._waiting.append(waiter)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._release(megabytes)
            elif waiter in self._waiting:
                self._waiting.remove(waiter)
                self._grant()
            raise

    def _release(self, megabytes: int) -> None:
        self._free += megabytes
        if self._waiting:
            self._grant()

    def _grant(self) -> None:
        left: deque[_Waiter] = deque()
        while self._waiting:
            waiter = self._waiting.popleft()
            if waiter.granted.cancelled():
                continue
            if waiter.megabytes <= self._free:
                self._free -= waiter.megabytes
                waiter.granted.set_result(None)
                continue
            left.append(waiter)
            if self._is_overdue(waiter):
                break
        self._waiting.extendleft(reversed(left))

    def _is_overdue(self, waiter: _Waiter) -> bool:
        return time.monotonic() - waiter.since > PATIENCE
