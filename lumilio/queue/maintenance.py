"""What keeps the queue whole: heartbeats, rescue of jobs of dead and frozen workers, due jobs, retention, depths."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from lumilio import metrics
from lumilio.db import Database
from lumilio.errors import DatabaseUnavailable
from lumilio.log import get_log
from lumilio.model import JobId
from lumilio.queue import claims
from lumilio.queue.claims import RESCUE_BATCH
from lumilio.queue.kinds import QueueSettings
from lumilio.queue.outage import Outage
from lumilio.queue.policy import JobState
from lumilio.queue.producer import DiscardHook, call_discard_hook
from lumilio.queue.store import depths

_PROMOTE_BATCH = 1000
_SOONEST = 0.01
"""Seconds between two looks for due jobs, when one is due that another worker is just promoting."""
_REMOVE_BATCH = 5000
_TIDY_INTERVAL = 15.0
"""Seconds between looks at what retention removes and at the depths."""

log = get_log()


class Maintenance:
    """Three loops that run beside the producers, in every worker: each step is safe to do twice."""

    def __init__(
        self,
        *,
        db: Database,
        worker_id: int,
        settings: QueueSettings,
        held: Callable[[], Sequence[JobId]],
        announce: Callable[[str], None],
        on_discarded: DiscardHook,
    ) -> None:
        self.name = "queue maintenance"
        self._db = db
        self._worker_id = worker_id
        self._settings = settings
        self._held = held
        self._announce = announce
        self._on_discarded = on_discarded
        self._suspects: frozenset[int] | None = None
        self._depths_shown: set[tuple[str, JobState]] = set()

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat("heartbeats", self._watch), name="queue heartbeats")
            group.create_task(self._repeat("due jobs", self._promote), name="queue due jobs")
            group.create_task(self._repeat("tidying", self._tidy), name="queue tidying")

    async def _repeat(self, name: str, step: Callable[[], Awaitable[float]]) -> None:
        outage = Outage(f"queue {name}")
        while True:
            try:
                pause = await step()
                outage.ends()
            except DatabaseUnavailable as exc:
                pause = outage.begins(exc)
            await asyncio.sleep(pause)

    async def _watch(self) -> float:
        """Show life first, so that a worker that slept does not take its own jobs for frozen."""
        previous, self._suspects = self._suspects, frozenset()
        held = self._held()
        if held:
            async with self._db.session() as session:
                await claims.heartbeat(session, worker_id=self._worker_id, held=held)
        self._suspects = await self._look_for_lost_workers(previous)
        return _a_little_under(self._settings.heartbeat)

    async def _look_for_lost_workers(self, previous: frozenset[int] | None) -> frozenset[int]:
        """Rescue those that were suspect one round ago and are still; returns the suspects of this round.

        After an outage every worker has to connect and show life again: one look would take the slower ones for dead.
        Only the first look after the start (``previous`` None) acts at once, on free locks alone.
        """
        first = previous is None
        # Two looks, one heartbeat apart, still end within the promised time.
        silent_for = self._settings.rescue_after - 2 * self._settings.heartbeat
        missed_for = 0.0 if first else 1.5 * self._settings.heartbeat
        async with self._db.session() as session:
            found = await claims.suspects(
                session, worker_id=self._worker_id, missed_for=missed_for, silent_for=silent_for
            )
        lost = found if previous is None else found & previous
        if lost:
            await self._rescue(sorted(lost), silent_for)
        return found - lost

    async def _rescue(self, lost: Sequence[int], silent_for: float) -> None:
        while True:
            async with self._db.transaction() as tx:
                jobs = await claims.rescue(tx, worker_id=self._worker_id, lost=lost, silent_for=silent_for)
                for job in jobs:
                    if job.state is JobState.DISCARDED:
                        await call_discard_hook(self._on_discarded, tx, job)
            for job in jobs:
                log.warning("job.rescued", job_id=job.id, kind=job.kind, attempt=job.attempt, state=job.state)
            metrics.JOBS_RESCUED.inc(len(jobs))
            for queue in {job.queue for job in jobs}:
                self._announce(queue)
            if len(jobs) < RESCUE_BATCH:
                return

    async def _promote(self) -> float:
        async with self._db.session() as session:
            promoted = {row["queue"]: row["jobs"] for row in await session.rows("jobs.promote", _PROMOTE_BATCH)}
            for queue in promoted:
                self._announce(queue)
            if sum(promoted.values()) >= _PROMOTE_BATCH:
                return 0
            soonest = await session.value("jobs.seconds_to_next_due")
        return self._settings.poll if soonest is None else min(self._settings.poll, max(_SOONEST, float(soonest)))

    async def _tidy(self) -> float:
        async with self._db.session() as session:
            removed = await session.execute("jobs.remove_finished", self._settings.retention, _REMOVE_BATCH)
            current = await depths(session)
        for queue, state in self._depths_shown | current.keys():
            metrics.QUEUE_DEPTH.labels(queue=queue, state=state.value).set(current.get((queue, state), 0))
        self._depths_shown |= current.keys()
        return 0.1 if removed >= _REMOVE_BATCH else _a_little_under(_TIDY_INTERVAL)


def _a_little_under(seconds: float) -> float:
    """So that the workers do not all look at the same moment."""
    return seconds * random.uniform(0.9, 1)  # noqa: S311 jitter
