"""Rows of locations, and of what stat said about the files there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lumilio.db import Row, Tx
from lumilio.model import AssetId, ContentHash, LocationId, LocationState, PlacedFile, RepoPath, RepositoryId


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """One place where an asset's bytes lie; ``trash_path`` is set while they lie in the trash."""

    id: LocationId
    asset_id: AssetId
    repository_id: RepositoryId
    path: RepoPath
    state: LocationState
    trash_path: RepoPath | None

    @property
    def current_path(self) -> RepoPath:
        """Where the bytes are at present."""
        return self.trash_path or self.path


async def locations_of(tx: Tx, asset_id: AssetId) -> Sequence[Location]:
    """All places of an asset, oldest first."""
    return [_location(row) for row in await tx.rows("locations.of_asset", asset_id)]


async def locations_of_many(tx: Tx, asset_ids: Sequence[AssetId]) -> Mapping[AssetId, Sequence[Location]]:
    """All places of several assets, oldest first."""
    found: dict[AssetId, list[Location]] = {}
    for row in await tx.rows("locations.of_assets", asset_ids):
        location = _location(row)
        found.setdefault(location.asset_id, []).append(location)
    return found


def _location(row: Row) -> Location:
    return Location(
        id=LocationId(row["id"]),
        asset_id=AssetId(row["asset_id"]),
        repository_id=RepositoryId(row["repository_id"]),
        path=RepoPath(row["path"]),
        state=LocationState(row["state"]),
        trash_path=RepoPath(row["trash_path"]) if row["trash_path"] is not None else None,
    )


async def add_location(tx: Tx, asset_id: AssetId, repository_id: RepositoryId, record: PlacedFile) -> None:
    """Record that an asset's bytes lie at a path, a new file or one recorded for this asset before.

    Another asset's claim on the path is void: that file was gone, else the path could not have been given away.
    """
    await tx.execute("locations.void_claim", asset_id, repository_id, record.path)
    await tx.value("locations.insert", asset_id, repository_id, record.path)
    await record_file(tx, repository_id, record)


async def record_file(tx: Tx, repository_id: RepositoryId, record: PlacedFile) -> None:
    """Remember what stat said of a file."""
    await tx.execute(
        "locations.record_file", repository_id, record.path, record.size, record.mtime_ns, record.device, record.inode
    )


async def forget(tx: Tx, location: Location) -> None:
    """Remove a location whose bytes were found to be gone."""
    await tx.execute("locations.forget", location.id)
    await tx.execute("locations.forget_file", location.repository_id, location.path)


async def mark_trashed(tx: Tx, location: Location, trash_path: RepoPath) -> None:
    """Record that a location's bytes lie in the trash now; idempotent."""
    await tx.execute(
        "locations.put_trashed", location.id, location.asset_id, location.repository_id, location.path, trash_path
    )
    await tx.execute("locations.forget_file", location.repository_id, location.path)


async def mark_restored(tx: Tx, location: Location, record: PlacedFile) -> None:
    """Record that a location's bytes came back from the trash to ``record.path``; idempotent.

    Another asset's claim on the path is void, as in ``add_location``.
    """
    await tx.execute("locations.void_claim", location.asset_id, location.repository_id, record.path)
    await tx.execute("locations.mark_restored", location.id, record.path)
    await record_file(tx, location.repository_id, record)


async def displace(
    tx: Tx, repository_id: RepositoryId, path: RepoPath, trash_path: RepoPath, newcomer: ContentHash
) -> None:
    """Record that a newcomer took a path and that what was there lies in the trash, its asset too; idempotent."""
    await tx.execute("locations.displace", repository_id, path, trash_path, bytes.fromhex(newcomer))
