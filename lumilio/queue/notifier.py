"""One connection for what a worker hears and shows: LISTEN and NOTIFY, its sign of life, and the leader's lock.

The locks are those of the session: they show others that this worker lives, and which one leads. A session that says
nothing for long belongs to a worker that froze; so it is asked for an answer every heartbeat, which writes nothing.

A NOTIFY inside the enqueuing transaction would make all of them commit one after the other, so it is sent after the
commit, from here, many at a time. What gets lost on the way is found by the producers' poll and the heartbeat.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Collection, Mapping

from lumilio import metrics
from lumilio.db import Database, Listener
from lumilio.errors import DatabaseUnavailable
from lumilio.log import get_log
from lumilio.queue.outage import Outage

CHANNEL = "lumilio_jobs"
_PING_TIMEOUT = 5.0
_LOCK_RETRY = 0.5
_WAKE = "wake"
_CANCEL = "cancel"
_LONGEST_OUTAGE_PAUSE = 1.0
"""Seconds between two tries to connect: others wait a little longer before they take this worker for dead."""

log = get_log()


class Notifier:
    """``registered`` is set once this worker's lock was held for the first time, ``leading`` while it leads.

    ``lock_held``: others see that it lives. ``sessions`` counts the connections that there were.

    ``heartbeat``, ``silent_for`` (after which a leader counts as frozen) and ``debounce`` are seconds; ``wakes`` and
    ``on_cancel`` are called when this process has to look.
    """

    def __init__(
        self,
        *,
        db: Database,
        worker_id: int,
        heartbeat: float,
        silent_for: float,
        debounce: float,
        wakes: Mapping[str, Callable[[], None]],
        on_cancel: Callable[[], None],
    ) -> None:
        self.name = "queue notifier"
        self.registered = asyncio.Event()
        self.leading = asyncio.Event()
        self.sessions = 0
        self._db = db
        self._worker_id = worker_id
        self._heartbeat = heartbeat
        self._silent_for = silent_for
        self._debounce = debounce
        self._wakes = wakes
        self._on_cancel = on_cancel
        self._connected = False
        self._pending: set[str] = set()
        self._cancel_pending = False
        self._attention = asyncio.Event()
        self.lock_held = False
        self._outage = Outage(self.name)

    @property
    def listening(self) -> bool:
        """Whether the connection answered when it was last asked, and others can see by it that this worker lives."""
        return self._connected and self.lock_held

    def announce(self, queue: str) -> None:
        """Jobs of this queue were committed: wake its producer here at once, and other processes soon."""
        self.wake(queue)
        self._pending.add(queue)
        self._attention.set()

    def announce_cancel(self) -> None:
        """The wish to cancel running jobs was committed: whoever runs them looks for it, here at once, elsewhere soon.

        Without their ids: by the time that somebody reads them, a job may run for another reason.
        """
        self._on_cancel()
        self._cancel_pending = True
        self._attention.set()

    def wake(self, queue: str) -> None:
        """Wake the producer of this queue in this process, if there is one."""
        wake = self._wakes.get(queue)
        if wake is not None:
            wake()

    async def run(self) -> None:
        """Listen, and connect again whenever the connection is lost, until cancelled."""
        name = f"lumilio worker {os.getpid()} on {socket.gethostname()}"[:63]
        while True:
            try:
                async with self._db.listener(name) as listener:
                    await listener.listen(CHANNEL, self._receive)
                    self.sessions += 1
                    await self._serve(listener)
            except DatabaseUnavailable as exc:
                await asyncio.sleep(min(self._outage.begins(exc), _LONGEST_OUTAGE_PAUSE))

    async def _serve(self, listener: Listener) -> None:
        self.lock_held = False
        closed = asyncio.create_task(listener.closed.wait(), name="queue listener closed")
        try:
            self._show(connected=True)
            while not listener.closed.is_set():
                await self._register(listener)
                await self._elect(listener)
                self._outage.ends()
                await self._send(listener)
                pause = self._heartbeat if self.lock_held else _LOCK_RETRY
                attention = asyncio.create_task(self._attention.wait(), name="queue announcements")
                try:
                    await asyncio.wait({closed, attention}, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    attention.cancel()
                if not self._attention.is_set():
                    await listener.ping(_PING_TIMEOUT)
        finally:
            self._show(connected=False)
            self.leading.clear()
            self.lock_held = False
            closed.cancel()
        raise DatabaseUnavailable("the connection that listens for jobs was closed")

    def _show(self, *, connected: bool) -> None:
        self._connected = connected
        metrics.LISTENER_CONNECTED.set(connected)

    async def _register(self, listener: Listener) -> None:
        if self.lock_held:
            return
        self.lock_held = bool(await listener.session.value("jobs.hold_worker_lock", self._worker_id))
        if not self.lock_held:
            await listener.session.value("jobs.end_own_session", self._worker_id)
        else:
            self.registered.set()
            for queue in self._wakes:  # what was announced while nobody listened
                self.wake(queue)

    async def _elect(self, listener: Listener) -> None:
        if self.leading.is_set() or not self.lock_held:
            return
        row = await listener.session.row("jobs.lead", self._silent_for)
        if row is not None and row["deposed"]:
            log.warning("queue.leader_deposed", count=row["deposed"])
        if row is not None and row["leading"]:
            log.info("queue.leader_elected", worker_id=self._worker_id)
            self.leading.set()

    async def _send(self, listener: Listener) -> None:
        self._attention.clear()
        if self._pending:
            queues, self._pending = self._pending, set()
            await self._notify(listener, _WAKE, sorted(queues))
        if self._cancel_pending:
            self._cancel_pending = False
            await self._notify(listener, _CANCEL, [])

    async def _notify(self, listener: Listener, verb: str, words: Collection[str]) -> None:
        await listener.session.value("jobs.notify", f"{verb} {self._worker_id} {' '.join(words)}")
        await asyncio.sleep(self._debounce)

    def _receive(self, payload: str) -> None:
        verb, _, rest = payload.partition(" ")
        sender, *queues = rest.split(" ")
        if sender == str(self._worker_id):
            return
        if verb == _WAKE:
            for queue in queues:
                self.wake(queue)
        elif verb == _CANCEL:
            self._on_cancel()
