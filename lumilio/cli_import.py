"""``lumilio import``: the arguments of the command. Its work lies in lumilio.client and is imported when it runs."""

import argparse
import os
import sys
from pathlib import Path

from lumilio.client.access import WHICH_DAEMON, access_of, add_daemon_options, add_patience
from lumilio.errors import ClientError

_MOST_JOBS = 32

_DESCRIPTION = """\
Send photos, videos and audio to a running Lumilio. Files that are there already are recognised by their content and
not sent again, so the same command continues after an interruption. Hidden files, half-written ones and directories
with a .nomedia file are left out; symbolic links are not followed, but PATH may be one to a directory. XMP files and
the JSON files of a Google Takeout go to the photos that they describe.
"""

_EPILOG = f"""\
examples:
  lumilio import ~/Pictures                        the daemon of this machine
  lumilio import /media/card --dry-run             only tell what would be sent
  lumilio import . --url http://nas:8420 --username anna
  lumilio import ~/Pictures --json | jq -c 'select(.outcome == "failed")'

{WHICH_DAEMON}
--json writes one object a line, each with "event":
  file       path, outcome (sent, duplicate, trashed, would_send, skipped, link, special, failed), size,
             content_hash, task_id, asset_id, code, reason
  processed  path, state (ready, unsupported, problem, lost), content_hash, task_id, asset_id, code, reason
  sidecar    path, kind (xmp, takeout), outcome (sent, unchanged, refused), asset_id, code, reason
  notice     message
  summary    the sums (links: symbolic links that were not followed; special: pipes, sockets and devices that were
             left out), exit_code, end (finished, interrupted, given_up), error; always the last line

exit codes: 0 everything is in the library, also what could be stored but not shown; 1 some files failed; 2 wrong
usage, or the daemon is unreachable; 130 interrupted.
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``import`` to the command line."""
    parser = subparsers.add_parser(
        "import",
        help="send photos, videos and audio to a running Lumilio",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="directory or file to import")
    daemon = add_daemon_options(parser)
    daemon.add_argument("--repository", metavar="ID", help="repository to import into (default: the daemon's default)")
    parser.add_argument("--all", action="store_true", help="send every file, whatever its name ends in")
    parser.add_argument("--dry-run", action="store_true", help="hash and compare, but send nothing")
    parser.add_argument(
        "--no-wait",
        action="store_true",
        help="end when all is stored, before it is processed; files with sidecars are waited for",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a progress bar")
    parser.add_argument(
        "--jobs", type=_jobs, default=4, metavar="N", help=f"files sent at once, 1 to {_MOST_JOBS} (default: 4)"
    )
    add_patience(parser, "a daemon that is away, busy or out of disk space")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Import what the arguments say and return the exit code."""
    from lumilio.client.conduct import EXIT_INTERRUPTED, EXIT_UNREACHABLE, conduct_import
    from lumilio.client.pipeline import Plan
    from lumilio.client.tree import parse_roots
    from lumilio.media.detect import MEDIA_EXTENSIONS

    try:
        plan = Plan(
            roots=parse_roots(args.paths),
            extensions=None if args.all else MEDIA_EXTENSIONS,
            repository_id=args.repository,
            jobs=args.jobs,
            dry_run=args.dry_run,
            wait=not args.no_wait,
            patience=args.patience,
        )
        return conduct_import(access_of(args), plan, as_json=args.json)
    except ClientError as exc:
        print(f"lumilio import: {exc}", file=sys.stderr)
        return EXIT_UNREACHABLE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more at its end
        return EXIT_UNREACHABLE


def _jobs(text: str) -> int:
    number = int(text)
    if not 1 <= number <= _MOST_JOBS:
        raise argparse.ArgumentTypeError(f"{number} is not between 1 and {_MOST_JOBS}")
    return number
