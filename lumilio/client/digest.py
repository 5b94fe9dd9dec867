"""BLAKE3 of files that may change while they are read."""

import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from io import FileIO

import blake3

from lumilio.model import ContentHash

_CHUNK = 1024 * 1024


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
            return datetime.fromtimestamp(self.modified_ns / 1e9, UTC)
        except (OverflowError, ValueError, OSError):
            return None


def read_candidate(path: str, stop: threading.Event) -> Candidate:
    """Hash a file. Blocking: for a thread. Raises FileUnreadable, FileChanged, Stopped when ``stop`` is set."""
    try:
        return _read(path, stop)
    except OSError as exc:
        raise FileUnreadable(exc.strerror or str(exc)) from exc


def open_candidate(candidate: Candidate) -> FileIO:
    """Open a file for sending. Blocking. Raises FileUnreadable, and FileChanged when it is not what was hashed."""
    try:
        file = _open(candidate.path)
    except OSError as exc:
        raise FileUnreadable(exc.strerror or str(exc)) from exc
    status = os.fstat(file.fileno())
    if (status.st_size, status.st_mtime_ns) != (candidate.size, candidate.modified_ns):
        file.close()
        raise FileChanged
    return file


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
