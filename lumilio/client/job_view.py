"""What the daemon's documents of jobs and queues say, parsed once, every text fit for a terminal."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lumilio.client.library import documents, not_understood
from lumilio.client.members import Document, count, moment, needed, number, words
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


def view_job(document: Document) -> JobView:
    """A job of a listing, of an event, or a whole one. Raises ClientError."""
    if "errors" in document:
        errors = [_error(error) for error in documents(document, "errors")]
    else:
        last = document.get("last_error")
        errors = [_error(last)] if isinstance(last, dict) else []
    return JobView(
        job_id=needed(document, "job_id"),
        kind=needed(document, "kind"),
        queue=needed(document, "queue"),
        state=needed(document, "state"),
        priority=words(document, "priority"),
        attempt=count(document, "attempt"),
        max_attempts=count(document, "max_attempts"),
        created_at=moment(document, "created_at"),
        run_at=moment(document, "run_at"),
        claimed_at=moment(document, "claimed_at"),
        finished_at=moment(document, "finished_at"),
        progress=number(document, "progress"),
        progress_message=words(document, "progress_message"),
        cancel_requested=document.get("cancel_requested") is True,
        owner_id=words(document, "owner_id"),
        key=words(document, "key"),
        arguments=_json(document, "args"),
        result=_json(document, "result"),
        errors=errors,
    )


def view_queue(document: Document) -> QueueView:
    """One queue. Raises ClientError."""
    states = document.get("states")
    if not isinstance(states, dict):
        raise not_understood("states")
    return QueueView(
        name=needed(document, "name"),
        paused_at=moment(document, "paused_at"),
        slots=count(document, "slots") if document.get("slots") is not None else None,
        depths={
            printable(state): DepthView(
                jobs=count(depth, "jobs"), oldest_seconds=number(depth, "oldest_seconds") or 0.0
            )
            for state, depth in states.items()
            if isinstance(depth, dict)
        },
        discarded=count(document, "discarded"),
        cancelled=count(document, "cancelled"),
    )


def view_workers(document: Document) -> Sequence[WorkerView]:
    """The workers that are connected. Raises ClientError."""
    return [
        WorkerView(name=words(item, "name") or words(item, "worker_id"), seen_at=moment(item, "seen_at"))
        for item in documents(document, "workers")
    ]


def _error(document: Document) -> JobErrorView:
    return JobErrorView(
        attempt=count(document, "attempt"),
        at=moment(document, "at"),
        code=words(document, "code"),
        message=words(document, "message"),
    )


def _json(document: Document, key: str) -> str:
    value = document.get(key)
    return printable(json.dumps(value, ensure_ascii=False)) if value else ""
