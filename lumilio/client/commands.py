"""Groups of commands that speak with a daemon: how each is added, run, and reads the arguments that several take."""

import argparse
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from lumilio.client.access import WHICH_DAEMON, add_daemon_options
from lumilio.errors import ClientError
from lumilio.log import printable

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_UNREACHABLE = 2

_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def add_group(subparsers: "Subparsers", name: str, *, summary: str, description: str, epilog: str) -> "Subparsers":
    """Add a command that does nothing but have others."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def add_command(
    commands: "Subparsers",
    name: str,
    conduct: Callable[[argparse.Namespace], int],
    summary: str,
    description: str,
    examples: str,
    *,
    exit_codes: str,
) -> argparse.ArgumentParser:
    """Add a command that speaks with a daemon.

    ``args.run(args)`` runs ``conduct``; ``args.refuse(text)`` ends the command as wrong usage.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"{examples}\n{WHICH_DAEMON}\n{exit_codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_daemon_options(parser)
    parser.set_defaults(run=run, conduct=conduct, refuse=parser.error)
    return parser


def add_limit(parser: argparse.ArgumentParser, noun: str, *, default: int) -> None:
    """Add ``--limit`` and ``--all``, of which one goes; ``limit_of`` reads them."""
    amount = parser.add_mutually_exclusive_group()
    told = f"at most N {noun} (default: {default})"
    amount.add_argument("--limit", type=positive, default=default, metavar="N", help=told)
    amount.add_argument("--all", action="store_true", help="no limit")


def limit_of(args: argparse.Namespace) -> int | None:
    """How many items a listing shall have; None: all."""
    return None if args.all else args.limit


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say and return the exit code."""
    try:
        return int(args.conduct(args))
    except ClientError as exc:
        sys.stderr.write(f"lumilio: {printable(str(exc))}\n")
        return EXIT_UNREACHABLE


def asset_id(text: str) -> str:
    """The id of an asset, spelled as the daemon does."""
    try:
        return str(UUID(text))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of an asset") from exc


def plain_name(text: str) -> str:
    """A name of ours: a code, a kind, a queue."""
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name; names are letters, digits and _ . -")
    return text


def positive(text: str) -> int:
    """A number of items, at least one."""
    if not _NUMBER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)
