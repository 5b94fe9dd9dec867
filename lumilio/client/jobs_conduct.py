"""Run one command about jobs or queues: ask the daemon, show the answer, tell the exit code."""

import contextlib
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from lumilio.client import jobs
from lumilio.client.access import Access, find_credentials
from lumilio.client.asking import converse, speak, write_json
from lumilio.client.events import follow_events
from lumilio.client.job_view import view_job, view_queue, view_workers
from lumilio.client.jobs import Counted, Refused, Selection
from lumilio.client.jobs_display import (
    Paper,
    complain,
    errors_table,
    job_sheet,
    jobs_table,
    next_steps,
    queues_table,
    relative,
    workers_table,
)
from lumilio.client.jobs_watch import WatchJson, WatchLines
from lumilio.client.library import documents
from lumilio.client.members import Document
from lumilio.client.paging import write_pages
from lumilio.client.session import Session
from lumilio.log import printable

EXIT_DONE = 0
EXIT_NOT_DONE = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What is done to each of several jobs or queues; ``done`` is the outcome where the daemon names none."""

    noun: str
    key: str
    act: Callable[[Session, str], Awaitable[Document | Refused]]
    done: str


RETRY = Action(noun="job", key="job_id", act=jobs.retry_job, done="retried")
CANCEL = Action(noun="job", key="job_id", act=jobs.cancel_job, done="cancelled")
PAUSE = Action(noun="queue", key="name", act=jobs.pause_queue, done="paused")
RESUME = Action(noun="queue", key="name", act=jobs.resume_queue, done="resumed")


def conduct_list(access: Access, wanted: Selection, *, limit: int | None, as_json: bool) -> int:
    """Show the newest ``limit`` jobs (None: all). Raises ClientError, as all of these."""
    show = _list_as_json if as_json else _list_as_table
    return converse(access, lambda session: show(session, wanted, limit))


def conduct_show(access: Access, job_id: str, *, as_json: bool) -> int:
    """Show one job."""

    async def show(session: Session) -> int:
        found = await jobs.read_job(session, job_id)
        if isinstance(found, Refused):
            complain(found.reason)
            return EXIT_NOT_DONE
        write_json(found) if as_json else _show_job(found)
        return EXIT_DONE

    return converse(access, show)


def conduct_each(access: Access, action: Action, names: Sequence[str], *, as_json: bool) -> int:
    """Do the same to each; what cannot be done with one does not keep the others from it."""
    results: list[dict[str, object]] = []

    async def act(session: Session) -> int:
        for name in dict.fromkeys(names):
            answer = await action.act(session, name)
            results.append(_result(action, name, answer))
            if not as_json:
                _tell(action, results[-1])
        return EXIT_NOT_DONE if any(result["outcome"] == "failed" for result in results) else EXIT_DONE

    try:
        return converse(access, act)
    finally:
        if as_json and results:  # what was done is told even when the daemon went away in the middle
            write_json({"results": results})


def conduct_retry_selected(access: Access, wanted: Selection, *, as_json: bool) -> int:
    """Retry all that fit."""
    counts = converse(access, lambda session: jobs.retry_selected(session, wanted))
    _tell_counts(counts, {"retried": "retried", "superseded": "left alone, another job does their work"}, as_json)
    return EXIT_DONE


def conduct_cancel_selected(access: Access, wanted: Selection, *, as_json: bool, ask: bool) -> int:
    """Cancel all that fit, after a yes on the terminal where ``ask``."""
    words = {"cancelled": "cancelled", "stopping": "stopping"}
    found = find_credentials(access)
    if ask:
        counted = speak(found, lambda session: jobs.count_live(session, wanted))
        if counted.jobs == 0:
            _tell_counts(dict.fromkeys(words, 0), words, as_json)
            return EXIT_DONE
        if not _confirmed(counted):  # between two event loops, because inside of one Ctrl-C would not end it
            complain("nothing was cancelled")
            return EXIT_NOT_DONE
    counts = speak(found, lambda session: jobs.cancel_selected(session, wanted))
    _tell_counts(counts, words, as_json)
    return EXIT_DONE


def conduct_queues(access: Access, *, as_json: bool) -> int:
    """Show all queues and workers."""

    async def show(session: Session) -> int:
        found = await jobs.read_queues(session)
        write_json(found) if as_json else _show_queues(found)
        return EXIT_DONE

    return converse(access, show)


def conduct_watch(access: Access, *, patience: float, as_json: bool) -> int:
    """Show what happens to jobs, without an end."""
    display: WatchLines | WatchJson = WatchJson() if as_json else WatchLines()

    async def watch(session: Session) -> int:
        async with contextlib.aclosing(follow_events(session)) as events:
            async for event in events:
                display.show(event)
        return EXIT_DONE

    return speak(find_credentials(access), watch, patience=patience, notice=display.notice)


async def _list_as_json(session: Session, wanted: Selection, limit: int | None) -> int:
    await write_pages(jobs.read_pages(session, wanted, limit=limit))
    return EXIT_DONE


async def _list_as_table(session: Session, wanted: Selection, limit: int | None) -> int:
    paper = Paper(sys.stdout)
    count, cursor = 0, None
    async with contextlib.aclosing(jobs.read_pages(session, wanted, limit=limit)) as pages:
        async for page in pages:
            count += len(page.items)
            cursor = page.next_cursor
            if page.items:
                paper.table(jobs_table([view_job(item) for item in page.items], _now(), width=paper.width))
    if not count:
        paper.say("no jobs" if wanted == Selection() else "no jobs fit")
    elif cursor is not None:
        complain(f"only the newest {count:,} are shown; --limit N shows more, --all shows all")
    return EXIT_DONE


def _show_job(document: Document) -> None:
    paper, job = Paper(sys.stdout), view_job(document)
    paper.table(job_sheet(job, _now()))
    if job.errors:
        paper.say("\nerrors")
        paper.table(errors_table(job.errors, _now()))
    steps = next_steps(job)
    if steps:
        paper.say("")
    for step in steps:
        paper.say(step)


def _show_queues(document: Document) -> None:
    paper = Paper(sys.stdout)
    queues, workers = [view_queue(item) for item in documents(document, "items")], view_workers(document)
    paper.table(queues_table(queues))
    for queue in queues:
        if queue.paused_at is not None:
            since = relative(queue.paused_at, _now())
            paper.say(f"{queue.name} was paused {since}; go on: lumilio queues resume {queue.name}")
    paper.say("")
    if workers:
        paper.table(workers_table(workers, _now()))
    else:
        paper.say("no worker is connected: nothing is being worked on")


def _result(action: Action, name: str, answer: Document | Refused) -> dict[str, object]:
    if isinstance(answer, Refused):
        return {action.key: name, "outcome": "failed", "code": answer.code, "reason": answer.reason}
    return {action.key: name, "outcome": printable(str(answer.get("outcome") or action.done))}


def _tell(action: Action, result: Mapping[str, object]) -> None:
    name = result[action.key]
    if result["outcome"] == "failed":
        complain(f"{action.noun} {name} could not be {action.done}: {result['reason']}")
    else:
        Paper(sys.stdout).say(f"{action.noun} {name}: {result['outcome']}")


def _tell_counts(counts: Document, words: Mapping[str, str], as_json: bool) -> None:
    """Print how many jobs came to which end; what no job came to is left out, but for the first of ``words``."""
    if as_json:
        write_json(counts)
        return
    first, *others = ((counts.get(key), word) for key, word in words.items())
    told = [first, *(each for each in others if each[0])]
    Paper(sys.stdout).say("jobs: " + ", ".join(f"{printable(str(number))} {word}" for number, word in told))


def _confirmed(counted: Counted) -> bool:
    more = " or more" if counted.or_more else ""
    noun = "job" if counted.jobs == 1 else "jobs"
    sys.stderr.write(f"cancel {counted.jobs:,}{more} {noun}? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _now() -> datetime:
    return datetime.now(UTC)
