"""Staging: where incoming bytes wait on the repository's own filesystem until they are committed.

What ``receive`` returned is durable: its bytes and its name survive a power cut, so a request may be acknowledged as
soon as its job is. A staged file is named by its upload and lives until ``discard``.
"""

import os
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from blake3 import blake3

from lumilio.errors import DiskFull, PathOccupied, PayloadTooLarge, StagedFileMissing
from lumilio.model import ContentHash, RepositoryId, UploadId
from lumilio.storage.disk import fsync_directory, run_blocking, storage_errors, write_atomically
from lumilio.storage.place import finish_move, move
from lumilio.storage.repository import Repository

_BATCH_BYTES = 1024 * 1024
"""Bytes collected for one write in a thread: the hop costs some 100 µs, the write of a MiB as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFile:
    """A received file, whole and durable; ``size`` bytes."""

    upload_id: UploadId
    repository_id: RepositoryId
    path: Path
    size: int
    content_hash: ContentHash


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedEntry:
    """A file found in staging; ``changed`` is when it was last written, linked or given a time, aware UTC."""

    upload_id: UploadId
    path: Path
    size: int
    changed: datetime


async def receive(
    repository: Repository,
    upload_id: UploadId,
    chunks: AsyncIterator[bytes],
    *,
    size_limit: int | None,
    reserve_bytes: int,
) -> StagedFile:
    """Write a stream to staging while hashing it; holds about one MiB and one chunk in memory.

    ``size_limit`` is bytes, None for no limit; ``reserve_bytes`` stay free on the filesystem. When anything fails, the
    stream included, and on cancellation, the part that was written is removed and nothing is kept.

    Raises PayloadTooLarge, DiskFull, RepositoryOffline, PathOccupied for an upload id in use, StorageError, and what
    ``chunks`` raises.
    """
    path = staged_path(repository, upload_id)
    writer = _Writer(repository, path, reserve_bytes)
    size = 0
    try:
        batch: list[bytes] = []
        waiting = 0
        async for chunk in chunks:
            size += len(chunk)
            if size_limit is not None and size > size_limit:
                raise PayloadTooLarge(f"file is larger than the limit of {size_limit} bytes; raise it or send less")
            batch.append(chunk)
            waiting += len(chunk)
            if waiting >= _BATCH_BYTES:
                await run_blocking(writer.write, batch)
                batch, waiting = [], 0
        content_hash = await run_blocking(writer.finish, batch)
    except BaseException:
        await run_blocking(writer.abandon)
        raise
    return StagedFile(upload_id=upload_id, repository_id=repository.id, path=path, size=size, content_hash=content_hash)


class _Writer:
    """The blocking half of ``receive``; a small file is made, written and synced in one call."""

    def __init__(self, repository: Repository, path: Path, reserve_bytes: int) -> None:
        self._repository = repository
        self._path = path
        self._reserve_bytes = reserve_bytes
        self._hasher = blake3()
        self._file: BinaryIO | None = None

    def write(self, batch: list[bytes]) -> None:
        with storage_errors("receiving", self._path):
            self._write(batch)

    def finish(self, batch: list[bytes]) -> ContentHash:
        with storage_errors("receiving", self._path):
            file = self._write(batch)
            os.fsync(file.fileno())
            file.close()
            fsync_directory(self._path.parent)
        return ContentHash(self._hasher.hexdigest())

    def abandon(self) -> None:
        if self._file is None:
            return
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._path.unlink()

    def _write(self, batch: list[bytes]) -> BinaryIO:
        if self._file is None:
            self._file = self._create()
        self._check_space(sum(map(len, batch)))
        for chunk in batch:
            self._hasher.update(chunk)
            _write_all(self._file, chunk)
        return self._file

    def _create(self) -> BinaryIO:
        self._repository.check_online()
        try:
            return self._path.open("xb", buffering=0)
        except FileExistsError as exc:
            raise PathOccupied(f"staged file {str(self._path)!r} exists; use a new upload id") from exc

    def _check_space(self, wanted: int) -> None:
        status = os.statvfs(self._path.parent)
        free = status.f_bavail * status.f_frsize
        if free - wanted < self._reserve_bytes:
            message = f"{free} bytes are free for {str(self._path)!r} and {self._reserve_bytes} must stay free"
            raise DiskFull(f"{message}; free some space on that filesystem")


def _write_all(file: BinaryIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def staged_path(repository: Repository, upload_id: UploadId) -> Path:
    """Where the bytes of an upload wait."""
    return repository.incoming / str(upload_id)


async def discard(staged: StagedFile) -> None:
    """Remove a file that was received and is not wanted. Raises StorageError."""
    await _discard(staged.path)


async def discard_upload(repository: Repository, upload_id: UploadId) -> None:
    """Remove the staged file of an upload; one that is gone already is no error. Raises StorageError."""
    await _discard(staged_path(repository, upload_id))


async def _discard(path: Path) -> None:
    """Not synced: a staged file that a power cut brings back is one more orphan for the janitor."""
    with storage_errors("discarding", path):
        await run_blocking(path.unlink, missing_ok=True)


async def quarantine(repository: Repository, upload_id: UploadId, reason: str | None = None) -> Path:
    """Move a staged file that cannot be committed to ``staging/failed``, a reason in a text file beside it.

    Raises StagedFileMissing, RepositoryOffline, DiskFull, StorageError.
    """
    with storage_errors("quarantining", staged_path(repository, upload_id)):
        return await run_blocking(_quarantine, repository, upload_id, reason)


def _quarantine(repository: Repository, upload_id: UploadId, reason: str | None) -> Path:
    source, target = staged_path(repository, upload_id), repository.failed / str(upload_id)
    try:
        move(source, target, private=True)
    except FileExistsError:
        finish_move(source, target)
    except FileNotFoundError as exc:
        repository.check_online()
        if not target.exists():
            raise StagedFileMissing(f"staged file {str(source)!r} is gone; upload it again") from exc
    if reason is not None:
        write_atomically(target.with_suffix(".txt"), f"{reason}\n".encode(errors="replace"), scratch=repository.temp)
    return target


async def list_staged(repository: Repository) -> list[StagedEntry]:
    """The files in staging, for the janitor that tells those of live jobs from orphans; foreign names are left out.

    Raises RepositoryOffline, StorageError.
    """
    with storage_errors("listing", repository.incoming):
        return await run_blocking(_list_staged, repository)


def _list_staged(repository: Repository) -> list[StagedEntry]:
    repository.check_online()
    found = []
    for path in repository.incoming.iterdir():
        try:
            upload_id = UploadId(UUID(path.name))
            status = path.lstat()
        except (ValueError, FileNotFoundError):
            continue
        changed = datetime.fromtimestamp(status.st_ctime, UTC)
        found.append(StagedEntry(upload_id=upload_id, path=path, size=status.st_size, changed=changed))
    return found
