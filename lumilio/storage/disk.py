"""What every file operation of this layer stands on: threads, wrapped errors, durability, free space.

A filesystem that hangs (a dead network mount) takes threads of its own repository: other repositories, logins and the
end of the process do not wait for it, and its callers only so long.
"""

import asyncio
import contextvars
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Generic, ParamSpec, TypeVar
from uuid import uuid4
from weakref import WeakValueDictionary

from lumilio.errors import DiskFull, PathInvalid, PathOccupied, RepositoryOffline, StorageError
from lumilio.tools.threads import DaemonThreads

P = ParamSpec("P")
T = TypeVar("T")

PRIVATE = ".lumilio"
"""The directory of a repository that belongs to Lumilio."""

_THREADS = 16
"""For each repository: twice the calls that jobs and a few uploads make at once."""
_LOOK_SECONDS = 60.0
"""Between two looks at a call. One fsync may take that long on a slow disk that others keep busy, hardly longer."""
_SUSPICIOUS_LOOK_SECONDS = 5.0
_GRACE_SECONDS = 10.0

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_DIRECTORY_FSYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF}


class _Lane(DaemonThreads):
    """The threads of one repository, and how many of them hang: a dead mount uses up its own lane and no other."""

    def __init__(self, root: Path | None) -> None:
        super().__init__(f"files of {root}", _THREADS)
        self._disk = "the disk" if root is None else f"the disk of {str(root)!r}"
        self._hanging = 0

    @property
    def look_seconds(self) -> float:
        """How often to look whether a call gets anywhere; where one hangs already, another is soon believed to."""
        return _SUSPICIOUS_LOOK_SECONDS if self._hanging else _LOOK_SECONDS

    def leave(self, work: "Future[T]") -> None:
        """Count a call as hanging until it comes back, which may be never."""
        self._hanging += 1
        work.add_done_callback(self._welcome_back)

    def _welcome_back(self, _work: "Future[T]") -> None:
        self._hanging -= 1

    def fault(self) -> RepositoryOffline:
        """What to tell a caller whose wait has no end in sight."""
        return RepositoryOffline(f"{self._disk} does not answer ({self._hanging} calls hang); check it and its mount")


_lanes: WeakValueDictionary[Path | None, _Lane] = WeakValueDictionary()
"""A lane goes with its last thread: its key may be a path that nobody asks for again."""


class _Call(Generic[T]):
    """A function on its way through a thread of a lane."""

    def __init__(self, lane: _Lane, function: Callable[[], T]) -> None:
        self._lane = lane
        self._context = contextvars.copy_context()
        self._function = function
        self._clock: int | None = None
        self._seen: int | None = None
        self._work = lane.submit(self._run)
        self._answer = asyncio.wrap_future(self._work)

    def _run(self) -> T:
        self._clock = time.pthread_getcpuclockid(threading.get_ident())
        return self._context.run(self._function)

    def _gets_anywhere(self) -> bool:
        """Whether the thread used its processor since the last look: in a system call that waits, it does not."""
        before, self._seen = self._seen, None
        with suppress(OSError):  # the thread is gone, and the answer under way
            self._seen = None if self._clock is None else time.clock_gettime_ns(self._clock)
        return self._seen is None or self._seen != before

    async def answered(self) -> None:
        """Wait for the end of the call. Raises RepositoryOffline when it has no thread, or its thread hangs."""
        while not (await asyncio.wait({self._answer}, timeout=self._lane.look_seconds))[0]:
            if self._work.cancel():
                raise self._lane.fault()
            if not self._gets_anywhere():
                self._lane.leave(self._work)
                raise self._lane.fault()

    async def finish_soon(self) -> None:
        """Wait some seconds, deaf to further cancellations. Raises CancelledError when one came, or it takes longer."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _GRACE_SECONDS
        cancelled = False
        self._gets_anywhere()
        while not self._answer.done():
            left = end - loop.time()
            if left <= 0:
                if not self._work.cancel() and not self._gets_anywhere():
                    self._lane.leave(self._work)
                raise asyncio.CancelledError
            try:
                await asyncio.wait({self._answer}, timeout=left)
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError

    async def give_up(self) -> None:
        """For a caller that was cancelled: drop the call, or wait some seconds for it once it has begun."""
        if not self._work.cancel():
            await self.finish_soon()

    def result(self) -> T:
        return self._answer.result()

    def forget(self) -> None:
        """Nobody waits any more: take the exception, so that asyncio does not report it as forgotten."""
        if not self._answer.done():
            self._answer.cancel()
        elif not self._answer.cancelled():
            self._answer.exception()


async def run_blocking(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function`` in a thread of the repository that it works on, known by the first repository or path among
    its arguments, else in the object that it is a method of, else in its closure; other calls share a lane.

    A cancelled caller is told so when the thread is done, so that what cleans up after it, and the next attempt of the
    same job, finds the disk at rest; one that hangs is left behind after 10 s, and it may come back to life later.

    Raises RepositoryOffline when no thread gets free, or the disk makes no progress at all, for one to two minutes.
    """
    call = _Call(_lane_of(function, args), partial(function, *args, **kwargs))
    task = asyncio.current_task()
    try:
        if task is not None and task.cancelling():  # the caller cleans up after its own cancellation
            await call.finish_soon()
            return call.result()
        try:
            await call.answered()
        except asyncio.CancelledError:
            await call.give_up()
            raise
        return call.result()
    finally:
        call.forget()


def _lane_of(function: Callable[..., object], args: tuple[object, ...]) -> _Lane:
    root = next(filter(None, map(_root_of, chain(args, _held_by(function)))), None)
    lane = _lanes.get(root)
    if lane is None:
        lane = _lanes[root] = _Lane(root)
    return lane


def _root_of(thing: object) -> Path | None:
    """The root of a repository, or that of the repository whose private part a path lies in, or else the path."""
    if isinstance(thing, Path):
        return next((parent.parent for parent in thing.parents if parent.name == PRIVATE), thing)
    root = getattr(thing, "root", None)
    return root if isinstance(root, Path) else None


def _held_by(function: Callable[..., object]) -> Iterator[object]:
    owner = getattr(function, "__self__", None)
    yield owner
    yield from getattr(owner, "__dict__", {}).values()
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # a variable that has no value yet
            yield cell.cell_contents


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
