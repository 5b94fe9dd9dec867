"""Problems as people read them, whatever the daemon's texts contain."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.cells import cell_len

from lumilio.client.jobs_display import Paper
from lumilio.client.problems_display import (
    counts_table,
    next_steps,
    note,
    problem_sheet,
    problems_table,
    view_problem,
)
from lumilio.errors import ClientError

NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
ASSET = "0197f3a0-5b1c-7c11-9d0e-6a1f0c2b3d4e"
HOSTILE = "\x1b]0;owned\x07[bold red]IMG\n\x9b2J\u202egpj.[/bold]"
NEUTRALISED = "\\x1b]0;owned\\x07[bold red]IMG \\x9b2J gpj.[/bold]"


def problem(**changes: Any) -> dict[str, Any]:
    return {
        "asset_id": ASSET,
        "file_name": "torn.jpg",
        "path": "inbox/2024/05/torn.jpg",
        "kind": "photo",
        "format": "jpeg",
        "step": "render",
        "code": "media.damaged",
        "reason": "the picture is torn",
        "tool": "pillow",
        "tool_version": "13.0.0",
        "attempts": 3,
        "first_seen": (NOW - timedelta(days=2)).isoformat(),
        "last_seen": (NOW - timedelta(hours=2)).isoformat(),
        "ignored": False,
        "next_attempt": None,
        **changes,
    }


def printed(table: Any, width: int = 100_000) -> list[str]:
    out = io.StringIO()
    paper = Paper(out)
    paper._console.width = width
    paper.table(table)
    return out.getvalue().splitlines()


def test_a_line_tells_what_failed_where_how_often_and_why() -> None:
    table = problems_table([view_problem(problem())], NOW, width=200)
    heading, line = printed(table)
    assert heading.split() == ["ASSET", "FILE", "STEP", "CODE", "TOOL", "TRIES", "SEEN", "REASON"]
    assert " ".join(line.split()) == (
        f"{ASSET} inbox/2024/05/torn.jpg render media.damaged pillow 13.0.0 3 2 h ago the picture is torn"
    )
    narrow, _ = printed(problems_table([view_problem(problem())], NOW, width=80))
    assert "TOOL" not in narrow.split()


def test_a_tool_that_is_several_is_short_in_a_line_and_whole_on_the_sheet() -> None:
    view = view_problem(problem(tool_version="13.0.0, pillow-heif 1.8.1"))
    _, line = printed(problems_table([view], NOW, width=200))
    assert " pillow 13.0.0  " in line
    assert "pillow-heif" not in line
    assert any(line.endswith("pillow 13.0.0, pillow-heif 1.8.1") for line in printed(problem_sheet(view, NOW)))


def test_a_file_that_is_nowhere_is_named_as_it_came_and_unknown_tools_leave_a_gap() -> None:
    view = view_problem(problem(path=None, tool=None, tool_version=None))
    assert (view.name, view.tool) == ("torn.jpg", "")
    assert view_problem(problem(tool_version=None)).tool == "pillow"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "the picture is torn"),
        ({"ignored": True}, "(ignored) the picture is torn"),
        ({"next_attempt": (NOW + timedelta(minutes=5)).isoformat()}, "(next try in 5 min) the picture is torn"),
        ({"next_attempt": NOW.isoformat(), "ignored": True}, "(ignored, next try now) the picture is torn"),
    ],
)
def test_what_is_ignored_or_tried_again_says_so(changes: dict[str, Any], told: str) -> None:
    assert note(view_problem(problem(**changes)), NOW) == told


def test_a_sheet_tells_everything_once() -> None:
    lines = printed(problem_sheet(view_problem(problem(next_attempt=NOW.isoformat(), ignored=True)), NOW))
    names = [line[:12].strip() for line in lines]
    assert names == [
        "asset", "file", "type", "step", "code", "reason", "tool", "tried", "first seen", "last seen", "next try",
        "ignored",
    ]  # fmt: skip
    assert lines[7].split() == ["tried", "3", "times"]
    assert lines[8].endswith("(2 d ago)")
    assert any(
        line.split() == ["tried", "once"] for line in printed(problem_sheet(view_problem(problem(attempts=1)), NOW))
    )
    assert "ignored" not in str(printed(problem_sheet(view_problem(problem()), NOW)))


def test_next_steps_are_commands_that_fit_the_state() -> None:
    fresh = next_steps(view_problem(problem()))
    assert fresh[0].startswith("the file itself is broken")
    assert fresh[1:] == [
        f"try again: lumilio problems retry {ASSET}",
        f"hide it: lumilio problems ignore {ASSET}",
    ]
    waiting = next_steps(view_problem(problem(code="strange.new", next_attempt=NOW.isoformat(), ignored=True)))
    assert waiting == [f"show it again: lumilio problems ignore --undo {ASSET}"]


def test_counts_are_a_table() -> None:
    lines = printed(counts_table([{"code": "media.damaged", "step": "render", "problems": 1234}]))
    assert [line.split() for line in lines] == [["PROBLEMS", "CODE", "STEP"], ["1,234", "media.damaged", "render"]]


def test_no_text_of_the_daemon_steers_the_terminal() -> None:
    texts = ("asset_id", "file_name", "path", "kind", "format", "step", "code", "reason", "tool", "tool_version")
    view = view_problem(problem(**dict.fromkeys(texts, HOSTILE)))
    shown = [
        *printed(problems_table([view], NOW, width=200)),
        *printed(problem_sheet(view, NOW)),
        *printed(counts_table([{"code": HOSTILE, "step": HOSTILE, "problems": 1}])),
        *next_steps(view),
    ]
    assert sum(line.count(NEUTRALISED) for line in shown) >= len(texts)
    assert not set("\x1b\x07\x9b\u202e") & set("".join(shown))


@pytest.mark.parametrize("width", [60, 100, 160])
def test_a_table_fits_its_terminal(width: int) -> None:
    long = view_problem(problem(path="inbox/" + "x" * 300 + ".jpg", reason="torn " * 100))
    for line in printed(problems_table([long], NOW, width=width), width):
        assert cell_len(line) <= width


@pytest.mark.parametrize(
    "changes",
    [{"asset_id": None}, {"step": ""}, {"code": None}, {"attempts": "three"}, {"last_seen": "yesterday"}],
)
def test_an_answer_that_lacks_what_it_should_hold_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="not understood"):
        view_problem(problem(**changes))
