"""Logs: a closed list of keys, one line an event, and nothing in it that a file name could use against its reader."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from lumilio.log import KEYS, bind_context, configure_logging, get_log, printable

HOSTILE = "a\x1b[31m\x00\x7f\x9b\r\nb\u202e\u2066\u200f\u061c\u2028\udc80"


@pytest.fixture(autouse=True)
def _configuration_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("lumilio").setLevel(logging.NOTSET)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def _events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_line_of_json_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "auto")
    get_log().info("asset.committed", asset_id="x", size=5)
    (event,) = _events(capsys)
    assert (event["event"], event["level"], event["asset_id"], event["size"]) == ("asset.committed", "info", "x", 5)
    assert str(event["timestamp"]).endswith("Z")


def test_a_key_that_is_not_on_the_list_is_refused() -> None:
    configure_logging("info", "json")
    with pytest.raises(KeyError, match="colour"):
        get_log().info("asset.committed", colour="red")
    with pytest.raises(KeyError, match="colour"):
        bind_context(colour="red")


def test_bound_context_goes_into_every_event(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    bind_context(request_id="r1")
    get_log().info("asset.committed")
    assert _events(capsys)[0]["request_id"] == "r1"


@pytest.mark.parametrize("style", ["json", "text"])
def test_a_hostile_name_neither_makes_lines_nor_steers_the_terminal(
    style: str, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging("info", "json" if style == "json" else "text")
    get_log().warning("upload.accepted", file_name=HOSTILE)
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert not set(written.removesuffix("\n")) & set(HOSTILE.removeprefix("a").replace("[31m", "").replace("b", ""))


def test_an_exception_keeps_its_lines_and_loses_its_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "text")
    try:
        raise ValueError("bad\x1b[2J\u202ename")
    except ValueError:
        get_log().exception("request.crashed", path="/x")
    written = capsys.readouterr().err
    assert "Traceback" in written
    assert "\x1b" not in written
    assert "\u202e" not in written


def test_what_libraries_log_takes_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    logging.getLogger("asyncio").warning("odd %s", "line\nforged")
    (event,) = _events(capsys)
    assert event["event"] == "odd line forged"


def test_events_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", "json")
    get_log().info("asset.committed")
    assert capsys.readouterr().err == ""


def test_a_pipe_gets_json_without_being_told() -> None:
    program = (
        "from lumilio.log import configure_logging, get_log; configure_logging('info', 'auto'); "
        "get_log().info('daemon.ready', url='http://x')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert json.loads(done.stderr)["event"] == "daemon.ready"
    assert done.stdout == b""


@given(st.text())
def test_printable_text_is_one_line_that_every_terminal_and_file_can_take(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() or not set(shown) & {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))}
    assert len(shown.splitlines()) <= 1
    shown.encode()
    assert printable(shown) == shown


def test_the_list_holds_names_and_no_secrets() -> None:
    assert all(key.isidentifier() and key == key.lower() for key in KEYS)
    assert not KEYS & {"password", "token", "secret", "authorization"}
