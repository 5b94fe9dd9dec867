"""What was read out of files, into the columns of assets and back."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from lumilio.db import Row, Tx
from lumilio.model import (
    AssetId,
    CaptureTime,
    CaptureTimeSource,
    Confidence,
    Facts,
    MediaKind,
    MediaType,
    MotionVideo,
    Music,
    OffsetSource,
    PersonRegion,
    Place,
    Playback,
    ProcessingState,
    Rendition,
    Sidecar,
    SidecarKind,
    Streams,
    UserId,
    Whereabouts,
)

_PLAIN = (
    "width", "height", "orientation", "make", "model", "lens", "iso", "f_number", "exposure_time", "focal_length",
    "duration", "title", "description", "rating", "content_identifier",
)  # fmt: skip
_SIGN = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsInput:
    """All that the facts of an asset are derived from; ``modified`` is aware."""

    id: AssetId
    owner_id: UserId
    file_name: str
    size: int
    media_type: MediaType
    exif: dict[str, object]
    modified: datetime
    sidecars: Sequence[Sidecar]


async def get_for_facts(tx: Tx, asset_id: AssetId) -> FactsInput | None:
    """What the asset's facts are read from; locks its row."""
    row = await tx.row("facts.input", asset_id)
    if row is None:
        return None
    return FactsInput(
        id=AssetId(row["id"]),
        owner_id=UserId(row["owner_id"]),
        file_name=row["file_name"],
        size=row["size"],
        media_type=media_type_of(row),
        exif=row["exif"],
        modified=row["modified"],
        sidecars=[Sidecar(kind=SidecarKind(each["kind"]), tags=each["tags"]) for each in row["sidecars"]],
    )


async def update_facts(tx: Tx, asset: FactsInput, facts: Facts, *, discard_edits: bool = False) -> None:
    """Put newly read facts in place of the old ones; a capture time that a person set stays, unless discarded."""
    await tx.execute("facts.update", asset.id, facts_columns(facts), facts.exif, discard_edits)
    await tx.execute("facts.drop_file_tags", asset.id, list(facts.keywords))
    await add_file_tags(tx, asset.id, asset.owner_id, facts.keywords)


async def set_media_type(tx: Tx, asset_id: AssetId, media_type: MediaType) -> None:
    """Another look has recognised the content as something else."""
    await tx.execute("facts.set_media_type", asset_id, media_type.kind, media_type.format, media_type.mime)


async def add_file_tags(tx: Tx, asset_id: AssetId, owner_id: UserId, keywords: Sequence[str]) -> None:
    """Tag an asset with the keywords that its file or sidecar carries."""
    if keywords:
        await tx.execute("facts.add_tags", owner_id, list(keywords))
        await tx.execute("facts.put_file_tags", asset_id, owner_id, list(keywords))


async def set_rendition(
    tx: Tx, asset_id: AssetId, rendition: Rendition, *, state: ProcessingState = ProcessingState.READY
) -> None:
    """Record what a processor made of the file, which is ready by that, or what stands in for it."""
    hashed = rendition.perceptual_hash
    await tx.execute(
        "facts.set_rendition",
        asset_id,
        rendition.width,
        rendition.height,
        rendition.source,
        None if hashed is None else hashed - 2 * _SIGN if hashed >= _SIGN else hashed,
        rendition.thumbhash,
        asdict(rendition.music) if rendition.music else None,
        asdict(rendition.streams) if rendition.streams else None,
        state,
    )


def facts_columns(facts: Facts) -> dict[str, object]:
    """Facts as a document of columns, without ``exif``."""
    place, where, motion = facts.place, facts.whereabouts, facts.motion
    return {
        **{name: getattr(facts, name) for name in _PLAIN},
        **captured_columns(facts.capture_time),
        "latitude": place.latitude if place else None,
        "longitude": place.longitude if place else None,
        "altitude": place.altitude if place else None,
        "people": [asdict(person) for person in facts.people],
        "country_code": where.country_code if where else None,
        "country": where.country if where else None,
        "region": where.region if where else None,
        "city": where.city if where else None,
        "motion_offset": motion.offset if motion else None,
        "motion_bytes": motion.bytes if motion else None,
    }


def captured_columns(captured: CaptureTime) -> dict[str, object]:
    """A capture time as its columns."""
    offset = captured.utc_offset
    return {
        "captured_local": captured.local.isoformat(),
        "captured_offset": int(offset.total_seconds()) if offset is not None else None,
        "captured_source": captured.source.value,
        "captured_offset_source": captured.offset_source.value if captured.offset_source else None,
        "captured_confidence": captured.confidence.value,
        "captured_zone": captured.zone,
    }


def facts_of(row: Row) -> Facts:
    """The facts that a row of assets holds."""
    city = row["city"]
    return Facts(
        media_type=media_type_of(row),
        **{name: row[name] for name in _PLAIN},
        capture_time=CaptureTime(
            local=row["captured_local"],
            utc_offset=offset_of(row["captured_offset"]),
            source=CaptureTimeSource(row["captured_source"]),
            offset_source=OffsetSource(row["captured_offset_source"]) if row["captured_offset_source"] else None,
            confidence=Confidence(row["captured_confidence"]),
            zone=row["captured_zone"],
        ),
        place=Place.of(row["latitude"], row["longitude"], row["altitude"]),
        whereabouts=Whereabouts(
            country_code=row["country_code"], country=row["country"], region=row["region"], city=city
        )
        if city
        else None,
        people=tuple(PersonRegion(**person) for person in row["people"]),
        motion=MotionVideo(offset=row["motion_offset"], bytes=row["motion_bytes"]) if row["motion_offset"] else None,
        exif=row["exif"],
    )


def streams_of(row: Row) -> Streams | None:
    """The streams that a row of assets holds."""
    if row["container"] is None or row["playback"] is None:
        return None
    values: dict[str, Any] = {each.name: row[each.name] for each in fields(Streams)}
    return Streams(**{**values, "playback": Playback(row["playback"])})


def music_of(document: Mapping[str, Any] | None) -> Music | None:
    """The tags of a piece of music as they were stored."""
    return Music(**document) if document else None


def unsigned(perceptual_hash: int | None) -> int | None:
    """A perceptual hash as it was before PostgreSQL, which has no unsigned numbers."""
    return None if perceptual_hash is None else perceptual_hash % (2 * _SIGN)


def media_type_of(row: Row) -> MediaType:
    """The media type that a row of assets holds."""
    return MediaType(kind=MediaKind(row["kind"]), format=row["format"], mime=row["mime"])


def offset_of(seconds: int | None) -> timedelta | None:
    """A distance from UTC as it was stored."""
    return timedelta(seconds=seconds) if seconds is not None else None
