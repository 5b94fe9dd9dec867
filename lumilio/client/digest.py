"""BLAKE3 of files that may change while they are read."""

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import FileIO
from typing import TypeVar

import blake3

from lumilio.model import ContentHash

_CHUNK = 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_T = TypeVar("_T")


class FileChanged(Exception):
    """The file is being written. Never leaves this package."""


class FileUnreadable(Exception):
    """The system does not let us read the file; the message says why. Never leaves this package."""


class Stopped(Exception):
    """Hashing was given up because the import ends. Never leaves this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file with the digest of its bytes as they were at ``modified_ns`` (nanoseconds since 1970)."""

    path: str
    size: int
    modified_ns: int
    content_hash: ContentHash

    @property
    def modified(self) -> datetime | None:
        """Time of the last change, or None when it lies outside of what dates can say."""
        try:
            return _EPOCH + timedelta(microseconds=self.modified_ns // 1000)
        except OverflowError:
            return None


def read_candidate(path: str, stop: threading.Event) -> Candidate:
    """Hash a file. Blocking: for a thread. Raises FileUnreadable, FileChanged, Stopped when ``stop`` is set."""
    try:
        return _read(path, stop)
    except OSError as exc:
        raise FileUnreadable(exc.strerror or str(exc)) from exc


class CandidateFile:
    """The bytes of a candidate, read in threads by a task that may be cancelled at any time.

    ``close`` never waits for a read that hangs on a slow disk: that read closes the file when it comes back.
    """

    def __init__(self, candidate: Candidate) -> None:
        self._candidate = candidate
        self._file: FileIO | None = None
        self._lock = threading.Lock()
        self.closed = False

    async def open(self) -> None:
        """Raises FileUnreadable, and FileChanged when the file is not what was hashed."""
        await asyncio.to_thread(self._guarded, self._open)

    async def read(self, count: int) -> bytes:
        """At most ``count`` bytes. Raises FileUnreadable, and FileChanged when the file has become shorter."""
        return await asyncio.to_thread(self._guarded, lambda: self._read(count))

    def close(self) -> None:
        """Give the file up; what reads it now gets FileChanged."""
        self.closed = True
        if self._lock.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._lock.release()

    def _guarded(self, work: Callable[[], _T]) -> _T:
        try:
            with self._lock:
                if self.closed:
                    raise FileChanged
                return work()
        except OSError as exc:
            raise FileUnreadable(exc.strerror or str(exc)) from exc
        finally:
            if self.closed:
                self.close()  # once more: the first call found the lock taken

    def _open(self) -> None:
        self._file = _open(self._candidate.path)
        status = os.fstat(self._file.fileno())
        if (status.st_size, status.st_mtime_ns) != (self._candidate.size, self._candidate.modified_ns):
            raise FileChanged

    def _read(self, count: int) -> bytes:
        chunk = self._file.read(count) if self._file is not None else b""
        if not chunk:
            raise FileChanged
        return chunk

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _read(path: str, stop: threading.Event) -> Candidate:
    hasher = blake3.blake3()
    buffer = memoryview(bytearray(_CHUNK))
    with _open(path) as file:
        before = os.fstat(file.fileno())
        read = 0
        while count := file.readinto(buffer):
            hasher.update(buffer[:count])
            read += count
            if stop.is_set():
                raise Stopped
        after = os.fstat(file.fileno())
    if read != after.st_size or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise FileChanged
    return Candidate(path=path, size=read, modified_ns=after.st_mtime_ns, content_hash=ContentHash(hasher.hexdigest()))


def _open(path: str) -> FileIO:
    """A symbolic link or a pipe that was put there meanwhile is neither followed nor waited for."""
    return FileIO(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
