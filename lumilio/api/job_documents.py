"""Jobs as the API shows them: whole to administrators, to others nothing that names the server's paths."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, assert_never
from uuid import UUID

from pydantic import BaseModel, Field

from lumilio.jobs.given_up import reason_for_owner
from lumilio.queue.policy import JobState, Priority
from lumilio.queue.store import Job, JobError

Name = Annotated[str, Field(pattern=r"^[!-~]{1,100}$")]
"""Of a queue or a kind."""
PriorityName = Literal["interactive", "normal", "background", "idle"]
LiveState = Literal["available", "scheduled", "running", "retryable"]
GivenUpState = Literal["cancelled", "discarded"]


class JobErrorItem(BaseModel):
    """Why an attempt failed."""

    attempt: int
    at: datetime
    code: str
    message: str


class JobItem(BaseModel):
    """A job in a listing and in events. `progress` is a share from 0 to 1; `last_error` why the last attempt that
    failed did, whatever became of the job since."""

    job_id: str
    kind: str
    queue: str
    state: JobState
    priority: PriorityName
    attempt: int
    max_attempts: int
    created_at: datetime
    run_at: datetime
    claimed_at: datetime | None
    finished_at: datetime | None
    progress: float | None
    progress_message: str | None
    cancel_requested: bool
    owner_id: UUID | None
    last_error: JobErrorItem | None


class JobItems(BaseModel):
    """A page, newest first; `next_cursor` is null on the last one."""

    items: list[JobItem]
    next_cursor: str | None


class JobDocument(JobItem):
    """One job, whole. `key`, `args` and `result` are null for callers who are not administrators."""

    key: str | None
    args: dict[str, Any] | None
    result: dict[str, Any] | None
    errors: list[JobErrorItem]


def job_item(job: Job, *, whole: bool) -> JobItem:
    """A job of a listing; ``whole`` for administrators."""
    return JobItem(**_members(job, whole))


def job_document(job: Job, *, whole: bool) -> JobDocument:
    """One job; ``whole`` for administrators."""
    return JobDocument(
        **_members(job, whole),
        key=job.key if whole else None,
        args=dict(job.args) if whole else None,
        result=dict(job.result) if whole and job.result is not None else None,
        errors=[_error(error, whole) for error in job.errors],
    )


def _members(job: Job, whole: bool) -> Mapping[str, Any]:
    return {
        "job_id": str(job.id),
        "kind": job.kind,
        "queue": job.queue,
        "state": job.state,
        "priority": _priority(job.priority),
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "created_at": job.created_at,
        "run_at": job.run_at,
        "claimed_at": job.claimed_at,
        "finished_at": job.finished_at,
        "progress": job.progress,
        "progress_message": job.progress_message,
        "cancel_requested": job.cancel_requested,
        "owner_id": job.owner_id,
        "last_error": _error(job.errors[-1], whole) if job.errors else None,
    }


def _error(error: JobError, whole: bool) -> JobErrorItem:
    return JobErrorItem(
        attempt=error.attempt,
        at=error.at,
        code=error.code,
        message=error.message if whole else reason_for_owner(error),
    )


def _priority(priority: Priority) -> PriorityName:
    match priority:
        case Priority.INTERACTIVE:
            return "interactive"
        case Priority.NORMAL:
            return "normal"
        case Priority.BACKGROUND:
            return "background"
        case Priority.IDLE:
            return "idle"
        case _:
            assert_never(priority)
