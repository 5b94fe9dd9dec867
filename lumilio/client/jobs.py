"""What people ask the daemon about its jobs and queues: read them, retry, cancel, pause, resume.

Documents are those of the API as they came, for scripts; ``job_view`` makes them fit for people.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace

from lumilio.client import paging
from lumilio.client.asking import accepted, ask, reaching
from lumilio.client.members import Document
from lumilio.client.paging import Page
from lumilio.client.session import Session
from lumilio.queue.policy import JobState

MOST_COUNTED = 5000
"""Jobs that are counted before a question; more are "or more"."""
BULK_SECONDS = 3600.0
"""How long retrying or cancelling everything may take: a thousand jobs are a transaction."""

_ABOUT_THE_THING = frozenset({404, 409})


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which jobs: all that fit everything that is given; nothing given: all."""

    states: tuple[str, ...] = ()
    queue: str | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The daemon knows no such thing, or its state does not allow what was asked for; fit for a terminal."""

    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How many jobs fit; ``or_more`` when the count was not finished."""

    jobs: int
    or_more: bool = False


def read_pages(session: Session, wanted: Selection, *, limit: int | None) -> AsyncGenerator[Page, None]:
    """The newest ``limit`` jobs (None: all), at least one page. Raises ClientError."""
    filters = [("state", state) for state in wanted.states]
    filters += [(name, value) for name, value in (("queue", wanted.queue), ("kind", wanted.kind)) if value is not None]
    return paging.read_pages(session, "/jobs", filters, limit=limit)


async def read_job(session: Session, job_id: str) -> Document | Refused:
    """One job, whole. Raises ClientError."""
    return await _asked(session, "GET", f"/jobs/{job_id}")


async def retry_job(session: Session, job_id: str) -> Document | Refused:
    """Make one job available again. Raises ClientError."""
    return await _asked(session, "POST", f"/jobs/{job_id}/retry")


async def cancel_job(session: Session, job_id: str) -> Document | Refused:
    """Cancel one job, or stop it when it runs. Raises ClientError."""
    return await _asked(session, "POST", f"/jobs/{job_id}/cancel")


async def retry_selected(session: Session, wanted: Selection) -> Document:
    """Retry all that fit; the counts. Raises ClientError."""
    return await ask(session, "POST", "/jobs/retry", payload=_filter(wanted), seconds=BULK_SECONDS)


async def cancel_selected(session: Session, wanted: Selection) -> Document:
    """Cancel all that fit; the counts. Raises ClientError."""
    return await ask(session, "POST", "/jobs/cancel", payload=_filter(wanted), seconds=BULK_SECONDS)


async def count_live(session: Session, wanted: Selection) -> Counted:
    """How many jobs that can be cancelled fit, counted to MOST_COUNTED. Raises ClientError."""
    live = tuple(state.value for state in JobState if not state.final)
    count, cursor = 0, None
    async with aclosing(
        read_pages(session, replace(wanted, states=wanted.states or live), limit=MOST_COUNTED)
    ) as pages:
        async for page in pages:
            count += len(page.items)
            cursor = page.next_cursor
    return Counted(jobs=count, or_more=cursor is not None)


async def read_queues(session: Session) -> Document:
    """All queues and the workers. Raises ClientError."""
    return await ask(session, "GET", "/queues")


async def pause_queue(session: Session, name: str) -> Document | Refused:
    """Let no worker take jobs of a queue. Raises ClientError."""
    return await _asked(session, "POST", f"/queues/{name}/pause")


async def resume_queue(session: Session, name: str) -> Document | Refused:
    """Let workers take jobs of a queue again. Raises ClientError."""
    return await _asked(session, "POST", f"/queues/{name}/resume")


async def _asked(session: Session, method: str, path: str) -> Document | Refused:
    with reaching():
        answer = await session.call(method, path)
    if answer.status in _ABOUT_THE_THING:
        return Refused(code=answer.code, reason=answer.reason)
    return accepted(session, answer)


def _filter(wanted: Selection) -> Document:
    members = {"state": list(wanted.states), "queue": wanted.queue, "kind": wanted.kind}
    return {key: value for key, value in members.items() if value} or {"all": True}
