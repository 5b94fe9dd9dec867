"""Taking jobs back from workers that died or froze: their session is gone, or has said nothing for too long."""

from collections.abc import Sequence
from dataclasses import dataclass

from lumilio.db import Tx
from lumilio.model import JobId
from lumilio.queue.policy import WORKER_DIED
from lumilio.queue.store import Job, get_jobs

RESCUE_BATCH = 500
"""Jobs that one rescuing transaction takes, so that its locks stay short."""
_MESSAGE = "the process that ran this job died or froze"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostWorkers:
    """Workers with running jobs that show no life: ``gone`` have no session, ``frozen`` a silent one."""

    gone: frozenset[int]
    frozen: frozenset[int]


async def lost_workers(tx: Tx, *, worker_id: int, silent_for: float) -> LostWorkers:
    """Look for them, this worker left out; ``silent_for`` is seconds."""
    rows = await tx.rows("jobs.lost_workers", worker_id, silent_for)
    frozen = frozenset(row["worker_id"] for row in rows if row["frozen"])
    return LostWorkers(gone=frozenset(row["worker_id"] for row in rows) - frozen, frozen=frozen)


async def rescue(tx: Tx, *, lost: Sequence[int], silent_for: float) -> Sequence[Job]:
    """Take up to RESCUE_BATCH jobs from these workers, if they still show no life. Returns what the jobs are now.

    The attempt counts. A job without attempts left is discarded, one that was to be cancelled is.
    """
    rows = await tx.rows("jobs.rescue", lost, silent_for, RESCUE_BATCH, WORKER_DIED, _MESSAGE)
    return list((await get_jobs(tx, [JobId(row["id"]) for row in rows])).values())
