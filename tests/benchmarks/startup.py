"""Seconds from the command to *ready*, on an empty data directory and on the one that this made; and what idling costs.

    python -m tests.benchmarks.startup

Prints JSON. Ready is when ``lumilio up`` says so, the daemon then answers requests.
"""

import argparse
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.measuring import Memory, cpu_seconds, machine, wait_until_idle

STOP_SECONDS = 60.0


def main() -> None:
    """Measure as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--idle-seconds", type=float, default=20.0, help="how long to watch an idle daemon")
    parser.add_argument("--scratch", type=Path, help="where to write")
    parser.add_argument(
        "--wait-idle", type=float, default=0, metavar="SECONDS", help="how long an idle machine is waited for"
    )
    args = parser.parse_args()
    idle = wait_until_idle(args.wait_idle)
    report: dict[str, Any] = {"machine": machine(), "idle": idle}
    with tempfile.TemporaryDirectory(prefix="lumilio-bench-", dir=args.scratch) as name:
        data = [Path(name) / str(number) for number in range(args.rounds)]
        first = [_start_once(directory) for directory in data]
        later = [_start_once(directory) for directory in data]
        report["first_start_s"] = _told(first)
        report["later_start_s"] = _told(later)
        report["stop_s"] = _told([(stop, stop) for _, stop in later])["median"]
        report["idle_daemon"] = _idle(data[0], args.idle_seconds)
    json.dump(report, sys.stdout, indent=2)
    print()


def _told(times: list[tuple[float, float]]) -> dict[str, Any]:
    starts = [round(start, 2) for start, _ in times]
    return {"median": statistics.median(starts), "all": starts}


def _start_once(directory: Path) -> tuple[float, float]:
    """Seconds to start and to stop."""
    began = time.monotonic()
    with _up(directory):
        ready = time.monotonic()
        started = ready - began
        ending = time.monotonic()
    return started, time.monotonic() - ending


@contextmanager
def _up(directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """``lumilio up`` from *ready* to its end by SIGTERM."""
    with directory.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lumilio.cli", "up", "--data", str(directory), "--host", "127.0.0.1", "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        assert process.stdout is not None
        if not any("Lumilio is ready" in line for line in process.stdout):
            raise SystemExit(f"lumilio up ended:\n{directory.with_suffix('.log').read_text()[-2000:]}")
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _idle(directory: Path, seconds: float) -> dict[str, Any]:
    """Per cent of one processor, and memory."""
    with _up(directory) as process, Memory(process.pid) as memory:
        time.sleep(5)  # what the start left to do
        before = cpu_seconds(process.pid)
        time.sleep(seconds)
        after = cpu_seconds(process.pid)
    percent = {kind: round((after[kind] - before.get(kind, 0.0)) / seconds * 100, 2) for kind in after}
    return {"cpu_percent": percent, "memory": memory.report()}


if __name__ == "__main__":
    main()
