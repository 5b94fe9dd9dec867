"""What people do to jobs and queues, and what they see: list, cancel, retry, pause, resume, depths."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from lumilio.db import Tx
from lumilio.model import JobId
from lumilio.queue.given_up import GivenUpHook, call_given_up_hook
from lumilio.queue.policy import JobState, Priority
from lumilio.queue.store import Job, get_jobs, job_from_row

BATCH = 1000
"""Jobs that one transaction cancels or retries at most."""
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs: all that fit everything that is given. ``ids`` and ``states`` None: any."""

    states: tuple[JobState, ...] | None = None
    queue: str | None = None
    kind: str | None = None
    owner_id: UUID | None = None
    ids: tuple[JobId, ...] | None = None

    def arguments(self) -> tuple[object, ...]:
        """As the queries take them."""
        states = None if self.states is None else [state.value for state in self.states]
        return states, self.queue, self.kind, self.owner_id, self.ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """``over`` had not begun; ``running`` have to be told their workers, after the commit."""

    over: Sequence[JobId]
    running: Sequence[JobId]

    @property
    def count(self) -> int:
        """All of them."""
        return len(self.over) + len(self.running)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """``revived`` are available again, in ``queues``, which are to be announced; the work of ``superseded`` is that of
    another live job, so they stay what they are.
    """

    revived: Sequence[JobId]
    superseded: Sequence[JobId]
    queues: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How many jobs of a queue are in a state, and for how many seconds the oldest waits, or runs."""

    jobs: int
    age: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSession:
    """A worker that lives; ``seen_at`` is its last sign of life, None where the database hides it."""

    worker_id: int
    name: str
    seen_at: datetime | None


async def list_jobs(tx: Tx, wanted: JobFilter, *, before: JobId | None, limit: int) -> Sequence[Job]:
    """Newest first, those with an id below ``before``; ``ids`` of the filter are not looked at."""
    arguments = wanted.arguments()[:4]
    return [job_from_row(row) for row in await tx.rows("job_control.list", *arguments, before or _LARGEST_ID, limit)]


async def cancel(tx: Tx, wanted: JobFilter, *, on_given_up: GivenUpHook, limit: int = BATCH) -> Cancelled:
    """Cancel up to ``limit`` jobs that are not over, in a transaction.

    Those that run are stopped by ``Worker.announce_cancel`` after the commit.
    """
    locked = [row["id"] for row in await tx.rows("job_control.lock", *wanted.arguments(), limit)]
    rows = await tx.rows("job_control.cancel", locked)
    over = [JobId(row["id"]) for row in rows if not row["running"]]
    for job in (await get_jobs(tx, over)).values():
        await call_given_up_hook(on_given_up, tx, job)
    return Cancelled(over=over, running=[JobId(row["id"]) for row in rows if row["running"]])


async def retry(tx: Tx, wanted: JobFilter, *, attempts_of: Mapping[str, int], limit: int = BATCH) -> Retried:
    """Make up to ``limit`` discarded or cancelled jobs available, each with as many attempts as its kind has."""
    kinds, attempts = list(attempts_of), list(attempts_of.values())
    rows = await tx.rows("job_control.retry", *wanted.arguments(), limit, kinds, attempts)
    return Retried(
        revived=[JobId(row["id"]) for row in rows if row["revived"]],
        superseded=[JobId(row["id"]) for row in rows if not row["revived"]],
        queues=frozenset(row["queue"] for row in rows if row["revived"]),
    )


async def hurry(tx: Tx, kind: str, key: str, priority: Priority, queue: str) -> bool:
    """Let a job that waits wait less, in this queue: somebody asks for it now. False when none waits elsewhere."""
    return await tx.execute("job_control.hurry", kind, key, priority, queue) == 1


async def hasten(tx: Tx, job_ids: Sequence[JobId]) -> Collection[JobId]:
    """Make those of the jobs due that wait for a later moment: somebody wants them now. Which those were."""
    return {JobId(row["id"]) for row in await tx.rows("job_control.hasten", job_ids)}


async def pause(tx: Tx, queue: str) -> bool:
    """Claim no more of this queue, in any process; what runs goes on. False when it was paused already."""
    return await tx.execute("job_control.pause", queue) > 0


async def resume(tx: Tx, queue: str) -> bool:
    """Claim again; announce the queue after the commit. False when it was not paused."""
    return await tx.execute("job_control.resume", queue) > 0


async def paused_queues(tx: Tx) -> Mapping[str, datetime]:
    """Queues that are paused, and since when."""
    return {row["name"]: row["paused_at"] for row in await tx.rows("job_control.paused")}


async def depths(tx: Tx) -> Mapping[tuple[str, JobState], Depth]:
    """What is not over, by queue and state; what is zero is absent."""
    now = datetime.now(UTC)
    return {
        (row["queue"], JobState(row["state"])): Depth(
            jobs=row["jobs"], age=max(0.0, (now - row["oldest"]).total_seconds())
        )
        for row in await tx.rows("job_control.depths")
    }


async def failures(tx: Tx) -> Mapping[tuple[str, JobState], int]:
    """How many jobs were discarded or cancelled within the retention, by queue and state."""
    return {(row["queue"], JobState(row["state"])): row["jobs"] for row in await tx.rows("job_control.failures")}


async def workers(tx: Tx) -> Sequence[WorkerSession]:
    """All workers that are connected to this database."""
    return [
        WorkerSession(worker_id=row["worker_id"], name=row["name"] or "", seen_at=row["seen_at"])
        for row in await tx.rows("job_control.workers")
    ]


async def running_jobs(tx: Tx) -> Sequence[Job]:
    """What runs now, in all workers."""
    return [job_from_row(row) for row in await tx.rows("job_control.running")]


async def ended_since(tx: Tx, moment: datetime, after: JobId, limit: int) -> Sequence[Job]:
    """Jobs that ended after (``moment``, ``after``), oldest first."""
    return [job_from_row(row) for row in await tx.rows("job_control.ended_since", moment, after, limit)]


async def horizon(tx: Tx) -> tuple[datetime, datetime]:
    """A moment, and now, by the clock of the database.

    Whatever ended before this moment can be seen from now on; what cannot be seen yet will have ended later.

    ``finished_at`` is when the transaction began that ended the job, so those that are open hold the horizon back.
    """
    (row,) = await tx.rows("job_control.horizon")
    return row["horizon"], row["now"]
