"""CPU and memory of a tree of processes, and what to know of the machine before believing a number.

CPU is user and system time with that of children that are gone: counting the living alone would forget decoders that
were replaced and the connections that PostgreSQL closed.
"""

import os
import platform
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

MIB = 1 << 20
_IDLE_SECONDS = 5.0
_IDLE_SHARE = 0.1


@dataclass(slots=True)
class Peak:
    """The most memory that one kind of process had, in bytes."""

    rss: int = 0
    pss_sum: int = 0
    processes: int = 0


def tree(root: int) -> list[psutil.Process]:
    """A process and all that live below it."""
    try:
        top = psutil.Process(root)
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def kind_of(process: psutil.Process, root: int) -> str:
    """What a process of Lumilio is, by its command line."""
    if process.pid == root:
        return "daemon"
    command = " ".join(process.cmdline())
    if "postgres" in command:
        return "postgresql"
    if "exiftool" in command:
        return "exiftool"
    if "forkserver" in command:
        return "decoder" if _is_forked_from_like(process) else "fork server"
    return "other"


def _is_forked_from_like(process: psutil.Process) -> bool:
    """A decoder child has its parent's command line."""
    parent = process.parent()
    return parent is not None and "forkserver" in " ".join(parent.cmdline())


def cpu_seconds(root: int) -> dict[str, float]:
    """CPU so far by kind of process, those that ended and were waited for included with whoever waited."""
    spent: dict[str, float] = {}
    for process in tree(root):
        try:
            kind, times = kind_of(process, root), process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        spent[kind] = spent.get(kind, 0.0) + times.user + times.system + times.children_user + times.children_system
    return spent


class Memory:
    """Watches the memory of a tree from a thread, every ``interval`` seconds.

    ``rss`` is the kernel's own high-water mark (VmHWM) of the largest process of a kind; ``pss_sum`` the largest sum
    seen of the proportional sizes of all processes of a kind, which counts shared memory once.
    """

    def __init__(self, root: int, *, interval: float = 2.0) -> None:
        self.peaks: dict[str, Peak] = {}
        self._root = root
        self._interval = interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            self._look()

    def _look(self) -> None:
        sums: dict[str, list[int]] = {}
        for process in tree(self._root):
            try:
                kind = kind_of(process, self._root)
                rss, pss = _high_water(process.pid), _proportional(process.pid)
            except (psutil.NoSuchProcess, OSError):
                continue
            peak = self.peaks.setdefault(kind, Peak())
            peak.rss = max(peak.rss, rss)
            sums.setdefault(kind, []).append(pss)
        for kind, sizes in sums.items():
            peak = self.peaks[kind]
            peak.pss_sum, peak.processes = max(peak.pss_sum, sum(sizes)), max(peak.processes, len(sizes))

    def report(self) -> dict[str, dict[str, float]]:
        """MiB by kind of process."""
        return {
            kind: {
                "peak_rss_mib": round(peak.rss / MIB, 1),
                "peak_pss_sum_mib": round(peak.pss_sum / MIB, 1),
                "processes": peak.processes,
            }
            for kind, peak in sorted(self.peaks.items())
        }


def _high_water(pid: int) -> int:
    return _kilobytes(Path(f"/proc/{pid}/status"), "VmHWM:")


def _proportional(pid: int) -> int:
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def _kilobytes(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


@dataclass(slots=True, kw_only=True)
class Cost:
    """Wall and CPU seconds of a command and its children."""

    wall: float
    cpu: float
    parts: dict[str, float] = field(default_factory=dict)


def run_costed(command: list[str], *, log: Path) -> Cost:
    """Run a command to its end; its output goes to ``log``. Raises SystemExit with its last words when it fails."""
    began = time.monotonic()
    with log.open("ab") as output:
        null = os.open(os.devnull, os.O_RDONLY)
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, output.fileno(), 1)]
        actions.append((os.POSIX_SPAWN_DUP2, output.fileno(), 2))
        pid = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
        os.close(null)
        _, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - began
    if status != 0:
        raise SystemExit(f"{command[0]} ended with {os.waitstatus_to_exitcode(status)}:\n{log.read_text()[-2000:]}")
    return Cost(wall=wall, cpu=usage.ru_utime + usage.ru_stime)


@dataclass(frozen=True, slots=True, kw_only=True)
class Processors:
    """Seconds that all processors together have spent since the machine started."""

    busy: float
    stolen: float
    at: float

    @classmethod
    def now(cls) -> Self:
        """``stolen`` is what the hypervisor gave to other machines."""
        times = psutil.cpu_times()
        busy = times.user + times.nice + times.system + times.irq + times.softirq
        return cls(busy=busy, stolen=times.steal, at=time.monotonic())

    def shares_since(self, earlier: "Processors", own_cpu: float) -> dict[str, float]:
        """How much of the processors others had, as a share of all of them: what to distrust a number for."""
        whole = (self.at - earlier.at) * len(os.sched_getaffinity(0))
        return {
            "by_others": round(max(0.0, self.busy - earlier.busy - own_cpu) / whole, 3),
            "stolen": round((self.stolen - earlier.stolen) / whole, 3),
        }


def wait_until_idle(seconds: float) -> bool:
    """Wait until nobody uses a tenth of the processors for 5 s; False when that does not come within ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        before = Processors.now()
        time.sleep(_IDLE_SECONDS)
        shares = Processors.now().shares_since(before, 0.0)
        if shares["by_others"] + shares["stolen"] < _IDLE_SHARE:
            return True
        if time.monotonic() > deadline:
            return False


def machine() -> dict[str, Any]:
    """What a reader of the numbers wants to know."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": [round(value, 2) for value in os.getloadavg()],
    }
