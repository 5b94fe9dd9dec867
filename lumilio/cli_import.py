"""``lumilio import``: the arguments of the command. Its work lies in lumilio.client and is imported when it runs."""

import argparse
import os
import sys
from pathlib import Path

from lumilio.errors import ClientError

_MOST_JOBS = 32

_DESCRIPTION = """\
Send photos, videos and audio to a running Lumilio. Files that are there already are recognised by their content and
not sent again, so the same command continues after an interruption. Hidden files, half-written ones and directories
with a .nomedia file are left out; symbolic links are not followed.
"""

_EPILOG = """\
examples:
  lumilio import ~/Pictures                        the daemon of this machine
  lumilio import /media/card --dry-run             only tell what would be sent
  lumilio import . --url http://nas:8420 --username anna
  lumilio import ~/Pictures --json | jq -c 'select(.outcome == "failed")'

the daemon is the one of --url, else of --data, else of the environment's LUMILIO_DATA, else of ./data, else of the
data directory that /etc/lumilio/lumilio.toml names. All but --url read the daemon's own token and need no password.

--json writes one object a line, each with "event":
  file       path, outcome (sent, duplicate, would_send, skipped, failed), size, content_hash, task_id, asset_id,
             code, reason
  processed  path, state (ready, unsupported, problem, lost), content_hash, task_id, asset_id, code, reason
  notice     message
  summary    the sums, exit_code, end (finished, interrupted, given_up), error; always the last line

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
    daemon = parser.add_argument_group("which daemon")
    where = daemon.add_mutually_exclusive_group()
    where.add_argument("--url", help="URL of the daemon; log in with --username and a password")
    where.add_argument("--data", type=Path, metavar="DIR", help="data directory of a daemon on this machine")
    daemon.add_argument("--username", default="admin", help="user to log in as, with --url (default: admin)")
    daemon.add_argument("--password-file", type=Path, metavar="FILE", help="file with the password (default: ask)")
    daemon.add_argument("--repository", metavar="ID", help="repository to import into (default: the daemon's default)")
    parser.add_argument("--all", action="store_true", help="send every file, whatever its name ends in")
    parser.add_argument("--dry-run", action="store_true", help="hash and compare, but send nothing")
    parser.add_argument("--no-wait", action="store_true", help="end when all is stored, before it is processed")
    parser.add_argument("--json", action="store_true", help="one JSON object a line instead of a progress bar")
    parser.add_argument(
        "--jobs", type=_jobs, default=4, metavar="N", help=f"files sent at once, 1 to {_MOST_JOBS} (default: 4)"
    )
    parser.add_argument(
        "--patience",
        type=_seconds,
        default=300.0,
        metavar="SECONDS",
        help="how long a daemon that is away, busy or out of disk space is waited for (default: 300)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Import what the arguments say and return the exit code."""
    from lumilio.client.conduct import (
        EXIT_INTERRUPTED,
        EXIT_UNREACHABLE,
        Access,
        conduct_import,
    )
    from lumilio.client.pipeline import Plan
    from lumilio.client.tree import parse_roots
    from lumilio.media.detect import MEDIA_EXTENSIONS

    access = Access(url=args.url, data=args.data, username=args.username, password_file=args.password_file)
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
        return conduct_import(access, plan, as_json=args.json)
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


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return seconds
