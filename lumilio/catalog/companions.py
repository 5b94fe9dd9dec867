"""Rows that may be of one shot, and how they are joined."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lumilio.db import Tx
from lumilio.model import AssetId, CaptureTimeSource, CompanionRole, MediaKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ShotFile:
    """One file of a shot, with what tells whether another belongs to it. ``stem`` is its name in lower case without
    the extension, ``places`` are repository id and path of its locations, ``repository:path``."""

    id: AssetId
    kind: MediaKind
    format: str
    stem: str
    model: str | None
    duration: float | None
    content_identifier: str | None
    captured_local: datetime
    captured_utc: datetime | None
    captured_source: CaptureTimeSource
    places: Sequence[str]
    primary_id: AssetId | None
    is_primary: bool
    trashed: bool


async def candidates(tx: Tx, asset_id: AssetId) -> Sequence[ShotFile]:
    """The asset itself and at most 49 others by Apple's identifier, or by name and day."""
    return [
        ShotFile(
            id=AssetId(row["id"]),
            kind=MediaKind(row["kind"]),
            format=row["format"],
            stem=row["stem"],
            model=row["model"],
            duration=row["duration"],
            content_identifier=row["content_identifier"],
            captured_local=row["captured_local"],
            captured_utc=row["captured_utc"],
            captured_source=CaptureTimeSource(row["captured_source"]),
            places=row["places"],
            primary_id=AssetId(row["primary_id"]) if row["primary_id"] else None,
            is_primary=row["is_primary"],
            trashed=row["trashed"],
        )
        for row in await tx.rows("companions.candidates", asset_id)
    ]


async def lock(tx: Tx, asset_ids: Sequence[AssetId]) -> None:
    """Keep the rows as they are, in the order in which everybody locks assets."""
    await tx.rows("companions.lock", asset_ids)


async def join(tx: Tx, companion: AssetId, primary: AssetId, role: CompanionRole) -> bool:
    """Hang one asset on another; False when one of them has another partner, or is in the trash. Lock them before."""
    return await tx.execute("companions.join", companion, primary, role) == 1
