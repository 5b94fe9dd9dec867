"""Jobs and queues as people read them: tables and sheets that fit the terminal, plain and whole in a pipe."""

import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lumilio.client.job_view import JobErrorView, JobView, QueueView, WorkerView
from lumilio.client.tables import add_row, cut, new_sheet, new_table

_STYLES = {
    "running": "cyan",
    "retryable": "yellow",
    "completed": "green",
    "cancelled": "magenta",
    "discarded": "red",
    "paused": "yellow",
}
_UNCUT = 100_000
"""Columns of what is no terminal."""
_WIDE = 100
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


class Paper:
    """Where text goes: a terminal, whose width it keeps and where it has colours, or a file, where it is whole."""

    def __init__(self, out: TextIO) -> None:
        console = Console(file=out, highlight=False, markup=False, emoji=False)
        if not console.is_terminal:
            console.width = _UNCUT
        self._console = console
        self._out = out

    @property
    def width(self) -> int:
        """Columns that a line has."""
        return self._console.width

    def say(self, text: str) -> None:
        """Print a sentence, which the terminal may break."""
        self._out.write(f"{text}\n")
        self._out.flush()

    def line(self, text: Text) -> None:
        """Print one line, cut where the terminal ends."""
        self._console.print(text, no_wrap=True, overflow="ellipsis", crop=True)
        self._out.flush()

    def table(self, table: Table) -> None:
        """Print a table without blanks at the ends of its lines."""
        with self._console.capture() as capture:
            self._console.print(table)
        self._out.write("".join(f"{line.rstrip()}\n" for line in capture.get().splitlines()))
        self._out.flush()


def complain(text: str) -> None:
    """Say on standard error what went wrong, or is worth knowing besides."""
    sys.stderr.write(f"lumilio: {text}\n")
    sys.stderr.flush()


def jobs_table(jobs: Sequence[JobView], now: datetime, *, width: int) -> Table:
    """One line for each job; a narrow terminal is not told the queues."""
    wide = width >= _WIDE
    table = new_table(">ID", "STATE", "~KIND", *(("QUEUE",) if wide else ()), ">TRY", "WHEN", "~NOTE")
    for job in jobs:
        queue = (job.queue,) if wide else ()
        cells = (job.job_id, state_text(job.state), cut(job.kind), *queue, _tries(job), when(job, now))
        add_row(table, *cells, cut(note(job)))
    return table


def queues_table(queues: Sequence[QueueView]) -> Table:
    """One line for each queue, with how many jobs are in which state, and how long the oldest has waited."""
    table = new_table(
        "QUEUE", "STATE", ">SLOTS", ">WAITING", ">OLDEST", ">LATER", ">RUNNING", ">DISCARDED", ">CANCELLED"
    )
    for queue in queues:
        jobs = {state: depth.jobs for state, depth in queue.depths.items()}
        waiting = queue.depths.get("available")
        add_row(
            table,
            queue.name,
            state_text("paused" if queue.paused_at else "open"),
            "-" if queue.slots is None else f"{queue.slots:,}",
            f"{jobs.get('available', 0):,}",
            span(waiting.oldest_seconds) if waiting is not None and waiting.jobs else "-",
            f"{jobs.get('scheduled', 0) + jobs.get('retryable', 0):,}",
            f"{jobs.get('running', 0):,}",
            f"{queue.discarded:,}",
            f"{queue.cancelled:,}",
        )
    return table


def workers_table(workers: Sequence[WorkerView], now: datetime) -> Table:
    """One line for each worker."""
    table = new_table("WORKER", "SEEN")
    for worker in workers:
        add_row(table, worker.name, relative(worker.seen_at, now))
    return table


def job_sheet(job: JobView, now: datetime) -> Table:
    """What is known of one job, except its errors."""
    sheet = new_sheet()
    facts = (
        ("job", job.job_id),
        ("kind", job.kind),
        ("queue", job.queue),
        ("state", state_text(job.state)),
        ("priority", job.priority),
        ("attempts", f"{job.attempt} of {job.max_attempts}"),
        ("created", dated(job.created_at, now)),
        ("due", dated(job.run_at, now)),
        ("began", dated(job.claimed_at, now)),
        ("ended", dated(job.finished_at, now)),
        ("progress", _progress(job)),
        ("key", job.key),
        ("owner", job.owner_id),
        ("arguments", job.arguments),
        ("result", job.result),
    )
    for name, value in facts:
        if value:
            add_row(sheet, name, value)
    return sheet


def errors_table(errors: Sequence[JobErrorView], now: datetime) -> Table:
    """Why each attempt failed, with whole messages."""
    table = new_table(">TRY", "WHEN", "CODE", "~MESSAGE")
    for error in errors:
        add_row(table, str(error.attempt), relative(error.at, now), error.code, error.message)
    return table


def next_steps(job: JobView) -> Sequence[str]:
    """What a person can do now, as sentences with commands."""
    match job.state:
        case "discarded" | "cancelled":
            return (f"try again: lumilio jobs retry {job.job_id}",)
        case "available":
            return (
                "it waits for a free slot; whether its queue is paused: lumilio queues list",
                f"cancel it: lumilio jobs cancel {job.job_id}",
            )
        case "scheduled" | "retryable":
            return (f"it runs by itself when it is due; cancel it: lumilio jobs cancel {job.job_id}",)
        case "running" if job.cancel_requested:
            return ("its worker is told to stop; follow it: lumilio jobs watch",)
        case "running":
            return ("follow it: lumilio jobs watch", f"stop it: lumilio jobs cancel {job.job_id}")
        case _:
            return ()


def event_line(job: JobView, now: datetime) -> Text:
    """What happened to a job just now."""
    clock = f"{now.astimezone():%H:%M:%S}  "
    state = state_text(job.state)
    state.pad_right(max(0, len("discarded") - len(state)))
    told = (job.job_id, job.kind, _tries(job), note(job))
    return Text.assemble(clock, state, *(f"  {text}" for text in told if text))


def note(job: JobView) -> str:
    """The most telling thing of a job in one line: its progress, or why its last attempt failed."""
    match job.state:
        case "running" if job.cancel_requested:
            return " ".join(("stopping", _progress(job))).strip()
        case "running":
            return _progress(job)
        case "completed":
            return ""
        case _:
            return f"{job.errors[-1].code}: {job.errors[-1].message}" if job.errors else ""


def when(job: JobView, now: datetime) -> str:
    """When it ended, began or is due, whatever its state makes interesting."""
    match job.state:
        case "running":
            return relative(job.claimed_at, now)
        case "available" | "scheduled" | "retryable":
            return relative(job.run_at, now)
        case _:
            return relative(job.finished_at, now)


def relative(moment: datetime | None, now: datetime) -> str:
    """A moment as seen from now: ``3 min ago``, ``in 5 s``, ``now``; empty for none."""
    if moment is None:
        return ""
    seconds = (moment - now).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"


def dated(moment: datetime | None, now: datetime) -> str:
    """A moment by the clock here, and as seen from now; empty for none."""
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S} ({relative(moment, now)})"


def span(seconds: float) -> str:
    """A duration in its largest whole unit."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size):,} {unit}"
    return "0 s"


def state_text(state: str) -> Text:
    """A state in its colour."""
    return Text(state, style=_STYLES.get(state, ""))


def _tries(job: JobView) -> str:
    return f"{job.attempt}/{job.max_attempts}"


def _progress(job: JobView) -> str:
    share = "" if job.progress is None else f"{job.progress:.0%}"
    return " ".join(part for part in (share, job.progress_message) if part)
