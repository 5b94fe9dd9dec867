"""Files a second of our exiftools reading a tree, beside ``exiftool -json -n -G1 -r`` on the same tree.

    python -m tests.benchmarks.exiftool [FOLDER] --processes 1 2

Prints JSON. Both start from nothing, and take turns: the median round counts. ``peer_ratio`` is our files a second by
the peer's; CPU is user and system time of all processes, the daemon's side included.
"""

import argparse
import asyncio
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from lumilio.tools.exiftool import ExifTool, version
from tests.benchmarks.measuring import Cost, machine, run_costed, wait_until_idle
from tests.benchmarks.photos import media_directory

PEER = ("exiftool", "-q", "-q", "-json", "-n", "-G1", "-r")


def main() -> None:
    """Measure as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=media_directory(), help="the tree to read")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="how many exiftools of ours")
    parser.add_argument("--callers", type=int, default=40, help="how many files are asked for at once")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--wait-idle", type=float, default=0, metavar="SECONDS", help="how long an idle machine is waited for"
    )
    args = parser.parse_args()
    idle = wait_until_idle(args.wait_idle)
    files = read_by_peer(args.folder)
    names = ["peer", *(f"processes_{count}" for count in args.processes)]
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    for _ in range(args.rounds):
        costs["peer"].append(cost_of_peer(args.folder))
        for count in args.processes:
            costs[f"processes_{count}"].append(cost_of_ours(files, count, args.callers))
    peer = statistics.median(cost.wall for cost in costs["peer"])
    report: dict[str, Any] = {
        "machine": machine(),
        "idle": idle,
        "exiftool": asyncio.run(version()),
        "files": len(files),
        "rounds": args.rounds,
    }
    print(json.dumps(report | {name: _summary(found, len(files), peer) for name, found in costs.items()}, indent=1))


def read_by_peer(folder: Path) -> list[Path]:
    """The files that exiftool finds worth reading in a tree; the same are then read by ours. Warms the page cache."""
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "out"
        run_costed([*PEER, str(folder)], log=log)
        return [Path(entry["SourceFile"]) for entry in json.loads(log.read_text(errors="replace"))]


def cost_of_peer(folder: Path) -> Cost:
    """One pass of exiftool over the tree."""
    with tempfile.TemporaryDirectory() as scratch:
        return run_costed([*PEER, str(folder)], log=Path(scratch) / "out")


def cost_of_ours(files: list[Path], processes: int, callers: int) -> Cost:
    """Every file read once, by the first caller that is free."""
    before, began = _cpu(), time.monotonic()
    asyncio.run(_read(files, processes, callers))
    return Cost(wall=time.monotonic() - began, cpu=_cpu() - before)


async def _read(files: list[Path], processes: int, callers: int) -> None:
    left = iter(files)

    async def call() -> None:
        for path in left:
            await exiftool.read(path, name_hint=path.name)

    async with ExifTool(processes=processes) as exiftool, asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call())


def _cpu() -> float:
    usages = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _summary(costs: list[Cost], files: int, peer: float) -> dict[str, float]:
    wall, cpu = statistics.median(cost.wall for cost in costs), statistics.median(cost.cpu for cost in costs)
    return {
        "files_per_second": round(files / wall, 1),
        "files_per_cpu_second": round(files / cpu, 1),
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "peer_ratio": round(peer / wall, 2),
    }


if __name__ == "__main__":
    main()
