"""Listing assets, showing one, its pictures and its original, and the way into the trash and out again."""

import asyncio
import base64
import binascii
import json
import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, BinaryIO, Literal
from urllib.parse import quote
from uuid import UUID

from aiohttp import web
from pydantic import AwareDatetime, ConfigDict, Field

from lumilio.api.asset_documents import THUMBNAIL_NAMES, asset_document, asset_item
from lumilio.api.context import Context, answer, body_of, caller_of, context_of, id_of, query_of
from lumilio.api.files import StoredFile
from lumilio.api.schemas import (
    AssetItem,
    AssetItems,
    Body,
    CheckBody,
    CheckResult,
    CheckResults,
    RenderBody,
    RenderOrder,
)
from lumilio.catalog import assets, locations, thumbnails
from lumilio.catalog.assets import AssetDetail, Period, Position, SortKey, SortOrder
from lumilio.errors import Conflict, NotFound, OriginalMissing, RequestError
from lumilio.jobs import join_companions, process_asset, render_asset, settle_trash
from lumilio.jobs.find_known import find_known
from lumilio.jobs.library import Library
from lumilio.model import AssetId, MediaKind, ProcessingState, UserId, parse_content_hash
from lumilio.queue import store
from lumilio.queue.policy import Priority
from lumilio.storage import derivatives
from lumilio.storage.disk import run_blocking

THUMBNAIL_SIZE_OF = {name: size for size, name in THUMBNAIL_NAMES.items()}
CACHE_THUMBNAIL = "private, max-age=86400"
CACHE_ORIGINAL = "private, no-cache"
LOOK_AGAIN = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Seconds to wait after each look for an original that is not where its rows say: a move takes some milliseconds."""


class ListQuery(Body):
    """Query of a listing; `cursor` is a previous answer's `next_cursor`, with the same sort, order and type.

    `from` and `to` are days on the calendar where it was recorded, both included; `after` (included) and `before` are
    instants, which leave out what is not known to the instant.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=False)

    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: Annotated[str, Field(max_length=512)] | None = None
    type: MediaKind | None = None
    sort: SortKey = SortKey.CAPTURED
    order: SortOrder = SortOrder.DESC
    first_day: date | None = Field(default=None, alias="from")
    last_day: date | None = Field(default=None, alias="to")
    after: AwareDatetime | None = None
    before: AwareDatetime | None = None


class ThumbnailQuery(Body):
    """Longest side: small 150, medium 300, large 1024 pixels."""

    size: Literal["small", "medium", "large"] = "medium"


async def list_assets(request: web.Request) -> web.Response:
    """The caller's assets outside the trash, a page at a time."""
    query = query_of(request, ListQuery)
    async with context_of(request).library.db.session() as session:
        page = await assets.list_assets(
            session,
            caller_of(request).user_id,
            kind=query.type,
            sort=query.sort,
            order=query.order,
            after=_position(query) if query.cursor else None,
            limit=query.limit,
            period=_period(query),
        )
    items = [AssetItem.model_construct(**asset_item(asset)) for asset in page.items]
    return answer(AssetItems(items=items, next_cursor=_cursor(query, page.end) if page.end else None))


def _period(query: ListQuery) -> Period:
    first, last = query.first_day, query.last_day
    return Period(
        local_from=datetime.combine(first, time.min) if first else None,
        local_to=datetime.combine(last, time.min) + timedelta(days=1) if last and last < date.max else None,
        after=query.after,
        before=query.before,
    )


def _cursor(query: ListQuery, end: Position) -> str:
    parts = [*_listing(query), end.value.isoformat(), str(end.asset_id)]
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


def _listing(query: ListQuery) -> list[str]:
    return [query.sort.value, query.order.value, query.type.value if query.type else ""]


def _position(query: ListQuery) -> Position:
    text = query.cursor or ""
    try:
        *listing, value, asset_id = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), b"-_", validate=True))
        at = datetime.fromisoformat(value)
        is_sortable = (at.tzinfo is None) == (query.sort is SortKey.CAPTURED)
        position = Position(value=at if at.tzinfo is None else at.astimezone(UTC), asset_id=UUID(asset_id))
    except (binascii.Error, ValueError, TypeError, AttributeError, OverflowError) as exc:
        raise RequestError("the cursor is not one that this server gave out; start again without it") from exc
    if listing != _listing(query) or not is_sortable:
        raise RequestError("the cursor belongs to another sort, order or type; start again without it")
    return position


async def get_asset(request: web.Request) -> web.Response:
    """One asset with its facts, thumbnails, albums, tags and problems; in the trash too."""
    return answer(asset_document(await asset_of(request)))


async def asset_of(request: web.Request) -> AssetDetail:
    """The caller's asset that the path names. Raises NotFound."""
    asset_id = AssetId(id_of(request, "asset_id"))
    async with context_of(request).library.db.session() as session:
        asset = await assets.get_asset(session, asset_id, caller_of(request).user_id)
    if asset is None:
        raise NotFound(f"asset {str(asset_id)!r} does not exist")
    return asset


async def get_thumbnail(request: web.Request) -> web.StreamResponse:
    """A thumbnail as WebP. A lost one is made again: 404 until it is there."""
    context = context_of(request)
    query = query_of(request, ThumbnailQuery)
    asset_id = AssetId(id_of(request, "asset_id"))
    size = THUMBNAIL_SIZE_OF[query.size]
    async with context.library.db.session() as session:
        row = await thumbnails.find_thumbnail(session, asset_id, size, caller_of(request).user_id)
    if row is None:
        raise NotFound(f"asset {str(asset_id)!r} has no {query.size} thumbnail")
    repository = context.library.repository(row.repository_id)
    path = derivatives.thumbnail_path(repository, row.content_hash, size)
    file = await run_blocking(open_whole, path, row.bytes)
    if file is None:
        await run_blocking(repository.check_online)
        if row.state is ProcessingState.PROBLEM:
            raise NotFound(f"the {query.size} thumbnail of asset {str(asset_id)!r} is lost and could not be made again")
        await _render_again(context, asset_id, caller_of(request).user_id)
        raise NotFound(f"the {query.size} thumbnail of asset {str(asset_id)!r} is being made again; ask later")
    return StoredFile(file, {"Cache-Control": CACHE_THUMBNAIL, "Content-Type": "image/webp"})


def open_whole(path: Path, size: int) -> BinaryIO | None:
    """A derivative with the ``size`` in bytes that its row states, or None when it is lost. Blocks."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if os.fstat(file.fileno()).st_size == size:
        return file
    file.close()
    return None


async def _render_again(context: Context, asset_id: AssetId, owner_id: UserId) -> None:
    async with context.library.db.transaction() as tx:
        await store.enqueue(tx, render_asset.spec(asset_id, owner_id))
    context.library.wake_queue(render_asset.QUEUE)


async def render_asset_again(request: web.Request) -> web.Response:
    """Make the thumbnails of an asset anew."""
    asset = await asset_of(request)
    body = await body_of(request, RenderBody)
    context = context_of(request)
    spec = render_asset.spec(asset.id, caller_of(request).user_id, facts=body.facts, full=body.full)
    async with context.library.db.transaction() as tx:
        enqueued = await store.enqueue(tx, replace(spec, priority=Priority.INTERACTIVE))
    context.library.wake_queue(render_asset.QUEUE)
    return answer(RenderOrder(job_id=str(enqueued.job_id)), status=202)


async def get_original(request: web.Request) -> web.StreamResponse:
    """The original, bit for bit, with ranges."""
    asset = await asset_of(request)
    file = await open_original(context_of(request).library, asset)
    headers = {
        "Cache-Control": CACHE_ORIGINAL,
        "Content-Type": asset.media_type.mime,
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(asset.file_name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    return StoredFile(file, headers)


async def open_original(library: Library, asset: AssetDetail) -> BinaryIO:
    """A file on its way into the trash or out of it moves shortly before its row tells, so it is looked for again.

    Raises RepositoryOffline and OriginalMissing.
    """
    for pause in LOOK_AGAIN:
        async with library.db.session() as session:
            places = await locations.locations_of(session, asset.id)
        with suppress(OriginalMissing, FileNotFoundError):
            place = await library.present_location(tuple(places), asset.size)
            path = await run_blocking(library.repository(place.repository_id).resolve, place.current_path)
            return await run_blocking(path.open, "rb")
        await asyncio.sleep(pause)
    raise OriginalMissing(f"no file of asset {str(asset.id)!r} is where it should be; upload it again to repair it")


async def delete_asset(request: web.Request) -> web.Response:
    """Move an asset to the trash; nothing is lost before the trash is emptied."""
    await _set_trashed(request, trashed=True)
    return web.Response(status=204)


async def restore_asset(request: web.Request) -> web.Response:
    """Take an asset out of the trash."""
    await _set_trashed(request, trashed=False)
    await join_companions.join_committed(context_of(request).library, AssetId(id_of(request, "asset_id")))
    return answer(asset_document(await asset_of(request)))


async def _set_trashed(request: web.Request, *, trashed: bool) -> None:
    asset = await asset_of(request)
    context = context_of(request)
    owner_id = caller_of(request).user_id
    async with context.library.db.transaction() as tx:
        change = assets.set_trashed if trashed else assets.clear_trashed
        changed = await change(tx, asset.id, owner_id)
        if asset.id not in changed:
            raise Conflict(f"asset {str(asset.id)!r} is {'already' if trashed else 'not'} in the trash")
        await store.enqueue_many(tx, [settle_trash.spec(each, owner_id) for each in changed])
    context.library.wake_queue(settle_trash.QUEUE)


async def check_assets(request: web.Request) -> web.Response:
    """Which files the library has already, by BLAKE3 digest: a hint that saves sending them."""
    body = await body_of(request, CheckBody)
    owner_id = caller_of(request).user_id
    hashes = [parse_content_hash(text) for text in body.hashes]
    library = context_of(request).library
    known = await find_known(library, owner_id, hashes)
    async with library.db.session() as session:
        unknown = {digest: process_asset.key(owner_id, digest) for digest in hashes if digest not in known}
        live = await store.live_ids(session, process_asset.KIND, list(unknown.values()))
    results = []
    for digest in hashes:
        if (file := known.get(digest)) is not None:
            found = CheckResult(content_hash=digest, status="known", asset_id=file.asset_id, trashed=file.trashed)
            results.append(found)
        elif (job_id := live.get(unknown[digest])) is not None:
            results.append(CheckResult(content_hash=digest, status="processing", task_id=str(job_id)))
        else:
            results.append(CheckResult(content_hash=digest, status="unknown"))
    return answer(CheckResults(results=results))
