"""Derivatives on disk: named by the content hash of their original, replaced at will, never synced.

A power cut may leave a derivative empty or missing although its row is there. So a reader states the size that the row
knows, and takes anything else for missing; the derivative is made again from the original.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from uuid import uuid4

from lumilio.errors import DiskFull, StorageError, ToolError
from lumilio.model import THUMBNAIL_SIZES, ContentHash, Thumbnail
from lumilio.storage.disk import PRIVATE, fsync_file, run_blocking, storage_errors, write_atomically
from lumilio.storage.repository import Repository

_WEB_VERSIONS = {
    "video/mp4": ("assets/videos", ".mp4"),
    "video/webm": ("assets/videos", ".webm"),
    "audio/mp4": ("assets/audios", ".m4a"),
    "audio/webm": ("assets/audios", ".weba"),
}


def thumbnail_path(repository: Repository, content_hash: ContentHash, size: int) -> Path:
    """Where the thumbnail of a nominal size lies; 65,536 folders keep a million of them at 15 a folder.

    Raises ToolError for other sizes: a decoder that was taken over may ask for anything.
    """
    if size not in THUMBNAIL_SIZES:
        raise ToolError(f"{size!r} is no size of a thumbnail")
    folder = repository.root / PRIVATE / "assets/thumbnails" / str(size)
    return folder / content_hash[:2] / content_hash[2:4] / f"{content_hash}.webp"


def web_version_path(repository: Repository, content_hash: ContentHash, mime: str) -> Path:
    """Where the web version of a recording lies. Raises ToolError for a media type that none has."""
    if mime not in _WEB_VERSIONS:
        raise ToolError(f"{mime!r} is no media type of a web version")
    folder, suffix = _WEB_VERSIONS[mime]
    return repository.root / PRIVATE / folder / content_hash[:2] / content_hash[2:4] / f"{content_hash}{suffix}"


async def new_target(repository: Repository, *, room: int) -> Path:
    """An empty file on the repository's disk for a derivative that is written in place.

    Raises DiskFull when less than ``room`` bytes are free, and StorageError's other kin. What a kill leaves of it is
    swept like all of ``temp``.
    """
    return await run_blocking(_new_target, repository, room)


async def keep_target(repository: Repository, target: Path, path: Path) -> int:
    """Give a written derivative its name, in place of an older one. Returns its bytes. Raises StorageError's kin."""
    return await run_blocking(_keep_target, repository, target, path)


async def discard_target(target: Path) -> None:
    """Remove what came to nothing; what a dead disk keeps of it is swept later."""
    with suppress(StorageError), storage_errors("removing", target):
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


def _new_target(repository: Repository, room: int) -> Path:
    repository.check_online()
    target = repository.temp / f".{uuid4().hex}.part"
    with storage_errors("writing", target):
        free = shutil.disk_usage(repository.temp).free
        if free < room:
            raise DiskFull(f"{free} bytes are free for a web version that may need {room}; free some space")
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
