"""What a watch prints of the events that come."""

import json

import pytest

from lumilio.client.events import Connected, Event
from lumilio.client.jobs_watch import WatchJson, WatchLines


def event(state: str, **members: object) -> Event:
    job = {"job_id": "12", "kind": "process_asset", "queue": "files", "state": state, "attempt": 1, "max_attempts": 5}
    return Event(name="job", data=json.dumps(job | members))


def test_what_runs_is_told_again_only_when_it_changed(capsys: pytest.CaptureFixture[str]) -> None:
    watch = WatchLines()
    first, half = event("running"), event("running", progress=0.5)
    for each in (first, first, half, half, Connected(url="x"), half, event("completed"), event("running"), first):
        watch.show(each)
    lines = [line.split("  ", 1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "running    12  process_asset  1/5",
        "running    12  process_asset  1/5  50%",
        "completed  12  process_asset  1/5",
        "running    12  process_asset  1/5",
    ]


def test_it_says_where_it_watches_at_first_and_after_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    watch = WatchLines()
    for _ in range(2):
        watch.show(Connected(url="http://nas"))
    watch.notice("the daemon is away; waiting")
    watch.show(Connected(url="http://nas"))
    watch.show(Event(name="reset", data="{}"))
    watch.show(Event(name="task", data="{}"))
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.splitlines() == [
        "lumilio: watching the jobs of http://nas; Ctrl-C ends",
        "lumilio: the daemon is away; waiting",
        "lumilio: watching the jobs of http://nas; Ctrl-C ends",
        "lumilio: some events were missed; `lumilio jobs list` shows how things stand",
    ]


def test_every_line_of_json_is_one_object_in_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    watch = WatchJson()
    watch.show(Connected(url="http://nas"))
    watch.show(event("running", progress_message="\x1b[31m\n写真"))
    watch.show(Event(name="task", data="{}"))
    watch.show(Event(name="reset", data="{}"))
    watch.notice("the daemon is away; waiting")
    output = capsys.readouterr().out
    assert output.isascii()
    assert "\x1b" not in output
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["event"] for line in lines] == ["connected", "job", "reset", "notice"]
    assert lines[1]["progress_message"] == "\x1b[31m\n写真"
