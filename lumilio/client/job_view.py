"""What the daemon's documents of jobs and queues say, parsed once, every text fit for a terminal."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lumilio.client.library import documents, not_understood
from lumilio.log import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class JobErrorView:
    """Why an attempt failed."""

    attempt: int
    at: datetime | None
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job. A state that this version does not know stays what it is; ``progress`` is from 0 to 1.

    ``key``, ``arguments`` and ``result`` are empty and ``errors`` only the last one where a listing does not tell them.
    """

    job_id: str
    kind: str
    queue: str
    state: str
    priority: str
    attempt: int
    max_attempts: int
    created_at: datetime | None
    run_at: datetime | None
    claimed_at: datetime | None
    finished_at: datetime | None
    progress: float | None
    progress_message: str
    cancel_requested: bool
    owner_id: str
    key: str
    arguments: str
    result: str
    errors: Sequence[JobErrorView]


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthView:
    """How many jobs of a queue are in a state, and since how many seconds the oldest is."""

    jobs: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueView:
    """A queue; ``slots`` None where the daemon itself does not work on it."""

    name: str
    paused_at: datetime | None
    slots: int | None
    depths: Mapping[str, DepthView]
    discarded: int
    cancelled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """A worker that lives."""

    name: str
    seen_at: datetime | None


def view_job(document: Mapping[str, object]) -> JobView:
    """A job of a listing, of an event, or a whole one. Raises ClientError."""
    if "errors" in document:
        errors = [_error(error) for error in documents(document, "errors")]
    else:
        last = document.get("last_error")
        errors = [_error(last)] if isinstance(last, dict) else []
    return JobView(
        job_id=_needed(document, "job_id"),
        kind=_needed(document, "kind"),
        queue=_needed(document, "queue"),
        state=_needed(document, "state"),
        priority=_text(document, "priority"),
        attempt=_count(document, "attempt"),
        max_attempts=_count(document, "max_attempts"),
        created_at=_moment(document, "created_at"),
        run_at=_moment(document, "run_at"),
        claimed_at=_moment(document, "claimed_at"),
        finished_at=_moment(document, "finished_at"),
        progress=_number(document, "progress"),
        progress_message=_text(document, "progress_message"),
        cancel_requested=document.get("cancel_requested") is True,
        owner_id=_text(document, "owner_id"),
        key=_text(document, "key"),
        arguments=_json(document, "args"),
        result=_json(document, "result"),
        errors=errors,
    )


def view_queue(document: Mapping[str, object]) -> QueueView:
    """One queue. Raises ClientError."""
    states = document.get("states")
    if not isinstance(states, dict):
        raise not_understood("states")
    return QueueView(
        name=_needed(document, "name"),
        paused_at=_moment(document, "paused_at"),
        slots=_count(document, "slots") if document.get("slots") is not None else None,
        depths={
            printable(state): DepthView(
                jobs=_count(depth, "jobs"), oldest_seconds=_number(depth, "oldest_seconds") or 0.0
            )
            for state, depth in states.items()
            if isinstance(depth, dict)
        },
        discarded=_count(document, "discarded"),
        cancelled=_count(document, "cancelled"),
    )


def view_workers(document: Mapping[str, object]) -> Sequence[WorkerView]:
    """The workers that are connected. Raises ClientError."""
    return [
        WorkerView(name=_text(item, "name") or _text(item, "worker_id"), seen_at=_moment(item, "seen_at"))
        for item in documents(document, "workers")
    ]


def _error(document: Mapping[str, object]) -> JobErrorView:
    return JobErrorView(
        attempt=_count(document, "attempt"),
        at=_moment(document, "at"),
        code=_text(document, "code"),
        message=_text(document, "message"),
    )


def _needed(document: Mapping[str, object], key: str) -> str:
    value = _text(document, key)
    if not value:
        raise not_understood(key)
    return value


def _text(document: Mapping[str, object], key: str) -> str:
    value = document.get(key)
    return "" if value is None else printable(str(value))


def _json(document: Mapping[str, object], key: str) -> str:
    value = document.get(key)
    return printable(json.dumps(value, ensure_ascii=False)) if value else ""


def _number(document: Mapping[str, object], key: str) -> float | None:
    match document.get(key):
        case None:
            return None
        case int() | float() as value if math.isfinite(value):
            return float(value)
        case _:
            raise not_understood(key)


def _count(document: Mapping[str, object], key: str) -> int:
    return round(_number(document, key) or 0)


def _moment(document: Mapping[str, object], key: str) -> datetime | None:
    value = document.get(key)
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as exc:
        raise not_understood(key) from exc
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
