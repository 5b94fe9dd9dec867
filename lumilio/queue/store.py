"""Jobs as rows: enqueue in the caller's transaction, and look up. What a worker does to a row is in ``claims``."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel

from lumilio.db import JsonText, Row, Tx
from lumilio.errors import DatabaseUnavailable, JobArgsInvalid, QueueError
from lumilio.model import JobId
from lumilio.queue.policy import DEFAULT_MAX_ATTEMPTS, JobState, Priority

_ROUNDS = 20
_COPY_FROM = 100
"""Jobs from which on COPY, which needs a round trip more, is quicker."""
_COPIED = ("id", "kind", "queue", "args", "state", "priority", "run_at", "max_attempts", "owner_id")
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """A job to be. ``key``: at most one job of this kind and key is not final; None: any number.

    ``run_at``: aware; None is at once.
    """

    kind: str
    queue: str
    args: BaseModel
    key: str | None = None
    priority: Priority = Priority.NORMAL
    run_at: datetime | None = None
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    owner_id: UUID | None = None

    def __post_init__(self) -> None:
        if self.run_at is not None and self.run_at.tzinfo is None:
            raise ValueError(f"run_at {self.run_at!r} of a job is naive; give it a zone")


class Enqueued(NamedTuple):
    """``created`` is False when a live job of the same kind and key was there already; ``job_id`` is that one."""

    job_id: JobId
    created: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why an attempt failed."""

    attempt: int
    at: datetime
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row of ``jobs`` or ``finished_jobs``. ``progress`` is a share from 0 to 1 that the work reported, or None."""

    id: JobId
    kind: str
    queue: str
    key: str | None
    args: Mapping[str, object]
    state: JobState
    priority: Priority
    attempt: int
    max_attempts: int
    run_at: datetime
    owner_id: UUID | None
    created_at: datetime
    claimed_at: datetime | None
    finished_at: datetime | None
    result: Mapping[str, object] | None
    errors: tuple[JobError, ...]
    progress: float | None
    progress_message: str | None
    cancel_requested: bool


def job_from_row(row: Row) -> Job:
    """A job from all the columns of ``all_jobs``, whatever JSON another version left in it."""
    fields: dict[str, Any] = dict(row)
    fields["state"] = JobState(fields["state"])
    fields["priority"] = Priority(fields["priority"])
    if not isinstance(fields["args"], dict):
        fields["args"] = {}
    created_at: datetime = fields["created_at"]
    fields["errors"] = tuple(_error(item, created_at) for item in fields["errors"] if isinstance(item, dict))
    return Job(**fields)


def _error(item: Mapping[str, object], created_at: datetime) -> JobError:
    attempt, code, message = item.get("attempt"), item.get("code"), item.get("message")
    try:
        at = datetime.fromisoformat(str(item.get("at")))
    except ValueError:
        at = created_at
    return JobError(
        attempt=attempt if isinstance(attempt, int) else 0,
        at=at if at.tzinfo else created_at,
        code=str(code or QueueError.code),
        message=str(message or "no reason is known"),
    )


async def enqueue(tx: Tx, spec: JobSpec) -> Enqueued:
    """Insert a job in the caller's transaction, or find the live one of the same kind and key.

    After the commit call ``Notifier.announce(spec.queue)``, else the job waits for the next poll. Raises
    JobArgsInvalid for arguments that PostgreSQL cannot store.
    """
    return (await enqueue_many(tx, [spec]))[0]


async def enqueue_many(tx: Tx, specs: Sequence[JobSpec]) -> Sequence[Enqueued]:
    """Insert many jobs in a round trip or two; the answers are in the order of ``specs``. Otherwise as ``enqueue``."""
    if len(specs) >= _COPY_FROM and all(spec.key is None and spec.run_at is None for spec in specs):
        return await _copy_many(tx, specs)
    answers: dict[int, Enqueued] = {}
    left = list(enumerate(specs))
    for _ in range(_ROUNDS):
        if not left:
            return [answers[position] for position in range(len(specs))]
        for row in await tx.rows("jobs.insert", *_columns([spec for _, spec in left])):
            answers[left[row["position"] - 1][0]] = Enqueued(JobId(row["id"]), created=True)
        left = [(position, spec) for position, spec in left if position not in answers]
        if left:
            kinds, keys = [spec.kind for _, spec in left], [spec.key for _, spec in left]
            for row in await tx.rows("jobs.live_ids", kinds, keys):
                answers[left[row["position"] - 1][0]] = Enqueued(JobId(row["id"]), created=False)
            # Whoever is still left met a job that ended between the two statements.
            left = [(position, spec) for position, spec in left if position not in answers]
    raise DatabaseUnavailable(f"jobs with the key {left[0][1].key!r} end faster than another can be added; try again")


async def _copy_many(tx: Tx, specs: Sequence[JobSpec]) -> Sequence[Enqueued]:
    """Jobs that nothing can be in the way of: without keys, and due at once."""
    (reserved,) = await tx.rows("jobs.reserve_ids", len(specs))
    now, ids = reserved["now"], reserved["ids"]
    records = (
        (
            job_id,
            spec.kind,
            spec.queue,
            JsonText(_args_text(spec)),
            JobState.AVAILABLE,
            spec.priority,
            now,
            spec.max_attempts,
            spec.owner_id,
        )
        for job_id, spec in zip(ids, specs, strict=True)
    )
    await tx.copy("jobs", _COPIED, records)
    return [Enqueued(job_id, created=True) for job_id in ids]


async def get_jobs(tx: Tx, job_ids: Sequence[JobId]) -> Mapping[JobId, Job]:
    """The jobs of these ids that are still known: live, or final within the retention."""
    return {job.id: job for job in map(job_from_row, await tx.rows("jobs.by_ids", job_ids))}


async def get_job(tx: Tx, job_id: JobId) -> Job | None:
    """One job, or None when it never was or its retention is over."""
    return (await get_jobs(tx, [job_id])).get(job_id)


async def live_job(tx: Tx, kind: str, key: str) -> Job | None:
    """The one job of this kind and key that is not final."""
    row = await tx.row("jobs.live_job", kind, key)
    return None if row is None else job_from_row(row)


async def live_ids(tx: Tx, kind: str, keys: Sequence[str]) -> Mapping[str, JobId]:
    """Which of the keys have a job of this kind that is not final, and its id."""
    rows = await tx.rows("jobs.live_ids", [kind] * len(keys), keys)
    return {keys[row["position"] - 1]: JobId(row["id"]) for row in rows}


def _columns(specs: Sequence[JobSpec]) -> tuple[list[object], ...]:
    return (
        [spec.kind for spec in specs],
        [spec.queue for spec in specs],
        [spec.key for spec in specs],
        [_args_text(spec) for spec in specs],
        [spec.priority for spec in specs],
        [spec.run_at for spec in specs],
        [spec.max_attempts for spec in specs],
        [spec.owner_id for spec in specs],
    )


def _args_text(spec: JobSpec) -> str:
    text = spec.args.model_dump_json()
    if "\\u0000" in text and _NUL.search(text):
        raise JobArgsInvalid(f"arguments of job kind {spec.kind!r} hold a NUL character, which cannot be stored")
    return text
