"""One process's share in the queue: its producers, and the loops that these depend on."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

from lumilio.db import Database
from lumilio.log import get_log
from lumilio.queue.kinds import JobKind, QueueSettings, check_table
from lumilio.queue.maintenance import Maintenance
from lumilio.queue.notifier import Notifier
from lumilio.queue.producer import DiscardHook, Producer

log = get_log()


class Worker:
    """Runs the jobs of the queues in ``settings.slots``. Raises QueueError for a table of kinds that is not sound."""

    def __init__(
        self, *, db: Database, kinds: Sequence[JobKind[Any]], settings: QueueSettings, on_discarded: DiscardHook
    ) -> None:
        self.name = "queue worker"
        self.worker_id = secrets.randbelow(2**31 - 1) + 1
        table = check_table(kinds, settings.slots)
        self._producers = {
            queue: Producer(
                db=db,
                queue=queue,
                worker_id=self.worker_id,
                table=table,
                settings=settings,
                on_discarded=on_discarded,
            )
            for queue in settings.slots
        }
        self._notifier = Notifier(
            db=db,
            worker_id=self.worker_id,
            debounce=settings.notify_debounce,
            wakes={queue: producer.wake for queue, producer in self._producers.items()},
        )
        self._maintenance = Maintenance(
            db=db,
            worker_id=self.worker_id,
            settings=settings,
            held=lambda: [job_id for producer in self._producers.values() for job_id in producer.held],
            announce=self._notifier.announce,
            on_discarded=on_discarded,
        )

    def announce(self, queue: str) -> None:
        """Call this after the commit of a transaction that enqueued jobs of this queue."""
        self._notifier.announce(queue)

    @property
    def alive(self) -> bool:
        """Whether the loops turn and the connection that listens for jobs answers."""
        return self._notifier.listening

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping``, then drain; cancellation gives up now. Outages of the database are survived.

        Raises an exception group for a defect: no half-alive worker.
        """
        async with asyncio.TaskGroup() as plumbing:
            loops = [plumbing.create_task(self._notifier.run(), name=self._notifier.name)]
            try:
                if await self._registered(stopping):
                    log.info("queue.worker_started", worker_id=self.worker_id)
                    loops.append(plumbing.create_task(self._maintenance.run(), name=self._maintenance.name))
                    async with asyncio.TaskGroup() as producers:
                        for producer in self._producers.values():
                            producers.create_task(producer.run(stopping), name=producer.name)
                    log.info("queue.worker_stopped", worker_id=self.worker_id)
            finally:
                for loop in loops:
                    loop.cancel()

    async def _registered(self, stopping: asyncio.Event) -> bool:
        """Claim nothing before the lock is held: another worker would take this one for dead."""
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
