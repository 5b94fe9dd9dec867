"""Derivatives on disk: named by the content hash of their original, replaced at will, never synced.

A power cut may leave a derivative empty or missing although its row is there. So a reader states the size that the row
knows, and takes anything else for missing; the derivative is made again from the original.
"""

from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG

from lumilio.model import ContentHash, RepoPath, Thumbnail
from lumilio.storage.disk import run_blocking, storage_errors, write_atomically
from lumilio.storage.repository import PRIVATE, Repository


def thumbnail_path(content_hash: ContentHash, size: int) -> RepoPath:
    """Where the thumbnail of a nominal size lies; 65,536 folders keep a million of them at 15 a folder."""
    folder = f"{PRIVATE}/assets/thumbnails/{size}/{content_hash[:2]}/{content_hash[2:4]}"
    return RepoPath(f"{folder}/{content_hash}.webp")


async def write_thumbnails(repository: Repository, content_hash: ContentHash, thumbnails: Sequence[Thumbnail]) -> None:
    """Write or replace the thumbnails of an asset. Raises RepositoryOffline, DiskFull, StorageError."""
    files = [(thumbnail_path(content_hash, thumbnail.size), thumbnail.data) for thumbnail in thumbnails]
    await run_blocking(_write, repository, files)


async def write_derivative(repository: Repository, path: RepoPath, data: bytes) -> None:
    """Write or replace one derivative. Raises RepositoryOffline, DiskFull, StorageError."""
    await run_blocking(_write, repository, [(path, data)])


async def find_derivative(repository: Repository, path: RepoPath, *, size: int) -> Path | None:
    """The file of a derivative if it is there with the ``size`` in bytes that its row states."""
    return await run_blocking(_find, repository, path, size)


async def read_derivative(repository: Repository, path: RepoPath, *, size: int) -> bytes | None:
    """The bytes of a small derivative if it is there with the ``size`` that its row states."""
    return await run_blocking(_read, repository, path, size)


async def unlink_derivative(repository: Repository, path: RepoPath) -> None:
    """Remove a derivative; one that is gone already is no error. Raises StorageError."""
    file = repository.root / path
    with storage_errors("removing", file):
        await run_blocking(_unlink, repository, path)


def _write(repository: Repository, files: Sequence[tuple[RepoPath, bytes]]) -> None:
    repository.check_online()
    for path, data in files:
        target = repository.entry(path)
        with storage_errors("writing", target):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, data, scratch=repository.temp, durable=False)


def _find(repository: Repository, path: RepoPath, size: int) -> Path | None:
    file = repository.entry(path)
    try:
        status = file.lstat()
    except FileNotFoundError:
        return None
    return file if S_ISREG(status.st_mode) and status.st_size == size else None


def _read(repository: Repository, path: RepoPath, size: int) -> bytes | None:
    file = _find(repository, path, size)
    if file is None:
        return None
    try:
        with file.open("rb") as reader:
            data = reader.read(size + 1)
    except FileNotFoundError:
        return None
    return data if len(data) == size else None


def _unlink(repository: Repository, path: RepoPath) -> None:
    repository.entry(path).unlink(missing_ok=True)
