"""Rows of assets: insert, find, list, and their problems."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from lumilio.db import Row, Tx
from lumilio.model import (
    AssetId,
    CaptureTime,
    CaptureTimeSource,
    ContentHash,
    Facts,
    MediaKind,
    MediaType,
    Place,
    Problem,
    ProcessingState,
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
    """What an insert needs. ``facts`` must have a media type and a capture time."""

    owner_id: UserId
    content_hash: ContentHash
    file_name: str
    size: int
    media_type: MediaType
    state: ProcessingState
    captured: CaptureTime
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
    captured_local: datetime
    captured_offset: timedelta | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetDetail(AssetSummary):
    """An asset with all that is known of it; ``facts`` holds what was read out of the file."""

    facts: Facts
    captured: CaptureTime
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
    """Insert an asset; None when the owner has one with these bytes already."""
    facts, place, captured = asset.facts, asset.facts.place, asset.captured
    offset = captured.utc_offset
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
        facts.width,
        facts.height,
        facts.orientation,
        facts.make,
        facts.model,
        facts.lens,
        facts.iso,
        facts.f_number,
        facts.exposure_time,
        facts.focal_length,
        facts.duration,
        captured.local,
        int(offset.total_seconds()) if offset is not None else None,
        captured.source,
        place.latitude if place else None,
        place.longitude if place else None,
        place.altitude if place else None,
        facts.exif,
    )
    return AssetId(inserted) if inserted is not None else None


async def set_state(
    tx: Tx, asset_id: AssetId, state: ProcessingState, *, width: int | None = None, height: int | None = None
) -> None:
    """Record how far processing came, and the displayed size when it was measured."""
    await tx.execute("assets.set_state", asset_id, state, width, height)


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
) -> AssetPage:
    """A page of the owner's assets outside the trash, by keyset: its cost does not grow with the position."""
    start = after or _before_all(sort, order)
    query = f"assets.page_{sort}_{order}"
    args: list[object] = [owner_id, start.value, start.asset_id, limit + 1]
    rows = await (tx.rows(query, *args) if kind is None else tx.rows(f"{query}_of_kind", *args, kind))
    shown = rows[:limit]
    end = None
    if len(rows) > limit:
        end = Position(value=shown[-1]["position"], asset_id=shown[-1]["id"])
    return AssetPage(items=[AssetSummary(**_summary(row)) for row in shown], end=end)


def _before_all(sort: SortKey, order: SortOrder) -> Position:
    # asyncpg sends the extreme datetimes as infinity and -infinity.
    extreme = datetime.max if order is SortOrder.DESC else datetime.min  # noqa: DTZ901
    value = extreme if sort is SortKey.CAPTURED else extreme.replace(tzinfo=UTC)
    return Position(value=value, asset_id=UUID(int=2**128 - 1 if order is SortOrder.DESC else 0))


async def set_trashed(tx: Tx, asset_id: AssetId, owner_id: UserId) -> bool:
    """Mark an asset as in the trash; False when it was, or is not the owner's."""
    return await tx.execute("assets.set_trashed", asset_id, owner_id) == 1


async def clear_trashed(tx: Tx, asset_id: AssetId, owner_id: UserId) -> bool:
    """Take an asset out of the trash; False when it was not there, or is not the owner's."""
    return await tx.execute("assets.clear_trashed", asset_id, owner_id) == 1


async def is_trashed(tx: Tx, asset_id: AssetId) -> bool:
    """Whether the asset is meant to be in the trash."""
    return bool(await tx.value("assets.is_trashed", asset_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderingInput:
    """What making derivatives needs to know of an asset."""

    id: AssetId
    content_hash: ContentHash
    size: int
    media_type: MediaType


async def get_for_rendering(tx: Tx, asset_id: AssetId) -> RenderingInput | None:
    """The asset, whoever owns it."""
    row = await tx.row("assets.for_rendering", asset_id)
    if row is None:
        return None
    return RenderingInput(
        id=AssetId(row["id"]),
        content_hash=ContentHash(row["content_hash"].hex()),
        size=row["size"],
        media_type=_media_type(row),
    )


async def record_problem(tx: Tx, asset_id: AssetId, problem: Problem) -> None:
    """Show a failed step beside its asset."""
    await tx.execute("assets.record_problem", asset_id, problem.step, problem.code, problem.reason)


async def problems_of(tx: Tx, asset_id: AssetId) -> Sequence[Problem]:
    """The steps that failed for an asset."""
    rows = await tx.rows("assets.problems_of", asset_id)
    return [Problem(code=row["code"], step=row["step"], reason=row["reason"]) for row in rows]


async def clear_problem(tx: Tx, asset_id: AssetId, step: str) -> None:
    """A step that failed before has succeeded."""
    await tx.execute("assets.clear_problem", asset_id, step)


def _media_type(row: Row) -> MediaType:
    return MediaType(kind=MediaKind(row["kind"]), format=row["format"], mime=row["mime"])


def _offset(seconds: int | None) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds is not None else None


def _summary(row: Row) -> dict[str, Any]:
    return {
        "id": AssetId(row["id"]),
        "content_hash": ContentHash(row["content_hash"].hex()),
        "file_name": row["file_name"],
        "size": row["size"],
        "media_type": _media_type(row),
        "state": ProcessingState(row["state"]),
        "width": row["width"],
        "height": row["height"],
        "captured_local": row["captured_local"],
        "captured_offset": _offset(row["captured_offset"]),
        "created_at": row["created_at"],
    }


def _detail(row: Row) -> AssetDetail:
    captured = CaptureTime(
        local=row["captured_local"],
        utc_offset=_offset(row["captured_offset"]),
        source=CaptureTimeSource(row["captured_source"]),
    )
    plain = ("width", "height", "orientation", "make", "model", "lens", "iso", "f_number", "exposure_time")
    facts = Facts(
        media_type=_media_type(row),
        **{key: row[key] for key in (*plain, "focal_length", "duration", "exif")},
        capture_time=captured,
        place=Place.of(row["latitude"], row["longitude"], row["altitude"]),
    )
    return AssetDetail(
        **_summary(row),
        facts=facts,
        captured=captured,
        updated_at=row["updated_at"],
        trashed_at=row["trashed_at"],
        thumbnails=row["thumbnails"],
        albums=row["albums"],
        tags=row["tags"],
        problems=[Problem(code=item["code"], step=item["step"], reason=item["reason"]) for item in row["problems"]],
    )
