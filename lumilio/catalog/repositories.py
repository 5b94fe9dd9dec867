"""Rows of repositories. What they are on disk is the business of ``storage.repository``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lumilio.db import Tx
from lumilio.model import RepositoryId, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryRow:
    """A repository that this library knows."""

    id: RepositoryId
    owner_id: UserId
    name: str
    root: Path
    is_default: bool


async def list_repositories(tx: Tx) -> Sequence[RepositoryRow]:
    """All repositories, oldest first."""
    return [
        RepositoryRow(
            id=RepositoryId(row["id"]),
            owner_id=UserId(row["owner_id"]),
            name=row["name"],
            root=Path(row["root"]),
            is_default=row["is_default"],
        )
        for row in await tx.rows("repositories.all")
    ]


async def add_repository(tx: Tx, repository: RepositoryRow) -> None:
    """Insert a repository."""
    await tx.execute(
        "repositories.insert",
        repository.id,
        repository.owner_id,
        repository.name,
        str(repository.root),
        repository.is_default,
    )


async def move_repository(tx: Tx, repository_id: RepositoryId, root: Path) -> None:
    """Record that a repository lies elsewhere now."""
    await tx.execute("repositories.set_root", repository_id, str(root))
