"""Derivatives on disk: named by the content hash of their original, replaced at will, never synced.

A power cut may leave a derivative empty or missing although its row is there. So a reader states the size that the row
knows, and takes anything else for missing; the derivative is made again from the original.
"""

from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG

from lumilio.model import ContentHash, Thumbnail
from lumilio.storage.disk import PRIVATE, run_blocking, storage_errors, write_atomically
from lumilio.storage.repository import Repository


def thumbnail_path(repository: Repository, content_hash: ContentHash, size: int) -> Path:
    """Where the thumbnail of a nominal size lies; 65,536 folders keep a million of them at 15 a folder."""
    folder = repository.root / PRIVATE / "assets/thumbnails" / str(size)
    return folder / content_hash[:2] / content_hash[2:4] / f"{content_hash}.webp"


async def write_thumbnails(repository: Repository, content_hash: ContentHash, thumbnails: Sequence[Thumbnail]) -> None:
    """Write or replace the thumbnails of an asset. Raises RepositoryOffline, DiskFull, StorageError."""
    files = [(thumbnail_path(repository, content_hash, each.size), each.data) for each in thumbnails]
    await run_blocking(_write, repository, files)


async def is_whole(path: Path, size: int) -> bool:
    """Whether a derivative is there with the ``size`` in bytes that its row states. Raises StorageError."""
    with storage_errors("looking at", path):
        return await run_blocking(_is_whole, path, size)


def _write(repository: Repository, files: Sequence[tuple[Path, bytes]]) -> None:
    repository.check_online()
    for path, data in files:
        with storage_errors("writing", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data, scratch=repository.temp, durable=False)


def _is_whole(path: Path, size: int) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return S_ISREG(status.st_mode) and status.st_size == size
