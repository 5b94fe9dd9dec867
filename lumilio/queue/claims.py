"""What a worker does to rows that it runs: claim, report, give back. All guarded by worker and attempt."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from lumilio.db import Row, Tx
from lumilio.model import JobId
from lumilio.queue.policy import Ending, JobState
from lumilio.queue.watermark import Marks


@dataclass(slots=True, kw_only=True)
class ClaimedJob:
    """A job that this worker runs; ``args`` is JSON text."""

    id: JobId
    kind: str
    args: str
    priority: int
    run_at: datetime
    attempt: int
    max_attempts: int
    owner_id: UUID | None


@dataclass(frozen=True, slots=True)
class Ended:
    """A job of this worker and how its attempt ended."""

    job: ClaimedJob
    ending: Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """``acknowledged``: whose completion was recorded; one that is missing was rescued or cancelled meanwhile."""

    claimed: Sequence[ClaimedJob]
    acknowledged: frozenset[JobId]


async def exchange(
    tx: Tx, *, worker_id: int, queue: str, completed: Sequence[Ended], slots: int, marks: Marks
) -> Exchange:
    """Report what is completed and claim up to ``slots`` jobs behind ``marks`` in claim order, in one round trip."""
    completed = sorted(completed, key=_lock_order)
    rows = await tx.rows(
        "jobs.exchange",
        worker_id,
        queue,
        [end.job.id for end in completed],
        [end.job.attempt for end in completed],
        [end.ending.result for end in completed],
        slots,
        *marks,
    )
    acknowledged: Sequence[JobId] = ()
    claimed: list[ClaimedJob] = []
    for row in rows:
        if row["id"] is None:
            acknowledged = row["acknowledged"] or ()
        else:
            claimed.append(_claimed(row))
    claimed.sort(key=_claim_order)
    return Exchange(claimed=claimed, acknowledged=frozenset(acknowledged))


def _claimed(row: Row) -> ClaimedJob:
    return ClaimedJob(
        id=row["id"],
        kind=row["kind"],
        args=row["args"],
        priority=row["priority"],
        run_at=row["run_at"],
        attempt=row["attempt"],
        max_attempts=row["max_attempts"],
        owner_id=row["owner_id"],
    )


def _lock_order(end: Ended) -> int:
    """By id, as everybody locks several jobs, so that none waits for one that waits for it."""
    return end.job.id


def _claim_order(job: ClaimedJob) -> tuple[int, datetime, int]:
    return job.priority, job.run_at, job.id


async def settle(tx: Tx, *, worker_id: int, ended: Sequence[Ended]) -> Mapping[JobId, JobState]:
    """Report attempts that did not complete; returns what each job is now.

    One that is missing there was rescued meanwhile; one that somebody wants cancelled is cancelled, not tried again.
    """
    ended = sorted(ended, key=_lock_order)
    rows = await tx.rows(
        "jobs.settle",
        worker_id,
        [end.job.id for end in ended],
        [end.job.attempt for end in ended],
        [end.ending.state for end in ended],
        [end.ending.counted for end in ended],
        [end.ending.delay for end in ended],
        [end.ending.code for end in ended],
        [end.ending.message for end in ended],
    )
    return _states(rows)


async def release(tx: Tx, *, worker_id: int, attempts: Collection[tuple[JobId, int]]) -> Mapping[JobId, JobState]:
    """Give back these attempts (job, number) of the worker: restored, and no error recorded.

    Returns what each job is now; one that is missing there is not the worker's any more.
    """
    ordered = sorted(attempts)
    ids, numbers = [job_id for job_id, _ in ordered], [attempt for _, attempt in ordered]
    return _states(await tx.rows("jobs.release", worker_id, ids, numbers))


async def mine(tx: Tx, *, worker_id: int, queue: str) -> Mapping[tuple[JobId, int], bool]:
    """The attempts (job, number) that this worker runs according to the rows, and whether each is to be cancelled."""
    rows = await tx.rows("jobs.mine", worker_id, queue)
    return {(JobId(row["id"]), row["attempt"]): row["cancel_requested"] for row in rows}


def _states(rows: Sequence[Row]) -> Mapping[JobId, JobState]:
    return {JobId(row["id"]): JobState(row["state"]) for row in rows}
