"""Run one command about problems: ask the daemon, show the answer, tell the exit code."""

import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime

from lumilio.client import paging
from lumilio.client.access import Access
from lumilio.client.asking import ask, converse, write_json
from lumilio.client.jobs_display import Paper, complain
from lumilio.client.library import documents
from lumilio.client.members import Document, count
from lumilio.client.paging import PAGE_LIMIT, Page, write_pages
from lumilio.client.problems_display import (
    ProblemView,
    counts_table,
    next_steps,
    problem_sheet,
    problems_table,
    view_problem,
)
from lumilio.client.session import Session

BULK_SECONDS = 3600.0
"""How long dealing with everything may take."""
EXIT_DONE = 0
EXIT_NOT_DONE = 1


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


def read_pages(session: Session, wanted: Selection, *, limit: int | None) -> AsyncGenerator[Page, None]:
    """The newest ``limit`` problems (None: all), at least one page; the first has ``counts``. Raises ClientError."""
    filters = [("asset_id", asset_id) for asset_id in wanted.asset_ids] + list(wanted.members().items())
    if wanted.ignored is not None:
        filters.append(("ignored", str(wanted.ignored).lower()))
    return paging.read_pages(session, "/problems", filters, limit=limit)


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
    await write_pages(read_pages(session, wanted, limit=limit), "counts")
    return EXIT_DONE


async def _list_as_table(session: Session, wanted: Selection, limit: int | None) -> int:
    paper = Paper(sys.stdout)
    shown, after = 0, None
    counts: Sequence[Document] = ()
    async with aclosing(read_pages(session, wanted, limit=limit)) as pages:
        async for page in pages:
            counts = counts or (documents(page.document, "counts") if page.document.get("counts") else ())
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


def _show(paper: Paper, problem: ProblemView, *, first: bool) -> None:
    now = datetime.now(UTC)
    if not first:
        paper.say("")
    paper.table(problem_sheet(problem, now))
    paper.say("")
    for step in next_steps(problem):
        paper.say(step)


def _files(number: int) -> str:
    return f"{number:,} {'file' if number == 1 else 'files'}"
