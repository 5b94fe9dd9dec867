"""Periodic jobs: enqueued when their time comes, once however many daemons there are, and once after a pause."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lumilio.cron import next_run
from lumilio.db import Database
from lumilio.log import get_log
from lumilio.queue.store import JobSpec, enqueue_many

log = get_log()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicJob:
    """What is enqueued when ``expression`` (cron, local time) says so; ``specs`` is asked then."""

    name: str
    expression: str
    specs: Callable[[], Sequence[JobSpec]]


async def plan(db: Database, jobs: Sequence[PeriodicJob]) -> None:
    """Make the schedules agree with the configuration. What is unchanged keeps its moment, a missed one too."""
    now = datetime.now(UTC)
    async with db.transaction() as tx:
        for job in jobs:
            await tx.value("jobs.schedule", job.name, job.expression, next_run(job.expression, now))
        await tx.execute("jobs.unschedule", [job.name for job in jobs])


async def fire_due(db: Database, jobs: Sequence[PeriodicJob]) -> tuple[set[str], float | None]:
    """Enqueue what is due. Returns the queues that got jobs, and how many seconds remain to the next moment."""
    by_name = {job.name: job for job in jobs}
    queues: set[str] = set()
    for row in await db.rows("jobs.due_schedules", list(by_name)):
        if row["seconds"] > 0:
            continue
        job = by_name[row["name"]]
        async with db.transaction() as tx:
            # Not before what is due: the clock of the database may be ahead of this one.
            following = next_run(job.expression, max(datetime.now(UTC), row["next_run_at"]))
            if not await tx.execute("jobs.fire_schedule", job.name, row["next_run_at"], following):
                continue
            specs = job.specs()
            await enqueue_many(tx, specs)
        queues.update(spec.queue for spec in specs)
        log.info("schedule.fired", name=job.name, count=len(specs))
    waiting = await db.rows("jobs.due_schedules", list(by_name))
    return queues, min((row["seconds"] for row in waiting), default=None)
