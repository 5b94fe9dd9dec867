"""What the flows work on: the database and the repositories of one installation."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from lumilio.catalog.locations import Location
from lumilio.db import Database
from lumilio.errors import NotFound, OriginalMissing, PathInvalid, RepositoryOffline
from lumilio.model import RepoPath, RepositoryId, UserId
from lumilio.storage.repository import INBOX, Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedRepository:
    """A repository that is open, and whose files its assets are."""

    repository: Repository
    owner_id: UserId
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """``wake_queue`` tells the queue, after a commit, that jobs were inserted."""

    db: Database
    repositories: dict[RepositoryId, OwnedRepository]
    wake_queue: Callable[[str], None]

    def repository(self, repository_id: RepositoryId) -> Repository:
        """An open repository. Raises RepositoryOffline."""
        found = self.repositories.get(repository_id)
        if found is None:
            raise RepositoryOffline(f"repository {str(repository_id)!r} is not attached; check its disk")
        return found.repository

    def upload_target(self, owner_id: UserId, repository_id: RepositoryId | None) -> Repository:
        """Where an upload of this owner goes: the named repository or the default one. Raises NotFound."""
        for known_id, owned in self.repositories.items():
            if owned.owner_id == owner_id and (
                known_id == repository_id or (repository_id is None and owned.is_default)
            ):
                return owned.repository
        raise NotFound(
            f"repository {str(repository_id)!r} does not exist" if repository_id else "no default repository"
        )

    async def holds_bytes(self, location: Location, size: int) -> bool:
        """Whether a file of the right size lies at a location. Raises RepositoryOffline: offline is not lost."""
        repository = self.repository(location.repository_id)
        await asyncio.to_thread(repository.check_online)

        def look() -> bool:
            try:
                return repository.resolve(location.current_path).stat().st_size == size
            except (FileNotFoundError, NotADirectoryError, PathInvalid):
                return False

        return await asyncio.to_thread(look)

    async def present_location(self, locations: Sequence[Location], size: int) -> Location:
        """The first location whose file is there. Raises RepositoryOffline or OriginalMissing."""
        offline: RepositoryOffline | None = None
        for location in locations:
            try:
                if await self.holds_bytes(location, size):
                    return location
            except RepositoryOffline as exc:
                offline = exc
        raise offline or OriginalMissing("no file of this asset is where it should be; upload it again to repair it")


def in_inbox(path: RepoPath) -> bool:
    """Whether Lumilio itself filled the place: elsewhere the files are the owner's, and Lumilio only follows."""
    return PurePosixPath(path).parts[0] == INBOX
