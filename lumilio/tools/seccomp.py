"""seccomp: a filter on system calls that a process sets for itself and whatever it starts.

It refuses what no decoder needs and what an attacker in one would reach for: the network, other processes, and those
parts of the kernel in which most of its holes were found. Everything else is allowed, because decoders are libraries
that bring their own choice of calls. Refused calls fail and kill nobody: libraries try and go on.
"""

import ctypes
import errno
import os
import platform
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from lumilio.tools.landlock import set_no_new_privileges

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2
_RET_ALLOW = 0x7FFF0000
_RET_ERRNO = 0x00050000
_NUMBER, _ARCHITECTURE, _ARGUMENT = 0, 4, 16
"""Offsets in struct seccomp_data; of the first argument the lower half, on machines of little-endian order."""
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_X32 = 0x40000000
"""From here on the numbers of a second set of calls on x86-64, which would go round the filter."""
_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID and NET: a user namespace opens the kernel's privileged parts to anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calls:
    """Numbers of system calls on one architecture, whose own number is ``audit``."""

    audit: int
    refused: tuple[int, ...]
    session: tuple[int, ...]
    clone: int
    prlimit: int
    clone3: int = 435
    has_x32: bool = field(default=False)


_NETWORK_X86, _NETWORK_ARM = (41, 53), (198, 199)  # socket, socketpair
_PROCESSES_X86 = (101, 310, 311, 438)  # ptrace, process_vm_readv, _writev, pidfd_getfd
_PROCESSES_ARM = (117, 270, 271, 438)
_SHARED_X86 = (29, 30, 31, 64, 65, 66, 68, 69, 70, 71, 220, 240)  # shm*, sem*, msg* of System V, mq_open
_SHARED_ARM = (194, 196, 195, 190, 193, 191, 186, 189, 188, 187, 192, 180)
_KERNEL_X86 = (248, 249, 250, 272, 298, 308, 321, 323, 425)
_KERNEL_ARM = (217, 218, 219, 97, 241, 268, 280, 282, 425)
"""add_key, request_key, keyctl, unshare, perf_event_open, setns, bpf, userfaultfd, io_uring_setup."""

_ARCHITECTURES = {
    "x86_64": _Calls(
        audit=0xC000003E,
        refused=_NETWORK_X86 + _PROCESSES_X86 + _SHARED_X86 + _KERNEL_X86,
        session=(109, 112),  # setpgid, setsid
        clone=56,
        prlimit=302,
        has_x32=True,
    ),
    "aarch64": _Calls(
        audit=0xC00000B7,
        refused=_NETWORK_ARM + _PROCESSES_ARM + _SHARED_ARM + _KERNEL_ARM,
        session=(154, 157),
        clone=220,
        prlimit=261,
    ),
}
"""From the kernel's asm/unistd_64.h and asm-generic/unistd.h, and linux/audit.h."""


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


@cache
def is_available() -> bool:
    """Whether the kernel takes filters, and the architecture is one whose calls are known here."""
    libc: Any = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, None, 0, 0)
    return ctypes.get_errno() == errno.EFAULT and platform.machine() in _ARCHITECTURES


def restrict() -> None:
    """Set the filter for this process. Raises OSError when the kernel refuses."""
    steps = _program(_ARCHITECTURES[platform.machine()])
    instructions = (_Instruction * len(steps))(*(_Instruction(*step) for step in steps))
    set_no_new_privileges()
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(_Program(len(steps), instructions)), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl(PR_SET_SECCOMP): {os.strerror(ctypes.get_errno())}")


def _program(calls: _Calls) -> list[tuple[int, int, int, int]]:
    """Instructions as operation, how many to skip when true, when false, and operand.

    ``clone`` may make threads and children, not namespaces; ``clone3`` hides its flags behind a pointer and is said
    not to exist, upon which the C library uses ``clone``. Nobody leaves the process group, by which all are killed:
    who wants to is told that it was done. ``prlimit64`` may set limits of the caller; others do not exist for it.
    """
    refuse = (_RETURN, 0, 0, _RET_ERRNO | errno.EPERM)
    unknown = (_RETURN, 0, 0, _RET_ERRNO | errno.ESRCH)
    allow = (_RETURN, 0, 0, _RET_ALLOW)
    program = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, calls.audit), refuse, (_LOAD, 0, 0, _NUMBER)]
    if calls.has_x32:
        program += [(_AT_LEAST, 0, 1, _X32), refuse]
    for number in calls.refused:
        program += [(_EQUAL, 0, 1, number), refuse]
    for number in calls.session:
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _RET_ERRNO)]
    program += [(_EQUAL, 0, 1, calls.clone3), (_RETURN, 0, 0, _RET_ERRNO | errno.ENOSYS)]
    program += [(_EQUAL, 0, 4, calls.clone), (_LOAD, 0, 0, _ARGUMENT), (_ANY_BIT, 0, 1, _NEW_NAMESPACES), refuse, allow]
    program += [(_EQUAL, 0, 4, calls.prlimit), (_LOAD, 0, 0, _ARGUMENT), (_EQUAL, 1, 0, 0), unknown, allow]
    return [*program, allow]
