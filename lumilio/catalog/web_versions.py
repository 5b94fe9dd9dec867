"""Rows of web versions: what browsers play where they cannot play the original."""

from dataclasses import dataclass

from lumilio.db import Tx
from lumilio.model import AssetId, RepositoryId


@dataclass(frozen=True, slots=True, kw_only=True)
class WebVersionRow:
    """Where a web version lies, and how many bytes its file must have to be whole."""

    repository_id: RepositoryId
    mime: str
    bytes: int


async def put_web_version(
    tx: Tx,
    asset_id: AssetId,
    repository_id: RepositoryId,
    *,
    mime: str,
    made_by: str,
    encoder: str | None,
    size: tuple[int | None, int | None],
    length: int,
) -> None:
    """Record a web version that was written; ``size`` is width and height, ``length`` in bytes."""
    await tx.execute("web_versions.put", asset_id, repository_id, mime, made_by, encoder, *size, length)


async def find_web_version(tx: Tx, asset_id: AssetId) -> WebVersionRow | None:
    """The web version of an asset."""
    row = await tx.row("web_versions.find", asset_id)
    if row is None:
        return None
    return WebVersionRow(repository_id=RepositoryId(row["repository_id"]), mime=row["mime"], bytes=row["bytes"])


async def forget_web_version(tx: Tx, asset_id: AssetId) -> None:
    """The file is lost, and no other could be made."""
    await tx.execute("web_versions.forget", asset_id)
