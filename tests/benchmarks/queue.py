"""The job queue beside pgqueuer, procrastinate and pgbench: enqueue, claim and complete, idle latency, CPU a job.

    python -m tests.benchmarks.queue                          all; about ten minutes
    python -m tests.benchmarks.queue --quick --rounds 1       small counts, to see that it works
    python -m tests.benchmarks.queue --only lumilio,pgqueuer

Prints JSON. All share one private PostgreSQL with the settings of the embedded cluster (fsync on) through its Unix
socket, and run on uvloop in this process: whoever enqueues, whoever works, one after the other. The contenders take
turns in each round, so that a noisy neighbour troubles all of them; ``others`` is the share of the processors that
neighbours had. The peers are not part of the development environment; install them with::

    .venv/bin/python -m pip install --require-hashes --no-build-isolation -r requirements-peers.txt
"""

import argparse
import asyncio
import importlib.metadata
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import uvloop

from lumilio.log import configure_logging
from lumilio.tools.postgres import cluster_binaries, run_cluster
from tests.benchmarks.measuring import machine, wait_until_idle
from tests.benchmarks.queue_bench import QUICK, Bench, Plan, Sizes
from tests.benchmarks.queue_contender import Contender, Server
from tests.benchmarks.queue_lumilio import Lumilio
from tests.benchmarks.queue_targets import summary, targets

NAMES = ("lumilio", "pgqueuer", "procrastinate", "pgbench")
DISTRIBUTIONS = ("asyncpg", "uvloop", "pgqueuer", "procrastinate", "psycopg")


def main() -> None:
    """Measure as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", type=_names, default=NAMES, metavar="NAME[,NAME…]", help=", ".join(NAMES))
    parser.add_argument("--quick", action="store_true", help="small counts")
    parser.add_argument("--scratch", type=Path, help="where PostgreSQL writes; a filesystem like that of a real one")
    parser.add_argument(
        "--wait-idle",
        type=float,
        default=0,
        metavar="SECONDS",
        help="how long an idle machine is waited for, each time",
    )
    args = parser.parse_args()
    configure_logging("warning", "auto")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        report = runner.run(_measure(args))
    json.dump(report, sys.stdout, indent=2)
    print()


def _names(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= set(NAMES):
        raise argparse.ArgumentTypeError(f"{text!r} is not some of {', '.join(NAMES)}")
    return names


async def _measure(args: argparse.Namespace) -> dict[str, Any]:
    sizes = QUICK if args.quick else Sizes()
    contenders, missing = _contenders(args.only)
    idle = wait_until_idle(args.wait_idle)
    report: dict[str, Any] = {"machine": machine(), "idle": idle, "versions": _versions(), "missing": missing}
    with tempfile.TemporaryDirectory(prefix="lumilio-bench-", dir=args.scratch) as name:
        script = Path(name) / "exchange.sql" if "pgbench" in args.only else None
        async with run_cluster(Path(name) / "postgres") as cluster:
            bench = Bench(Server(cluster), contenders, Plan(sizes=sizes, script=script, wait_idle=args.wait_idle))
            await bench.prepare()
            for number in range(args.rounds):
                await bench.round(number)
    return report | {
        "rounds": args.rounds,
        "sizes": asdict(sizes),
        "measured": summary(bench.samples),
        "targets": targets(bench.samples),
    }


def _contenders(names: Sequence[str]) -> tuple[list[Contender], list[str]]:
    """Those that are installed, and the names of the others."""
    found: list[Contender] = [Lumilio()] if "lumilio" in names else []
    missing = [name for name in ("pgqueuer", "procrastinate") if name in names and find_spec(name) is None]
    if "pgqueuer" in names and "pgqueuer" not in missing:
        from tests.benchmarks.queue_pgqueuer import Pgqueuer

        found += [Pgqueuer(bounded=True), Pgqueuer(bounded=False)]
    if "procrastinate" in names and "procrastinate" not in missing:
        from tests.benchmarks.queue_procrastinate import Procrastinate

        found.append(Procrastinate())
    if missing:
        print(f"not installed, see requirements-peers.txt: {', '.join(missing)}", file=sys.stderr)
    return found, missing


def _versions() -> dict[str, str]:
    installed = {distribution.name for distribution in importlib.metadata.distributions()}
    versions = {name: importlib.metadata.version(name) for name in DISTRIBUTIONS if name in installed}
    return {"postgresql": cluster_binaries().version, **versions}


if __name__ == "__main__":
    main()
