"""The commit: the moment staged bytes become a location.

Link the staged file to its name (``place`` refuses to replace), sync the directory; the flow then writes its rows and
only after that discards the staged file. Nothing is overwritten and nothing is deleted on an error path, so a crash is
healed by doing it all again:

==================================  ====================================================================================
crash after                         the retry
==================================  ====================================================================================
directories made                    finds them
old file displaced (``overwrite``)  finds it in the trash under this upload's id, and reports it as displaced again
linked                              finds its own inode under the name, or the same bytes where there are no hard links
directory synced, rows written      the same; the flow finds its rows and only discards
==================================  ====================================================================================

A file that already has the wanted name *and* these very bytes is taken as the location: a second copy of it would help
nobody. A file that holds only the beginning of these bytes is never completed: it may be somebody's truncated photo
with rows of its own. Copies therefore get their name only when they are whole (see ``place``).
"""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from uuid import UUID

from lumilio.errors import PathOccupied, StagedFileMissing, StorageError
from lumilio.model import ContentHash, DuplicateNames, PlacedFile, RepoPath, UploadId
from lumilio.storage.disk import (
    exclusively,
    fsync_directory,
    fsync_file,
    make_directories,
    run_blocking,
    storage_errors,
)
from lumilio.storage.hashing import begins_alike, is_file_of
from lumilio.storage.names import marked_name, numbered_name
from lumilio.storage.place import LINUX, NoReplace, place
from lumilio.storage.repository import Repository
from lumilio.storage.trash import displace, trash_path

_LOCK = "overwrite.lock"
"""In ``temp``: between looking at a file and displacing it, no other commit may put its own there."""

_MOST_NAMES = 100_000
"""Numbered names that are tried, at some microseconds each, before the folder is declared full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Displaced:
    """A file that made room under ``overwrite``: it was at ``path`` and lies in the trash at ``trashed``."""

    path: RepoPath
    trashed: RepoPath


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed(PlacedFile):
    """A committed file, and what it displaced."""

    displaced: Displaced | None


async def commit(
    repository: Repository,
    staged: Path,
    wanted: RepoPath,
    *,
    policy: DuplicateNames,
    content_hash: ContentHash,
    size: int | None = None,
    modified_ns: int | None = None,
    calls: NoReplace = LINUX,
) -> Committed:
    """Give a staged file its name in the repository, durably, and leave it staged; may be repeated at any time.

    ``staged`` is named by its upload; ``content_hash`` is that of its bytes, verified when they were received, as was
    their ``size``, which is compared when it is given; ``modified_ns`` is the modification time that the client knew.
    The path that comes back differs from ``wanted`` when that is taken.

    With ``overwrite`` the flow must record ``displaced`` in the transaction that records the new location. A file
    whose own upload is still staged, hence perhaps without rows, is not displaced: the newcomer is numbered then.

    Raises StagedFileMissing, RepositoryOffline, PathOccupied, PathInvalid, DiskFull, StorageError; the one for a wrong
    size has the details ``expected_bytes`` and ``found_bytes``, and nothing was changed then.
    """
    with storage_errors("committing", staged):
        return await run_blocking(_commit, repository, staged, wanted, policy, content_hash, size, modified_ns, calls)


def _commit(
    repository: Repository,
    staged: Path,
    wanted: RepoPath,
    policy: DuplicateNames,
    content_hash: ContentHash,
    size: int | None,
    modified_ns: int | None,
    calls: NoReplace,
) -> Committed:
    upload_id = UploadId(UUID(staged.name))
    try:
        status = staged.lstat()
        if size is not None and status.st_size != size:
            raise _wrong_size(staged, expected=size, found=status.st_size)
        if modified_ns is not None:
            os.utime(staged, ns=(modified_ns, modified_ns))
    except FileNotFoundError as exc:
        repository.check_online()
        raise StagedFileMissing(f"staged file {str(staged)!r} is gone; upload it again") from exc
    folder = repository.entry(wanted).parent
    make_directories(folder)
    bid = _Bid(repository, upload_id, staged, status, content_hash, calls)
    with exclusively(repository.temp / _LOCK) if policy is DuplicateNames.OVERWRITE else nullcontext():
        name = bid.earlier_name(folder) or bid.take(folder, wanted, policy)
    fsync_directory(folder)
    settled = (folder / name).lstat()
    displaced = Displaced(path=wanted, trashed=trash_path(upload_id, wanted))
    was_displaced = policy is DuplicateNames.OVERWRITE and os.path.lexists(repository.entry(displaced.trashed))
    return Committed(
        path=RepoPath(str(PurePosixPath(wanted).with_name(name))),
        size=settled.st_size,
        mtime_ns=settled.st_mtime_ns,
        device=settled.st_dev,
        inode=settled.st_ino,
        displaced=displaced if was_displaced else None,
    )


def _wrong_size(staged: Path, *, expected: int, found: int) -> StorageError:
    message = f"staged file {str(staged)!r} has {found} bytes instead of {expected}; check the disk and upload it again"
    return StorageError(message, details={"expected_bytes": expected, "found_bytes": found})


@dataclass(frozen=True, slots=True)
class _Bid:
    """One staged file that looks for a name."""

    repository: Repository
    upload_id: UploadId
    staged: Path
    status: os.stat_result
    content_hash: ContentHash
    calls: NoReplace

    def earlier_name(self, folder: Path) -> str | None:
        """The name that an earlier attempt gave it; found by inode, since names may have become free since."""
        if self.status.st_nlink == 1:
            return None
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.inode() == self.status.st_ino and os.path.samestat(entry.stat(), self.status):
                    return entry.name
        return None

    def take(self, folder: Path, wanted: RepoPath, policy: DuplicateNames) -> str:
        first = PurePosixPath(wanted).name
        for name in _candidates(first, policy, self.upload_id):
            if self._has(folder / name):
                return name
            may_displace = policy is DuplicateNames.OVERWRITE and name == first
            if may_displace and self._displace(wanted) and self._has(folder / name):
                return name
        raise PathOccupied(f"{wanted!r} and {_MOST_NAMES} numbered names beside it are taken; choose another strategy")

    def _has(self, target: Path) -> bool:
        try:
            place(self.staged, target, scratch=self.repository.temp, calls=self.calls)
        except FileExistsError:
            if not self._is_same(target):
                return False
            fsync_file(target)
        return True

    def _is_same(self, target: Path) -> bool:
        """Looks at a few bytes of each before it hashes: dozens of equally large files may have been numbered."""
        try:
            status = target.lstat()
        except FileNotFoundError:
            return False
        if not S_ISREG(status.st_mode) or status.st_size != self.status.st_size:
            return False
        if os.path.samestat(status, self.status):
            return True
        return begins_alike(self.staged, target) and is_file_of(target, status.st_size, self.content_hash)

    def _displace(self, path: RepoPath) -> bool:
        try:
            status = self.repository.entry(path).lstat()
        except FileNotFoundError:
            return True
        if not S_ISREG(status.st_mode) or self._is_staged(status):
            return False
        return displace(self.repository, path, self.upload_id, calls=self.calls)

    def _is_staged(self, status: os.stat_result) -> bool:
        """By inode; by size and time where the file is a copy, since copies keep the time of the staged file."""
        with os.scandir(self.repository.incoming) as entries:
            return any(_is_alike(entry, status) for entry in entries)


def _is_alike(entry: os.DirEntry[str], status: os.stat_result) -> bool:
    if entry.inode() == status.st_ino:
        return True
    try:
        staged = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (staged.st_size, staged.st_mtime_ns) == (status.st_size, status.st_mtime_ns)


def _candidates(name: str, policy: DuplicateNames, upload_id: UploadId) -> Iterator[str]:
    yield name
    if policy is DuplicateNames.UUID:
        yield marked_name(name, str(upload_id))
    for number in range(1, _MOST_NAMES + 1):
        yield numbered_name(name, number)
