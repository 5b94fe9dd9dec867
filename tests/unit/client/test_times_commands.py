"""What ``lumilio times`` understands, what it asks for, and how it tells of changes."""

import argparse
import io
import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lumilio import cli_times
from lumilio.client.jobs_display import Paper
from lumilio.client.time_changes import (
    Progress,
    Wish,
    change_words,
    changes_table,
    selection_words,
    spelled,
    undo_lines,
)

ASSET = "0197f3a0-5b1c-7c11-9d0e-6a1f0c2b3d4e"
NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
HOSTILE = "\x1b]0;owned\x07[bold red]\n\u202egpj"


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    cli_times.add_parsers(parser.add_subparsers(required=True))
    return parser.parse_args(["times", *arguments])


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("+1h30m", 5400),
        ("1h30m", 5400),
        ("-45s", -45),
        ("+2d", 172_800),
        ("-1d2h3m4s", -93_784),
        ("+90m", 5400),
        ("+73000d", 200 * 365 * 86400),
    ],
)
def test_a_shift_is_read_and_spelled(text: str, seconds: int) -> None:
    assert parse("shift", f"--by={text}", "--all").by == seconds
    assert parse("shift", "--by", text, "--all").by == seconds
    assert parse("shift", ASSET, "--by", text).by == seconds
    assert parse("shift", f"--by={spelled(seconds)}", "--all").by == seconds


@pytest.mark.parametrize(
    ("given", "members"),
    [
        (["--from", "2024-05-01"], {"captured_from": "2024-05-01T00:00:00"}),
        (["--to", "2024-05-14"], {"captured_to": "2024-05-15T00:00:00"}),
        (["--to", "2024-05-14T00:00"], {"captured_to": "2024-05-14T00:00:00"}),
        (["--from", "2024-05-01T18:30:15.5"], {"captured_from": "2024-05-01T18:30:15.500000"}),
        (["--kind", "video", "--make", "nikon*"], {"kind": "video", "make": "nikon*"}),
        (["--model", "Z 6", "--file-name", "DSC_*"], {"model": "Z 6", "file_name": "DSC_*"}),
        ([ASSET.upper(), ASSET], {"ids": [ASSET]}),
        (["--all"], {"all": True}),
    ],
)
def test_a_selection_is_what_the_options_say(given: list[str], members: dict[str, Any]) -> None:
    args = parse("rederive", "--discard-edits", *given)
    assert cli_times._wish(args, None, args.discard_edits).payload(dry_run=True) == {
        "shift_seconds": None,
        "selection": members,
        "discard_edits": True,
        "dry_run": True,
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["shift", "--all"],
        ["shift", "--by=+1h"],
        ["shift", "--by=1 hour", "--all"],
        ["shift", "--by", "-1x", "--all"],
        ["shift", "--by", "--all"],
        ["shift", "--by", "+1h", "-1h"],
        ["shift", "--by=+", "--all"],
        ["shift", "--by=+0s", "--all"],
        ["shift", "--by=+1m1h", "--all"],
        ["shift", "--by=+73000d1s", "--all"],
        ["shift", "--by=+1h", "--all", "--kind", "photo"],
        ["shift", "--by=+1h", "12"],
        ["shift", "--by=+1h", "--from", "May"],
        ["shift", "--by=+1h", "--to", "9999-12-31"],
        ["shift", "--by=+1h", "--from", "2024-05-01T00:00:00+02:00"],
        ["shift", "--by=+1h", "--make", ""],
        ["shift", "--by=+1h", *(str(number).zfill(32) for number in range(3001))],
        ["rederive"],
        ["rederive", "--by=+1h", "--all"],
        ["list", "--limit", "501"],
        ["list", "--limit", "0"],
    ],
)
def test_a_command_that_means_nothing_is_refused(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as refused:
        args = parse(*arguments)
        args.data = tmp_path
        args.run(args)
    assert refused.value.code == 2


def test_a_daemon_that_is_away_is_unreachable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "daemon.json").write_text(json.dumps({"url": "http://127.0.0.1:9", "token": "t"}))
    args = parse("shift", "--by=+1h", "--all", "--data", str(tmp_path))
    assert args.run(args) == 2
    assert capsys.readouterr().err.startswith("lumilio: the daemon at http://127.0.0.1:9 cannot be reached")


def change(**changes: Any) -> dict[str, Any]:
    selection = {"named": None, "captured_from": None, "captured_to": None, "kind": None, "make": None}
    return {
        "id": ASSET,
        "state": "running",
        "shift_seconds": -5400,
        "discard_edits": False,
        "selection": {**selection, "model": None, "file_name": None},
        "changed": 1234,
        "progress": 0.456,
        "created_at": (NOW - timedelta(minutes=3)).isoformat(),
        **changes,
    }


def printed(*items: dict[str, Any]) -> list[str]:
    out = io.StringIO()
    Paper(out).table(changes_table(list(items), NOW))
    return out.getvalue().splitlines()


def test_changes_are_told_in_the_words_of_the_command() -> None:
    chosen = {"captured_from": "2024-05-01T00:00:00", "model": "Z 6"}
    heading, *lines = printed(change(), change(state="ended", shift_seconds=None, progress=None, selection=chosen))
    assert heading.split() == ["WHEN", "STATE", "CHANGE", "CHANGED", "WHICH"]
    assert [" ".join(line.split()) for line in lines] == [
        "3 min ago running 46% -1h30m 1,234 all",
        "3 min ago ended read again 1,234 --from 2024-05-01T00:00:00 --model Z 6",
    ]
    assert change_words(change(shift_seconds=None, discard_edits=True)) == "read again, edits too"
    assert selection_words(change(selection={"named": 3000})) == "3,000 named"


@pytest.mark.parametrize(
    "given",
    [
        ["--make", "Canon"],
        ["--kind", "photo", "--make", "nikon*", "--model", "Z 6", "--file-name", "it's"],
        ["--from", "2024-05-01T00:00:00", "--to", "2024-05-15T00:00:00"],
        [f"--file-name={'-a'}"],
        [ASSET],
        ["--all"],
        ["--from", "0001-01-01"],
    ],
)
@pytest.mark.parametrize("seconds", [5400, -2 * 86400])
def test_the_command_that_undoes_a_shift_chooses_what_was_chosen(given: list[str], seconds: int) -> None:
    wish = cli_times._wish(parse("shift", f"--by={spelled(seconds)}", *given), seconds, False)
    told, *careful = undo_lines(seconds, wish)
    assert told.startswith(f"undo it: lumilio times shift --by={spelled(-seconds)} ")
    back = parse(*shlex.split(told)[4:])
    expected = dict(wish.selection)
    for key in {"captured_from", "captured_to"} & set(expected):
        try:
            moved = datetime.fromisoformat(str(expected[key])) + timedelta(seconds=seconds)
            expected[key] = moved.isoformat()
        except OverflowError:
            expected = {"all": True}
    assert back.by == -seconds
    assert cli_times._wish(back, back.by, False).selection == expected
    assert [line.split(";")[0] for line in careful] == (
        ["careful: --from and --to now refer to the shifted times"] if "--from" in given else []
    )


def test_of_many_assets_the_command_that_undoes_names_the_first() -> None:
    (told,) = undo_lines(60, Wish(shift_seconds=60, selection={"ids": [ASSET] * 25}))
    assert told.count(ASSET) == 20
    assert told.endswith(" … and the 5 other assets that were named")


def test_no_text_of_the_daemon_steers_the_terminal() -> None:
    shown = "".join(printed(change(state=HOSTILE, selection={"make": HOSTILE, "file_name": HOSTILE})))
    assert shown.count("owned") == 3
    assert not set("\x1b\x07\u202e") & set(shown)


@pytest.mark.parametrize(("terminal", "quiet"), [(True, False), (True, True), (False, False)])
def test_a_bar_is_drawn_for_people_only_and_gives_the_terminal_back(terminal: bool, quiet: bool) -> None:
    out = io.StringIO()
    with Progress(Console(file=out, force_terminal=terminal, width=80), quiet=quiet) as progress:
        for item in (change(), change(state="waiting", progress=None), change(state="ended", progress=None)):
            progress.show(item)
    shown = out.getvalue()
    if terminal and not quiet:
        assert re.findall(r"(\d+)% 1,234 changed", shown)[:3] == ["46", "0", "100"]
        assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    else:
        assert shown == ""
