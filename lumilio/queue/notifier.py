"""Wake-ups between processes by LISTEN and NOTIFY, and the advisory lock by which others see that this one lives.

A NOTIFY inside the enqueuing transaction would make all of them commit one after the other, so it is sent after the
commit, from here, many queues at a time. What gets lost on the way is found by the producers' poll.
"""

import asyncio
from collections.abc import Callable, Mapping

from lumilio.db import Database, Listener
from lumilio.errors import DatabaseUnavailable
from lumilio.log import get_log
from lumilio.queue.outage import Outage

CHANNEL = "lumilio_jobs"
_PING_INTERVAL = 10.0
_PING_TIMEOUT = 5.0
_LOCK_RETRY = 0.5

log = get_log()


class Notifier:
    """One connection of its own. ``registered`` is set once this worker's lock was held for the first time."""

    def __init__(
        self, *, db: Database, worker_id: int, debounce: float, wakes: Mapping[str, Callable[[], None]]
    ) -> None:
        self.name = "queue notifier"
        self.registered = asyncio.Event()
        self._db = db
        self._worker_id = worker_id
        self._debounce = debounce
        self._wakes = wakes
        self._connected = False
        self._pending: set[str] = set()
        self._attention = asyncio.Event()
        self._lock_held = False
        self._outage = Outage(self.name)

    @property
    def listening(self) -> bool:
        """Whether the connection answered when it was last asked."""
        return self._connected

    def announce(self, queue: str) -> None:
        """Jobs of this queue were committed: wake its producer here at once, and other processes soon."""
        self.wake(queue)
        self._pending.add(queue)
        self._attention.set()

    def wake(self, queue: str) -> None:
        """Wake the producer of this queue in this process, if there is one."""
        wake = self._wakes.get(queue)
        if wake is not None:
            wake()

    async def run(self) -> None:
        """Listen, and connect again whenever the connection is lost, until cancelled."""
        while True:
            try:
                async with self._db.listener() as listener:
                    await listener.listen(CHANNEL, self._receive)
                    await self._serve(listener)
            except DatabaseUnavailable as exc:
                await asyncio.sleep(self._outage.begins(exc))

    async def _serve(self, listener: Listener) -> None:
        self._lock_held = False
        closed = asyncio.create_task(listener.closed.wait(), name="queue listener closed")
        try:
            self._connected = True
            while not listener.closed.is_set():
                await self._register(listener)
                self._outage.ends()
                await self._send(listener)
                pause = _PING_INTERVAL if self._lock_held else _LOCK_RETRY
                attention = asyncio.create_task(self._attention.wait(), name="queue announcements")
                try:
                    await asyncio.wait({closed, attention}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    attention.cancel()
                if not self._attention.is_set():
                    await listener.ping(_PING_TIMEOUT)
        finally:
            self._connected = False
            closed.cancel()
        raise DatabaseUnavailable("the connection that listens for jobs was closed")

    async def _register(self, listener: Listener) -> None:
        if self._lock_held:
            return
        # The session of a connection that broke may hold it a little longer: then others still see this worker alive.
        self._lock_held = bool(await listener.session.value("jobs.hold_worker_lock", self._worker_id))
        if self._lock_held:
            self.registered.set()
            for queue in self._wakes:  # what was announced while nobody listened
                self.wake(queue)

    async def _send(self, listener: Listener) -> None:
        if not self._pending:
            self._attention.clear()
            return
        queues, self._pending = self._pending, set()
        self._attention.clear()
        await listener.session.value("jobs.notify", f"{self._worker_id} {' '.join(sorted(queues))}")
        await asyncio.sleep(self._debounce)

    def _receive(self, payload: str) -> None:
        sender, *queues = payload.split(" ")
        if sender != str(self._worker_id):
            for queue in queues:
                self.wake(queue)
