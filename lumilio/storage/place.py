"""Giving bytes a name without replacing what has it: the one primitive under commit, trash and restore.

``rename`` replaces silently, so it is never used alone. Two system calls refuse instead, and no filesystem in use lacks
both: ``link(2)`` (exFAT, FAT and some network mounts have no hard links) and ``renameat2(RENAME_NOREPLACE)`` (NFS and
some FUSE filesystems have not; exFAT, FAT, NTFS and CIFS have).
"""

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from stat import S_ISREG
from uuid import uuid4

from lumilio.storage.disk import fsync_directory
from lumilio.storage.hashing import digest, is_file_of
from lumilio.storage.ignore import PART_SUFFIX

_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV, errno.ENOSYS}
_NO_RENAME = {errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV, errno.ENOSYS}
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_COPY_BYTES = 1024 * 1024


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def rename_without_replacing(source: Path, target: Path) -> None:
    """``renameat2(RENAME_NOREPLACE)``. Raises FileExistsError, and OSError EINVAL or ENOSYS where it is missing."""
    result = _libc().renameat2(
        _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(_RENAME_NOREPLACE)
    )
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source), None, str(target))


@dataclass(frozen=True, slots=True, kw_only=True)
class NoReplace:
    """The two calls that refuse to replace; given explicitly to try out the filesystems that lack one."""

    link: Callable[[Path, Path], None] = os.link
    rename: Callable[[Path, Path], None] = rename_without_replacing


LINUX = NoReplace()


def place(source: Path, target: Path, *, scratch: Path, calls: NoReplace = LINUX, private: bool = False) -> None:
    """Give the bytes of ``source`` the free name ``target`` as well; ``source`` stays. The caller syncs the directory.

    By a hard link, else by a copy that is complete and durable before it gets its name, so that a crash never leaves a
    part of a file under a final name. The copy is made in ``scratch``, or beside ``target`` when that is on another
    filesystem; a crash leaves it there under a name that is always ignored. A name that is taken costs no copy.
    ``private`` says that ``target`` is a name which nobody but this very operation uses.
    Raises FileExistsError, OSError.
    """
    try:
        calls.link(source, target)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        beside = target.parent if exc.errno == errno.EXDEV else scratch
        _place_copy(source, target, scratch=beside, calls=calls, private=private)


def move(source: Path, target: Path, *, calls: NoReplace = LINUX, private: bool = False) -> None:
    """Give ``source`` the free name ``target`` instead of its own, durably; at no moment has it no name.

    A crash may leave both names where the filesystem has no RENAME_NOREPLACE; ``finish_move`` tells and mends that.
    ``private`` as in ``place``. Raises FileExistsError when ``target`` is taken, OSError.
    """
    try:
        calls.rename(source, target)
    except OSError as exc:
        if exc.errno not in _NO_RENAME:
            raise
        place(source, target, scratch=target.parent, calls=calls, private=private)
        fsync_directory(target.parent)
        source.unlink()
    fsync_directory(target.parent)
    fsync_directory(source.parent)


def finish_move(source: Path, target: Path) -> None:
    """Mend what a crash inside ``move`` left: where ``target`` holds the bytes of ``source``, take ``source`` away.

    Another file that came to the old name in the meantime stays. Raises OSError.
    """
    try:
        before, after = source.lstat(), target.lstat()
    except FileNotFoundError:
        return
    moved = os.path.samestat(before, after)
    if not moved and S_ISREG(before.st_mode) and before.st_size == after.st_size:
        moved = is_file_of(target, before.st_size, digest(source))
    if moved:
        fsync_directory(target.parent)
        source.unlink()
        fsync_directory(source.parent)


def _place_copy(source: Path, target: Path, *, scratch: Path, calls: NoReplace, private: bool) -> None:
    """The look at the name only saves the copy; what decides is the rename, which refuses to replace."""
    _refuse_taken(target)
    part = scratch / f".{uuid4()}{PART_SUFFIX}"
    try:
        _copy_durably(source, part)
        try:
            calls.rename(part, target)
        except OSError as exc:
            if exc.errno == errno.EXDEV and scratch != target.parent:
                _place_copy(source, target, scratch=target.parent, calls=calls, private=private)
            elif exc.errno in _NO_RENAME:
                _rename_onto_free(part, target, private=private)
            else:
                raise
    finally:
        with suppress(FileNotFoundError):
            part.unlink()


def _copy_durably(source: Path, part: Path) -> None:
    with source.open("rb", buffering=0) as reader, part.open("xb") as writer:
        while block := reader.read(_COPY_BYTES):
            writer.write(block)
        writer.flush()
        status = os.fstat(reader.fileno())
        os.utime(writer.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fsync(writer.fileno())


def _rename_onto_free(part: Path, target: Path, *, private: bool) -> None:
    """Neither call exists here: reserve the name with an empty file, then rename over that.

    A crash between the two leaves an empty file, which the retry takes for somebody's and goes to the next name. A
    private name needs no reservation, hence leaves nothing that its retry would take for the whole file.
    """
    if not private:
        with target.open("xb") as reservation:
            mine = os.fstat(reservation.fileno())
        now = target.lstat()
        if not os.path.samestat(mine, now) or now.st_size != 0:
            raise _taken(target)
    else:
        _refuse_taken(target)
    part.replace(target)


def _refuse_taken(target: Path) -> None:
    if os.path.lexists(target):
        raise _taken(target)


def _taken(target: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
