"""Landlock: a process gives up rights on files, TCP ports and other processes, for itself and whatever it starts.

Numbers and structures are those of linux/landlock.h; landlock(7) tells which version of the kernel's interface brought
what. An interface that lacks a right cannot refuse it: what it has is used. Only the calling thread is restricted, and
what was opened before stays usable.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterable
from enum import IntFlag
from functools import cache
from pathlib import Path
from typing import Any

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38
_ABSENT = (errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM)
"""Not in the kernel, switched off, or hidden by the filter of a container."""


class Right(IntFlag):
    """What may be done to files below a path."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


_FOR_FILES = Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE | Right.IOCTL_DEV
_ALL_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""Every right on files that an interface knows, from the named version on."""
_TCP = 0b11
"""To bind and to connect, from version 4 on."""
_SCOPES = 0b11
"""Abstract Unix sockets and signals stay among the restricted, from version 6 on."""


@cache
def version() -> int:
    """The version of the kernel's interface, 0 where there is none."""
    try:
        return _call(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    except OSError as exc:
        if exc.errno in _ABSENT:
            return 0
        raise


def restrict(allowed: Iterable[tuple[Path, Right]]) -> None:
    """Refuse this thread every right on files but the named ones below the named paths; also TCP, signals to others
    and their abstract sockets. Paths that do not exist, or may not be looked up, are passed over.

    Raises OSError when the kernel refuses.
    """
    abi = version()
    handled = max(rights for since, rights in _ALL_RIGHTS.items() if since <= abi)
    words = [handled] + ([_TCP] if abi >= 4 else []) + ([_SCOPES] if abi >= 6 else [])
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = _call(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path, rights in allowed:
            _allow(ruleset, path, rights & handled)
        set_no_new_privileges()
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def set_no_new_privileges() -> None:
    """No program that this process starts gains rights by it. The kernel wants that before it takes any fence."""
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)")


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _FOR_FILES
        _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def _call(number: int, *arguments: object) -> int:
    libc: Any = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    result: int = libc.syscall(ctypes.c_long(number), *(_word(each) for each in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"landlock system call {number}: {os.strerror(ctypes.get_errno())}")
    return result


def _word(argument: object) -> object:
    """A variadic function takes its integers as wide as the register."""
    return ctypes.c_long(argument) if isinstance(argument, int) else argument
