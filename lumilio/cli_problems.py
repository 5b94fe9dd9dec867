"""``lumilio problems``: the arguments of the command. Its work lies in lumilio.client."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from lumilio.client.access import access_of
from lumilio.client.commands import add_command, add_group, add_limit, asset_id, limit_of, plain_name
from lumilio.model import MediaKind

if TYPE_CHECKING:
    from lumilio.client.commands import Subparsers
    from lumilio.client.problems import Selection

_DEFAULT_LIMIT = 50
_MOST_NAMED = 1000

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
    commands = add_group(
        subparsers,
        "problems",
        summary="list, show, retry and ignore what failed for files",
        description="What could not be done with the files of a running Lumilio.",
        epilog=_EPILOG,
    )
    add = partial(add_command, commands, exit_codes=_EXIT_CODES)
    listing = add("list", run_list, "list problems, newest first", _LIST, _LIST_EXAMPLES)
    _add_ignored(_add_filters(listing))
    add_limit(listing, "problems", default=_DEFAULT_LIMIT)
    showing = add("show", run_show, "show the problems of one file", _SHOW, _SHOW_EXAMPLES)
    showing.add_argument("asset_id", type=asset_id, metavar="ASSET", help="id, as `lumilio problems list` shows it")
    retrying = add("retry", run_retry, "try failed files again", _RETRY, _RETRY_EXAMPLES)
    _add_ignored(_add_selection(retrying))
    ignoring = add("ignore", run_ignore, "hide problems, or show them again", _IGNORE, _IGNORE_EXAMPLES)
    _add_selection(ignoring)
    ignoring.add_argument("--undo", action="store_true", help="take it back: show them again")


def _add_filters(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    which = parser.add_argument_group("which problems")
    which.add_argument("--code", type=plain_name, help="with this code, such as media.damaged")
    which.add_argument("--step", type=plain_name, help="of this step, such as render or facts")
    which.add_argument("--tool", type=plain_name, help="of this tool, such as libraw or ffmpeg")
    which.add_argument("--kind", choices=[kind.value for kind in MediaKind], help="of photos, videos or audio")
    which.add_argument("--format", type=plain_name, help="of files of this format, such as jpeg or nef")
    return which


def _add_ignored(which: "argparse._ArgumentGroup") -> None:
    which.add_argument("--ignored", action="store_true", help="only those that are ignored")


def _add_selection(parser: argparse.ArgumentParser) -> "argparse._ArgumentGroup":
    parser.add_argument(
        "asset_ids", nargs="*", type=asset_id, metavar="ASSET", help="ids, as `lumilio problems list` shows them"
    )
    parser.add_argument("--dry-run", action="store_true", help="only tell how many")
    which = _add_filters(parser)
    which.add_argument("--all", action="store_true", help="every problem")
    return which


def run_list(args: argparse.Namespace) -> int:
    """List problems."""
    from lumilio.client.problems import conduct_list

    wanted = _selection(args, ignored=args.ignored)
    return conduct_list(access_of(args), wanted, limit=limit_of(args), as_json=args.json)


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
