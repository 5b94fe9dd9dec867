"""Bulk changes of capture times from the command line: begin one, wait for it, list them."""

import asyncio
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from lumilio.client.access import Access
from lumilio.client.asking import accepted, ask, converse, reaching, write_json
from lumilio.client.jobs_display import Paper, complain, relative
from lumilio.client.library import documents
from lumilio.client.members import Document, count, cursor, moment, needed, number, words
from lumilio.client.session import Session
from lumilio.client.tables import add_row, new_table
from lumilio.errors import ClientError
from lumilio.log import printable

PATH = "/time-changes"
EXIT_DONE = 0
EXIT_NOT_DONE = 1

_COUNT_SECONDS = 300.0
_PATIENCE_SECONDS = 300.0
_POLL_SECONDS = 0.25
_LONGEST_POLL = 2.0
_OVER = frozenset({"ended", "stopped"})
_NAMED_AGAIN = 20
"""So many ids are repeated in a command that is proposed."""
_OPTIONS = (
    ("from", "captured_from"),
    ("to", "captured_to"),
    ("kind", "kind"),
    ("make", "make"),
    ("model", "model"),
    ("file-name", "file_name"),
)
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be done to which assets: ``selection`` is the API's; ``shift_seconds`` None reads the times again."""

    shift_seconds: int | None
    selection: Mapping[str, object]
    discard_edits: bool = False

    @property
    def ids(self) -> Sequence[str]:
        """Of the assets that are named."""
        ids = self.selection.get("ids")
        return [str(each) for each in ids] if isinstance(ids, list) else []

    def payload(self, *, dry_run: bool) -> Document:
        """As the API takes it."""
        return {
            "shift_seconds": self.shift_seconds,
            "selection": self.selection,
            "discard_edits": self.discard_edits,
            "dry_run": dry_run,
        }


def conduct_change(access: Access, wish: Wish, *, wait: bool, as_json: bool) -> int:
    """Begin a change and, with ``wait``, follow it to its end. Raises ClientError."""

    async def change(session: Session) -> int:
        if await _misses_some(session, wish):
            return EXIT_NOT_DONE
        begun = await ask(session, "POST", PATH, payload=wish.payload(dry_run=False), seconds=_COUNT_SECONDS)
        matching, change_id = count(begun, "matching"), needed(begun, "id")
        if not wait:
            write_json(begun) if as_json else Paper(sys.stdout).say(
                f"{_assets(matching)} will be changed; see how far it is: lumilio times list"
            )
            return EXIT_DONE
        try:
            with Progress(Console(stderr=True, highlight=False), quiet=as_json) as progress:
                ended = await _followed(session, change_id, progress)
        except asyncio.CancelledError:
            complain("the change goes on without this command; see how far it is: lumilio times list")
            raise
        if as_json:
            write_json({**ended, "matching": matching})
        else:
            _tell(ended, matching, wish, job_id=words(begun, "job_id"))
        return EXIT_DONE if ended.get("state") == "ended" else EXIT_NOT_DONE

    return converse(access, change, patience=_PATIENCE_SECONDS)


def conduct_dry_run(access: Access, wish: Wish, *, as_json: bool) -> int:
    """Tell how many assets a change would visit. Raises ClientError."""

    async def count_matching(session: Session) -> int:
        if await _misses_some(session, wish):
            return EXIT_NOT_DONE
        counted = await ask(session, "POST", PATH, payload=wish.payload(dry_run=True), seconds=_COUNT_SECONDS)
        if as_json:
            write_json(counted)
        else:
            Paper(sys.stdout).say(f"{_assets(count(counted, 'matching'))} would be visited")
        return EXIT_DONE

    return converse(access, count_matching)


def conduct_list(access: Access, *, limit: int, as_json: bool) -> int:
    """Show the newest ``limit`` changes. Raises ClientError."""
    found = converse(access, lambda session: ask(session, "GET", PATH, query=[("limit", str(limit))]))
    if as_json:
        write_json(found)
        return EXIT_DONE
    paper, items = Paper(sys.stdout), documents(found, "items")
    if not items:
        paper.say("no capture times were changed in bulk")
        return EXIT_DONE
    paper.table(changes_table(items, datetime.now(UTC)))
    if any(item.get("state") == "stopped" for item in items):
        paper.say("\nwhy one was stopped: lumilio jobs list --kind change_times; go on: lumilio jobs retry ID")
    if cursor(found) is not None:
        complain(f"only the newest {len(items):,} are shown; --limit N shows more")
    return EXIT_DONE


class Progress:
    """A bar while a change is done, where the console is a terminal."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._shown = console.is_terminal and not quiet

    def __enter__(self) -> Self:
        if self._shown:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, item: Document) -> None:
        """Draw where the change stands."""
        if self._shown:
            line = Table.grid(padding=(0, 1, 0, 0))
            share = 1.0 if item.get("state") == "ended" else number(item, "progress") or 0.0
            bar = ProgressBar(total=1.0, completed=min(1.0, share), width=40)
            line.add_row(bar, Text(f"{share:.0%}"), Text(f"{count(item, 'changed'):,} changed"))
            self._live.update(line, refresh=True)


async def _followed(session: Session, change_id: str, progress: Progress) -> Document:
    """The change once it is over; a daemon that restarts meanwhile is waited for. Raises ClientError."""
    pause = _POLL_SECONDS
    while True:
        answer = await session.request("GET", PATH, query=[("id", change_id)])
        items = documents(answer.body, "items")
        if not items:
            raise ClientError(f"the daemon does not know change {change_id} any more")
        progress.show(items[0])
        if items[0].get("state") in _OVER:
            return items[0]
        await asyncio.sleep(pause)
        pause = min(_LONGEST_POLL, pause * 1.5)


async def _misses_some(session: Session, wish: Wish) -> bool:
    """Whether some of the assets that are named do not exist; complains of them. Raises ClientError."""
    missing = []
    for asset_id in wish.ids:
        with reaching():
            answer = await session.call("GET", f"/assets/{asset_id}")
        if answer.status == 404:
            missing.append(asset_id)
        else:
            accepted(session, answer)
    if missing:
        more = f" and {len(missing) - _NAMED_AGAIN:,} more" if len(missing) > _NAMED_AGAIN else ""
        complain(f"no such asset: {', '.join(missing[:_NAMED_AGAIN])}{more}; nothing was changed")
    return bool(missing)


def _tell(ended: Document, matching: int, wish: Wish, *, job_id: str) -> None:
    paper, changed = Paper(sys.stdout), count(ended, "changed")
    if ended.get("state") != "ended":
        complain(
            f"stopped after {_assets(changed)}; why: lumilio jobs show {job_id}; go on: lumilio jobs retry {job_id}"
        )
        return
    same = max(0, matching - changed)
    paper.say(f"{_assets(changed)} changed" + (f", {same:,} stay as they were" if same else ""))
    seconds = ended.get("shift_seconds")
    if changed and isinstance(seconds, int):
        for line in undo_lines(seconds, wish):
            paper.say(line)


def undo_lines(seconds: int, wish: Wish) -> list[str]:
    """How to take a shift back: the command for the same selection, whose days and times have moved along."""
    parts = ["lumilio times shift", f"--by={spelled(-seconds)}"]
    for name, key in _OPTIONS:
        value = wish.selection.get(key)
        if isinstance(value, str) and (told := _moved(value, seconds) if key.startswith("captured") else value):
            parts.append(f"--{name}={shlex.quote(told)}" if told.startswith("-") else f"--{name} {shlex.quote(told)}")
    parts += wish.ids[:_NAMED_AGAIN]
    if len(parts) == 2:
        parts.append("--all")
    lines = [printable(f"undo it: {' '.join(parts)}")]
    if (hidden := len(wish.ids) - _NAMED_AGAIN) > 0:
        lines[0] += f" … and the {hidden:,} other assets that were named"
    if any(wish.selection.get(key) for key in ("captured_from", "captured_to")):
        lines.append(
            "careful: --from and --to now refer to the shifted times; other assets that lie between them move as well"
        )
    return lines


def _moved(moment_text: str, seconds: int) -> str:
    """A wall clock time, shifted; empty where that leaves the years 1 to 9999 and so bounds nothing."""
    try:
        return (datetime.fromisoformat(moment_text) + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return ""


def changes_table(items: list[dict[str, object]], now: datetime) -> Table:
    """One line for each change."""
    table = new_table("WHEN", "STATE", "CHANGE", ">CHANGED", "~WHICH")
    for item in items:
        share = number(item, "progress")
        state = words(item, "state") + (f" {share:.0%}" if share is not None else "")
        cells = (relative(moment(item, "created_at"), now), state, change_words(item), f"{count(item, 'changed'):,}")
        add_row(table, *cells, selection_words(item))
    return table


def change_words(item: Document) -> str:
    """What a change does."""
    seconds = item.get("shift_seconds")
    if isinstance(seconds, int):
        return spelled(seconds)
    return "read again, edits too" if item.get("discard_edits") is True else "read again"


def selection_words(item: Document) -> str:
    """Which assets a change is about, as the options that say so."""
    chosen = item.get("selection")
    if not isinstance(chosen, dict):
        return ""
    named = count(chosen, "named")
    told = [f"{named:,} named" if named else ""]
    told += [f"--{name} {words(chosen, key)}" for name, key in _OPTIONS if chosen.get(key)]
    return " ".join(filter(None, told)) or "all"


def spelled(seconds: int) -> str:
    """A shift as ``--by`` takes it: ``+1h30m``."""
    left, parts = abs(seconds), []
    for size, unit in _UNITS:
        whole, left = divmod(left, size)
        if whole:
            parts.append(f"{whole}{unit}")
    return ("-" if seconds < 0 else "+") + ("".join(parts) or "0s")


def _assets(number_of: int) -> str:
    return f"{number_of:,} {'asset' if number_of == 1 else 'assets'}"
