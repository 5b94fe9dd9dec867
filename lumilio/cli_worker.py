"""``lumilio worker``: the arguments of the command."""

import argparse
from pathlib import Path

from lumilio.model import SYSTEM_CONFIG

_DESCRIPTION = """\
Work on the queues of a running Lumilio without an API of its own: beside the daemon, or on another machine that
reaches its database (database.url) and has its repositories mounted under the same paths.
"""
_EPILOG = """\
examples:
  lumilio worker                               all queues, as many jobs at once as the daemon runs
  lumilio worker --queues process_asset=8      one queue, eight jobs at once

exit codes: 0 stopped in order, 1 the database is away or too old at the start, 2 wrong usage or configuration.
"""
_MOST_SLOTS = 256


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``worker`` to the command line."""
    parser = subparsers.add_parser(
        "worker",
        help="work on the queues without an API, beside the daemon or elsewhere",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--queues",
        type=_queues,
        default=[],
        metavar="NAME[=SLOTS],…",
        help="which queues, and how many of each one's jobs at once (default: all, as the daemon)",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"configuration (default: {SYSTEM_CONFIG})")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="data directory of a daemon on this machine (default: that of --config, else LUMILIO_DATA, ./data)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Work until a signal."""
    import asyncio

    import uvloop

    from lumilio import worker
    from lumilio.client.discovery import nearby_data
    from lumilio.config import load_config
    from lumilio.log import configure_logging

    data = args.data or (nearby_data() if args.config is None else None)
    config = load_config(args.config, {"data": {"directory": str(data.absolute())}} if data else {})
    slots = worker.chosen_slots(config, args.queues)
    configure_logging(config.log.level, config.log.style)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(worker.run(config, slots))
        except asyncio.CancelledError:
            return 1
    return 0


def _queues(text: str) -> list[tuple[str, int | None]]:
    found: list[tuple[str, int | None]] = []
    for part in text.split(","):
        name, equals, number = part.strip().partition("=")
        if not name or (equals and not (number.isdecimal() and 1 <= int(number) <= _MOST_SLOTS)):
            raise argparse.ArgumentTypeError(f"{part.strip()!r} is not NAME or NAME=SLOTS, 1 to {_MOST_SLOTS} slots")
        if name in dict(found):
            raise argparse.ArgumentTypeError(f"queue {name!r} is named twice")
        found.append((name, int(number) if equals else None))
    return found
