"""``lumilio problems``: the arguments of the command. Its work lies in lumilio.client."""

import argparse
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from lumilio.client.access import WHICH_DAEMON, access_of, add_daemon_options
from lumilio.errors import ClientError
from lumilio.log import printable
from lumilio.model import MediaKind

if TYPE_CHECKING:
    from lumilio.client.problems import Selection

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EXIT_UNREACHABLE = 2

_DEFAULT_LIMIT = 50
_MOST_NAMED = 1000
_LIMIT = re.compile(r"[1-9][0-9]{0,8}")
_NAME = re.compile(r"\w[\w.-]{0,99}", re.ASCII)

_EXIT_CODES = """\
exit codes: 0 done; 1 nothing of that name has a problem; 2 wrong usage, or the daemon is unreachable or refuses;
130 interrupted.
"""
_EPILOG = """\
examples:
  lumilio problems list                        what could not be done with which files, and why
  lumilio problems show ASSET                  everything about one, and what can be done
  lumilio problems retry --tool libraw         try those files again
  lumilio problems ignore --code media.damaged

`lumilio problems COMMAND --help` tells more.
"""
_LIST = """\
List what could not be done with your files, the newest failure first. The files are stored, bit for bit, whatever is
listed here. Lumilio tries them again by itself when the tool that failed has another version. What is ignored is left
out unless --ignored.
"""
_LIST_EXAMPLES = """\
examples:
  lumilio problems list                        the newest fifty
  lumilio problems list --tool libraw --kind photo
  lumilio problems list --ignored
  lumilio problems list --all --json | jq -r '.items[].path'

--json writes one document: {"items": [PROBLEM, ...], "next_cursor": null, or a text when there are more, "counts":
[{"code", "step", "problems"}, ...] of all that fit}
"""
_SHOW = """\
Show all problems of one file: what failed, with which version of which tool, how often, and what can be done now.
"""
_SHOW_EXAMPLES = """\
examples:
  lumilio problems show 0197f3a0-5b1c-7c11-9d0e-6a1f0c2b3d4e
  lumilio problems show 0197f3a0-5b1c-7c11-9d0e-6a1f0c2b3d4e --json | jq -r .items[].reason
"""
_RETRY = """\
Try again what failed: name assets, or say which problems. What is ignored is left alone unless it is named or
--ignored is given.
"""
_RETRY_EXAMPLES = """\
examples:
  lumilio problems retry 0197f3a0-5b1c-7c11-9d0e-6a1f0c2b3d4e
  lumilio problems retry --code tool.timed_out --dry-run
  lumilio problems retry --all

--json writes {"retried": N, "waiting": N}: of how many files something is tried again soon, and of how many a job was
at it already.
"""
_IGNORE = """\
Say that problems are of no interest: name assets, or say which problems. They are left out of the list and are not
tried again by themselves, until the file fails in another way or with another version of the tool.
"""
_IGNORE_EXAMPLES = """\
examples:
  lumilio problems ignore 0197f3a0-5b1c-7c11-9d0e-6a1f0c2b3d4e
  lumilio problems ignore --code media.damaged --dry-run
  lumilio problems ignore --undo --all

--json writes {"changed": N}.
"""


def add_parsers(subparsers: "Subparsers") -> None:
    """Add ``problems`` to the command line."""
    parser = subparsers.add_parser(
        "problems",
        help="list, show, retry and ignore what failed for files",
        description="What could not be done with the files of a running Lumilio.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listing = _command(commands, "list", run_list, "list problems, newest first", _LIST, _LIST_EXAMPLES)
    _add_ignored(_add_filters(listing))
    amount = listing.add_mutually_exclusive_group()
    amount.add_argument(
        "--limit", type=_limit, default=_DEFAULT_LIMIT, metavar="N", help=f"at most N (default: {_DEFAULT_LIMIT})"
    )
    amount.add_argument("--all", action="store_true", help="no limit")
    showing = _command(commands, "show", run_show, "show the problems of one file", _SHOW, _SHOW_EXAMPLES)
    showing.add_argument("asset_id", type=_asset_id, metavar="ASSET", help="id, as `lumilio problems list` shows it")
    retrying = _command(commands, "retry", run_retry, "try failed files again", _RETRY, _RETRY_EXAMPLES)
    _add_ignored(_add_selection(retrying))
    ignoring = _command(commands, "ignore", run_ignore, "hide problems, or show them again", _IGNORE, _IGNORE_EXAMPLES)
    _add_selection(ignoring)
    ignoring.add_argument("--undo", action="store_true", help="take it back: show them again")


def _command(
    commands: "Subparsers",
    name: str,
    conduct: Callable[[argparse.Namespace], int],
    summary: str,
    description: str,
    examples: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"{examples}\n{WHICH_DAEMON}\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_daemon_options(parser)
    parser.set_defaults(run=run, conduct=conduct, refuse=parser.error)
    return parser


def _add_filters(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    which = parser.add_argument_group("which problems")
    which.add_argument("--code", type=_name, help="with this code, such as media.damaged")
    which.add_argument("--step", type=_name, help="of this step, such as render or facts")
    which.add_argument("--tool", type=_name, help="of this tool, such as libraw or ffmpeg")
    which.add_argument("--kind", choices=[kind.value for kind in MediaKind], help="of photos, videos or audio")
    which.add_argument("--format", type=_name, help="of files of this format, such as jpeg or nef")
    return which


def _add_ignored(which: "argparse._ArgumentGroup") -> None:
    which.add_argument("--ignored", action="store_true", help="only those that are ignored")


def _add_selection(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    parser.add_argument(
        "asset_ids", nargs="*", type=_asset_id, metavar="ASSET", help="ids, as `lumilio problems list` shows them"
    )
    parser.add_argument("--dry-run", action="store_true", help="only tell how many")
    which = _add_filters(parser)
    which.add_argument("--all", action="store_true", help="every problem")
    return which


def run(args: argparse.Namespace) -> int:
    """Do what the arguments say and return the exit code."""
    try:
        return int(args.conduct(args))
    except ClientError as exc:
        print(f"lumilio: {printable(str(exc))}", file=sys.stderr)
        return EXIT_UNREACHABLE


def run_list(args: argparse.Namespace) -> int:
    """List problems."""
    from lumilio.client.problems import conduct_list

    limit = None if args.all else args.limit
    return conduct_list(access_of(args), _selection(args, ignored=args.ignored), limit=limit, as_json=args.json)


def run_show(args: argparse.Namespace) -> int:
    """Show the problems of one asset."""
    from lumilio.client.problems import conduct_show

    return conduct_show(access_of(args), args.asset_id, as_json=args.json)


def run_retry(args: argparse.Namespace) -> int:
    """Retry named or selected problems."""
    from lumilio.client.problems import conduct_retry

    _check_selection(args, ignored=args.ignored)
    ignored = None if args.asset_ids and not args.ignored else bool(args.ignored)
    return conduct_retry(access_of(args), _selection(args, ignored=ignored), dry_run=args.dry_run, as_json=args.json)


def run_ignore(args: argparse.Namespace) -> int:
    """Ignore named or selected problems, or no longer."""
    from lumilio.client.problems import conduct_ignore

    _check_selection(args, ignored=False)
    return conduct_ignore(
        access_of(args),
        _selection(args, ignored=None),
        ignored=not args.undo,
        dry_run=args.dry_run,
        as_json=args.json,
    )


def _check_selection(args: argparse.Namespace, *, ignored: bool) -> None:
    """Ids may go with filters, ``--all`` with neither of them."""
    filtered = bool(args.code or args.step or args.tool or args.kind or args.format or ignored)
    if args.all and (args.asset_ids or args.code or args.step or args.tool or args.kind or args.format):
        args.refuse("--all goes with neither assets nor filters")
    if not (args.asset_ids or args.all or filtered):
        args.refuse("name assets by their ids, or say which with --code, --step, --tool, --kind, --format or --all")
    if len(args.asset_ids) > _MOST_NAMED:
        args.refuse(f"{len(args.asset_ids)} assets are named; name at most {_MOST_NAMED}")


def _selection(args: argparse.Namespace, *, ignored: bool | None) -> "Selection":
    from lumilio.client.problems import Selection

    return Selection(
        asset_ids=tuple(dict.fromkeys(getattr(args, "asset_ids", ()))),
        code=args.code,
        step=args.step,
        tool=args.tool,
        kind=args.kind,
        format=args.format,
        ignored=ignored,
    )


def _asset_id(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of an asset") from exc


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a name; names are letters, digits and _ . -")
    return text


def _limit(text: str) -> int:
    if not _LIMIT.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of problems")
    return int(text)
