"""Rows of assets: insert, find, list, and their problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from lumilio.catalog.facts import (
    add_file_tags,
    facts_columns,
    facts_of,
    media_type_of,
    music_of,
    offset_of,
    streams_of,
    unsigned,
)
from lumilio.db import Row, Tx
from lumilio.model import (
    AssetId,
    CompanionRole,
    ContentHash,
    Facts,
    MediaKind,
    MediaType,
    MotionVideo,
    Music,
    Playback,
    Problem,
    ProcessingState,
    RenderSource,
    Streams,
    UserId,
)


class SortKey(StrEnum):
    """What a listing is ordered by."""

    CAPTURED = "captured"
    ADDED = "added"


class SortOrder(StrEnum):
    """Newest first or oldest first."""

    DESC = "desc"
    ASC = "asc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where a page of a listing ended: the sort value and the id of its last asset."""

    value: datetime
    asset_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """When the assets of a listing were recorded, each end open when None: by the wall clock there (``local_from`` and
    before ``local_to``, naive), and by instants (from ``after`` on and before ``before``, aware), which leave out those
    whose distance from UTC is unknown."""

    local_from: datetime | None = None
    local_to: datetime | None = None
    after: datetime | None = None
    before: datetime | None = None


EVER = Period()


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownAsset:
    """The asset that already has certain bytes."""

    id: AssetId
    state: ProcessingState
    trashed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFile:
    """Bytes that an asset has, ``size`` of them; whether they are there is for the disk to say."""

    content_hash: ContentHash
    asset_id: AssetId
    size: int
    trashed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAsset:
    """What an insert needs."""

    owner_id: UserId
    content_hash: ContentHash
    file_name: str
    size: int
    media_type: MediaType
    state: ProcessingState
    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetSummary:
    """An asset as listings show it."""

    id: AssetId
    content_hash: ContentHash
    file_name: str
    size: int
    media_type: MediaType
    state: ProcessingState
    width: int | None
    height: int | None
    duration: float | None
    rating: int | None
    thumbhash: bytes | None
    captured_local: datetime
    captured_offset: timedelta | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetDetail(AssetSummary):
    """An asset with all that is known of it; ``facts`` holds what was read out of the file and its sidecars."""

    facts: Facts
    streams: Streams | None
    music: Music | None
    render_source: RenderSource | None
    perceptual_hash: int | None
    primary_id: AssetId | None
    companion_role: CompanionRole | None
    companions: Sequence[Mapping[str, Any]]
    sidecars: Sequence[Mapping[str, str]]
    web_version: Mapping[str, Any] | None
    updated_at: datetime
    trashed_at: datetime | None
    thumbnails: Sequence[Mapping[str, int]]
    albums: Sequence[Mapping[str, Any]]
    tags: Sequence[Mapping[str, Any]]
    problems: Sequence[Problem]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetPage:
    """Part of a listing; ``end`` is None on its last page."""

    items: Sequence[AssetSummary]
    end: Position | None


async def find_by_hash(tx: Tx, owner_id: UserId, content_hash: ContentHash) -> KnownAsset | None:
    """The owner's asset with these bytes, in the trash or not."""
    row = await tx.row("assets.by_hash", owner_id, bytes.fromhex(content_hash))
    if row is None:
        return None
    return KnownAsset(id=AssetId(row["id"]), state=ProcessingState(row["state"]), trashed=row["trashed_at"] is not None)


async def known_files(tx: Tx, owner_id: UserId, hashes: Sequence[ContentHash]) -> Sequence[KnownFile]:
    """Which of the hashes the owner has, in the trash or not."""
    rows = await tx.rows("assets.known_files", owner_id, [bytes.fromhex(digest) for digest in hashes])
    return [
        KnownFile(
            content_hash=ContentHash(row["content_hash"].hex()),
            asset_id=AssetId(row["id"]),
            size=row["size"],
            trashed=row["trashed"],
        )
        for row in rows
    ]


async def add_asset(tx: Tx, asset: NewAsset) -> AssetId | None:
    """Insert an asset with the tags of its file; None when the owner has one with these bytes already."""
    inserted = await tx.value(
        "assets.insert",
        asset.owner_id,
        bytes.fromhex(asset.content_hash),
        asset.file_name,
        asset.size,
        asset.media_type.kind,
        asset.media_type.format,
        asset.media_type.mime,
        asset.state,
        asset.facts.exif,
        facts_columns(asset.facts),
    )
    if inserted is None:
        return None
    await add_file_tags(tx, AssetId(inserted), asset.owner_id, asset.facts.keywords)
    return AssetId(inserted)


async def set_state(tx: Tx, asset_id: AssetId, state: ProcessingState) -> None:
    """Record how far processing came."""
    await tx.execute("assets.set_state", asset_id, state)


async def get_asset(tx: Tx, asset_id: AssetId, owner_id: UserId) -> AssetDetail | None:
    """One asset of the owner, in the trash or not."""
    row = await tx.row("assets.get", asset_id, owner_id)
    return _detail(row) if row else None


async def list_assets(
    tx: Tx,
    owner_id: UserId,
    *,
    kind: MediaKind | None,
    sort: SortKey,
    order: SortOrder,
    after: Position | None,
    limit: int,
    period: Period = EVER,
) -> AssetPage:
    """A page of the owner's assets outside the trash, by keyset: its cost does not grow with the position."""
    start = after or _before_all(sort, order)
    query = f"assets.page_{sort}_{order}"
    # asyncpg sends the extreme datetimes as infinity and -infinity.
    begin, end_of_time = period.local_from or datetime.min, period.local_to or datetime.max  # noqa: DTZ901
    args: list[object] = [owner_id, start.value, start.asset_id, limit + 1]
    args += [begin, end_of_time, period.after, period.before]
    rows = await (tx.rows(query, *args) if kind is None else tx.rows(f"{query}_of_kind", *args, kind))
    shown = rows[:limit]
    end = None
    if len(rows) > limit:
        end = Position(value=shown[-1]["position"], asset_id=shown[-1]["id"])
    return AssetPage(items=[AssetSummary(**_summary(row)) for row in shown], end=end)


def _before_all(sort: SortKey, order: SortOrder) -> Position:
    extreme = datetime.max if order is SortOrder.DESC else datetime.min  # noqa: DTZ901
    value = extreme if sort is SortKey.CAPTURED else extreme.replace(tzinfo=UTC)
    return Position(value=value, asset_id=UUID(int=2**128 - 1 if order is SortOrder.DESC else 0))


async def set_trashed(tx: Tx, asset_id: AssetId, owner_id: UserId) -> Sequence[AssetId]:
    """Mark an asset and its companions as in the trash: those that were not. Nothing when it is not the owner's.

    A companion that is trashed without its primary hangs on it no more.
    """
    await tx.rows("assets.lock_shot", asset_id, owner_id)
    return [AssetId(row["id"]) for row in await tx.rows("assets.set_trashed", asset_id, owner_id)]


async def clear_trashed(tx: Tx, asset_id: AssetId, owner_id: UserId) -> Sequence[AssetId]:
    """Take an asset and its companions out of the trash: those that were there. Nothing when it is not the owner's.

    A companion that comes back without its primary stands alone.
    """
    await tx.rows("assets.lock_shot", asset_id, owner_id)
    return [AssetId(row["id"]) for row in await tx.rows("assets.clear_trashed", asset_id, owner_id)]


async def is_trashed(tx: Tx, asset_id: AssetId) -> bool:
    """Whether the asset is meant to be in the trash."""
    return bool(await tx.value("assets.is_trashed", asset_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderingInput:
    """What making derivatives needs to know of an asset."""

    id: AssetId
    owner_id: UserId
    content_hash: ContentHash
    file_name: str
    size: int
    media_type: MediaType
    state: ProcessingState
    duration: float | None
    playback: Playback | None
    motion: MotionVideo | None


async def get_for_rendering(tx: Tx, asset_id: AssetId) -> RenderingInput | None:
    """The asset, whoever owns it."""
    row = await tx.row("assets.for_rendering", asset_id)
    if row is None:
        return None
    return RenderingInput(
        id=AssetId(row["id"]),
        owner_id=UserId(row["owner_id"]),
        content_hash=ContentHash(row["content_hash"].hex()),
        file_name=row["file_name"],
        size=row["size"],
        media_type=media_type_of(row),
        state=ProcessingState(row["state"]),
        duration=row["duration"],
        playback=Playback(row["playback"]) if row["playback"] else None,
        motion=MotionVideo(offset=row["motion_offset"], bytes=row["motion_bytes"]) if row["motion_offset"] else None,
    )


def _summary(row: Row) -> dict[str, Any]:
    return {
        "id": AssetId(row["id"]),
        "content_hash": ContentHash(row["content_hash"].hex()),
        "file_name": row["file_name"],
        "size": row["size"],
        "media_type": media_type_of(row),
        "state": ProcessingState(row["state"]),
        "width": row["width"],
        "height": row["height"],
        "duration": row["duration"],
        "rating": row["rating"],
        "thumbhash": row["thumbhash"],
        "captured_local": row["captured_local"],
        "captured_offset": offset_of(row["captured_offset"]),
        "created_at": row["created_at"],
    }


def _detail(row: Row) -> AssetDetail:
    return AssetDetail(
        **_summary(row),
        facts=facts_of(row),
        streams=streams_of(row),
        music=music_of(row["music"]),
        render_source=RenderSource(row["render_source"]) if row["render_source"] else None,
        perceptual_hash=unsigned(row["perceptual_hash"]),
        primary_id=AssetId(row["primary_id"]) if row["primary_id"] else None,
        companion_role=CompanionRole(row["companion_role"]) if row["companion_role"] else None,
        companions=row["companions"],
        sidecars=row["sidecars"],
        web_version=row["web_version"],
        updated_at=row["updated_at"],
        trashed_at=row["trashed_at"],
        thumbnails=row["thumbnails"],
        albums=row["albums"],
        tags=row["tags"],
        problems=[Problem(**item) for item in row["problems"]],
    )
