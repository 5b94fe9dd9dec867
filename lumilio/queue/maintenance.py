"""What keeps the queue whole: rescue of jobs of dead and frozen workers, due jobs, periodic jobs, retention, depths."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from lumilio import metrics
from lumilio.db import Database
from lumilio.errors import DatabaseUnavailable
from lumilio.log import get_log
from lumilio.queue.control import Depth, depths
from lumilio.queue.given_up import GivenUpHook, call_given_up_hook
from lumilio.queue.kinds import QueueSettings
from lumilio.queue.notifier import Notifier
from lumilio.queue.outage import Outage
from lumilio.queue.periodic import PeriodicJob, fire_due, plan
from lumilio.queue.policy import JobState
from lumilio.queue.rescue import RESCUE_BATCH, lost_workers, rescue

_PROMOTE_BATCH = 1000
_SOONEST = 0.01
"""Seconds between two looks for due jobs, when one is due that another process is just promoting."""
_REMOVE_BATCH = 5000
_TIDY_INTERVAL = 15.0
"""Seconds between looks at what retention removes and at the depths."""
_SCHEDULE_INTERVAL = 30.0
"""Seconds after which the schedules are read again at the latest: clocks are set, and machines sleep."""
_SHARE = 20.0
"""A step rests for so many times what it took, at most a heartbeat: maintenance costs a twentieth of the time."""
_RECONNECTING = 2.5
"""Seconds within which all workers that live are back when PostgreSQL has started (``Notifier`` tries every second)."""

log = get_log()


def show_depths(current: Mapping[tuple[str, JobState], Depth]) -> None:
    """Set the metrics of what waits and runs; what is not there any more is gone from them too."""
    metrics.QUEUE_DEPTH.clear()
    metrics.QUEUE_OLDEST_SECONDS.clear()
    for (queue, state), depth in current.items():
        metrics.QUEUE_DEPTH.labels(queue=queue, state=state.value).set(depth.jobs)
        metrics.QUEUE_OLDEST_SECONDS.labels(queue=queue, state=state.value).set(depth.age)


class Maintenance:
    """Loops that run in every worker and act in the leader. Each step is guarded, and safe to do twice."""

    def __init__(
        self,
        *,
        db: Database,
        worker_id: int,
        settings: QueueSettings,
        notifier: Notifier,
        periodic: Sequence[PeriodicJob],
        on_given_up: GivenUpHook,
    ) -> None:
        self.name = "queue maintenance"
        self._db = db
        self._worker_id = worker_id
        self._settings = settings
        self._notifier = notifier
        self._periodic = periodic
        self._on_given_up = on_given_up
        self._suspects: frozenset[int] | None = None
        self._planned_in = 0

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat("rescue", self._look_for_lost_workers), name="queue rescue")
            group.create_task(self._repeat("due jobs", self._promote), name="queue due jobs")
            group.create_task(self._repeat("tidying", self._tidy), name="queue tidying")
            group.create_task(self._repeat("schedules", self._fire), name="queue schedules")

    async def _repeat(self, name: str, step: Callable[[], Awaitable[float]]) -> None:
        outage = Outage(f"queue {name}")
        while True:
            await self._notifier.leading.wait()
            began = time.monotonic()
            try:
                pause = await step()
                outage.ends()
            except DatabaseUnavailable as exc:
                await asyncio.sleep(outage.begins(exc))
                continue
            rest = min(_SHARE * (time.monotonic() - began), self._settings.heartbeat)
            await asyncio.sleep(max(pause, rest))

    async def _look_for_lost_workers(self) -> float:
        """Rescue from workers that are frozen, and from those that had no session at two looks.

        After an outage every worker has to connect again, and one look would take the slower ones for dead. A process
        in its first session on a server that runs for long has seen none: it acts at its first look, so that after a
        crash work goes on at once.
        """
        previous = self._suspects
        silent_for = self._settings.silent_for
        async with self._db.session() as session:
            found = await lost_workers(session, worker_id=self._worker_id, silent_for=silent_for)
            at_once = previous is None and self._notifier.sessions == 1
            if at_once and found.gone:
                at_once = await session.value("jobs.server_age") > 2 * self._settings.heartbeat
        sure = found.gone if at_once else found.gone & (previous or frozenset())
        self._suspects = found.gone - sure
        if sure or found.frozen:
            await self._rescue(sorted(sure | found.frozen), silent_for)
        if previous is None and self._suspects:
            return min(_RECONNECTING, self._settings.heartbeat)
        return self._settings.heartbeat * random.uniform(0.9, 1)  # noqa: S311 jitter

    async def _rescue(self, lost: Sequence[int], silent_for: float) -> None:
        while True:
            async with self._db.transaction() as tx:
                jobs = await rescue(tx, lost=lost, silent_for=silent_for)
                for job in jobs:
                    if job.state.final:
                        await call_given_up_hook(self._on_given_up, tx, job)
            for job in jobs:
                log.warning("job.rescued", job_id=job.id, kind=job.kind, attempt=job.attempt, state=job.state)
            metrics.JOBS_RESCUED.inc(len(jobs))
            for queue in {job.queue for job in jobs}:
                self._notifier.announce(queue)
            if len(jobs) < RESCUE_BATCH:
                return

    async def _promote(self) -> float:
        async with self._db.session() as session:
            promoted = {row["queue"]: row["jobs"] for row in await session.rows("jobs.promote", _PROMOTE_BATCH)}
            for queue in promoted:
                self._notifier.announce(queue)
            if sum(promoted.values()) >= _PROMOTE_BATCH:
                return 0
            soonest = await session.value("jobs.seconds_to_next_due")
        return self._settings.poll if soonest is None else min(self._settings.poll, max(_SOONEST, float(soonest)))

    async def _fire(self) -> float:
        session = self._notifier.sessions
        if session != self._planned_in:  # another leader may have had another plan
            await plan(self._db, self._periodic)
            self._planned_in = session
        queues, soonest = await fire_due(self._db, self._periodic)
        for queue in queues:
            self._notifier.announce(queue)
        return _SCHEDULE_INTERVAL if soonest is None else min(_SCHEDULE_INTERVAL, max(_SOONEST, soonest))

    async def _tidy(self) -> float:
        async with self._db.session() as session:
            completed = await session.execute("jobs.remove_completed", self._settings.keep_completed, _REMOVE_BATCH)
            failed = await session.execute("jobs.remove_failed", self._settings.keep_failed, _REMOVE_BATCH)
            show_depths(await depths(session))
        return 0.1 if max(completed, failed) >= _REMOVE_BATCH else _TIDY_INTERVAL
