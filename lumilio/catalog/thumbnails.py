"""Rows of thumbnails."""

from collections.abc import Sequence
from dataclasses import dataclass

from lumilio.db import Tx
from lumilio.model import AssetId, ContentHash, ProcessingState, RepositoryId, Thumbnail, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class ThumbnailRow:
    """Where a thumbnail lies, and how many bytes its file must have to be whole; ``state`` is that of its asset."""

    repository_id: RepositoryId
    content_hash: ContentHash
    bytes: int
    state: ProcessingState


async def put_thumbnails(
    tx: Tx, asset_id: AssetId, repository_id: RepositoryId, thumbnails: Sequence[Thumbnail]
) -> None:
    """Record thumbnails that were written."""
    await tx.execute_many(
        "thumbnails.put",
        [(asset_id, item.size, repository_id, item.width, item.height, len(item.data)) for item in thumbnails],
    )


async def find_thumbnail(tx: Tx, asset_id: AssetId, size: int, owner_id: UserId) -> ThumbnailRow | None:
    """The thumbnail of an asset of this owner."""
    row = await tx.row("thumbnails.find", asset_id, size, owner_id)
    if row is None:
        return None
    return ThumbnailRow(
        repository_id=RepositoryId(row["repository_id"]),
        content_hash=ContentHash(row["content_hash"].hex()),
        bytes=row["bytes"],
        state=ProcessingState(row["state"]),
    )
