"""One attempt of one job: decode, run within the time-out, turn whatever happens into an ending."""

import asyncio
import random
import time
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from lumilio import metrics
from lumilio.errors import JobArgsInvalid, JobKindUnknown, JobTimedOut
from lumilio.log import bind_context, get_log
from lumilio.queue import policy
from lumilio.queue.claims import ClaimedJob
from lumilio.queue.kinds import JobContext, JobKind
from lumilio.queue.policy import Backoff, Ending, JobState

log = get_log()


async def execute(job: ClaimedJob, table: Mapping[str, JobKind[Any]]) -> Ending:
    """Run an attempt. Raises CancelledError, and nothing else, when the attempt itself is cancelled."""
    bind_context(job_id=job.id, kind=job.kind, attempt=job.attempt)
    kind = table.get(job.kind)
    backoff = Backoff() if kind is None else kind.backoff
    started = time.monotonic()
    try:
        ending = policy.completed(await _work(job, kind))
    except (Exception, asyncio.CancelledError) as exc:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from exc  # interrupted, whatever the work made of it: not a failure
        ending = _failed(job, exc, backoff)
    seconds = time.monotonic() - started
    # An unknown kind is data: as a label it could grow without bound.
    label = "unknown" if kind is None else kind.name
    metrics.JOB_SECONDS.labels(kind=label).observe(seconds)
    metrics.JOBS_FINISHED.labels(kind=label, outcome=ending.state.value).inc()
    return ending


async def _work(job: ClaimedJob, kind: JobKind[Any] | None) -> Mapping[str, object] | None:
    if kind is None:
        raise JobKindUnknown(f"job kind {job.kind!r} is unknown to this Lumilio; was the job made by a newer one?")
    args = _decoded(job, kind.args)
    context = JobContext(job_id=job.id, attempt=job.attempt, max_attempts=job.max_attempts, owner_id=job.owner_id)
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
    defect = exc if ending.code == "internal.error" else None
    event = "job.discarded" if ending.state is JobState.DISCARDED else "job.failed"
    log.warning(event, code=ending.code, error=ending.message, delay_s=ending.delay, exc_info=defect)
    return ending
