"""Derivatives on disk: named by the content hash of their original, replaced at will, never synced.

A power cut may leave a derivative empty or missing although its row is there. So a reader states the size that the row
knows, and takes anything else for missing; the derivative is made again from the original.
"""

from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG
from uuid import uuid4

from lumilio.model import ContentHash, Thumbnail
from lumilio.storage.disk import PRIVATE, fsync_file, run_blocking, storage_errors, write_atomically
from lumilio.storage.repository import Repository

_WEB_VERSIONS = {"video/mp4": ("assets/videos", ".mp4"), "audio/mp4": ("assets/audios", ".m4a")}


def thumbnail_path(repository: Repository, content_hash: ContentHash, size: int) -> Path:
    """Where the thumbnail of a nominal size lies; 65,536 folders keep a million of them at 15 a folder."""
    folder = repository.root / PRIVATE / "assets/thumbnails" / str(size)
    return folder / content_hash[:2] / content_hash[2:4] / f"{content_hash}.webp"


def web_version_path(repository: Repository, content_hash: ContentHash, mime: str) -> Path:
    """Where the web version of a recording lies."""
    folder, suffix = _WEB_VERSIONS[mime]
    return repository.root / PRIVATE / folder / content_hash[:2] / content_hash[2:4] / f"{content_hash}{suffix}"


async def new_target(repository: Repository) -> Path:
    """An empty file on the repository's disk for a derivative that is written in place. Raises StorageError's kin."""
    return await run_blocking(_new_target, repository)


async def keep_target(repository: Repository, target: Path, path: Path) -> int:
    """Give a written derivative its name, in place of an older one. Returns its bytes. Raises StorageError's kin."""
    return await run_blocking(_keep_target, repository, target, path)


async def discard_target(target: Path) -> None:
    """Remove what came to nothing. What this leaves behind on a dead disk goes with the next sweep of the folder."""
    with storage_errors("removing", target):
        await run_blocking(target.unlink, missing_ok=True)


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


def _new_target(repository: Repository) -> Path:
    repository.check_online()
    target = repository.temp / f"{uuid4().hex}.part"
    with storage_errors("writing", target):
        target.touch(mode=0o640, exist_ok=False)
    return target


def _keep_target(repository: Repository, target: Path, path: Path) -> int:
    repository.check_online()
    with storage_errors("writing", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fsync_file(target)
        length = target.stat().st_size
        target.replace(path)
    return length


def _is_whole(path: Path, size: int) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return S_ISREG(status.st_mode) and status.st_size == size
