"""One process's share in the queue: its producers, and the loops that these depend on."""

import asyncio
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lumilio.db import Database
from lumilio.errors import DatabaseUnavailable
from lumilio.log import get_log
from lumilio.queue import claims
from lumilio.queue.attempts import AttemptKey, Interruption
from lumilio.queue.given_up import GivenUpHook
from lumilio.queue.kinds import JobKind, QueueSettings, check_table
from lumilio.queue.maintenance import Maintenance
from lumilio.queue.memory import MemoryBudget
from lumilio.queue.notifier import Notifier
from lumilio.queue.outage import Outage
from lumilio.queue.periodic import PeriodicJob
from lumilio.queue.producer import Producer, Workplace
from lumilio.queue.progress import ProgressBoard

log = get_log()


class Worker:
    """Runs the jobs of the queues in ``settings.slots``. ``queues`` are all that kinds may name, here or elsewhere.

    Raises QueueError for a table of kinds that is not sound.
    """

    def __init__(
        self,
        *,
        db: Database,
        kinds: Sequence[JobKind[Any]],
        settings: QueueSettings,
        on_given_up: GivenUpHook,
        queues: Collection[str] | None = None,
        periodic: Sequence[PeriodicJob] = (),
    ) -> None:
        self.name = "queue worker"
        self.worker_id = secrets.randbelow(2**31 - 1) + 1
        self._db = db
        self._settings = settings
        self.queues = frozenset(settings.slots if queues is None else queues)
        table = check_table(kinds, self.queues, settings.memory_mb)
        self.attempts_of: Mapping[str, int] = {kind.name: kind.max_attempts for kind in table.values()}
        self.slots: Mapping[str, int] = settings.slots
        self._own_attention = asyncio.Event()
        self._strays: dict[str, dict[AttemptKey, float]] = {}
        self._progress = ProgressBoard(db=db, worker_id=self.worker_id)
        workplace = Workplace(
            db=db,
            worker_id=self.worker_id,
            table=table,
            settings=settings,
            memory=MemoryBudget(settings.memory_mb),
            report=self._progress.report,
            on_given_up=on_given_up,
            may_claim=lambda: self._notifier.lock_held,
        )
        self._producers = {queue: Producer(queue=queue, workplace=workplace) for queue in settings.slots}
        self._notifier = Notifier(
            db=db,
            worker_id=self.worker_id,
            heartbeat=settings.heartbeat,
            silent_for=settings.silent_for,
            debounce=settings.notify_debounce,
            wakes={queue: producer.wake for queue, producer in self._producers.items()},
            on_cancel=self._look_again,
        )
        self._maintenance = Maintenance(
            db=db,
            worker_id=self.worker_id,
            settings=settings,
            notifier=self._notifier,
            periodic=periodic,
            on_given_up=on_given_up,
        )

    def announce(self, queue: str) -> None:
        """Call this after the commit of a transaction that enqueued jobs of this queue."""
        self._notifier.announce(queue)

    def announce_cancel(self) -> None:
        """Call this after the commit of a transaction that noted the wish to cancel running jobs."""
        self._notifier.announce_cancel()

    @property
    def alive(self) -> bool:
        """Whether the loops turn and the connection that listens for jobs answers."""
        return self._notifier.listening

    @property
    def leading(self) -> bool:
        """Whether this worker does the maintenance for all."""
        return self._notifier.leading.is_set()

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping``, then drain; cancellation gives up now. Outages of the database are survived.

        Raises an exception group for a defect: no half-alive worker.
        """
        async with asyncio.TaskGroup() as plumbing:
            loops = [plumbing.create_task(self._notifier.run(), name=self._notifier.name)]
            try:
                if await self.registered(stopping):
                    log.info("queue.worker_started", worker_id=self.worker_id)
                    loops.append(plumbing.create_task(self._maintenance.run(), name=self._maintenance.name))
                    loops.append(plumbing.create_task(self._progress.run(), name=self._progress.name))
                    loops.append(plumbing.create_task(self._watch_own(), name="queue own jobs"))
                    async with asyncio.TaskGroup() as producers:
                        for producer in self._producers.values():
                            producers.create_task(producer.run(stopping), name=producer.name)
                    log.info("queue.worker_stopped", worker_id=self.worker_id)
            finally:
                for loop in loops:
                    loop.cancel()

    async def registered(self, stopping: asyncio.Event) -> bool:
        """Wait until others can see that this worker lives, and it claims. False when it is stopped before."""
        waits = {
            asyncio.create_task(self._notifier.registered.wait(), name="queue registration"),
            asyncio.create_task(stopping.wait(), name="queue stopping"),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return not stopping.is_set()

    def _look_again(self) -> None:
        self._own_attention.set()

    async def _watch_own(self) -> None:
        """Compare what runs here with the rows, every heartbeat, and at once when somebody cancelled something."""
        outage = Outage("queue own jobs")
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._settings.heartbeat):
                    await self._own_attention.wait()
            self._own_attention.clear()
            try:
                for producer in self._producers.values():
                    await self._compare_own(producer)
                outage.ends()
            except DatabaseUnavailable as exc:
                await asyncio.sleep(outage.begins(exc))

    async def _compare_own(self, producer: Producer) -> None:
        """Stop attempts that somebody cancelled, or that this worker lost while it froze. Give back strays.

        A stray is this worker's according to its row, and unknown here for a whole heartbeat: a claim that was
        committed after its connection was lost.
        """
        running = list(producer.attempts)
        async with self._db.session() as session:
            mine = await claims.mine(session, worker_id=self.worker_id, queue=producer.queue)
        for key in running:
            if mine.get(key):
                producer.interrupt(key, Interruption.CANCELLED)
            elif key not in mine and producer.interrupt(key, Interruption.SUPERSEDED):
                log.warning("job.superseded", job_id=key[0], attempt=key[1])
        now = time.monotonic()
        known = self._strays.get(producer.queue, {})
        strays = {key: known.get(key, now) for key in mine.keys() - producer.held}
        self._strays[producer.queue] = strays
        lost = {key for key, since in strays.items() if now - since >= self._settings.heartbeat * 0.9}
        if lost:
            await producer.release_strays(lost)
