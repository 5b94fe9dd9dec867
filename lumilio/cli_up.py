"""``lumilio up``, ``lumilio serve`` and ``lumilio migrate``: the commands that run the daemon or its database."""

import argparse
import asyncio
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lumilio.model import SYSTEM_CONFIG

if TYPE_CHECKING:
    from lumilio.config import Config
    from lumilio.daemon import Started

SERVE_HELP = """Run the daemon in the foreground, as systemd does."""
UP_HELP = """Start everything in the foreground: the embedded PostgreSQL, the daemon and a default repository.

Without --data and without a configuration file everything lies below ./data.
Stop it with Ctrl-C; a second Ctrl-C does not wait for running work."""


CLUSTER_DEATHS = 5
"""How often ``up`` starts again after PostgreSQL was killed; ``serve`` ends, and its supervisor starts it again."""


def add_parsers(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands."""
    up = subparsers.add_parser(
        "up", help="start everything here, in the foreground", description=UP_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    up.add_argument("--data", type=Path, metavar="DIR", help="keep everything below this directory")
    up.add_argument("--host", metavar="ADDR", help="address to listen on")
    up.add_argument("--port", type=int, metavar="N", help="TCP port; 0 takes a free one")
    up.set_defaults(run=run_up)
    serve = subparsers.add_parser("serve", help="run the daemon, as systemd does", description=SERVE_HELP)
    serve.set_defaults(run=run_serve)
    migrating = subparsers.add_parser(
        "migrate", help="bring the database's schema up to date", description="Every daemon does this when it starts."
    )
    migrating.set_defaults(run=run_migrate)
    for parser in (up, serve, migrating):
        parser.add_argument("--config", type=Path, metavar="FILE", help=f"configuration (default: {SYSTEM_CONFIG})")


def run_up(args: argparse.Namespace) -> int:
    """Run the daemon and say where it is."""
    from lumilio.config import load_config
    from lumilio.errors import ClusterFailed
    from lumilio.log import printable

    overrides: dict[str, dict[str, Any]] = {"server": {}, "data": {}}
    if args.data is not None:
        overrides["data"]["directory"] = str(args.data.absolute())
    elif args.config is None and not SYSTEM_CONFIG.exists():
        overrides["data"]["directory"] = str(Path("data").absolute())
    if args.host is not None:
        overrides["server"]["host"] = args.host
    if args.port is not None:
        overrides["server"]["port"] = args.port
    config = load_config(args.config, overrides)
    for _ in range(CLUSTER_DEATHS):
        try:
            return _run_daemon(config, talkative=True)
        except ExceptionGroup as group:
            if group.split(ClusterFailed)[1] is not None:
                raise
            for failure in group.exceptions:
                print(f"lumilio: {printable(str(failure))}\nlumilio: starting again", file=sys.stderr, flush=True)
    return _run_daemon(config, talkative=True)


def run_serve(args: argparse.Namespace) -> int:
    """Run the daemon without a word on standard output."""
    from lumilio.config import load_config

    return _run_daemon(load_config(args.config), talkative=False)


def run_migrate(args: argparse.Namespace) -> int:
    """Apply pending migrations and name them."""
    from lumilio import assembly
    from lumilio.config import load_config
    from lumilio.log import configure_logging
    from lumilio.migrate import migrate

    config = load_config(args.config)
    configure_logging(config.log.level, config.log.style)

    async def apply() -> None:
        async with assembly.open_configured_database(config) as (db, _cluster):
            applied = await migrate(db)
            for migration in applied:
                print(f"applied {migration.name}")
            if not applied:
                print("nothing to do")

    asyncio.run(apply())
    return 0


def _run_daemon(config: "Config", *, talkative: bool) -> int:
    import uvloop

    from lumilio import daemon
    from lumilio.log import configure_logging

    configure_logging(config.log.level, config.log.style)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(daemon.run(config, _banner if talkative else _silent))
        except asyncio.CancelledError:
            return 1
    return 0


def _silent(_started: "Started") -> None:
    return


def _banner(started: "Started") -> None:
    data = shlex.quote(str(started.data_directory))
    program = shlex.quote(sys.argv[0])
    lines = [
        "",
        f"  Lumilio is ready at {started.url}   ({started.seconds:.1f} s)",
        "",
        f"  API documentation   {started.url}/docs",
        f"  Library             {started.repository_root}",
    ]
    if started.password_file is not None:
        lines.append(f"  First login         admin, password in {started.password_file}")
    lines += [f"  Import photos       {program} import --data {data} ~/Pictures", "  Stop                Ctrl-C", ""]
    print("\n".join(lines), flush=True)
