"""Jobs and queues as people read them, whatever the daemon's texts contain."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len

from lumilio.client.job_view import view_job, view_queue, view_workers
from lumilio.client.jobs_display import (
    Paper,
    errors_table,
    event_line,
    job_sheet,
    jobs_table,
    next_steps,
    queues_table,
    relative,
    span,
    workers_table,
)

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
HOSTILE = "\x1b]0;owned\x07[bold red]IMG\n\x9b2J\u202egpj.[/bold]"
NEUTRALISED = "\\x1b]0;owned\\x07[bold red]IMG \\x9b2J gpj.[/bold]"


def ago(**duration: float) -> str:
    return (NOW - timedelta(**duration)).isoformat()


def job(**changes: Any) -> dict[str, Any]:
    return {
        "job_id": "12",
        "kind": "process_asset",
        "queue": "ingest",
        "state": "available",
        "priority": "normal",
        "attempt": 0,
        "max_attempts": 5,
        "created_at": ago(minutes=5),
        "run_at": ago(minutes=3),
        "claimed_at": None,
        "finished_at": None,
        "progress": None,
        "progress_message": None,
        "cancel_requested": False,
        "owner_id": None,
        "last_error": None,
        **changes,
    }


def error(message: str, attempt: int = 1) -> dict[str, Any]:
    return {"attempt": attempt, "at": ago(hours=2), "code": "tool.timed_out", "message": message}


RUNNING = job(state="running", attempt=1, claimed_at=ago(seconds=9), progress=0.456, progress_message="reading tags")
RETRYABLE = job(
    job_id="9", state="retryable", attempt=2, run_at=ago(seconds=-5), last_error=error("exiftool was silent for 30 s")
)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Rich believes that any file is a terminal of 80 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return monkeypatch


def listed(*documents: dict[str, Any]) -> str:
    out = io.StringIO()
    paper = Paper(out)
    paper.table(jobs_table([view_job(document) for document in documents], NOW, width=paper.width))
    return out.getvalue()


def shown(document: dict[str, Any]) -> str:
    out = io.StringIO()
    paper, view = Paper(out), view_job(document)
    paper.table(job_sheet(view, NOW))
    paper.table(errors_table(view.errors, NOW))
    return out.getvalue()


def test_a_listing_is_aligned_and_plain_where_it_is_no_terminal() -> None:
    assert listed(job(), RUNNING, RETRYABLE) == (
        "ID  STATE      KIND           QUEUE   TRY  WHEN       NOTE\n"
        "12  available  process_asset  ingest  0/5  3 min ago\n"
        "12  running    process_asset  ingest  1/5  9 s ago    46% reading tags\n"
        " 9  retryable  process_asset  ingest  2/5  in 5 s     tool.timed_out: exiftool was silent for 30 s\n"
    )


def test_a_listing_that_is_no_terminal_is_not_cut() -> None:
    assert f"tool.timed_out: {'long ' * 400}end\n" in listed(job(last_error=error("long " * 400 + "end")))


@pytest.mark.parametrize("columns", [30, 60, 80, 99, 100, 200])
def test_a_listing_keeps_within_the_terminal_with_one_line_for_each_job(
    terminal: pytest.MonkeyPatch, columns: int
) -> None:
    terminal.setenv("COLUMNS", str(columns))
    terminal.setenv("FORCE_COLOR", "1")
    terminal.setenv("NO_COLOR", "1")
    discarded = job(job_id="1234567", state="discarded", last_error=error("写真 " * 90))
    lines = listed(RUNNING, discarded).splitlines()
    assert len(lines) == 3
    assert ("1234567  discarded  " in lines[2]) == (columns >= 60)
    plain = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in lines]
    assert max(cell_len(line) for line in plain) <= columns
    assert ("QUEUE" in plain[0]) == (columns >= 100)


def test_states_have_colours_on_a_terminal_only(terminal: pytest.MonkeyPatch) -> None:
    discarded = job(state="discarded", finished_at=ago(days=2))
    assert "\x1b[31mdiscarded\x1b[0m" in listed(discarded)
    terminal.delenv("FORCE_COLOR")
    assert "\x1b" not in listed(discarded)


@pytest.mark.parametrize("on_terminal", [False, True])
def test_no_text_of_the_daemon_steers_the_terminal_or_the_layout(
    terminal: pytest.MonkeyPatch, on_terminal: bool
) -> None:
    terminal.setenv("COLUMNS", "400")
    if not on_terminal:
        terminal.delenv("FORCE_COLOR")
    hostile = job(
        state="discarded",
        kind=HOSTILE,
        queue=HOSTILE,
        priority=HOSTILE,
        owner_id=HOSTILE,
        key=HOSTILE,
        progress_message=HOSTILE,
        args={"file_name": HOSTILE, HOSTILE: 1},
        errors=[error(HOSTILE) | {"code": HOSTILE}],
    )
    line = io.StringIO()
    Paper(line).line(event_line(view_job(hostile), NOW))
    queue = io.StringIO()
    Paper(queue).table(queues_table([view_queue({"name": HOSTILE, "states": {HOSTILE: {"jobs": 1}}})]))
    Paper(queue).table(workers_table(view_workers({"workers": [{"name": HOSTILE, "seen_at": None}]}), NOW))
    for text, times in ((listed(hostile), 4), (shown(hostile), 8), (line.getvalue(), 3), (queue.getvalue(), 2)):
        assert text.count(NEUTRALISED) == times
        for forbidden in ("\x1b]", "\x07", "\x9b", "\u202e", "\x1b[1;31m"):
            assert forbidden not in text
    assert len(listed(hostile).splitlines()) == 2


def test_a_state_that_this_version_does_not_know_is_shown_as_it_is() -> None:
    assert "12  pending  " in listed(job(state="pending"))
    assert next_steps(view_job(job(state="pending"))) == ()


def test_a_sheet_tells_what_is_known_and_leaves_out_the_rest() -> None:
    whole = job(
        state="discarded",
        attempt=5,
        finished_at=ago(seconds=90),
        key="ab",
        args={"file_name": "ö.jpg"},
        result=None,
        errors=[error("first"), error("second", attempt=2)],
    )
    lines = shown(whole).splitlines()
    assert "attempts   5 of 5" in lines
    assert 'arguments  {"file_name": "ö.jpg"}' in lines
    assert next(line for line in lines if line.startswith("ended")).endswith("(1 min ago)")
    assert not [line for line in lines if line.startswith(("began", "owner", "progress", "result"))]
    assert lines[-2:] == ["  1  2 h ago  tool.timed_out  first", "  2  2 h ago  tool.timed_out  second"]


def test_a_sheet_wraps_long_texts_on_a_terminal(terminal: pytest.MonkeyPatch) -> None:
    terminal.setenv("NO_COLOR", "1")
    text = shown(job(errors=[error("word " * 100)], args={"path": "x" * 300}))
    assert text.count("word") == 100
    assert text.count("x") >= 300
    assert max(cell_len(line) for line in text.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()) <= 80


@pytest.mark.parametrize(
    ("state", "command"),
    [
        ("discarded", "lumilio jobs retry 12"),
        ("cancelled", "lumilio jobs retry 12"),
        ("available", "lumilio jobs cancel 12"),
        ("scheduled", "lumilio jobs cancel 12"),
        ("retryable", "lumilio jobs cancel 12"),
        ("running", "lumilio jobs cancel 12"),
    ],
)
def test_the_next_step_fits_the_state(state: str, command: str) -> None:
    assert any(command in step for step in next_steps(view_job(job(state=state))))


def test_a_job_that_is_over_or_stopping_needs_no_command() -> None:
    assert next_steps(view_job(job(state="completed"))) == ()
    stopping = view_job(RUNNING | {"cancel_requested": True})
    assert not any("cancel" in step for step in next_steps(stopping))
    assert event_line(stopping, NOW).plain.endswith("12  process_asset  1/5  stopping 46% reading tags")


def test_queues_tell_what_waits_and_for_how_long() -> None:
    states = {
        "available": {"jobs": 1200, "oldest_seconds": 7300.5},
        "scheduled": {"jobs": 2, "oldest_seconds": 0},
        "retryable": {"jobs": 3, "oldest_seconds": 0},
        "running": {"jobs": 4, "oldest_seconds": 1},
    }
    queues: list[dict[str, object]] = [
        {"name": "ingest", "paused_at": ago(hours=1), "slots": 6, "states": states, "discarded": 7, "cancelled": 0},
        {"name": "elsewhere", "paused_at": None, "slots": None, "states": {}, "discarded": 0, "cancelled": 0},
    ]
    out = io.StringIO()
    Paper(out).table(queues_table([view_queue(queue) for queue in queues]))
    assert out.getvalue() == (
        "QUEUE      STATE   SLOTS  WAITING  OLDEST  LATER  RUNNING  DISCARDED  CANCELLED\n"
        "ingest     paused      6    1,200     2 h      5        4          7          0\n"
        "elsewhere  open        -        0       -      0        0          0          0\n"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.9, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (7200, "2 h"),
        (86400 * 1500, "1,500 d"),
    ],
)
def test_a_span_is_told_in_its_largest_unit(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_moments_are_told_as_seen_from_now() -> None:
    assert relative(None, NOW) == ""
    assert relative(NOW + timedelta(seconds=0.5), NOW) == "now"
    assert relative(NOW + timedelta(seconds=5), NOW) == "in 5 s"
    assert relative(NOW - timedelta(minutes=3), NOW) == "3 min ago"
