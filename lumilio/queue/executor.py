"""One attempt of one job: decode, run within the time-out, turn whatever happens into an ending."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from lumilio import metrics
from lumilio.errors import JobArgsInvalid, JobKindUnknown, JobTimedOut
from lumilio.log import bind_context, get_log
from lumilio.queue import policy
from lumilio.queue.claims import ClaimedJob
from lumilio.queue.kinds import JobContext, JobKind, Report
from lumilio.queue.policy import Backoff, Ending, JobState

_UNKNOWN = "unknown"
"""The label of all kinds that are not in the table: such a name is data, and could make labels without bound."""

_OUTCOMES = (JobState.COMPLETED, JobState.SCHEDULED, JobState.RETRYABLE, JobState.DISCARDED, JobState.CANCELLED)
log = get_log()


@dataclass(frozen=True, slots=True)
class Observers:
    """The metrics of one kind, looked up once."""

    seconds: Callable[[float], None]
    ended: Mapping[JobState, Callable[[], None]]


def observers_of(kind: str | None) -> Observers:
    """Where the attempts of a kind are counted; None for kinds that are not known."""
    label = kind or _UNKNOWN
    return Observers(
        seconds=metrics.JOB_SECONDS.labels(kind=label).observe,
        ended={state: metrics.JOBS_FINISHED.labels(kind=label, outcome=state.value).inc for state in _OUTCOMES},
    )


async def execute(job: ClaimedJob, kind: JobKind[Any] | None, observers: Observers, report: Report) -> Ending:
    """Run an attempt. Raises CancelledError, and nothing else, when the attempt itself is cancelled."""
    bind_context(job_id=job.id, kind=job.kind, attempt=job.attempt)
    started = time.monotonic()
    try:
        ending = policy.completed(await _work(job, kind, report))
    except (Exception, asyncio.CancelledError) as exc:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from exc  # interrupted, whatever the work made of it: not a failure
        ending = _failed(job, exc, Backoff() if kind is None else kind.backoff)
    observers.seconds(time.monotonic() - started)
    observers.ended[ending.state]()
    return ending


async def _work(job: ClaimedJob, kind: JobKind[Any] | None, report: Report) -> Mapping[str, object] | None:
    if kind is None:
        raise JobKindUnknown(f"job kind {job.kind!r} is unknown to this Lumilio; was the job made by a newer one?")
    args = _decoded(job, kind.args)
    context = JobContext(
        job_id=job.id, attempt=job.attempt, max_attempts=job.max_attempts, owner_id=job.owner_id, report=report
    )
    limit = asyncio.timeout(kind.timeout)
    try:
        async with limit:
            return await kind.work(context, args)
    except TimeoutError as exc:
        if limit.expired():
            raise JobTimedOut(f"the attempt took longer than {kind.timeout:g} s and was stopped") from exc
        raise


def _decoded(job: ClaimedJob, args: type[BaseModel]) -> BaseModel:
    try:
        return args.model_validate_json(job.args)
    except ValidationError as exc:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'args'}: {fault['msg']}"
            for fault in exc.errors(include_url=False, include_input=False)
        )
        raise JobArgsInvalid(f"arguments do not fit job kind {job.kind!r}: {faults}") from exc


def _failed(job: ClaimedJob, exc: BaseException, backoff: Backoff) -> Ending:
    chance = random.random()  # noqa: S311 jitter
    ending = policy.failed(exc, attempt=job.attempt, max_attempts=job.max_attempts, backoff=backoff, chance=chance)
    if ending.state is JobState.SCHEDULED:
        log.info("job.snoozed", delay_s=ending.delay, reason=str(exc))
        return ending
    if ending.state is JobState.CANCELLED:
        log.info("job.cancelled", reason=ending.message)
        return ending
    defect = exc if ending.code == "internal.error" else None
    event = "job.discarded" if ending.state is JobState.DISCARDED else "job.failed"
    log.warning(event, code=ending.code, error=ending.message, delay_s=ending.delay, exc_info=defect)
    return ending
