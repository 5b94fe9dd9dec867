"""``lumilio times``: the arguments of the command. Its work lies in lumilio.client."""

import argparse
import re
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from lumilio.client.access import access_of
from lumilio.client.commands import add_command, add_group, asset_id, positive
from lumilio.model import MediaKind

if TYPE_CHECKING:
    from lumilio.client.commands import Subparsers
    from lumilio.client.time_changes import Wish

_DEFAULT_LIMIT = 20
_MOST_NAMED = 3000
_LONGEST = 200 * 365 * 86400
_MOST_LISTED = 500
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BACKWARD = re.compile(r"-\d")
_SHIFT = re.compile(r"([+-]?)(?:(\d{1,6})d)?(?:(\d{1,8})h)?(?:(\d{1,10})m)?(?:(\d{1,11})s)?")

_EXIT_CODES = """\
exit codes: 0 done; 1 the change was stopped before its end, or an ASSET does not exist; 2 wrong usage, or the daemon is
unreachable or refuses; 130 interrupted: the change goes on.
"""
_EPILOG = """\
examples:
  lumilio times shift --by +1h --model 'Z 6' --from 2024-05-01 --to 2024-05-14
  lumilio times rederive --file-name 'PXL_*'
  lumilio times list

`lumilio times COMMAND --help` tells more.
"""
_SHIFT_TEXT = """\
Move the capture times of many assets, because a camera's clock was wrong. The wall clock moves, its distance from UTC
stays, and the new times count as yours: nothing that is read from the files later replaces them. The files themselves
are not touched.
"""
_SHIFT_EXAMPLES = """\
examples:
  lumilio times shift --by +1h30m --model 'Z 6' --from 2024-05-01 --to 2024-05-14 --dry-run
  lumilio times shift --by -365d ASSET ASSET
To undo one, shift the same assets back, as the command itself tells at its end; --from and --to mean the times as they
are then, and so move as well. Or read the times again:
  lumilio times rederive --discard-edits ASSET ASSET

--json writes the change: {"id", "state", "shift_seconds", "selection", "matching", "changed", ...}; with --dry-run
{"matching": N}.
"""
_REDERIVE = """\
Read the capture times, and all other facts, again out of what is known of the files: their own metadata, sidecars,
names. Times that people set stay, unless --discard-edits. The files themselves are not read.
"""
_REDERIVE_EXAMPLES = """\
examples:
  lumilio times rederive --all
  lumilio times rederive --discard-edits ASSET       forget what was shifted or typed

--json writes the change, as `lumilio times shift` does.
"""
_LIST = """\
List the bulk changes of capture times, newest first, with how far each came.
"""
_LIST_EXAMPLES = """\
examples:
  lumilio times list
  lumilio times list --json | jq '.items[] | select(.state == "stopped")'
"""


def add_parsers(subparsers: "Subparsers") -> None:
    """Add ``times`` to the command line."""
    commands = add_group(
        subparsers,
        "times",
        summary="shift capture times in bulk, or read them again",
        description="Change the capture times of many assets of a running Lumilio.",
        epilog=_EPILOG,
    )
    add = partial(add_command, commands, exit_codes=_EXIT_CODES)
    shifting = add("shift", run_shift, "correct a clock that was wrong", _SHIFT_TEXT, _SHIFT_EXAMPLES)
    shifting.add_argument(
        "--by",
        type=_shift,
        required=True,
        metavar="SHIFT",
        help="how far, such as +1h30m, -45s or +2d",
    )
    shifting._negative_number_matcher = _BACKWARD  # else argparse takes -1h30m for an option
    _add_selection(shifting)
    deriving = add("rederive", run_rederive, "read the times again", _REDERIVE, _REDERIVE_EXAMPLES)
    deriving.add_argument("--discard-edits", action="store_true", help="also where people set the time")
    _add_selection(deriving)
    listing = add("list", run_list, "list the changes, newest first", _LIST, _LIST_EXAMPLES)
    listing.add_argument(
        "--limit", type=_limit, default=_DEFAULT_LIMIT, metavar="N", help=f"at most N (default: {_DEFAULT_LIMIT})"
    )


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only tell how many assets fit")
    parser.add_argument("--no-wait", action="store_true", help="begin, and do not wait for the end")
    which = parser.add_argument_group("which assets", "* and ? stand for any characters and any one; case is ignored")
    which.add_argument(
        "asset_ids", nargs="*", type=asset_id, metavar="ASSET", help="these, with the other files of the same shots"
    )
    which.add_argument(
        "--from", dest="captured_from", type=_first, metavar="TIME", help="captured at this day or time or later"
    )
    which.add_argument(
        "--to",
        dest="captured_to",
        type=_last,
        metavar="TIME",
        help="captured on this day or earlier, or before this time",
    )
    which.add_argument("--kind", choices=[kind.value for kind in MediaKind], help="photos, videos or audio")
    which.add_argument("--make", type=_pattern, help="of cameras of this make, such as 'nikon*'")
    which.add_argument("--model", type=_pattern, help="of cameras of this model")
    which.add_argument("--file-name", type=_pattern, metavar="NAME", help="with such a name, such as 'PXL_*.jpg'")
    which.add_argument("--all", action="store_true", help="every asset")


def run_shift(args: argparse.Namespace) -> int:
    """Shift times."""
    return _run_change(args, shift_seconds=args.by)


def run_rederive(args: argparse.Namespace) -> int:
    """Read times again."""
    return _run_change(args, shift_seconds=None, discard_edits=args.discard_edits)


def run_list(args: argparse.Namespace) -> int:
    """List changes."""
    from lumilio.client.time_changes import conduct_list

    return conduct_list(access_of(args), limit=args.limit, as_json=args.json)


def _run_change(args: argparse.Namespace, *, shift_seconds: int | None, discard_edits: bool = False) -> int:
    from lumilio.client.time_changes import conduct_change, conduct_dry_run

    wish = _wish(args, shift_seconds, discard_edits)
    if args.dry_run:
        return conduct_dry_run(access_of(args), wish, as_json=args.json)
    return conduct_change(access_of(args), wish, wait=not args.no_wait, as_json=args.json)


def _wish(args: argparse.Namespace, shift_seconds: int | None, discard_edits: bool) -> "Wish":
    from lumilio.client.time_changes import Wish

    members = {
        "ids": list(dict.fromkeys(args.asset_ids)),
        "captured_from": args.captured_from,
        "captured_to": args.captured_to,
        "kind": args.kind,
        "make": args.make,
        "model": args.model,
        "file_name": args.file_name,
    }
    selection = {key: value for key, value in members.items() if value}
    if bool(selection) == args.all:
        args.refuse(
            "name assets by their ids, say which with --from, --to, --kind, --make, --model and --file-name, "
            "or say --all"
        )
    if len(args.asset_ids) > _MOST_NAMED:
        args.refuse(f"{len(args.asset_ids)} assets are named; name at most {_MOST_NAMED} at once")
    return Wish(shift_seconds=shift_seconds, selection=selection or {"all": True}, discard_edits=discard_edits)


def _shift(text: str) -> int:
    """Seconds."""
    match = _SHIFT.fullmatch(text)
    amounts = match.groups()[1:] if match is not None else ()
    if match is None or not any(amounts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shift; write +1h30m, -45s or +2d")
    sizes = (86400, 3600, 60, 1)
    seconds = sum(size * int(amount) for size, amount in zip(sizes, amounts, strict=True) if amount)
    if not 0 < seconds <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no shift of up to 200 years")
    return -seconds if match[1] == "-" else seconds


def _first(text: str) -> str:
    return _local(text).isoformat()


def _last(text: str) -> str:
    """The API's end is not included; a day is."""
    try:
        return (_local(text) + (timedelta(days=1) if _DAY.fullmatch(text) else timedelta())).isoformat()
    except OverflowError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is out of range") from exc


def _local(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a day nor a time; write 2024-05-01T18:30") from exc
    if found.tzinfo is not None:
        raise argparse.ArgumentTypeError(f"{text!r} has a zone; capture times are compared by their wall clocks")
    return found


def _pattern(text: str) -> str:
    if not 1 <= len(text) <= 255:
        raise argparse.ArgumentTypeError("a name or pattern has 1 to 255 characters")
    return text


def _limit(text: str) -> int:
    if (number := positive(text)) > _MOST_LISTED:
        raise argparse.ArgumentTypeError(f"{text!r} is more than {_MOST_LISTED}")
    return number
