"""Import camera JPEGs over HTTP to all thumbnails and facts done; beside it the peer, on the same files.

    python -m tests.benchmarks.ingest                      300 files of 8 to 26 megapixels
    python -m tests.benchmarks.ingest --megapixels 11.9 12.3   photos a minute at 12 megapixels

Rounds alternate Lumilio and peer, so that a noisy neighbour troubles both. Prints JSON.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.benchmarks.measuring import MIB, Memory, Processors, cpu_seconds, machine, run_costed, wait_until_idle
from tests.benchmarks.peer import Peer, version
from tests.benchmarks.photos import camera_jpegs, make_distinct
from tests.running import RunningDaemon, running_daemon


def main() -> None:
    """Measure as the arguments say."""
    args = _arguments()
    sources, peer = camera_jpegs(tuple(args.megapixels)), version()
    with tempfile.TemporaryDirectory(prefix="lumilio-bench-", dir=args.scratch) as name:
        scratch = Path(name)
        size = make_distinct(sources, args.files, scratch / "photos")
        report: dict[str, Any] = {
            "machine": machine(),
            "peer_version": peer,
            "files": args.files,
            "mib": round(size / MIB, 1),
            "rounds": [_round(scratch, number, args) for number in range(args.rounds)],
        }
    report["summary"] = _summary(report["rounds"])
    json.dump(report, sys.stdout, indent=2)
    print()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megapixels", type=float, nargs=2, default=(8.0, 27.0), metavar=("LEAST", "MOST"))
    parser.add_argument("--jobs", type=int, default=4, help="files that the importing client sends at once")
    parser.add_argument("--peer-effort", type=int, nargs="*", default=[4, 2], help="WebP efforts to run the peer with")
    parser.add_argument("--scratch", type=Path, help="where to write; a filesystem like that of a real library")
    parser.add_argument(
        "--wait-idle", type=float, default=0, metavar="SECONDS", help="how long an idle machine is waited for"
    )
    return parser.parse_args()


def _round(scratch: Path, number: int, args: argparse.Namespace) -> dict[str, Any]:
    photos = sorted((scratch / "photos").iterdir())
    wait_until_idle(args.wait_idle)
    result: dict[str, Any] = {"lumilio": _ingest(scratch / f"lumilio-{number}", photos[0].parent, args)}
    for effort in args.peer_effort:
        wait_until_idle(args.wait_idle)
        before = Processors.now()
        cost = Peer(effort=effort).run(photos, scratch / f"peer-{number}-{effort}")
        result[f"peer_effort_{effort}"] = {
            "wall_s": round(cost.wall, 2),
            "cpu_s_a_file": round(cost.cpu / args.files, 4),
            "cpu_s": cost.parts,
            "processors": Processors.now().shares_since(before, cost.cpu),
        }
    print(json.dumps(result), file=sys.stderr, flush=True)
    return result


def _ingest(folder: Path, photos: Path, args: argparse.Namespace) -> dict[str, Any]:
    with running_daemon(folder) as daemon, Memory(daemon.process.pid) as memory:
        before, machine_before = cpu_seconds(daemon.process.pid), Processors.now()
        began = time.monotonic()
        command = [sys.executable, "-m", "lumilio.cli", "import", str(photos), "--data", str(daemon.data_dir), "--json"]
        client = run_costed([*command, "--jobs", str(args.jobs)], log=folder / "import.jsonl")
        wall = time.monotonic() - began
        after, machine_after = cpu_seconds(daemon.process.pid), Processors.now()
        _require_complete(daemon, folder / "import.jsonl", args.files)
    spent = {kind: after[kind] - before.get(kind, 0.0) for kind in after}
    return {
        "wall_s": round(wall, 2),
        "files_a_second": round(args.files / wall, 2),
        "photos_a_minute": round(args.files / wall * 60),
        "cpu_s_a_file": round(sum(spent.values()) / args.files, 4),
        "cpu_ms_a_file": {kind: round(seconds / args.files * 1000, 1) for kind, seconds in sorted(spent.items())},
        "client_cpu_ms_a_file": round(client.cpu / args.files * 1000, 1),
        "processors": machine_after.shares_since(machine_before, sum(spent.values()) + client.cpu),
        "memory": memory.report(),
    }


def _require_complete(daemon: RunningDaemon, log: Path, files: int) -> None:
    """The numbers are worth nothing unless every file has its thumbnails."""
    events = [json.loads(line) for line in log.read_text().splitlines()]
    states = Counter(event["state"] for event in events if event["event"] == "processed")
    thumbnails = daemon.library / ".lumilio/assets/thumbnails"
    made = sum(1 for _ in thumbnails.rglob("*.webp"))
    if states != {"ready": files} or made != 3 * files:
        raise SystemExit(f"{files} files became {dict(states)} and {made} thumbnails")


def _summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(rounds[0])
    cpu = {name: statistics.median(each[name]["cpu_s_a_file"] for each in rounds) for name in names}
    wall = {name: statistics.median(each[name]["wall_s"] for each in rounds) for name in names}
    return {
        "photos_a_minute": statistics.median(each["lumilio"]["photos_a_minute"] for each in rounds),
        "cpu_s_a_file": cpu,
        "wall_s": wall,
        "cpu_of_peer": {name: round(cpu["lumilio"] / cpu[name], 3) for name in names if name != "lumilio"},
    }


if __name__ == "__main__":
    main()
