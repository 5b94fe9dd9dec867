"""Rows of sidecars: the files that describe assets, whole, and what was read in them."""

from collections.abc import Mapping
from dataclasses import dataclass

from lumilio.db import Tx
from lumilio.model import AssetId, SidecarKind, UserId

CONTENT_BYTES = 4 * 1024 * 1024
"""The largest sidecar that the table takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarFile:
    """A sidecar as it came."""

    file_name: str
    content: bytes


async def lock_asset(tx: Tx, asset_id: AssetId, owner_id: UserId) -> bool:
    """Before a change of its sidecars; False when the owner has no such asset."""
    return await tx.row("sidecars.lock_asset", asset_id, owner_id) is not None


async def is_kept(tx: Tx, asset_id: AssetId, kind: SidecarKind, file: SidecarFile) -> bool:
    """Whether the asset has this very sidecar."""
    return bool(await tx.value("sidecars.is_kept", asset_id, kind, file.file_name, file.content))


async def put_sidecar(
    tx: Tx, asset_id: AssetId, kind: SidecarKind, file: SidecarFile, tags: Mapping[str, object]
) -> None:
    """Keep a sidecar in place of the one of its kind that the asset may have."""
    await tx.execute("sidecars.put", asset_id, kind, file.file_name, file.content, dict(tags))


async def remove_sidecar(tx: Tx, asset_id: AssetId, kind: SidecarKind) -> bool:
    """False when there is none of this kind."""
    return await tx.execute("sidecars.remove", asset_id, kind) == 1


async def find_sidecar(tx: Tx, asset_id: AssetId, kind: SidecarKind, owner_id: UserId) -> SidecarFile | None:
    """The sidecar of an asset of this owner."""
    row = await tx.row("sidecars.find", asset_id, kind, owner_id)
    return SidecarFile(file_name=row["file_name"], content=row["content"]) if row else None
