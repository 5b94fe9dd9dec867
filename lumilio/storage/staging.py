"""Staging: where incoming bytes wait on the repository's own filesystem until they are committed.

What ``receive`` returned is durable: its bytes and its name survive a power cut, so a request may be acknowledged as
soon as its job is. A staged file is named by its upload and lives until ``discard``.

Until its job is committed it is a *part*, ``<upload id>.part``; then ``acknowledge`` gives it its name, and so does the
job when a crash came first. So a part that no job knows was never acknowledged and may be removed; a whole file was,
although its job's row may be gone (retention, another database), and is set aside (``quarantine``) at most.
"""

import errno
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO
from uuid import UUID

from blake3 import blake3

from lumilio.errors import DiskFull, PathOccupied, PayloadTooLarge
from lumilio.model import ContentHash, RepositoryId, UploadId
from lumilio.storage.disk import fsync_directory, run_blocking, storage_errors
from lumilio.storage.repository import Repository

_BATCH_BYTES = 1024 * 1024
"""Bytes collected for one write in a thread: the hop costs some 100 µs, the write of a MiB as much."""

_PART = ".part"
"""Ends the name of a file whose job is not committed yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedFile:
    """A received file, complete and durable, still a part; ``size`` bytes."""

    upload_id: UploadId
    repository_id: RepositoryId
    path: Path
    size: int
    content_hash: ContentHash


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedEntry:
    """A file found in staging; ``whole`` unless it is a part, which only a committed job makes one.

    ``changed`` is when it was last written, linked or given a time, aware UTC, by the clock of its filesystem.
    """

    upload_id: UploadId
    path: Path
    whole: bool
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
    stream included, and on cancellation, what was written is removed and nothing is kept.

    Raises PayloadTooLarge, DiskFull, RepositoryOffline, PathOccupied for an upload id in use, StorageError, and what
    ``chunks`` raises.
    """
    part = _part_path(repository, upload_id)
    writer = _Writer(repository, staged_path(repository, upload_id), part, reserve_bytes)
    size = filled = 0
    batch = bytearray()
    try:
        async for chunk in chunks:
            size += len(chunk)
            if size_limit is not None and size > size_limit:
                raise PayloadTooLarge(f"file is larger than the limit of {size_limit} bytes; raise it or send less")
            if filled + len(chunk) > _BATCH_BYTES:
                await run_blocking(writer.write, batch, filled, chunk)
                filled = 0
            else:
                batch[filled : filled + len(chunk)] = chunk
                filled += len(chunk)
        content_hash = await run_blocking(writer.finish, batch, filled)
    except BaseException:
        await run_blocking(writer.abandon)
        raise
    return StagedFile(upload_id=upload_id, repository_id=repository.id, path=part, size=size, content_hash=content_hash)


class _Writer:
    """The blocking half of ``receive``; a small file is made, written and synced in one call."""

    def __init__(self, repository: Repository, path: Path, part: Path, reserve_bytes: int) -> None:
        self._repository = repository
        self._path = path
        self._part = part
        self._reserve_bytes = reserve_bytes
        self._hasher = blake3()
        self._file: BinaryIO | None = None

    def write(self, batch: bytearray, filled: int, chunk: bytes) -> None:
        """Write the first ``filled`` bytes of a batch, then a chunk that does not fit into it any more."""
        with storage_errors("receiving", self._path):
            self._write(batch, filled, chunk)

    def finish(self, batch: bytearray, filled: int) -> ContentHash:
        with storage_errors("receiving", self._path):
            file = self._write(batch, filled)
            os.fsync(file.fileno())
            if not os.path.samestat(os.fstat(file.fileno()), self._part.lstat()):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._part))
            file.close()
            fsync_directory(self._path.parent)
        return ContentHash(self._hasher.hexdigest())

    def abandon(self) -> None:
        if self._file is None:
            return
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._part.unlink()

    def _write(self, batch: bytearray, filled: int, chunk: bytes = b"") -> BinaryIO:
        if self._file is None:
            self._file = self._create()
        self._check_space(filled + len(chunk))
        with memoryview(batch) as whole, whole[:filled] as block:
            self._append(self._file, block)
        self._append(self._file, chunk)
        return self._file

    def _append(self, file: BinaryIO, block: bytes | memoryview) -> None:
        self._hasher.update(block)
        rest = memoryview(block)
        while rest:
            rest = rest[file.write(rest) :]

    def _create(self) -> BinaryIO:
        """Who has the part has the upload id, so a name that is free now is free when it is acknowledged."""
        self._repository.check_online()
        try:
            file = self._part.open("xb", buffering=0)
        except FileExistsError as exc:
            raise PathOccupied(f"{str(self._part)!r} is being received; use a new upload id") from exc
        if os.path.lexists(self._path):
            file.close()
            self._part.unlink()
            raise PathOccupied(f"staged file {str(self._path)!r} exists; use a new upload id")
        return file

    def _check_space(self, wanted: int) -> None:
        free = shutil.disk_usage(self._path.parent).free
        if free - wanted < self._reserve_bytes:
            message = f"{free} bytes are free for {str(self._path)!r} and {self._reserve_bytes} must stay free"
            raise DiskFull(f"{message}; free some space on that filesystem")


def staged_path(repository: Repository, upload_id: UploadId) -> Path:
    """Where the bytes of an upload wait."""
    return repository.incoming / str(upload_id)


def _part_path(repository: Repository, upload_id: UploadId) -> Path:
    return repository.incoming / f"{upload_id}{_PART}"


async def acknowledge(repository: Repository, upload_id: UploadId) -> bool:
    """The upload's job is committed: give the file its name; False when there is none, under either name.

    May be repeated, by whoever comes first. Not synced: after a power cut the job finds the one name or the other.
    Raises RepositoryOffline, StorageError.
    """
    with storage_errors("acknowledging", staged_path(repository, upload_id)):
        return await run_blocking(_acknowledge, repository, upload_id)


def _acknowledge(repository: Repository, upload_id: UploadId) -> bool:
    repository.check_online()
    path = staged_path(repository, upload_id)
    try:
        _part_path(repository, upload_id).rename(path)
    except FileNotFoundError:
        return path.exists()
    return True


def holds_upload(repository: Repository, upload_id: UploadId, size: int) -> bool:
    """Whether the bytes of an upload wait here, under either name; blocks. Raises RepositoryOffline."""
    repository.check_online()
    for path in (_part_path(repository, upload_id), staged_path(repository, upload_id)):
        with suppress(FileNotFoundError):
            return path.stat().st_size == size
    return False


async def discard(staged: StagedFile) -> None:
    """Remove a file that was received and is not wanted. Raises StorageError."""
    await _discard(staged.path)


async def discard_upload(repository: Repository, upload_id: UploadId) -> None:
    """Remove the staged file of an upload; one that is gone already is no error. Raises StorageError."""
    await _discard(staged_path(repository, upload_id))


async def discard_part(repository: Repository, upload_id: UploadId) -> None:
    """Remove what an interrupted upload left; never a file that was acknowledged in the meantime.

    One that is gone already is no error; an upload that is still arriving fails, unacknowledged. Raises StorageError.
    """
    await _discard(_part_path(repository, upload_id))


async def _discard(path: Path) -> None:
    """Not synced: a staged file that a power cut brings back is one more orphan for the janitor."""
    with storage_errors("discarding", path):
        await run_blocking(path.unlink, missing_ok=True)


async def list_staged(repository: Repository) -> list[StagedEntry]:
    """The files in staging, whole ones and parts, for the janitor that tells those of live jobs from orphans.

    Foreign names are left out. Raises RepositoryOffline, StorageError.
    """
    with storage_errors("listing", repository.incoming):
        return await run_blocking(_list_staged, repository)


def _list_staged(repository: Repository) -> list[StagedEntry]:
    repository.check_online()
    found = []
    for path in repository.incoming.iterdir():
        name = path.name.removesuffix(_PART)
        try:
            upload_id = UploadId(UUID(name))
            status = path.lstat()
        except (ValueError, FileNotFoundError):
            continue
        if str(upload_id) != name or not S_ISREG(status.st_mode):
            continue
        changed = datetime.fromtimestamp(status.st_ctime, UTC)
        whole = path.name == name
        found.append(StagedEntry(upload_id=upload_id, path=path, whole=whole, size=status.st_size, changed=changed))
    return found


async def clear_temp(repository: Repository, older_than: datetime) -> None:
    """Remove the half-written files of ``temp`` that were last changed before an aware moment; locks stay.

    Nothing there ever had a name that somebody was told. Raises RepositoryOffline, StorageError.
    """
    with storage_errors("clearing", repository.temp):
        await run_blocking(_clear_temp, repository, older_than)


def _clear_temp(repository: Repository, older_than: datetime) -> None:
    repository.check_online()
    for path in repository.temp.glob(".*"):
        with suppress(FileNotFoundError):
            status = path.lstat()
            if S_ISREG(status.st_mode) and datetime.fromtimestamp(status.st_ctime, UTC) < older_than:
                path.unlink()
