"""Listing what failed for the caller's files, trying it again, and marking it as of no interest."""

import base64
import binascii
import json
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, Field, StrictBool

from lumilio.api.context import answer, body_of, caller_of, context_of, query_of
from lumilio.api.job_documents import Name
from lumilio.api.schemas import Body
from lumilio.catalog import problems
from lumilio.catalog.problems import ListedProblem, Position, ProblemFilter
from lumilio.errors import RequestError
from lumilio.jobs import retry_problems
from lumilio.model import AssetId, MediaKind
from lumilio.queue.store import Job

MAX_ASSETS = 1000
"""Assets that one request names."""


class _Filter(Body):
    """What problems are told apart by; what is not given fits everything."""

    code: Name | None = None
    step: Name | None = None
    tool: Name | None = None
    kind: MediaKind | None = None
    format: Name | None = None


class ProblemsQuery(_Filter):
    """Query of a listing; `cursor` is a previous answer's `next_cursor`, and may go with another filter."""

    asset_id: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=100)] | None = None
    ignored: bool | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: Annotated[str, Field(max_length=512)] | None = None


class _ManyProblems(_Filter):
    """Which problems something is done to."""

    asset_id: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=MAX_ASSETS)] | None = None
    all: StrictBool = False
    dry_run: StrictBool = False


class RetryProblemsBody(_ManyProblems):
    """Which problems: all that fit everything that is given. Without a filter `all` has to be true. With `dry_run`
    they are only counted."""

    ignored: StrictBool | None = None


class IgnoreProblemsBody(_ManyProblems):
    """Which problems: all that fit everything that is given. Without a filter `all` has to be true. `ignored` is what
    they become; with `dry_run` they are only counted."""

    ignored: StrictBool = True


class ListedProblemItem(BaseModel):
    """A step that failed for a file. `path` is relative to its repository, null when the file is not in place;
    `attempts` is how often it was tried in vain from `first_seen` to `last_seen`; `next_attempt` is when a job tries
    it again, null when none does by itself."""

    asset_id: UUID
    file_name: str
    path: str | None
    kind: Literal["photo", "video", "audio"]
    format: str
    step: str
    code: str
    reason: str
    tool: str | None
    tool_version: str | None
    attempts: int
    first_seen: datetime
    last_seen: datetime
    ignored: bool
    next_attempt: datetime | None


class ProblemCountItem(BaseModel):
    """How many files failed in one way."""

    code: str
    step: str
    problems: int


class ListedProblemItems(BaseModel):
    """A page, the newest failure first; `next_cursor` is null on the last one. `counts` is of all that fit, and only
    on the first page."""

    items: list[ListedProblemItem]
    next_cursor: str | None
    counts: list[ProblemCountItem] | None


class RetriedProblems(BaseModel):
    """`retried` assets are tried again soon; for `waiting` ones a job does that already."""

    retried: int
    waiting: int


class IgnoredProblems(BaseModel):
    """`changed` problems are ignored now, or are no longer."""

    changed: int


async def list_problems(request: web.Request) -> web.Response:
    """What failed for the caller's files outside the trash, the newest first, a page at a time."""
    query = query_of(request, ProblemsQuery, lists=frozenset({"asset_id"}))
    wanted, owner_id = _filter(query), caller_of(request).user_id
    after = _position(query.cursor) if query.cursor is not None else None
    async with context_of(request).library.db.session() as session:
        page = await problems.page(session, owner_id, wanted, after=after, limit=query.limit)
        waiting = await retry_problems.next_attempts(session, owner_id, page.items)
        counts = None
        if after is None:
            counts = [
                ProblemCountItem(code=each.code, step=each.step, problems=each.problems)
                for each in await problems.counts(session, owner_id, wanted)
            ]
    items = [_item(each, waiting.get((each.asset_id, each.problem.step))) for each in page.items]
    return answer(ListedProblemItems(items=items, next_cursor=_cursor(page.end), counts=counts))


async def try_problems_again(request: web.Request) -> web.Response:
    """Try the files of all problems that fit a filter again."""
    body = await body_of(request, RetryProblemsBody)
    _refuse_everything(body, body.ignored is not None)
    library, owner_id = context_of(request).library, caller_of(request).user_id
    wanted = _filter(body)
    done = await retry_problems.retry(library, owner_id, wanted, dry_run=body.dry_run)
    return answer(RetriedProblems(retried=done.retried, waiting=done.waiting))


async def ignore_problems(request: web.Request) -> web.Response:
    """Mark all problems that fit a filter as of no interest, or as of interest again."""
    body = await body_of(request, IgnoreProblemsBody)
    _refuse_everything(body, False)
    library, owner_id = context_of(request).library, caller_of(request).user_id
    changed = await retry_problems.set_ignored(
        library, owner_id, _filter(body), ignored=body.ignored, dry_run=body.dry_run
    )
    return answer(IgnoredProblems(changed=changed))


def _filter(asked: ProblemsQuery | RetryProblemsBody | IgnoreProblemsBody) -> ProblemFilter:
    return ProblemFilter(
        asset_ids=None if asked.asset_id is None else tuple(map(AssetId, asked.asset_id)),
        code=asked.code,
        step=asked.step,
        tool=asked.tool,
        kind=asked.kind,
        format=asked.format,
        ignored=asked.ignored,
    )


def _refuse_everything(body: _ManyProblems, filtered: bool) -> None:
    named = body.asset_id or body.code or body.step or body.tool or body.kind or body.format
    if not (named or filtered or body.all):
        raise RequestError(
            "a filter without anything means every problem; name asset_id, code, step, tool, kind or format, or send "
            '"all": true'
        )


def _item(listed: ListedProblem, job: Job | None) -> ListedProblemItem:
    problem = listed.problem
    return ListedProblemItem(
        asset_id=listed.asset_id,
        file_name=listed.file_name,
        path=listed.path,
        kind=listed.kind.value,
        format=listed.format,
        step=problem.step,
        code=problem.code,
        reason=problem.reason,
        tool=problem.tool,
        tool_version=problem.tool_version,
        attempts=listed.attempts,
        first_seen=listed.created_at,
        last_seen=listed.updated_at,
        ignored=listed.ignored_at is not None,
        next_attempt=job.run_at if job is not None else None,
    )


def _cursor(end: Position | None) -> str | None:
    if end is None:
        return None
    parts = [end.updated_at.isoformat(), str(end.asset_id), end.step]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _position(cursor: str) -> Position:
    try:
        at, asset_id, step = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
        if "\0" in step:
            raise ValueError(step)
        position = Position(
            updated_at=datetime.fromisoformat(at).astimezone(UTC), asset_id=UUID(asset_id), step=str(step)
        )
    except (binascii.Error, ValueError, TypeError, AttributeError, OverflowError) as exc:
        raise RequestError("the cursor is not one that this server gave out; start again without it") from exc
    return position
