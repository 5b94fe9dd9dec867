"""Listing jobs, showing one, and cancelling and retrying them, one or many."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Annotated, Literal, get_args
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, Field, StrictBool

from lumilio.api.context import answer, body_of, caller_of, context_of, number_of, query_of, scope_of
from lumilio.api.job_documents import GivenUpState, JobItems, LiveState, Name, job_document, job_item
from lumilio.api.schemas import Body
from lumilio.db import Database, Tx
from lumilio.errors import Conflict, NotFound, RequestError
from lumilio.jobs import show_given_up
from lumilio.model import JobId
from lumilio.queue import control, store
from lumilio.queue.control import JobFilter
from lumilio.queue.policy import JobState
from lumilio.queue.store import Job

LIVE = tuple(map(JobState, get_args(LiveState)))
GIVEN_UP = tuple(map(JobState, get_args(GivenUpState)))


class JobsQuery(Body):
    """Query of a listing; `cursor` is a previous answer's `next_cursor`, and may go with another filter."""

    state: Annotated[tuple[JobState, ...], Field(max_length=10)] = ()
    queue: Name | None = None
    kind: Name | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: Annotated[str, Field(pattern=r"^[0-9]{1,18}$")] | None = None


class CancelBody(Body):
    """Which jobs: all that fit everything that is given. Without a filter `all` has to be true."""

    state: Annotated[tuple[LiveState, ...], Field(max_length=10)] = ()
    queue: Name | None = None
    kind: Name | None = None
    all: StrictBool = False


class RetryBody(Body):
    """Which jobs: all that fit everything that is given. Without a filter `all` has to be true."""

    state: Annotated[tuple[GivenUpState, ...], Field(max_length=10)] = ()
    queue: Name | None = None
    kind: Name | None = None
    all: StrictBool = False


class CancelOutcome(BaseModel):
    """`cancelled`: it had not begun. `stopping`: it runs, and its worker has been told to stop it."""

    job_id: str
    outcome: Literal["cancelled", "stopping"]


class CancelCounts(BaseModel):
    """`cancelled` had not begun; `stopping` run, and their workers have been told to stop them."""

    cancelled: int
    stopping: int


class RetryCounts(BaseModel):
    """`retried` are available again; the work of `superseded` is that of another live job, so they stay as they are."""

    retried: int
    superseded: int


async def list_jobs(request: web.Request) -> web.Response:
    """Jobs, newest first, a page at a time: the caller's own, for administrators all."""
    query = query_of(request, JobsQuery, lists=frozenset({"state"}))
    scope = scope_of(caller_of(request))
    wanted = JobFilter(states=query.state or None, queue=query.queue, kind=query.kind, owner_id=scope)
    before = JobId(int(query.cursor)) if query.cursor is not None else None
    async with context_of(request).library.db.session() as session:
        found = await control.list_jobs(session, wanted, before=before, limit=query.limit + 1)
    page = found[: query.limit]
    items = [job_item(job, whole=scope is None) for job in page]
    return answer(JobItems(items=items, next_cursor=str(page[-1].id) if len(found) > len(page) else None))


async def get_job(request: web.Request) -> web.Response:
    """One job with all its errors."""
    scope = scope_of(caller_of(request))
    async with context_of(request).library.db.session() as session:
        job = await _find(session, JobId(number_of(request, "job_id")), scope)
    return answer(job_document(job, whole=scope is None))


async def _find(tx: Tx, job_id: JobId, scope: UUID | None) -> Job:
    """Raises NotFound: what is another's does not exist."""
    job = await store.get_job(tx, job_id)
    if job is None or (scope is not None and job.owner_id != scope):
        raise NotFound(f"job {job_id} does not exist")
    return job


async def retry_job(request: web.Request) -> web.Response:
    """Make a discarded or cancelled job available again, with as many attempts as a new one."""
    context, scope = context_of(request), scope_of(caller_of(request))
    job_id = JobId(number_of(request, "job_id"))
    wanted = JobFilter(ids=(job_id,), owner_id=scope)
    async with context.library.db.transaction() as tx:
        retried = await control.retry(tx, wanted, attempts_of=context.worker.attempts_of)
        job = await _find(tx, job_id, scope)
        if retried.superseded:
            other = await store.live_job(tx, job.kind, job.key or "")
            named = f"job {other.id}" if other is not None and scope in {None, other.owner_id} else "another job"
            raise Conflict(f"{named} does the work of job {job_id} already; wait for it, or cancel it first")
        if not retried.revived:
            raise Conflict(f"job {job_id} is {job.state.value}; only cancelled and discarded jobs can be retried")
    for queue in retried.queues:
        context.library.wake_queue(queue)
    return answer(job_document(job, whole=scope is None))


async def cancel_job(request: web.Request) -> web.Response:
    """Cancel a job: at once when it has not begun; one that runs is stopped soon, unless it ends before."""
    context, scope = context_of(request), scope_of(caller_of(request))
    job_id = JobId(number_of(request, "job_id"))
    wanted = JobFilter(ids=(job_id,), owner_id=scope)
    async with context.library.db.transaction() as tx:
        cancelled = await control.cancel(tx, wanted, on_given_up=show_given_up)
        if not cancelled.count:
            job = await _find(tx, job_id, scope)
            raise Conflict(f"job {job_id} is {job.state.value}; only jobs that are not over can be cancelled")
    if cancelled.running:
        context.worker.announce_cancel()
    return answer(CancelOutcome(job_id=str(job_id), outcome="stopping" if cancelled.running else "cancelled"))


async def retry_jobs(request: web.Request) -> web.Response:
    """Retry all discarded and cancelled jobs that fit a filter."""
    context = context_of(request)
    wanted = _wanted(await body_of(request, RetryBody), GIVEN_UP, scope_of(caller_of(request)))
    counts = RetryCounts(retried=0, superseded=0)
    async for ids in _pages(context.library.db, wanted):
        async with context.library.db.transaction() as tx:
            done = await control.retry(tx, replace(wanted, ids=ids), attempts_of=context.worker.attempts_of)
        for queue in done.queues:
            context.library.wake_queue(queue)
        counts.retried += len(done.revived)
        counts.superseded += len(done.superseded)
    return answer(counts)


async def cancel_jobs(request: web.Request) -> web.Response:
    """Cancel all jobs that are not over and fit a filter."""
    context = context_of(request)
    wanted = _wanted(await body_of(request, CancelBody), LIVE, scope_of(caller_of(request)))
    counts = CancelCounts(cancelled=0, stopping=0)
    async for ids in _pages(context.library.db, wanted):
        async with context.library.db.transaction() as tx:
            done = await control.cancel(tx, replace(wanted, ids=ids), on_given_up=show_given_up)
        if done.running:
            context.worker.announce_cancel()
        counts.cancelled += len(done.over)
        counts.stopping += len(done.running)
    return answer(counts)


def _wanted(body: CancelBody | RetryBody, possible: tuple[JobState, ...], scope: UUID | None) -> JobFilter:
    if not (body.state or body.queue or body.kind or body.all):
        raise RequestError('a filter without anything means every job; name state, queue or kind, or send "all": true')
    states = tuple(JobState(state) for state in body.state) or possible
    return JobFilter(states=states, queue=body.queue, kind=body.kind, owner_id=scope)


async def _pages(db: Database, wanted: JobFilter) -> AsyncIterator[tuple[JobId, ...]]:
    """The jobs that fit now, each once: what is made meanwhile has a larger id, and what stays is passed by."""
    before: JobId | None = None
    while True:
        async with db.session() as session:
            page = await control.list_jobs(session, wanted, before=before, limit=control.BATCH)
        if page:
            before = page[-1].id
            yield tuple(job.id for job in page)
        if len(page) < control.BATCH:
            return
