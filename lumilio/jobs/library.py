"""What the flows work on: the database and the repositories of one installation."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import PurePosixPath

from lumilio.catalog.locations import Location
from lumilio.db import Database
from lumilio.errors import (
    DiskFull,
    JobSnoozed,
    NotFound,
    OriginalMissing,
    PathInvalid,
    RepositoryOffline,
    StorageError,
)
from lumilio.model import ContentHash, Problem, RepoPath, RepositoryId, UserId
from lumilio.storage.disk import run_blocking
from lumilio.storage.hashing import is_file_of
from lumilio.storage.repository import INBOX, Repository
from lumilio.tools.versions import tool_versions

OFFLINE_DELAY = timedelta(seconds=60)
DISK_FULL_DELAY = timedelta(seconds=30)
NAMES_LOCK_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedRepository:
    """A repository that is open, and whose files its assets are."""

    repository: Repository
    owner_id: UserId
    is_default: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """``wake_queue`` tells the queue, after a commit, that jobs were inserted. ``tool_versions`` are those of the
    programs that files are read with, by name."""

    db: Database
    repositories: dict[RepositoryId, OwnedRepository]
    wake_queue: Callable[[str], None]
    tool_versions: dict[str, str] = field(default_factory=dict)

    async def look_at_tools(self) -> Mapping[str, str]:
        """Ask the tools for their versions anew: from now on problems are recorded with these."""
        found = await tool_versions()
        self.tool_versions.clear()
        self.tool_versions.update(found)
        return found

    def with_version(self, problem: Problem) -> Problem:
        """A problem with the version of the tool that failed: another one may succeed."""
        return replace(problem, tool_version=self.tool_versions.get(problem.tool or ""))

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

    async def holds_bytes(self, location: Location, size: int, content_hash: ContentHash | None = None) -> bool:
        """Whether a file of the right size, and with these bytes if a hash is given, lies at a location.

        Raises RepositoryOffline: offline is not lost.
        """
        repository = self.repository(location.repository_id)
        await run_blocking(repository.check_online)

        def look() -> bool:
            try:
                path = repository.resolve(location.current_path)
                return path.stat().st_size == size and (content_hash is None or is_file_of(path, size, content_hash))
            except (FileNotFoundError, NotADirectoryError, PathInvalid):
                return False

        return await run_blocking(look)

    async def lost_locations(
        self, locations: Sequence[Location], size: int, content_hash: ContentHash
    ) -> Sequence[Location]:
        """Those whose file is gone or has other bytes by now, read in full. One that is offline is not lost."""
        lost = []
        for location in locations:
            try:
                if not await self.holds_bytes(location, size, content_hash):
                    lost.append(location)
            except RepositoryOffline:
                continue
        return lost

    @asynccontextmanager
    async def names_locked(self, repository: Repository) -> AsyncIterator[None]:
        """Keep apart, from the move of a file to its row, what may take a name away from another file."""
        async with self.db.lock(f"names of {repository.id}", timeout=NAMES_LOCK_SECONDS):
            yield

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


@asynccontextmanager
async def waiting_for_disk(library: Library, repository_id: RepositoryId | None = None) -> AsyncIterator[None]:
    """Inside a job's work: a disk that is away or full makes it wait, without an attempt or an error.

    A disk that is unplugged at work shows itself by any failure at all: so the sentinel of ``repository_id`` is asked
    before one is believed. Raises JobSnoozed.
    """
    try:
        try:
            yield
        except StorageError as exc:
            if repository_id is None or isinstance(exc, RepositoryOffline | DiskFull):
                raise
            await run_blocking(library.repository(repository_id).check_online)
            raise
    except RepositoryOffline as exc:
        raise JobSnoozed(OFFLINE_DELAY, str(exc)) from exc
    except DiskFull as exc:
        raise JobSnoozed(DISK_FULL_DELAY, str(exc)) from exc


def in_inbox(path: RepoPath) -> bool:
    """Whether Lumilio itself filled the place: elsewhere the files are the owner's, and Lumilio only follows."""
    return PurePosixPath(path).parts[0] == INBOX
