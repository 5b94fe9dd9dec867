"""What decoder children are made to do by the tests. Children load this module before they are fenced."""

import ctypes
import importlib
import os
import resource
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from lumilio.errors import NotFound
from lumilio.model import Playback, RenderSource, Rendition, Streams, Thumbnail
from lumilio.tools.decoders import PRELOAD
from lumilio.tools.decoding import decode_budget
from lumilio.tools.originals import open_original, open_target, report_progress

MIB = 1024 * 1024
LOADED = (*PRELOAD, "tests.integration.decoder_tasks")
"""For ``DecoderPool(preload=…)``."""

_kept: list[bytearray] = []


def own_pid() -> int:
    return os.getpid()


def announce_and_hang() -> None:
    report_progress(0.5)
    signal.pause()


def hang_in_c() -> None:
    """Wait in a system call with the interpreter locked, as a stuck decoder does."""
    ctypes.PyDLL(None).sleep(600)


def burn() -> None:
    while True:
        pass


def take_memory(size: int) -> int:
    return len(bytearray(size))


def keep_memory(size: int) -> int:
    """Leak, as libraries do, and tell by whom."""
    _kept.append(bytearray(b"\1") * size)
    return os.getpid()


def die_by(number: int) -> None:
    os.kill(os.getpid(), number)


def raise_with_details() -> None:
    raise NotFound("no such thing", details={"thing": 7})


def raise_value_error() -> None:
    raise ValueError("odd")


def give_a_function() -> object:
    return print


def limits_of_child() -> dict[str, object]:
    return {
        "session": os.getsid(0) == os.getpid(),
        "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
        "file size": resource.getrlimit(resource.RLIMIT_FSIZE)[0],
        "descriptors": sorted(_kinds_of_descriptors()),
        "threads": os.environ["OMP_NUM_THREADS"],
    }


def _kinds_of_descriptors() -> list[int]:
    """The file types of what is open, beyond standard input, output and errors, and the null device."""
    kinds = []
    null = Path(os.devnull).stat().st_rdev
    for descriptor in range(3, 256):
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        if status.st_rdev != null:
            kinds.append(stat.S_IFMT(status.st_mode))
    return kinds


def peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def content_of(path: Path) -> bytes:
    with open_original(path) as file:
        return file.read()


def read_by_many_ways(path: Path) -> list[bytes]:
    """Two readers at their own places, and a program that gets the descriptor."""
    with open_original(path) as one, open_original(path) as other:
        found = [one.read(2), other.read(4), one.read(2)]
        one.seek(-2, os.SEEK_END)
        found.append(one.read())
    with open_original(path) as file:
        found.append(subprocess.run(["cat"], stdin=file.fileno(), stdout=subprocess.PIPE, check=True).stdout)
    return found


def copy(source: Path, target: Path) -> int:
    with open_original(source) as file, open_target(target) as out:
        return out.write(file.read())


def write_original(path: Path) -> None:
    with open_target(path) as file:
        file.write(b"changed")


def fill(target: Path, size: int) -> None:
    with open_target(target) as file:
        for _ in range(size // MIB):
            file.write(bytes(MIB))


def read_another(_path: Path, other: str) -> bytes:
    return content_of(Path(other))


def report_often(times: int) -> None:
    for number in range(times):
        report_progress(number / times)
        time.sleep(0.05)
    report_progress(1.0)


def report_nonsense() -> None:
    for fraction in (float("nan"), -5.0):
        report_progress(fraction)
        time.sleep(0.15)
    report_progress(7.0)


def start_a_program() -> int:
    """Leave a program running that has done what it can to get away. Returns its process id."""
    return subprocess.Popen(["sleep", "600"], start_new_session=True).pid


def start_a_program_and_hang() -> None:
    start_a_program()
    announce_and_hang()


def refusals(outside: dict[str, object], *, harmless: bool = False) -> dict[str, str]:
    """Try to get at what lies outside, at addresses and paths. Each try's outcome is the name of the error, or
    ``done``. ``harmless`` leaves out what would change this process; spare are files that may come to harm."""
    pid = int(str(outside["pid"]))
    tries: dict[str, Callable[[], object]] = {
        "tcp": lambda: socket.create_connection(("127.0.0.1", int(str(outside["port"]))), timeout=5).close(),
        "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
        "unix": lambda: _connect(str(outside["socket"])),
        "names": lambda: socket.getaddrinfo("localhost", 80, proto=socket.IPPROTO_TCP),
        "signal": lambda: os.kill(pid, 0),
        "limit": lambda: resource.prlimit(pid, resource.RLIMIT_CORE),
        "memory": lambda: Path(f"/proc/{pid}/mem").open("rb").close(),
        "environment": lambda: Path(f"/proc/{pid}/environ").read_bytes(),
    }
    for path in map(Path, _strings(outside["paths"])):
        tries[f"read {path}"] = path.read_bytes
    for path in map(Path, _strings(outside["spare files"])):
        tries[f"read {path}"] = path.read_bytes
        tries[f"overwrite {path}"] = partial(path.write_bytes, b"changed")
        tries[f"remove {path}"] = path.unlink
        tries[f"link {path}"] = partial(path.with_name("second name").hardlink_to, path)
    for path in map(Path, _strings(outside["folders"])):
        tries[f"list {path}"] = partial(os.scandir, path)
    for path in map(Path, _strings(outside["spare folders"])):
        tries[f"create in {path}"] = (path / "new").touch
        tries[f"create folder in {path}"] = (path / "folder").mkdir
        tries[f"remove {path}"] = path.rmdir
    if not harmless:
        tries["namespace"] = lambda: _checked("unshare", 0x10000000)
        tries["ptrace"] = lambda: _checked("ptrace", 16, pid, 0, 0)
    return {name: _outcome(attempt) for name, attempt in tries.items()}


def _connect(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def _strings(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(each) for each in value]


def _checked(function: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as exc:
        return type(exc).__name__
    return "done"


def import_late(names: list[str]) -> dict[str, str]:
    """The libraries that a decoder may load when it first needs them, and exiftool."""
    return {name: _imported(name) for name in names}


def _imported(name: str) -> str:
    try:
        return importlib.import_module(name).__name__
    except ImportError as exc:
        return str(exc)


def version_of_exiftool() -> str:
    return subprocess.run(["exiftool", "-ver"], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()


def forge(message: bytes) -> None:
    """Send to the daemon what a child that was taken over might, in place of an answer."""
    forge_bytes(len(message).to_bytes(4, "big") + message)


def forge_bytes(sent: bytes) -> None:
    """The same below the level of messages."""
    for descriptor in range(3, 256):
        try:
            pipe = socket.socket(fileno=descriptor)
        except OSError:
            continue
        pipe.sendall(sent)
        signal.pause()


def forge_rendition(message: bytes) -> Rendition:
    """A processor that was taken over."""
    forge(message)
    raise AssertionError("the daemon has not killed its child")


def true_rendition() -> Rendition:
    """All kinds of fields that an answer may have."""
    return Rendition(
        width=4000,
        height=None,
        thumbnails=(Thumbnail(size=150, width=150, height=1, data=b"\0webp"),),
        source=RenderSource.POSTER,
        perceptual_hash=2**64 - 1,
        thumbhash=b"",
        streams=Streams(container="mov", duration=2, frame_rate=29.97, hdr=False, playback=Playback.REMUX),
        music=None,
    )


def budget_of_child() -> int:
    return decode_budget()
