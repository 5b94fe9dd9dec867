"""What people ask the daemon about problems, and how they read what it answers."""

import json
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.table import Table

from lumilio.client.access import Access
from lumilio.client.asking import Document, ask, converse, count, cursor, moment, needed, words, write_json
from lumilio.client.jobs_display import Paper, complain, relative
from lumilio.client.library import documents
from lumilio.client.session import Session
from lumilio.client.tables import add_row, cut, new_sheet, new_table

PAGE_LIMIT = 500
"""Most problems in one ``GET /problems``."""
BULK_SECONDS = 3600.0
"""How long dealing with everything may take."""
EXIT_DONE = 0
EXIT_NOT_DONE = 1

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
class Selection:
    """Which problems: all that fit everything that is given; nothing given: all. ``ignored`` None: whether or not."""

    asset_ids: tuple[str, ...] = ()
    code: str | None = None
    step: str | None = None
    tool: str | None = None
    kind: str | None = None
    format: str | None = None
    ignored: bool | None = None

    def members(self) -> Mapping[str, str]:
        """The filters that are texts."""
        named = {"code": self.code, "step": self.step, "tool": self.tool, "kind": self.kind, "format": self.format}
        return {key: value for key, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some problems, the newest failure first; ``next_cursor`` asks for those after them."""

    items: Sequence[Document]
    next_cursor: str | None
    counts: Sequence[Document]


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


async def read_pages(session: Session, wanted: Selection, *, limit: int | None) -> AsyncGenerator[Page, None]:
    """The newest ``limit`` problems (None: all), at least one page. Raises ClientError."""
    filters = [("asset_id", asset_id) for asset_id in wanted.asset_ids] + list(wanted.members().items())
    if wanted.ignored is not None:
        filters.append(("ignored", str(wanted.ignored).lower()))
    after: str | None = None
    left = limit
    while True:
        size = PAGE_LIMIT if left is None else min(PAGE_LIMIT, left)
        query = [*filters, ("limit", str(size)), *([("cursor", after)] if after is not None else [])]
        body = await ask(session, "GET", "/problems", query=query)
        counts = documents(body, "counts") if body.get("counts") is not None else []
        page = Page(items=documents(body, "items"), next_cursor=cursor(body), counts=counts)
        yield page
        after = page.next_cursor
        left = None if left is None else max(0, left - len(page.items))
        if after is None or left == 0 or not page.items:
            return


def conduct_list(access: Access, wanted: Selection, *, limit: int | None, as_json: bool) -> int:
    """Show the newest ``limit`` problems (None: all). Raises ClientError, as all of these."""
    show = _list_as_json if as_json else _list_as_table
    return converse(access, lambda session: show(session, wanted, limit))


def conduct_show(access: Access, asset_id: str, *, as_json: bool) -> int:
    """Show all problems of one asset."""

    async def show(session: Session) -> int:
        found: list[Document] = []
        async with aclosing(read_pages(session, Selection(asset_ids=(asset_id,)), limit=PAGE_LIMIT)) as pages:
            async for page in pages:
                found += page.items
        if not found:
            complain(f"asset {asset_id} has no problem")
            return EXIT_NOT_DONE
        if as_json:
            write_json({"items": found})
            return EXIT_DONE
        for position, item in enumerate(found):
            _show(Paper(sys.stdout), view_problem(item), first=position == 0)
        return EXIT_DONE

    return converse(access, show)


def conduct_retry(access: Access, wanted: Selection, *, dry_run: bool, as_json: bool) -> int:
    """Try all that fits again."""
    counts = converse(access, lambda session: _change(session, "/problems/retry", wanted, {"dry_run": dry_run}))
    retried, waiting = count(counts, "retried"), count(counts, "waiting")
    if as_json:
        write_json(counts)
    else:
        told = f"{_files(retried)} {'would be tried again' if dry_run else 'will be tried again'}"
        if waiting:
            told += f", {waiting:,} more are being tried already"
        paper = Paper(sys.stdout)
        paper.say(told)
        if retried and not dry_run:
            paper.say("follow it: lumilio jobs watch")
    return EXIT_NOT_DONE if wanted.asset_ids and not retried and not waiting else EXIT_DONE


def conduct_ignore(access: Access, wanted: Selection, *, ignored: bool, dry_run: bool, as_json: bool) -> int:
    """Ignore all that fits, or no longer."""
    more = {"ignored": ignored, "dry_run": dry_run}
    counts = converse(access, lambda session: _change(session, "/problems/ignore", wanted, more))
    if as_json:
        write_json(counts)
    else:
        changed = count(counts, "changed")
        noun = "problem" if changed == 1 else "problems"
        verb = ("would be " if dry_run else "") + ("ignored" if ignored else "shown again")
        Paper(sys.stdout).say(f"{changed:,} {noun} {verb}")
    return EXIT_DONE


async def _change(session: Session, path: str, wanted: Selection, more: Document) -> Document:
    payload: dict[str, object] = {**wanted.members()}
    if wanted.asset_ids:
        payload["asset_id"] = list(wanted.asset_ids)
    if wanted.ignored is not None and "ignored" not in more:
        payload["ignored"] = wanted.ignored
    return await ask(session, "POST", path, payload={"all": not payload, **payload, **more}, seconds=BULK_SECONDS)


async def _list_as_json(session: Session, wanted: Selection, limit: int | None) -> int:
    """One document, written page by page."""
    out = sys.stdout
    begin, separator, end, after = '{"items": [', "\n", "", None
    counts: Sequence[Document] = ()
    async with aclosing(read_pages(session, wanted, limit=limit)) as pages:
        async for page in pages:
            out.write(begin)
            counts = counts or page.counts
            begin, after = "", page.next_cursor
            for item in page.items:
                out.write(separator + json.dumps(item))
                separator, end = ",\n", "\n"
    out.write(f'{end}], "next_cursor": {json.dumps(after)}, "counts": {json.dumps(counts)}}}\n')
    return EXIT_DONE


async def _list_as_table(session: Session, wanted: Selection, limit: int | None) -> int:
    paper = Paper(sys.stdout)
    shown, after = 0, None
    counts: Sequence[Document] = ()
    async with aclosing(read_pages(session, wanted, limit=limit)) as pages:
        async for page in pages:
            counts = counts or page.counts
            shown += len(page.items)
            after = page.next_cursor
            if page.items:
                problems = [view_problem(item) for item in page.items]
                paper.table(problems_table(problems, datetime.now(UTC), width=paper.width))
    if not shown:
        paper.say("no problems" if wanted == Selection(ignored=False) else "no problems fit")
        return EXIT_DONE
    paper.say("")
    paper.table(counts_table(counts))
    paper.say("\nall about one: lumilio problems show ASSET")
    if after is not None:
        complain(f"only the newest {shown:,} are shown; --limit N shows more, --all shows all")
    return EXIT_DONE


def problems_table(problems: Sequence[ProblemView], now: datetime, *, width: int) -> Table:
    """One line for each problem; a narrow terminal is not told the tool."""
    wide = width >= _WIDE
    table = new_table("ASSET", "~FILE", "STEP", "CODE", *(("TOOL",) if wide else ()), ">TRIES", "SEEN", "~REASON")
    for problem in problems:
        tool = (problem.tool,) if wide else ()
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
        ("tries", str(problem.attempts)),
        ("first seen", _moment(problem.first_seen, now)),
        ("last seen", _moment(problem.last_seen, now)),
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


def _show(paper: Paper, problem: ProblemView, *, first: bool) -> None:
    now = datetime.now(UTC)
    if not first:
        paper.say("")
    paper.table(problem_sheet(problem, now))
    paper.say("")
    for step in next_steps(problem):
        paper.say(step)


def _next(problem: ProblemView, now: datetime, prefix: str = "") -> str:
    if problem.next_attempt is None:
        return ""
    return prefix + ("now" if problem.next_attempt <= now else relative(problem.next_attempt, now))


def _moment(value: datetime | None, now: datetime) -> str:
    return "" if value is None else f"{value.astimezone():%Y-%m-%d %H:%M:%S} ({relative(value, now)})"


def _files(number: int) -> str:
    return f"{number:,} {'file' if number == 1 else 'files'}"
