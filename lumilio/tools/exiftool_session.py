"""One running exiftool: it reads files by request and prints their metadata as JSON, until it is killed.

It runs behind the fence: it may read, because it is asked for files anywhere, but it writes nothing and reaches no
network. Its own end is the kernel's work (PR_SET_PDEATHSIG, for which the thread that starts it has to live on): it
does not notice the end of its input, it polls. It has a process group of its own, which an interrupt at the terminal
leaves to the daemon to stop, and which dies as a whole.

What it may read is not cut down to the repositories: Landlock ties a rule to the folder that it finds, so that a disk
which is mounted again would be closed to it, and one which is dead would keep it from starting for all the others.
"""

import math
import os
import resource
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from lumilio.errors import ToolError, ToolMissing, ToolTimedOut
from lumilio.tools import fence
from lumilio.tools.exiftool_output import parsed

INSTALL = "apt-get install libimage-exiftool-perl"
"""The command that installs exiftool on Debian."""

_START = ("-config", "", "-stay_open", "True", "-@", "-", "-common_args")
_ARGUMENTS = (
    "-json",
    "-n",
    "-G1",
    "-struct",
    "-charset",
    "filename=utf8",
    "-api",
    "largefilesupport=1",
    "--System:all",
)
_OUTPUT_LIMIT = 64 * 1024 * 1024
_MEMORY_LIMIT = 1024 * 1024 * 1024
_LIMITS = ((resource.RLIMIT_AS, _MEMORY_LIMIT), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0))
_NO_MEMORY = "Out of memory"
"""Perl's last words."""
_EVERYTHING = Path("/")
_TICKS = os.sysconf("SC_CLK_TCK")


class Session:
    """An exiftool that has been started, and that only its starter asks."""

    def __init__(self) -> None:
        """Raises ToolMissing and ToolError."""
        program = shutil.which("exiftool")
        if program is None:
            raise ToolMissing(f"'exiftool' is not installed; install it with: {INSTALL}")
        command = fence.command([program, *_START, *_ARGUMENTS], readable=[_EVERYTHING])
        pipe = subprocess.PIPE
        self._numbers = count(1)
        self._process: Any  # its pipes are there
        try:
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, process_group=0)
        except OSError as exc:
            raise ToolError(f"exiftool cannot be started: {exc.strerror}") from exc
        with suppress(ProcessLookupError):
            for limit, value in _LIMITS:
                resource.prlimit(self._process.pid, limit, (value, value))

    @property
    def running(self) -> bool:
        return self._status() is None

    def metadata(self, paths: list[str], deadline: float) -> dict[str, Mapping[str, object]]:
        """What exiftool prints of each path. Raises ToolTimedOut, ToolError, OSError, ValueError and its like."""
        self._limit_time(math.ceil(deadline - time.monotonic()) + 1)
        number = next(self._numbers)
        request = "".join(f"{line}\n" for line in (*paths, "-echo4", f"{{end{number}}}", f"-execute{number}"))
        self._process.stdin.write(request.encode())
        self._process.stdin.flush()
        return parsed(self._printed(f"{{ready{number}}}\n".encode(), f"{{end{number}}}\n".encode(), deadline))

    def _printed(self, ready: bytes, end: bytes, deadline: float) -> bytes:
        """Standard output up to the mark that ends a request. Standard error is drained up to its mark and dropped:
        a full pipe would stop exiftool, and what matters of it is in ``ExifTool:Error`` and ``:Warning``."""
        out, err = self._process.stdout.fileno(), self._process.stderr.fileno()
        printed = {out: bytearray(), err: bytearray()}
        marks = {out: ready, err: end}
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            selector.register(err, selectors.EVENT_READ)
            while selector.get_map():
                events = selector.select(max(0.0, deadline - time.monotonic()))
                if not events:
                    raise ToolTimedOut("exiftool did not answer in time and was killed")
                for key, _ in events:
                    chunk = os.read(key.fd, 1 << 18)
                    if not chunk:
                        raise ToolError(self._death(printed[err]))
                    printed[key.fd] += chunk
                    if printed[key.fd].endswith(marks[key.fd]):
                        selector.unregister(key.fd)
                    elif len(printed[key.fd]) > _OUTPUT_LIMIT:
                        raise ToolError(f"exiftool printed more than {_OUTPUT_LIMIT >> 20} MiB")
        return bytes(printed[out].removesuffix(ready))

    def _death(self, printed: bytearray) -> str:
        """How it died, by its standard error, of which a part may not have been read yet."""
        err = self._process.stderr.fileno()
        os.set_blocking(err, False)
        with suppress(BlockingIOError):
            printed += os.read(err, 1 << 18)
        words = " ".join(printed.decode(errors="replace").split())[-200:]
        if _NO_MEMORY in words:
            return "exiftool ran out of memory on the file"
        status = self._status()
        ended = "exiftool died" if status is None else f"exiftool died with status {status}"
        return f"{ended} ({words})" if words else ended

    def _limit_time(self, seconds: int) -> None:
        """Have the kernel kill it after so much more processor time: should the thread that watches it be lost."""
        pid = self._process.pid
        with suppress(OSError):
            fields = (
                Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            )  # proc_pid_stat(5), from the third
            spent = (int(fields[11]) + int(fields[12])) // _TICKS
            resource.prlimit(pid, resource.RLIMIT_CPU, (spent + seconds, resource.RLIM_INFINITY))

    def _status(self) -> int | None:
        """How it ended, negative for a signal. It is not waited for: until ``end``, its group must be no other's."""
        try:
            end = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return int(self._process.returncode or 0)
        return None if end is None else end.si_status if end.si_code == os.CLD_EXITED else -end.si_status

    def kill(self) -> None:
        """Kill it with all that it started."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def end(self, patience: float) -> "subprocess.Popen[bytes]":
        """Kill it and return the process, which lives on where the kernel cannot end it, as on a dead disk.

        exiftool only reads, so there is nothing that it could leave half done.
        """
        process: subprocess.Popen[bytes] = self._process
        self.kill()
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=patience)
        for pipe in (self._process.stdout, self._process.stderr):
            pipe.close()
        return process
