"""What an import shows to people and to scripts."""

import io
import json
import os

import pytest

from lumilio.client.display import End, Ending, JsonLines, Pace, Terminal, progress_line, summary_lines
from lumilio.client.library import SidecarOutcome
from lumilio.client.tally import FileProcessed, FileSettled, Outcome, Processing, SidecarSettled, Tally
from lumilio.model import SidecarKind


def ending(end: End = End.FINISHED, error: str = "", *, dry_run: bool = False) -> Ending:
    return Ending(end=end, seconds=10, exit_code=0, dry_run=dry_run, waited=True, error=error)


def failed(path: str, reason: str = "too large") -> FileSettled:
    return FileSettled(path=path, outcome=Outcome.FAILED, size=5, code="request.too_large", reason=reason)


def test_every_line_of_json_is_one_object_in_ascii_and_the_summary_is_last() -> None:
    out = io.StringIO()
    display, tally = JsonLines(out), Tally()
    events = (
        FileSettled(path=os.fsdecode(b"/p/caf\xe9\n\x1b[31m.jpg"), outcome=Outcome.SENT, size=7, task_id="1"),
        FileProcessed(path="/p/ö.jpg", state=Processing.READY, content_hash="ab", task_id="1"),
    )
    for event in events:
        tally.record(event)
        display.event(event)
    display.notice("wait")
    display.summary(tally, ending())
    text = out.getvalue()
    assert text.isascii()
    assert "\x1b" not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["event"] for line in lines] == ["file", "processed", "notice", "summary"]
    assert lines[0]["path"] == "/p/caf\\xe9\n\x1b[31m.jpg"
    assert (lines[3]["sent"], lines[3]["sent_bytes"], lines[3]["end"]) == (1, 7, "finished")


def test_the_progress_line_tells_files_bytes_rate_time_left_duplicates_and_problems() -> None:
    tally = Tally(expected_files=1200, expected_bytes=10_000_000, counted=True, done_bytes=4_000_000, sent=300)
    tally.duplicates, tally.problems = 12, 3
    pace = Pace()
    pace.add(0, 0)
    pace.add(2, 4_000_000)
    assert progress_line(tally, pace) == (
        "312/1,200 files · 4.0 MB/10.0 MB · 2.0 MB/s · 3.0 s left · 12 already there · 3 problems"
    )


def test_totals_that_still_grow_are_marked() -> None:
    assert progress_line(Tally(expected_files=3), Pace()).startswith("0/3+ files · 0 bytes/0 bytes+")


def test_the_pace_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    for second in range(100):
        pace.add(second, second * 10 if second < 50 else 490 + (second - 49) * 100)
    assert pace.rate == 100


def test_the_summary_names_the_first_failures_and_counts_the_rest() -> None:
    tally = Tally(expected_files=30)
    for number in range(25):
        tally.record(failed(f"/p/{number:02}\x1b.jpg"))
    text = "\n".join(summary_lines(tally, ending()))
    assert "/p/00\\x1b.jpg: too large" in text
    assert "/p/20" not in text
    assert "and 5 more" in text
    assert "25  failed" in text


def test_an_interrupted_import_says_that_the_same_command_continues() -> None:
    lines = summary_lines(Tally(), ending(End.INTERRUPTED))
    assert "the same command continues and sends only what is missing" in lines[-1]
    assert "given up: away" in summary_lines(Tally(), ending(End.GIVEN_UP, "away"))[-2]


def test_a_dry_run_lists_what_would_be_sent() -> None:
    out = io.StringIO()
    display, tally = Terminal(out), Tally()
    event = FileSettled(path="/p/a.jpg", outcome=Outcome.WOULD_SEND, size=2000)
    tally.record(event)
    display.event(event)
    display.summary(tally, ending(dry_run=True))
    assert out.getvalue() == "would send /p/a.jpg (2.0 kB)\nwould send 1 files (2.0 kB)\n"


def sidecar(name: str, outcome: SidecarOutcome, reason: str = "") -> SidecarSettled:
    return SidecarSettled(path=f"/p/{name}", kind=SidecarKind.XMP, outcome=outcome, asset_id="1", reason=reason)


def test_sidecars_are_counted_in_both_kinds_of_summary_and_a_refused_one_is_no_failure() -> None:
    out, tally = io.StringIO(), Tally(expected_files=3)
    display = JsonLines(out)
    for event in (
        sidecar("a.xmp", SidecarOutcome.SENT),
        sidecar("b.xmp", SidecarOutcome.UNCHANGED),
        sidecar("c.xmp", SidecarOutcome.REFUSED, "not XMP"),
    ):
        tally.record(event)
        display.event(event)
    display.summary(tally, ending())
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["sidecar", "sidecar", "sidecar", "summary"]
    assert (lines[2]["path"], lines[2]["outcome"], lines[2]["reason"]) == ("/p/c.xmp", "refused", "not XMP")
    assert {key: value for key, value in lines[3].items() if key.startswith("sidecars")} == {
        "sidecars_sent": 1,
        "sidecars_unchanged": 1,
        "sidecars_unreadable": 1,
        "sidecars_pending": 0,
    }
    assert tally.all_there
    text = "\n".join(summary_lines(tally, ending()))
    assert "1  sidecars sent" in text
    assert "1  sidecars not used: they could not be read" in text


def test_a_refused_sidecar_is_named_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    Terminal(io.StringIO()).event(sidecar("c\x1b.xmp", SidecarOutcome.REFUSED, "not XMP"))
    assert capsys.readouterr().err == "sidecar not used: /p/c\\x1b.xmp: not XMP (its file is in the library)\n"


@pytest.mark.parametrize(
    ("number", "link", "special"),
    [
        (1, "1  symbolic link was not followed", "1  special file (pipe, socket) was left out"),
        (2, "2  symbolic links were not followed", "2  special files (pipes, sockets) were left out"),
    ],
)
def test_links_and_special_files_are_counted_apart_from_what_all_would_send(
    number: int, link: str, special: str
) -> None:
    out, tally = io.StringIO(), Tally()
    for place in range(number):
        tally.record(FileSettled(path=f"/p/{place}", outcome=Outcome.LINK))
        tally.record(FileSettled(path=f"/p/{place}.pipe", outcome=Outcome.SPECIAL))
    assert [line.strip() for line in summary_lines(tally, ending())[1:]] == [link, special]
    JsonLines(out).summary(tally, ending())
    sums = json.loads(out.getvalue())
    assert (sums["links"], sums["special"], sums["skipped"], sums["failed"]) == (number, number, 0, 0)
    assert (tally.done_files, tally.all_there) == (0, True)
