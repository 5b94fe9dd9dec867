"""What every file operation of this layer stands on: threads, wrapped errors, durability, free space.

Nothing here waits for longer than one file operation. A filesystem that hangs (a dead network mount) hangs the thread,
not the event loop; the caller's timeout decides how long it is waited for.
"""

import asyncio
import contextvars
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import uuid4

from lumilio.errors import DiskFull, PathInvalid, PathOccupied, StorageError

P = ParamSpec("P")
T = TypeVar("T")

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_DIRECTORY_FSYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF}


async def run_blocking(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function`` in a thread and, unlike ``asyncio.to_thread``, never leave it running behind a cancellation.

    A cancelled caller is told so only when the thread is done, so that what cleans up after it, and the next attempt
    of the same job, finds the disk at rest.
    """
    call = partial(contextvars.copy_context().run, partial(function, *args, **kwargs))
    work: asyncio.Future[T] = asyncio.get_running_loop().run_in_executor(None, call)
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError as exc:
            cancelled = exc
    if cancelled is None:
        return work.result()
    work.exception()
    raise cancelled


@contextmanager
def storage_errors(action: str, path: Path) -> Iterator[None]:
    """Turn an OSError of the body into the StorageError that says what to do about it."""
    try:
        yield
    except OSError as exc:
        if exc.errno in _NO_SPACE:
            message = f"no space left while {action} {str(path)!r}; free some space on that filesystem"
            raise DiskFull(message) from exc
        if exc.errno == errno.ENAMETOOLONG:
            raise PathInvalid(f"{action} {str(path)!r}: name too long for its filesystem; shorten it") from exc
        reason = exc.strerror or str(exc)
        raise StorageError(f"{action} {str(path)!r}: {reason.lower()}; check the disk and its permissions") from exc


def fsync_directory(path: Path) -> None:
    """Make the names in a directory durable. Filesystems without the notion (CIFS, some FUSE) are left to their own."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno not in _NO_DIRECTORY_FSYNC:
            raise
    finally:
        os.close(descriptor)


def fsync_file(path: Path) -> None:
    """Make bytes durable that somebody else wrote."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(path: Path) -> list[Path]:
    """Create the missing directories down to ``path``, durably; return those that this call created, outermost first.

    Creates all or none. Raises PathOccupied when something that is not a directory is in the way.
    """
    missing: list[Path] = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    created: list[Path] = []
    try:
        for directory in reversed(missing):
            if _make_directory(directory):
                created.append(directory)
        for directory in created:
            fsync_directory(directory.parent)
    except BaseException:
        remove_empty(created)
        raise
    return created


def _make_directory(path: Path) -> bool:
    try:
        path.mkdir()
    except FileExistsError as exc:
        if path.is_dir():
            return False
        raise PathOccupied(f"{str(path)!r} is not a directory; move it out of the way") from exc
    except NotADirectoryError as exc:
        raise PathOccupied(f"{str(path.parent)!r} is not a directory; move it out of the way") from exc
    return True


def remove_empty(directories: list[Path]) -> None:
    """Remove those directories that are empty, the last first; what holds anything stays."""
    for directory in reversed(directories):
        with suppress(OSError):
            directory.rmdir()


def write_atomically(path: Path, data: bytes, *, scratch: Path | None = None, durable: bool = True) -> None:
    """Write or replace a file of Lumilio's own: readers see the old bytes or the new ones, never a part.

    ``scratch`` is a directory on the same filesystem for the temporary file, by default that of ``path``.
    """
    temporary = (scratch or path.parent) / f".{uuid4()}.tmp"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    if durable:
        fsync_directory(path.parent)


@contextmanager
def exclusively(lock: Path) -> Iterator[None]:
    """Keep other threads and processes that use the same lock file out of the body; waits as long as they take."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def free_bytes(path: Path) -> int:
    """Bytes that an ordinary user may still write on the filesystem of ``path``."""
    with storage_errors("reading the free space of", path):
        status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
