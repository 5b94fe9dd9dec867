"""Problems as people read them: one line each, a sheet, and what can be done."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.table import Table

from lumilio.client.jobs_display import dated, relative
from lumilio.client.members import Document, count, moment, needed, words
from lumilio.client.tables import add_row, cut, new_sheet, new_table

_WIDE = 100
_MEANINGS = {
    "media.damaged": "the file itself is broken; it is kept as it is. Import a whole copy if there is one",
    "media.over_budget": "decoding would take more memory than one decoder may use; see decoder.memory_mb",
    "media.unsupported": "no tool here reads this kind of content; a later version may",
    "tool.missing": "a program that reads such files is not installed; install it, then retry",
    "tool.timed_out": "the tool took too long; see decoder.timeout_seconds, then retry",
    "tool.decoder_crashed": "the tool crashed on this file; a later version may manage",
    "queue.cancelled": "somebody cancelled the work; retry to do it",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemView:
    """A problem; every text is fit for a terminal."""

    asset_id: str
    name: str
    kind: str
    format: str
    step: str
    code: str
    reason: str
    tool: str
    attempts: int
    first_seen: datetime | None
    last_seen: datetime | None
    ignored: bool
    next_attempt: datetime | None


def view_problem(document: Document) -> ProblemView:
    """One problem. Raises ClientError."""
    return ProblemView(
        asset_id=needed(document, "asset_id"),
        name=words(document, "path") or words(document, "file_name"),
        kind=words(document, "kind"),
        format=words(document, "format"),
        step=needed(document, "step"),
        code=needed(document, "code"),
        reason=words(document, "reason"),
        tool=f"{words(document, 'tool')} {words(document, 'tool_version')}".strip(),
        attempts=count(document, "attempts"),
        first_seen=moment(document, "first_seen"),
        last_seen=moment(document, "last_seen"),
        ignored=document.get("ignored") is True,
        next_attempt=moment(document, "next_attempt"),
    )


def problems_table(problems: Sequence[ProblemView], now: datetime, *, width: int) -> Table:
    """One line for each problem; of a tool's version only its own, and a narrow terminal is not told the tool."""
    wide = width >= _WIDE
    table = new_table("ASSET", "~FILE", "STEP", "CODE", *(("TOOL",) if wide else ()), ">TRIES", "SEEN", "~REASON")
    for problem in problems:
        tool = (problem.tool.partition(",")[0],) if wide else ()
        cells = (problem.step, problem.code, *tool, str(problem.attempts), relative(problem.last_seen, now))
        add_row(table, problem.asset_id, cut(problem.name), *cells, cut(note(problem, now)))
    return table


def counts_table(counts: Sequence[Document]) -> Table:
    """How many files failed in which way."""
    table = new_table(">PROBLEMS", "CODE", "STEP")
    for each in counts:
        add_row(table, f"{count(each, 'problems'):,}", words(each, "code"), words(each, "step"))
    return table


def problem_sheet(problem: ProblemView, now: datetime) -> Table:
    """What is known of one problem."""
    sheet = new_sheet()
    facts = (
        ("asset", problem.asset_id),
        ("file", problem.name),
        ("type", f"{problem.kind} {problem.format}".strip()),
        ("step", problem.step),
        ("code", problem.code),
        ("reason", problem.reason),
        ("tool", problem.tool),
        ("tried", "once" if problem.attempts == 1 else f"{problem.attempts:,} times"),
        ("first seen", dated(problem.first_seen, now)),
        ("last seen", dated(problem.last_seen, now)),
        ("next try", _next(problem, now)),
        ("ignored", "yes" if problem.ignored else ""),
    )
    for name, value in facts:
        if value:
            add_row(sheet, name, value)
    return sheet


def next_steps(problem: ProblemView) -> Sequence[str]:
    """What it means and what a person can do now, as sentences with commands."""
    steps = []
    if problem.code in _MEANINGS:
        steps.append(_MEANINGS[problem.code])
    if problem.next_attempt is None:
        steps.append(f"try again: lumilio problems retry {problem.asset_id}")
    if problem.ignored:
        steps.append(f"show it again: lumilio problems ignore --undo {problem.asset_id}")
    else:
        steps.append(f"hide it: lumilio problems ignore {problem.asset_id}")
    return steps


def note(problem: ProblemView, now: datetime) -> str:
    """The most telling thing in one line."""
    marks = [text for text in ("ignored" if problem.ignored else "", _next(problem, now, "next try ")) if text]
    return f"({', '.join(marks)}) {problem.reason}" if marks else problem.reason


def _next(problem: ProblemView, now: datetime, prefix: str = "") -> str:
    if problem.next_attempt is None:
        return ""
    return prefix + ("now" if problem.next_attempt <= now else relative(problem.next_attempt, now))
