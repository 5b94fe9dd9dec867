"""Bulk changes of capture times: begin one, and see how far each came."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, Field, NaiveDatetime, StrictBool, StrictInt

from lumilio.api.context import answer, body_of, caller_of, context_of, query_of
from lumilio.api.schemas import Body
from lumilio.catalog import time_changes
from lumilio.catalog.time_changes import Selection, TimeChange
from lumilio.db import Tx
from lumilio.errors import RequestError
from lumilio.jobs import change_times
from lumilio.model import AssetId, MediaKind
from lumilio.queue import store
from lumilio.queue.policy import JobState
from lumilio.queue.store import Job

MAX_NAMED = 3000
"""Assets that one change names: what a body has room for."""
LONGEST_SHIFT = 200 * 365 * 86400
"""Seconds, about two hundred years: no camera's clock is further off."""

Pattern = Annotated[str, Field(pattern=r"^[^\x00]{1,255}$")]
"""`*` and `?` stand for any characters and any one."""
ChangeState = Literal["waiting", "running", "ended", "stopped"]


class TimeSelection(Body):
    """Which assets outside the trash: all that fit everything that is given. Without anything `all` has to be true.

    `ids` stands for all files of the same shots. `captured_from` and `captured_to`, which is not included, are wall
    clocks. In `make`, `model` and `file_name`, `*` and `?` stand for any characters and any one; case is ignored.
    """

    ids: Annotated[tuple[UUID, ...], Field(min_length=1, max_length=MAX_NAMED)] | None = None
    captured_from: NaiveDatetime | None = None
    captured_to: NaiveDatetime | None = None
    kind: MediaKind | None = None
    make: Pattern | None = None
    model: Pattern | None = None
    file_name: Pattern | None = None
    all: StrictBool = False


class ChangeTimesBody(Body):
    """`shift_seconds` moves the clocks; null reads the times out of the facts again, with `discard_edits` those that
    people set as well. With `dry_run` the assets are only counted."""

    shift_seconds: Annotated[StrictInt, Field(ge=-LONGEST_SHIFT, le=LONGEST_SHIFT)] | None
    selection: TimeSelection
    discard_edits: StrictBool = False
    dry_run: StrictBool = False


class TimeChangesQuery(Body):
    """Query of a listing, or of one change by its `id`; `cursor` is a previous answer's `next_cursor`."""

    id: UUID | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: UUID | None = None


class ChosenAssets(BaseModel):
    """What a change was asked for; `named` is how many assets were named by their ids."""

    named: int | None
    captured_from: datetime | None
    captured_to: datetime | None
    kind: Literal["photo", "video", "audio"] | None
    make: str | None
    model: str | None
    file_name: str | None


class TimeChangeItem(BaseModel):
    """A change. `ended`: all assets are done; `stopped`: its job was cancelled or discarded, and goes on where it was
    when it is retried. `changed` assets have another time than before; `progress` is a share from 0 to 1."""

    id: UUID
    state: ChangeState
    job_id: str | None
    shift_seconds: int | None
    discard_edits: bool
    selection: ChosenAssets
    changed: int
    progress: float | None
    created_at: datetime
    ended_at: datetime | None


class TimeChangeItems(BaseModel):
    """A page, newest first; `next_cursor` is null on the last one."""

    items: list[TimeChangeItem]
    next_cursor: str | None


class BegunTimeChange(TimeChangeItem):
    """A change that has begun, with how many assets fit at that moment."""

    matching: int


class MatchingAssets(BaseModel):
    """How many assets a change would visit."""

    matching: int


async def begin_time_change(request: web.Request) -> web.Response:
    """Shift the capture times of many assets, or read them out of their files' facts again."""
    body = await body_of(request, ChangeTimesBody)
    selection, shift = _selection(body.selection), _shift(body)
    library, owner_id = context_of(request).library, caller_of(request).user_id
    async with library.db.transaction() as tx:
        matching = await time_changes.count_selected(tx, owner_id, selection)
        if body.dry_run:
            return answer(MatchingAssets(matching=matching))
        change, enqueued = await change_times.begin(tx, owner_id, shift, selection, discard_edits=body.discard_edits)
        jobs = await store.get_jobs(tx, [enqueued.job_id])
    library.wake_queue(change_times.QUEUE)
    item = _item(change, jobs[enqueued.job_id])
    return answer(BegunTimeChange(**item.model_dump(), matching=matching), status=202)


async def list_time_changes(request: web.Request) -> web.Response:
    """The caller's bulk changes of capture times, newest first, a page at a time."""
    query = query_of(request, TimeChangesQuery)
    only = time_changes.TimeChangeId(query.id) if query.id is not None else None
    before = time_changes.TimeChangeId(query.cursor) if query.cursor is not None else None
    async with context_of(request).library.db.session() as session:
        found = await time_changes.list_changes(
            session, caller_of(request).user_id, only=only, before=before, limit=query.limit + 1
        )
        page = found[: query.limit]
        jobs = await _live_jobs(session, page)
    items = [_item(change, jobs.get(str(change.id))) for change in page]
    return answer(TimeChangeItems(items=items, next_cursor=str(page[-1].id) if len(found) > len(page) else None))


async def _live_jobs(tx: Tx, changes: Sequence[TimeChange]) -> Mapping[str, Job]:
    ids = await store.live_ids(tx, change_times.KIND, [str(change.id) for change in changes])
    jobs = await store.get_jobs(tx, list(ids.values()))
    return {key: jobs[job_id] for key, job_id in ids.items() if job_id in jobs}


def _selection(chosen: TimeSelection) -> Selection:
    """Raises RequestError."""
    selection = Selection(
        ids=None if chosen.ids is None else tuple(map(AssetId, dict.fromkeys(chosen.ids))),
        captured_from=chosen.captured_from,
        captured_to=chosen.captured_to,
        kind=chosen.kind,
        make=chosen.make,
        model=chosen.model,
        file_name=chosen.file_name,
    )
    if selection == Selection() and not chosen.all:
        raise RequestError(
            "a selection without anything means every asset; name ids, captured_from, captured_to, kind, make, model "
            'or file_name, or send "all": true'
        )
    return selection


def _shift(body: ChangeTimesBody) -> timedelta | None:
    """Raises RequestError."""
    if body.shift_seconds is None:
        return None
    if body.shift_seconds == 0:
        raise RequestError("shift_seconds is 0, which changes nothing; send null to read the times again")
    if body.discard_edits:
        raise RequestError("discard_edits goes with shift_seconds null only: a shift is an edit itself")
    return timedelta(seconds=body.shift_seconds)


def _item(change: TimeChange, job: Job | None) -> TimeChangeItem:
    chosen = change.selection
    return TimeChangeItem(
        id=change.id,
        state=_state(change, job),
        job_id=str(job.id) if job is not None else None,
        shift_seconds=None if change.shift is None else change.shift // timedelta(seconds=1),
        discard_edits=change.discard_edits,
        selection=ChosenAssets(
            named=None if chosen.ids is None else len(chosen.ids),
            captured_from=chosen.captured_from,
            captured_to=chosen.captured_to,
            kind=chosen.kind.value if chosen.kind else None,
            make=chosen.make,
            model=chosen.model,
            file_name=chosen.file_name,
        ),
        changed=change.changed,
        progress=job.progress if job is not None and change.ended_at is None else None,
        created_at=change.created_at,
        ended_at=change.ended_at,
    )


def _state(change: TimeChange, job: Job | None) -> ChangeState:
    if change.ended_at is not None:
        return "ended"
    if job is None:
        return "stopped"
    return "running" if job.state is JobState.RUNNING else "waiting"
