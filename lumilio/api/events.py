"""Server-sent events (WHATWG HTML, 9.2): what happens to jobs, told to whoever watches."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

from aiohttp import hdrs, web

from lumilio.api.context import caller_of, context_of, query_of, scope_of
from lumilio.api.feed import Batch, Feed, Subscription
from lumilio.api.job_documents import Name, job_item
from lumilio.api.schemas import Body
from lumilio.api.tasks import is_task_of, task_of
from lumilio.api.watch import cursor_of
from lumilio.queue.store import Job
from lumilio.tools.tokens import Caller

MEDIA_TYPE = "text/event-stream"
RESUME_HEADER = "Last-Event-ID"
PING_SECONDS = 15.0
LISTEN_SECONDS = 1.0
"""How soon a client that left is noticed."""
LONGEST_SECONDS = 900.0
"""A stream whose caller's token does not end is ended."""
GREETING = b"retry: 2000\n\n"
"""Milliseconds after which a client that lost the stream comes back."""
RESET = b'event: reset\ndata: {"reason": "events were missed; list the jobs anew"}\n'

FEED = web.AppKey("feed", Feed)


async def close_feed(app: web.Application) -> None:
    """Called at the shutdown: streams have no end of their own, and must not hold up the drain."""
    await app[FEED].close()


class EventsQuery(Body):
    """Which jobs; `last_event_id` stands for the header `Last-Event-ID` where a client cannot send that."""

    kind: Name | None = None
    queue: Name | None = None
    last_event_id: str | None = None


async def stream_events(request: web.Request) -> web.StreamResponse:
    """What happens to the caller's jobs (for administrators, to all), as server-sent events: `job` is a JobItem, `task`
    the Task of an upload of the caller, `reset` means that some were missed, so list anew. What runs comes first.

    Events come once or more often: each tells how the job is by then.
    """
    query, caller = query_of(request, EventsQuery), caller_of(request)
    headers = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
    if request.method == hdrs.METH_HEAD:
        return response
    try:
        async with asyncio.timeout(_seconds_left(caller)) as limit:
            subscription = Subscription(
                caller,
                kind=query.kind,
                queue=query.queue,
                resume=request.headers.get(RESUME_HEADER, query.last_event_id),
                limit=limit,
            )
            with request.app[FEED].subscribed(subscription):
                await response.prepare(request)
                await _tell(request, response, subscription)
    except (TimeoutError, ConnectionResetError):
        return response
    return response


def _seconds_left(caller: Caller) -> float:
    if caller.expires_at is None:
        return LONGEST_SECONDS
    return (caller.expires_at - datetime.now(UTC)).total_seconds()


async def _tell(request: web.Request, response: web.StreamResponse, subscription: Subscription) -> None:
    loop = asyncio.get_running_loop()
    await _write(request, response, GREETING)
    written = loop.time()
    while request.transport is not None and not request.transport.is_closing():
        batch = await subscription.next(LISTEN_SECONDS)
        if batch is not None:
            await _write(request, response, b"".join(_frames(batch, subscription.caller)))
        elif loop.time() - written >= PING_SECONDS:
            await _write(request, response, b": ping\n" + _id(subscription.passed) + b"\n")
        else:
            continue
        written = loop.time()


async def _write(request: web.Request, response: web.StreamResponse, data: bytes) -> None:
    """Raises TimeoutError when the client takes nothing for too long: it is cut off then, and when the stream ends."""
    transport = request.transport
    try:
        async with asyncio.timeout(context_of(request).config.server.request_timeout_seconds):
            await response.write(data)
    except BaseException:
        if transport is not None:
            transport.abort()
        raise


def _frames(batch: Batch, caller: Caller) -> Iterator[bytes]:
    """All with an id from which everything comes again, but for the last, from which it goes on."""
    before, after = _id(batch.before), _id(batch.after)
    if batch.reset:
        yield RESET + after + b"\n"
    events = [event for job in batch.jobs for event in _events(job, caller)]
    for event in events[:-1]:
        yield event + before + b"\n"
    yield b"".join(events[-1:]) + after + b"\n"


def _events(job: Job, caller: Caller) -> Iterator[bytes]:
    yield f"event: job\ndata: {job_item(job, whole=scope_of(caller) is None).model_dump_json()}\n".encode()
    if is_task_of(job, caller):
        yield f"event: task\ndata: {task_of(job).model_dump_json()}\n".encode()


def _id(moment: datetime | None) -> bytes:
    return b"" if moment is None else f"id: {cursor_of(moment)}\n".encode()
