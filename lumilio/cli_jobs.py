"""``lumilio jobs`` and ``lumilio queues``: the arguments of the commands. Their work lies in lumilio.client."""

import argparse
import re
import sys
from functools import partial
from typing import TYPE_CHECKING

from lumilio.client.access import access_of, add_patience
from lumilio.client.commands import add_command, add_group, add_limit, limit_of, plain_name
from lumilio.queue.policy import JobState

if TYPE_CHECKING:
    from lumilio.client.commands import Subparsers
    from lumilio.client.jobs import Selection

_DEFAULT_LIMIT = 50
_STATES = tuple(state.value for state in JobState)
_JOB_ID = re.compile(r"[0-9]{1,19}")
_LIVE = tuple(state.value for state in JobState if not state.final)
_FAILED = (JobState.DISCARDED.value, JobState.CANCELLED.value)

_EXIT_CODES = """\
exit codes: 0 done; 1 something could not be done; 2 wrong usage, or the daemon is unreachable or refuses;
130 interrupted.
"""

_JOBS_EPILOG = """\
examples:
  lumilio jobs list --state discarded          what failed for good, and why
  lumilio jobs show 12                         everything about one job
  lumilio jobs retry --state discarded         try all of that again
  lumilio jobs watch                           what happens now

`lumilio jobs COMMAND --help` tells more.
"""

_LIST = """\
List jobs, newest first. WHEN is when a job is due, began or ended, whatever its state makes interesting.
"""
_LIST_EXAMPLES = """\
examples:
  lumilio jobs list                            the newest fifty
  lumilio jobs list --state running --state retryable
  lumilio jobs list --kind process_asset --limit 500
  lumilio jobs list --all --json | jq -r '.items[] | select(.attempt > 1) | .job_id'

--json writes one document: {"items": [JOB, ...], "next_cursor": null, or a text when there are more}
"""
_SHOW = """\
Show one job: its times, its arguments, why each attempt failed, and what can be done now.
"""
_SHOW_EXAMPLES = """\
examples:
  lumilio jobs show 12
  lumilio jobs show 12 --json | jq .errors
"""
_RETRY = """\
Make jobs available again that were discarded or cancelled, with all their attempts: name them, or say which.
"""
_RETRY_EXAMPLES = """\
examples:
  lumilio jobs retry 12 13
  lumilio jobs retry --state discarded --kind process_asset
  lumilio jobs retry --all

--json writes {"results": [{"job_id", "outcome": "retried" or "failed", "code", "reason"}, ...]} for named jobs, else
{"retried": N, "superseded": N}: superseded ones stay as they are, because another job does the same work.
"""
_CANCEL = """\
Cancel jobs that are not over: name them, or say which. One that runs is told to stop, and its outcome is "stopping".
Without names the command asks first, on a terminal; elsewhere it needs --yes. What was cancelled can be retried.
"""
_CANCEL_EXAMPLES = """\
examples:
  lumilio jobs cancel 12 13
  lumilio jobs cancel --queue files --state scheduled
  lumilio jobs cancel --all --yes

--json writes {"results": [{"job_id", "outcome": "cancelled", "stopping" or "failed", "code", "reason"}, ...]} for
named jobs, else {"cancelled": N, "stopping": N}.
"""
_WATCH = """\
Print a line for each thing that happens to a job, until Ctrl-C. It continues after an interruption where it was.
"""
_WATCH_EXAMPLES = """\
examples:
  lumilio jobs watch
  lumilio jobs watch --json | jq -c 'select(.event == "job" and .state == "discarded")'

--json writes one object a line, each with "event":
  connected  url; at the start, and after each interruption
  job        the job, with "job_id", "kind", "state", "progress" and so on
  reset      some events were missed
  notice     message
"""
_QUEUES_EPILOG = """\
examples:
  lumilio queues list                          how much waits where, and who works on it
  lumilio queues pause process_asset           begin no more of its jobs; what runs goes on
  lumilio queues resume process_asset

`lumilio queues COMMAND --help` tells more.
"""
_QUEUES_LIST = """\
List the queues with how many jobs wait, run or failed, and the workers. LATER counts jobs that are not due yet; SLOTS
is how many jobs of the queue the daemon runs at once.
"""
_QUEUES_LIST_EXAMPLES = """\
examples:
  lumilio queues list
  lumilio queues list --json | jq '.items[] | select(.paused_at)'
"""
_PAUSE = """\
Begin no more jobs of these queues, in any worker, until they are resumed; jobs that run go on.
"""
_RESUME = """\
Begin jobs of these queues again.
"""
_EACH_QUEUE_EXAMPLES = """\
examples:
  lumilio queues {action} process_asset
  lumilio queues {action} process_asset files

--json writes {{"results": [{{"name", "outcome": "{action}d" or "failed", "code", "reason"}}, ...]}}
"""


def add_parsers(subparsers: "Subparsers") -> None:
    """Add ``jobs`` and ``queues`` to the command line."""
    _add_jobs(_group(subparsers, "jobs", "list, show, retry, cancel and watch jobs", _JOBS_EPILOG))
    _add_queues(_group(subparsers, "queues", "list, pause and resume queues", _QUEUES_EPILOG))


def _group(subparsers: "Subparsers", name: str, summary: str, epilog: str) -> "Subparsers":
    description = f"{summary[0].upper()}{summary[1:]} of a running Lumilio."
    return add_group(subparsers, name, summary=summary, description=description, epilog=epilog)


def _add_jobs(commands: "Subparsers") -> None:
    add = partial(add_command, commands, exit_codes=_EXIT_CODES)
    listing = add("list", run_list, "list jobs, newest first", _LIST, _LIST_EXAMPLES)
    _add_filters(listing, _STATES)
    add_limit(listing, "jobs", default=_DEFAULT_LIMIT)
    showing = add("show", run_show, "show one job", _SHOW, _SHOW_EXAMPLES)
    showing.add_argument("job_id", type=_job_id, metavar="ID", help="the job's id, as `lumilio jobs list` shows it")
    retrying = add("retry", run_retry, "try failed jobs again", _RETRY, _RETRY_EXAMPLES)
    _add_selection(retrying, _FAILED, "every job that was discarded or cancelled")
    cancelling = add("cancel", run_cancel, "cancel jobs", _CANCEL, _CANCEL_EXAMPLES)
    _add_selection(cancelling, _LIVE, "every job that is not over")
    cancelling.add_argument("--yes", action="store_true", help="do not ask")
    watching = add("watch", run_watch, "follow what happens to jobs", _WATCH, _WATCH_EXAMPLES)
    add_patience(watching, "a daemon that went away")


def _add_queues(commands: "Subparsers") -> None:
    add = partial(add_command, commands, exit_codes=_EXIT_CODES)
    add("list", run_queues, "list queues and workers", _QUEUES_LIST, _QUEUES_LIST_EXAMPLES)
    for action, run, summary, description in (
        ("pause", run_pause, "begin no more jobs of queues", _PAUSE),
        ("resume", run_resume, "begin jobs of queues again", _RESUME),
    ):
        parser = add(action, run, summary, description, _EACH_QUEUE_EXAMPLES.format(action=action))
        parser.add_argument(
            "names", nargs="+", type=plain_name, metavar="NAME", help="queue, as `lumilio queues list` shows"
        )


def _add_filters(parser: argparse.ArgumentParser, states: tuple[str, ...]) -> "argparse._ArgumentGroup":
    which = parser.add_argument_group("which jobs")
    which.add_argument(
        "--state",
        action="append",
        choices=states,
        default=[],
        metavar="STATE",
        help=f"in this state: {', '.join(states)}; may be given several times",
    )
    which.add_argument("--queue", type=plain_name, metavar="NAME", help="of this queue")
    which.add_argument("--kind", type=plain_name, metavar="NAME", help="of this kind")
    return which


def _add_selection(parser: argparse.ArgumentParser, states: tuple[str, ...], every: str) -> None:
    parser.add_argument("job_ids", nargs="*", type=_job_id, metavar="ID", help="ids, as `lumilio jobs list` shows them")
    _add_filters(parser, states).add_argument("--all", action="store_true", help=every)


def run_list(args: argparse.Namespace) -> int:
    """List jobs."""
    from lumilio.client.jobs_conduct import conduct_list

    return conduct_list(access_of(args), _selection(args), limit=limit_of(args), as_json=args.json)


def run_show(args: argparse.Namespace) -> int:
    """Show one job."""
    from lumilio.client.jobs_conduct import conduct_show

    return conduct_show(access_of(args), args.job_id, as_json=args.json)


def run_retry(args: argparse.Namespace) -> int:
    """Retry named or selected jobs."""
    from lumilio.client.jobs_conduct import RETRY, conduct_each, conduct_retry_selected

    if _names_jobs(args):
        return conduct_each(access_of(args), RETRY, args.job_ids, as_json=args.json)
    return conduct_retry_selected(access_of(args), _selection(args), as_json=args.json)


def run_cancel(args: argparse.Namespace) -> int:
    """Cancel named or selected jobs."""
    from lumilio.client.jobs_conduct import CANCEL, conduct_cancel_selected, conduct_each

    if _names_jobs(args):
        return conduct_each(access_of(args), CANCEL, args.job_ids, as_json=args.json)
    if not args.yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        args.refuse("no terminal to ask whether all that fit should be cancelled; add --yes")
    return conduct_cancel_selected(access_of(args), _selection(args), as_json=args.json, ask=not args.yes)


def run_watch(args: argparse.Namespace) -> int:
    """Follow what happens to jobs."""
    from lumilio.client.jobs_conduct import conduct_watch

    return conduct_watch(access_of(args), patience=args.patience, as_json=args.json)


def run_queues(args: argparse.Namespace) -> int:
    """List queues."""
    from lumilio.client.jobs_conduct import conduct_queues

    return conduct_queues(access_of(args), as_json=args.json)


def run_pause(args: argparse.Namespace) -> int:
    """Pause queues."""
    from lumilio.client.jobs_conduct import PAUSE, conduct_each

    return conduct_each(access_of(args), PAUSE, args.names, as_json=args.json)


def run_resume(args: argparse.Namespace) -> int:
    """Resume queues."""
    from lumilio.client.jobs_conduct import RESUME, conduct_each

    return conduct_each(access_of(args), RESUME, args.names, as_json=args.json)


def _names_jobs(args: argparse.Namespace) -> bool:
    """Whether ids name the jobs, and not filters: exactly one way is right."""
    filtered = bool(args.state or args.queue or args.kind)
    if args.all and filtered:
        args.refuse("--all goes with neither --state nor --queue nor --kind")
    if bool(args.job_ids) == (args.all or filtered):
        args.refuse("name jobs by their ids, or say which with --state, --queue and --kind, or with --all")
    return bool(args.job_ids)


def _selection(args: argparse.Namespace) -> "Selection":
    from lumilio.client.jobs import Selection

    return Selection(states=tuple(dict.fromkeys(args.state)), queue=args.queue, kind=args.kind)


def _job_id(text: str) -> str:
    if not _JOB_ID.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not the id of a job; ids are decimal numbers")
    return str(int(text))
