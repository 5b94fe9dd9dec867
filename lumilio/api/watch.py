"""What changed about jobs since the last look at them.

The database is the only truth, so that what is told survives this process. A cursor is a moment: whoever names one is
told every job that ended since, once or more often, in whichever process and however late its transaction committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lumilio.db import Tx
from lumilio.model import JobId
from lumilio.queue import control
from lumilio.queue.store import Job, get_jobs

MOST_ENDED = 1000
"""Jobs that ended since a look, or since a cursor; when there are more, whoever watches is told to list anew."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR_DIGITS = 16


def cursor_of(moment: datetime) -> str:
    """The moment as clients see it: microseconds since 1970."""
    return str((moment - _EPOCH) // timedelta(microseconds=1))


def moment_of(cursor: str) -> datetime | None:
    """The moment that a client named; None for what is no cursor."""
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _CURSOR_DIGITS):
        return None
    return _EPOCH + timedelta(microseconds=int(cursor))


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What changed ``since``, which holds up to ``horizon``; ``flooded``: more than can be told."""

    since: datetime
    horizon: datetime
    changed: Sequence[Job]
    running: Sequence[Job]
    flooded: bool


class Watch:
    """Remembers between two looks what is needed to tell what changed."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._told: frozenset[tuple[JobId, datetime | None]] = frozenset()
        self._running: dict[JobId, Job] = {}

    async def look(self, tx: Tx) -> Look:
        """Read what ended, what runs, and what became of that which ran and does neither.

        In this order: whatever happens between two of these is found by the next. After a flood the watch goes on from
        now, or it would be one for as long as a transaction holds back the horizon.
        """
        horizon, now = await control.horizon(tx)
        since = horizon if self._since is None else self._since
        ended = await control.ended_since(tx, since, JobId(0), MOST_ENDED + 1)
        running = {job.id: job for job in await control.running_jobs(tx)}
        over = {job.id for job in ended}
        gone = [job_id for job_id in self._running if job_id not in running and job_id not in over]
        left = [*ended, *(await get_jobs(tx, gone)).values()] if gone else ended
        changed = [job for job in left if _ending(job) not in self._told]
        changed += [job for job in running.values() if _differs(job, self._running.get(job.id))]
        flooded = len(ended) > MOST_ENDED
        look = Look(
            since=since,
            horizon=now if flooded else max(since, horizon),
            changed=changed,
            running=list(running.values()),
            flooded=flooded,
        )
        self._told = frozenset(_ending(job) for job in left if job.finished_at and job.finished_at >= look.horizon)
        self._since, self._running = look.horizon, running
        return look


def _ending(job: Job) -> tuple[JobId, datetime | None]:
    """A job that is retried may end twice."""
    return job.id, job.finished_at


def _differs(job: Job, before: Job | None) -> bool:
    return before is None or (job.attempt, job.progress, job.progress_message, job.cancel_requested) != (
        before.attempt,
        before.progress,
        before.progress_message,
        before.cancel_requested,
    )
