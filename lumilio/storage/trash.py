"""The trash of a repository: ``.lumilio/trash/<entry id>/<the path that the file had>``.

The path inside an entry tells where the file came from, even when the database is lost. Every operation may be
repeated after a crash; none replaces or deletes anything.
When something was deleted is known to the database only: file times are those of the photo.
"""

import os
from pathlib import Path, PurePosixPath
from stat import S_ISDIR
from uuid import UUID

from lumilio.errors import OriginalMissing, PathInvalid, PathOccupied
from lumilio.model import ContentHash, PlacedFile, RepoPath
from lumilio.storage.disk import PRIVATE, fsync_directory, make_directories, remove_empty, run_blocking, storage_errors
from lumilio.storage.hashing import is_file_of
from lumilio.storage.names import numbered_name
from lumilio.storage.place import LINUX, NoReplace, finish_move, move
from lumilio.storage.repository import Repository

_TRASH = PurePosixPath(PRIVATE) / "trash"
_MOST_NAMES = 100_000


def trash_path(entry_id: UUID, path: RepoPath) -> RepoPath:
    """Where the file at ``path`` lies once it was moved to the trash as ``entry_id``."""
    return RepoPath(str(_TRASH / str(entry_id) / path))


def original_path(trashed: RepoPath) -> RepoPath:
    """Where a file in the trash came from. Raises PathInvalid for a path that is not in the trash."""
    path = PurePosixPath(trashed)
    if not path.is_relative_to(_TRASH) or len(path.parts) < len(_TRASH.parts) + 2:
        raise PathInvalid(f"{trashed!r} is not in the trash")
    return RepoPath(str(PurePosixPath(*path.parts[len(_TRASH.parts) + 1 :])))


async def move_to_trash(
    repository: Repository, path: RepoPath, entry_id: UUID, *, calls: NoReplace = LINUX
) -> RepoPath:
    """Move a file to the trash and return its path there; ``entry_id`` is that of the location or upload it belongs to.

    Raises OriginalMissing, RepositoryOffline, PathInvalid, DiskFull, StorageError.
    """
    with storage_errors("moving to the trash", repository.root / path):
        return await run_blocking(_move_to_trash, repository, path, entry_id, calls)


async def restore(
    repository: Repository, trashed: RepoPath, *, content_hash: ContentHash, calls: NoReplace = LINUX
) -> PlacedFile:
    """Move a file back to where it was, or to a numbered name beside it when that is taken.

    The retry of a restore that was cut short finds the file by ``content_hash``: where it came from, or in the trash
    again, if a commit under ``overwrite`` displaced it before it was recorded as restored.
    Raises OriginalMissing, RepositoryOffline, PathOccupied, PathInvalid, DiskFull, StorageError.
    """
    with storage_errors("restoring", repository.root / trashed):
        return await run_blocking(_restore, repository, trashed, content_hash, calls)


def displace(repository: Repository, path: RepoPath, entry_id: UUID, *, calls: NoReplace) -> bool:
    """Trash what has a name that another file is to get; blocks. False when this entry holds another file already."""
    source, target = repository.entry(path), repository.entry(trash_path(entry_id, path))
    created = make_directories(target.parent)
    try:
        move(source, target, calls=calls, private=True)
    except FileExistsError:
        finish_move(source, target)
    except FileNotFoundError:
        remove_empty(created)
    return not os.path.lexists(source)


def _move_to_trash(repository: Repository, path: RepoPath, entry_id: UUID, calls: NoReplace) -> RepoPath:
    trashed = trash_path(entry_id, path)
    source, target = repository.entry(path), repository.entry(trashed)
    if PurePosixPath(path).parts[0] == PRIVATE:
        raise PathInvalid(f"{path!r} belongs to Lumilio itself and cannot be moved to the trash")
    if os.path.lexists(source) and S_ISDIR(source.lstat().st_mode):
        raise PathInvalid(f"{path!r} is a directory; only files go to the trash")
    repository.check_online()
    created = make_directories(target.parent)
    try:
        move(source, target, calls=calls, private=True)
    except FileExistsError:
        finish_move(source, target)
    except FileNotFoundError as exc:
        if not os.path.lexists(target):
            remove_empty(created)
            raise OriginalMissing(f"{path!r} is gone from repository {repository.config.name!r}") from exc
    return trashed


def _restore(repository: Repository, trashed: RepoPath, content_hash: ContentHash, calls: NoReplace) -> PlacedFile:
    original = original_path(trashed)
    source = repository.entry(trashed)
    wanted = repository.entry(original)
    repository.check_online()
    make_directories(wanted.parent)
    try:
        target = _free_name(source, wanted, content_hash, calls)
    except OriginalMissing:
        displaced = _displaced_file(repository, original, content_hash)
        if displaced is None:
            raise
        source = displaced
        target = _free_name(source, wanted, content_hash, calls)
    fsync_directory(target.parent)
    _remove_emptied(repository, source)
    status = target.lstat()
    return PlacedFile(
        path=RepoPath(str(PurePosixPath(original).with_name(target.name))),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        device=status.st_dev,
        inode=status.st_ino,
    )


def _displaced_file(repository: Repository, path: RepoPath, content_hash: ContentHash) -> Path | None:
    """The file of these bytes that lies in any entry of the trash under the same path."""
    with os.scandir(repository.root / _TRASH) as entries:
        for entry in entries:
            if not os.path.lexists(Path(entry.path, path)):
                continue
            found = repository.entry(RepoPath(str(_TRASH / entry.name / path)))
            if is_file_of(found, found.lstat().st_size, content_hash):
                return found
    return None


def _free_name(source: Path, wanted: Path, content_hash: ContentHash, calls: NoReplace) -> Path:
    for number in range(_MOST_NAMES + 1):
        target = wanted.with_name(numbered_name(wanted.name, number)) if number else wanted
        try:
            move(source, target, calls=calls)
        except FileExistsError:
            if _lies_at(source, target, content_hash):
                return target
        except FileNotFoundError as exc:
            if not os.path.lexists(target):
                raise OriginalMissing(f"{str(source)!r} is gone from the trash") from exc
            if _lies_at(source, target, content_hash):
                return target
        else:
            return target
    raise PathOccupied(f"{str(wanted)!r} and {_MOST_NAMES} numbered names beside it are taken; move some away")


def _lies_at(source: Path, target: Path, content_hash: ContentHash) -> bool:
    """Whether an earlier attempt moved the file, or linked it and was cut short before it took the old name away."""
    after = target.lstat()
    if os.path.lexists(source):
        if not os.path.samestat(source.lstat(), after):
            return False
        finish_move(source, target)
    return is_file_of(target, after.st_size, content_hash)


def _remove_emptied(repository: Repository, path: Path) -> None:
    trash = repository.root / _TRASH
    between = [parent for parent in path.parents if parent.is_relative_to(trash) and parent != trash]
    remove_empty(between[::-1])
