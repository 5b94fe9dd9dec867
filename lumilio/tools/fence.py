"""The fence around processes that read untrusted files: what they may touch, whoever has taken them over.

A fenced process reads system libraries and Python's, and nothing else; it writes nowhere and reaches no network and no
other process. What it needs of the outside is passed to it as open descriptors. Landlock keeps the files, seccomp the
rest; where the kernel lacks one the other still holds, and ``describe`` says so.

Run as a program, ``fence.py PARENT ROOT... -- PROGRAM ARGUMENT...`` fences itself, with ROOTs readable, and becomes
PROGRAM. That is for programs started from a process with threads, in which nothing may run between fork and exec.
"""

import ctypes
import os
import resource
import signal
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lumilio.tools import landlock, seccomp
from lumilio.tools.landlock import Right

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/etc/ld.so.cache", "/etc/alternatives")
_SYSTEM_DATA = ("/etc/localtime", "/etc/perl", "/etc/fonts", "/etc/OpenCL", "/etc/vulkan", "/etc/glvnd")
_ALWAYS_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_MACHINE = ("/proc/cpuinfo", "/proc/meminfo", "/sys/devices/system")
_GRAPHICS = ("/dev/dri", "/dev/kfd", "/dev/nvidia*", "/dev/nvidia-caps/*", "/dev/dxg", "/dev/video*", "/dev/media*")
_GRAPHICS_FACTS = ("/sys", "/proc/driver", "/proc/devices", "/proc/modules", "/proc/sys/vm")
_PR_SET_PDEATHSIG = 1
_CAPABILITY_VERSION = 0x20080522
_FILE_CAPABILITIES = 0b110
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: Python's own files may belong to another user than a daemon run by root."""

_READ = Right.READ_FILE | Right.READ_DIR
_RUN = _READ | Right.EXECUTE
_USE = Right.READ_FILE | Right.READ_DIR | Right.WRITE_FILE | Right.IOCTL_DEV


def describe() -> str:
    """What of the fence this kernel offers, such as ``Landlock 7, seccomp``; ``none`` where it offers nothing."""
    files = f"Landlock {landlock.version()}" if landlock.version() else ""
    return ", ".join(filter(None, (files, "seccomp" if seccomp.is_available() else ""))) or "none"


def is_complete() -> bool:
    """Whether the kernel has all of it; signals and abstract sockets are held back from version 6 of Landlock on."""
    return landlock.version() >= 6 and seccomp.is_available()


def enclose(*, readable: Iterable[Path] = (), runnable: Iterable[Path] = (), devices: bool = False) -> None:
    """Put this process behind the fence for good, with what it starts from now on. It must have no other threads.

    ``readable`` and ``runnable`` are files and directories beyond the system's and Python's; ``devices`` are those of
    graphics processors. Raises OSError when the kernel refuses what it offers.
    """
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        raise OSError("a process with threads cannot be fenced")
    _drop_capabilities()
    if landlock.version():
        landlock.restrict(_rules(readable, runnable, devices=devices))
    if seccomp.is_available():
        seccomp.restrict()


def command(argv: list[str], *, readable: Iterable[Path]) -> list[str]:
    """The command that runs ``argv`` behind the fence, and kills it when the calling thread of this process ends."""
    package = Path(__file__).parents[2]
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from lumilio.tools.fence import main; main()"
    roots = [os.fspath(path) for path in readable]
    return [sys.executable, "-I", "-S", "-c", start, str(package), str(os.getpid()), *roots, "--", *argv]


def main() -> None:
    """Become the program of the command line. Its exit status is 126 when the fence cannot be set, 127 without it."""
    parent, *words = sys.argv[1:]
    split = words.index("--")
    roots, argv = words[:split], words[split + 1 :]
    runnable = [Path(argv[0])] if "/" in argv[0] else []
    try:
        end_with_parent(int(parent))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        enclose(readable=[Path(root) for root in roots], runnable=runnable)
    except OSError as exc:
        sys.stderr.write(f"the fence cannot be set: {exc}\n")
        sys.exit(126)
    try:
        os.execvp(argv[0], argv)  # noqa: S606  # no shell is wanted
    except OSError as exc:
        sys.stderr.write(f"{argv[0]!r} cannot be run: {exc.strerror}\n")
        sys.exit(127)


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; at once if that is over already."""
    libc: Any = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


def _rules(readable: Iterable[Path], runnable: Iterable[Path], *, devices: bool) -> Iterator[tuple[Path, Right]]:
    for name in _SYSTEM:
        yield Path(name), _RUN
    for path in _python_directories():
        yield path, _RUN
    for name in (*_SYSTEM_DATA, *_MACHINE):
        yield Path(name), _READ
    for path in readable:
        yield path, _READ
    for path in runnable:
        yield path, _RUN
    for name in _ALWAYS_DEVICES:
        yield Path(name), Right.READ_FILE | Right.WRITE_FILE
    if devices:
        for pattern in _GRAPHICS:
            for path in Path("/").glob(pattern.removeprefix("/")):
                yield path, _USE
        for name in _GRAPHICS_FACTS:
            yield Path(name), _READ


def _python_directories() -> Iterator[Path]:
    """Where modules and their libraries are loaded from late: not the prefix itself, which data may lie in as well."""
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}:
        yield Path(prefix, "lib")
        yield Path(prefix, "lib64")
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name))
    for entry in sys.path:
        if Path(entry).name in ("site-packages", "dist-packages", "lib-dynload"):
            yield Path(entry)
    yield Path(__file__).parents[1]


def _drop_capabilities() -> None:
    """What root, or a container's, could do beyond its files. A process without capabilities loses none."""
    libc: Any = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    kept = (ctypes.c_uint32 * 6)(sets[0] & _FILE_CAPABILITIES, sets[1] & _FILE_CAPABILITIES, 0, 0, 0, 0)
    if libc.capset(header, kept) != 0:
        raise OSError(ctypes.get_errno(), "capset")
