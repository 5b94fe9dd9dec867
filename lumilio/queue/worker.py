"""One process's share in the queue: its producers, and the loops that these depend on."""

import asyncio
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from lumilio.db import Database
from lumilio.errors import DatabaseUnavailable
from lumilio.log import get_log
from lumilio.model import JobId
from lumilio.queue import claims
from lumilio.queue.given_up import GivenUpHook
from lumilio.queue.kinds import JobKind, QueueSettings, check_table
from lumilio.queue.maintenance import Maintenance
from lumilio.queue.memory import MemoryBudget
from lumilio.queue.notifier import Notifier
from lumilio.queue.outage import Outage
from lumilio.queue.periodic import PeriodicJob
from lumilio.queue.producer import Interruption, Producer, Workplace
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
        table = check_table(kinds, settings.slots if queues is None else queues, settings.memory_mb)
        self.attempts_of: Mapping[str, int] = {kind.name: kind.max_attempts for kind in table.values()}
        self.slots: Mapping[str, int] = settings.slots
        self.queues = frozenset(kind.queue for kind in table.values())
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
            debounce=settings.notify_debounce,
            wakes={queue: producer.wake for queue, producer in self._producers.items()},
            cancel=self._cancel,
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

    def announce_cancel(self, job_ids: Collection[JobId]) -> None:
        """Call this after the commit of a transaction that noted the wish to cancel these running jobs."""
        self._notifier.announce_cancel(job_ids)

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

    def _cancel(self, job_ids: Collection[JobId]) -> None:
        for producer in self._producers.values():
            producer.cancel(job_ids)

    async def _watch_own(self) -> None:
        """Stop attempts that are no longer this worker's, because it froze and lost them, and cancelled ones whose

        notification was lost.
        """
        outage = Outage("queue own jobs")
        while True:
            await asyncio.sleep(self._settings.heartbeat)
            running = [(producer, key) for producer in self._producers.values() for key in list(producer.attempts)]
            if not running:
                continue
            try:
                async with self._db.session() as session:
                    mine = await claims.mine(session, self.worker_id)
                outage.ends()
            except DatabaseUnavailable as exc:
                await asyncio.sleep(outage.begins(exc))
                continue
            for producer, key in running:
                if key not in mine:
                    if producer.interrupt(key, Interruption.SUPERSEDED):
                        log.warning("job.superseded", job_id=key[0], attempt=key[1])
                elif mine[key]:
                    producer.interrupt(key, Interruption.CANCELLED)
