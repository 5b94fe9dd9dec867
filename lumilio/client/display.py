"""What an import shows: a progress bar and a summary for people, one JSON object a line for scripts."""

import json
import os
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.filesize import decimal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.text import Text

from lumilio.client.library import SidecarOutcome
from lumilio.client.tally import (
    Event,
    FileProcessed,
    FileSettled,
    Outcome,
    Processing,
    SidecarSettled,
    Tally,
)
from lumilio.client.tree import shown

_RATE_WINDOW = 20.0
_PLAIN_LINE_SECONDS = 10.0


class End(StrEnum):
    """How an import ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The last word: ``error`` is what made the import give up, ``seconds`` how long it took."""

    end: End
    seconds: float
    exit_code: int
    dry_run: bool
    waited: bool
    error: str = ""


class Display(Protocol):
    """Where an import reports to."""

    def event(self, event: Event) -> None:
        """One file is settled or processed."""

    def notice(self, text: str) -> None:
        """Something takes longer than it should."""

    def refresh(self, tally: Tally) -> None:
        """Called several times a second."""

    def quiet(self) -> None:
        """Give the terminal back; only the summary follows."""

    def summary(self, tally: Tally, ending: Ending) -> None:
        """The import has ended."""


class JsonLines:
    """Events and a final summary, one JSON object a line, in ASCII so that no name can steer a terminal."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def event(self, event: Event) -> None:
        """Write a ``file``, ``processed`` or ``sidecar`` object; undecodable bytes of a path become ``\\xNN``."""
        kind = {FileSettled: "file", FileProcessed: "processed", SidecarSettled: "sidecar"}[type(event)]
        path = os.fsencode(event.path).decode("utf-8", "backslashreplace")
        self._write({"event": kind, **asdict(event), "path": path})

    def notice(self, text: str) -> None:
        """Write a ``notice`` object."""
        self._write({"event": "notice", "message": text})

    def refresh(self, tally: Tally) -> None:
        """Nothing moves in JSON."""

    def quiet(self) -> None:
        """Nothing to give back."""

    def summary(self, tally: Tally, ending: Ending) -> None:
        """Write the ``summary`` object, the last line."""
        sums = asdict(tally)
        del sums["failures"], sums["transfers"]
        self._write({"event": "summary", **sums, **asdict(ending)})

    def _write(self, members: dict[str, object]) -> None:
        self._out.write(json.dumps(members) + "\n")
        self._out.flush()


class Terminal:
    """Progress and problems on standard error, the summary on standard output.

    Where standard error is no terminal, a plain line every ten seconds takes the place of the bar.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._pace = Pace()
        self._next_line = time.monotonic() + _PLAIN_LINE_SECONDS
        self._live = Live(console=self._console, auto_refresh=False, transient=True, redirect_stdout=False)
        if self._console.is_terminal:
            self._live.start()

    def event(self, event: Event) -> None:
        """Print what went wrong; the rest only counts."""
        match event:
            case FileSettled(outcome=Outcome.FAILED) | FileProcessed(state=Processing.LOST):
                self._print(f"failed: {_explained(event)}", "red")
            case FileProcessed(state=Processing.PROBLEM):
                self._print(f"problem: {_explained(event)} (the file is stored)", "yellow")
            case FileSettled(outcome=Outcome.WOULD_SEND):
                self._tell(f"would send {shown(event.path)} ({decimal(event.size)})")
            case FileSettled(outcome=Outcome.SENT) if _undecodable(event.path):
                self._print(f"name is not UTF-8: {shown(event.path)} was sent with a replacement", "yellow")
            case SidecarSettled(outcome=SidecarOutcome.REFUSED):
                self._print(f"sidecar not used: {_explained(event)} (its file is in the library)", "yellow")
            case _:
                pass

    def notice(self, text: str) -> None:
        """Print the sentence."""
        self._print(text, "yellow")

    def refresh(self, tally: Tally) -> None:
        """Draw the bar, or print a line from time to time."""
        now = time.monotonic()
        self._pace.add(now, tally.moved_bytes)
        line = progress_line(tally, self._pace)
        if self._live.is_started:
            done, total = (
                (tally.moved_bytes, tally.expected_bytes)
                if tally.done_files < tally.expected_files or not tally.counted
                else (tally.done_files - tally.pending, tally.expected_files)
            )
            bar = ProgressBar(total=max(total, 1), completed=min(done, max(total, 1)))
            self._live.update(Group(Text(line), bar), refresh=True)
        elif now >= self._next_line and not self._console.is_terminal:
            self._next_line = now + _PLAIN_LINE_SECONDS
            self._print(line, "")

    def quiet(self) -> None:
        """Remove the bar and show the cursor again."""
        self._live.stop()

    def summary(self, tally: Tally, ending: Ending) -> None:
        """Print the sums and the first failures."""
        self.quiet()
        self._out.write("\n".join(summary_lines(tally, ending)) + "\n")
        self._out.flush()

    def _tell(self, line: str) -> None:
        """A line of output proper, which may go to a file while the bar is on the terminal."""
        if self._live.is_started and self._out.isatty():
            self._print(line, "")
        else:
            self._out.write(line + "\n")

    def _print(self, text: str, style: str) -> None:
        self._console.print(Text(text, style=style))


class Pace:
    """Bytes a second over the last twenty seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque(maxlen=1000)

    def add(self, now: float, moved: int) -> None:
        """Note how many bytes are done at a monotonic time in seconds."""
        self._samples.append((now, moved))
        while len(self._samples) > 2 and now - self._samples[0][0] > _RATE_WINDOW:
            self._samples.popleft()

    @property
    def rate(self) -> float:
        """Bytes a second; 0 while unknown."""
        if len(self._samples) < 2:
            return 0.0
        (first, before), (last, after) = self._samples[0], self._samples[-1]
        return max(0.0, (after - before) / (last - first)) if last > first else 0.0


def progress_line(tally: Tally, pace: Pace) -> str:
    """Files, bytes, rate, time left, what is there already and what went wrong, in about a hundred characters."""
    more = "" if tally.counted else "+"
    parts = [
        f"{tally.done_files:,}/{tally.expected_files:,}{more} files",
        f"{decimal(tally.moved_bytes)}/{decimal(tally.expected_bytes)}{more}",
    ]
    if tally.counted and tally.done_files >= tally.expected_files and tally.pending:
        parts.append(f"{tally.pending:,} being processed")
    else:
        parts.append(f"{decimal(int(pace.rate))}/s")
        left = max(0, tally.expected_bytes - tally.moved_bytes)
        if pace.rate > 0:
            parts.append(f"{_duration(left / pace.rate)} left")
    parts.append(f"{tally.duplicates + tally.trashed:,} already there")
    troubles = tally.problems + tally.failed + tally.lost
    parts.append(f"{troubles:,} {'problem' if troubles == 1 else 'problems'}")
    return " · ".join(parts)


def summary_lines(tally: Tally, ending: Ending) -> list[str]:
    """The summary for people."""
    if ending.dry_run:
        lines = [f"would send {tally.would_send:,} files ({decimal(tally.would_send_bytes)})"]
    elif tally.sent == 0 and tally.all_there and ending.end is End.FINISHED:
        lines = [f"nothing to send of {tally.expected_files:,} files ({_duration(ending.seconds)})"]
    else:
        lines = [
            f"sent {tally.sent:,} of {tally.expected_files:,} files, {decimal(tally.sent_bytes)}"
            f" in {_duration(ending.seconds)}"
        ]
    rows = [
        (tally.duplicates, "already there"),
        (tally.trashed, "in the library's trash: restore them, or they will be gone one day"),
        (tally.ready, "processed"),
        (tally.unsupported, "stored, not processed yet: this version cannot show them"),
        (tally.problems, "stored, but with a problem"),
        (tally.pending, "stored, still being processed by the daemon"),
        (tally.sidecars_sent, "sidecars sent"),
        (tally.sidecars_unreadable, "sidecars not used: they could not be read"),
        (tally.sidecars_pending, "sidecars not sent yet: their files are still being processed, import again"),
        (tally.skipped, "skipped: no photo, video or audio by their names (--all sends them)"),
        (tally.links, "symbolic link was not followed" if tally.links == 1 else "symbolic links were not followed"),
        (
            tally.special,
            "special file (pipe, socket) was left out"
            if tally.special == 1
            else "special files (pipes, sockets) were left out",
        ),
        (tally.failed + tally.lost, "failed"),
    ]
    lines += [f"{count:>9,}  {label}" for count, label in rows if count]
    lines += [f"           {_explained(event)}" for event in tally.failures]
    if (hidden := tally.failed + tally.lost - len(tally.failures)) > 0:
        lines.append(f"           and {hidden:,} more")
    match ending.end:
        case End.INTERRUPTED:
            lines.append("interrupted; the same command continues and sends only what is missing")
        case End.GIVEN_UP:
            lines.append(f"given up: {ending.error}")
            lines.append("the same command continues and sends only what is missing")
        case End.FINISHED:
            pass
    return lines


def open_display(*, as_json: bool) -> Display:
    """The display for this process's standard streams."""
    return JsonLines(sys.stdout) if as_json else Terminal(sys.stdout)


def _explained(event: Event) -> str:
    return f"{shown(event.path)}: {event.reason or event.code or 'the daemon gives no reason'}"


def _undecodable(path: str) -> bool:
    return any(0xDC80 <= ord(character) <= 0xDCFF for character in path)


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
