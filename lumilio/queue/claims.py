"""What a worker does to rows that it runs: claim, report, give back, show life, rescue. All guarded."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from lumilio.db import Tx
from lumilio.model import JobId
from lumilio.queue.policy import WORKER_DIED, Ending
from lumilio.queue.store import Job, job_from_row

RESCUE_BATCH = 500
"""Jobs that one rescuing transaction takes, so that its locks stay short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJob:
    """A job that this worker runs; ``args`` is JSON text."""

    id: JobId
    kind: str
    args: str
    attempt: int
    max_attempts: int
    owner_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A job of this worker and how its attempt ended."""

    job: ClaimedJob
    ending: Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """``acknowledged``: whose ending was recorded; one that is missing there was rescued or cancelled meanwhile."""

    claimed: Sequence[ClaimedJob]
    acknowledged: frozenset[JobId]


async def exchange(tx: Tx, *, worker_id: int, queue: str, ended: Sequence[Ended], slots: int) -> Exchange:
    """Report what ended and claim up to ``slots`` jobs in claim order, in one round trip."""
    rows = await tx.rows(
        "jobs.exchange",
        worker_id,
        queue,
        [end.job.id for end in ended],
        [end.job.attempt for end in ended],
        [end.ending.state for end in ended],
        [end.ending.counted for end in ended],
        [end.ending.delay for end in ended],
        [end.ending.result for end in ended],
        [end.ending.code for end in ended],
        [end.ending.message for end in ended],
        slots,
    )
    claims = sorted((row for row in rows if row["kind"] is not None), key=lambda row: (row["priority"], row["id"]))
    return Exchange(
        claimed=[
            ClaimedJob(
                id=JobId(row["id"]),
                kind=row["kind"],
                args=row["args"],
                attempt=row["attempt"],
                max_attempts=row["max_attempts"],
                owner_id=row["owner_id"],
            )
            for row in claims
        ],
        acknowledged=frozenset(JobId(row["id"]) for row in rows if row["kind"] is None),
    )


async def release(tx: Tx, *, worker_id: int, queue: str, held: Sequence[JobId]) -> int:
    """Give back what this worker runs in the queue according to its rows, but not according to itself (``held``).

    The attempt is restored and no error recorded. Returns how many jobs that were.
    """
    return await tx.execute("jobs.release", worker_id, queue, held)


async def heartbeat(tx: Tx, *, worker_id: int, held: Sequence[JobId]) -> int:
    """Show life; returns how many of the jobs are still this worker's."""
    return await tx.execute("jobs.heartbeat", worker_id, held)


async def suspects(tx: Tx, *, worker_id: int, missed_for: float, silent_for: float) -> frozenset[int]:
    """Workers that look dead (lock free and no heartbeat for ``missed_for`` s) or frozen (``silent_for`` s)."""
    rows = await tx.rows("jobs.suspects", worker_id, missed_for, silent_for)
    return frozenset(row["worker_id"] for row in rows)


async def rescue(tx: Tx, *, worker_id: int, lost: Sequence[int], silent_for: float) -> Sequence[Job]:
    """Take up to RESCUE_BATCH jobs from these workers, if they are still dead or silent.

    The attempt counts. A job without attempts left comes back as discarded.
    """
    message = "the process that ran this job died or froze"
    rows = await tx.rows("jobs.rescue", worker_id, lost, silent_for, RESCUE_BATCH, WORKER_DIED, message)
    return [job_from_row(row) for row in rows]
