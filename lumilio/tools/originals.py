"""What a task in a decoder child has of the outside: the files that the daemon opened for it, and a way to report.

A child may not open files: the daemon opens those of the task at hand and passes their descriptors. Whatever reads an
original or writes a derivative asks here, by the path that the task was given, and so works outside a child too.
"""

import io
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lumilio.errors import StorageError

_BUFFER = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    """What one task was given: descriptors by path, those that may be written to, and where progress goes."""

    granted: Mapping[Path, int]
    writable: frozenset[Path]
    report: Callable[[float], None]


_task: _Task | None = None
"""None outside a child, where every path may be opened. A child does one task at a time."""


def open_original(path: Path) -> BinaryIO:
    """A buffered reader of a file of this task, at its beginning. Several may be open at once, each at its own place.

    ``fileno()`` is a descriptor for libraries and programs that want one. It stands at the beginning too, but shares
    its place with those of other readers of the same file: one user at a time. ``name`` is the path as a string.

    Raises StorageError when the file cannot be opened, and in a child when it was not given to the task.
    """
    return io.BufferedReader(_File(_descriptor(path, write=False), os.fspath(path), write=False), _BUFFER)


def open_target(path: Path) -> BinaryIO:
    """The same for a file that is to be written: it exists, may be read back, and is not cut to nothing.

    Raises StorageError as ``open_original`` does.
    """
    return io.BufferedRandom(_File(_descriptor(path, write=True), os.fspath(path), write=True), _BUFFER)


def report_progress(fraction: float) -> None:
    """Tell the caller of this task how much of it is done, from 0 to 1. Outside a child nobody listens."""
    if _task is not None:
        _task.report(fraction)


def open_descriptor(path: Path, *, write: bool) -> int:
    """Open a regular file. Raises StorageError, also for what is none, such as a named pipe."""
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else exc
        raise StorageError(f"{os.fspath(path)!r} cannot be opened: {reason}") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StorageError(f"{os.fspath(path)!r} cannot be opened: it is not a file")
    return descriptor


@contextmanager
def granted(files: Mapping[Path, int], *, writable: frozenset[Path], report: Callable[[float], None]) -> Iterator[None]:
    """In a child: for the time of one task, the files that it may open, and no others. They are closed after it."""
    global _task  # a process has one task
    _task = _Task(granted=files, writable=writable, report=report)
    try:
        yield
    finally:
        _task = _Task(granted={}, writable=frozenset(), report=report)
        for descriptor in files.values():
            os.close(descriptor)


def _descriptor(path: Path, *, write: bool) -> int:
    if _task is None:
        return open_descriptor(path, write=write)
    if path not in _task.granted or (write and path not in _task.writable):
        raise StorageError(f"{os.fspath(path)!r} was not given to this task")
    descriptor = os.dup(_task.granted[path])
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class _File(io.RawIOBase):
    """An open file with a place of its own: descriptors that were duplicated or passed share theirs."""

    def __init__(self, descriptor: int, name: str, *, write: bool) -> None:
        self.name = name
        self._descriptor = descriptor
        self._write = write
        self._place = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return self._write

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        self._check_open()
        return self._descriptor

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]  # preadv wants these
        self._check_open()
        count = os.preadv(self._descriptor, [buffer], self._place)
        self._place += count
        return count

    def write(self, data: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]  # as pwrite
        self._check_open()
        count = os.pwrite(self._descriptor, data, self._place)
        self._place += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._check_open()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place}.get(whence)
        place = offset + (os.fstat(self._descriptor).st_size if base is None else base)
        if place < 0:
            raise ValueError(f"there is no place {place} in a file")
        self._place = place
        return place

    def truncate(self, size: int | None = None, /) -> int:
        self._check_open()
        length = self._place if size is None else size
        os.ftruncate(self._descriptor, length)
        return length

    def close(self) -> None:
        if not self.closed:
            try:
                super().close()
            finally:
                os.close(self._descriptor)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f"{self.name!r} has been closed")
