"""``lumilio jobs`` and ``lumilio queues`` against a real daemon, as people and scripts use them."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lumilio.cli import main
from lumilio.queue.policy import JobState
from tests.running import RunningDaemon, finished, running_daemon, upload

QUEUE = "process_asset"


def documents(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    assert done.stderr == ""
    document: dict[str, Any] = json.loads(done.stdout)
    return document


async def send(daemon: RunningDaemon, *photos: bytes) -> list[str]:
    """Upload, and the ids of the jobs that process it."""
    async with daemon.session() as client:
        return [(await upload(client, f"{number}.jpg", data))[1]["task_id"] for number, data in enumerate(photos)]


async def ended(daemon: RunningDaemon, job_id: str) -> None:
    async with daemon.session() as client:
        await finished(client, job_id)


@pytest.fixture
def paused(daemon: RunningDaemon) -> RunningDaemon:
    """A daemon of this test alone that processes no uploads."""
    assert daemon.run_cli("queues", "pause", QUEUE).stdout == f"queue {QUEUE}: paused\n"
    return daemon


@pytest.fixture
def make_photo(tmp_path: Path) -> Callable[[], bytes]:
    """Each a JPEG that was not there before."""

    def make() -> bytes:
        path = tmp_path / "made.jpg"
        Image.effect_noise((64, 48), 60).convert("RGB").save(path)
        return path.read_bytes()

    return make


async def test_a_job_waits_in_a_paused_queue_is_cancelled_retried_and_ends_when_the_queue_goes_on(
    paused: RunningDaemon, photo: bytes
) -> None:
    (job_id,) = await send(paused, photo)
    listed = paused.run_cli("jobs", "list", "--queue", QUEUE)
    assert listed.returncode == 0
    assert re.search(rf"^ *{job_id}  available  {QUEUE}  {QUEUE}  0/\d+  (now|\d s ago)$", listed.stdout, re.MULTILINE)
    queues = paused.run_cli("queues", "list").stdout
    assert re.search(rf"^{QUEUE} +paused +\d+ +1 ", queues, re.MULTILINE)
    assert f"go on: lumilio queues resume {QUEUE}" in queues

    assert paused.run_cli("jobs", "cancel", job_id).stdout == f"job {job_id}: cancelled\n"
    shown = paused.run_cli("jobs", "show", job_id).stdout
    assert re.search(r"^state +cancelled$", shown, re.MULTILINE)
    assert shown.endswith(f"\ntry again: lumilio jobs retry {job_id}\n")
    again = paused.run_cli("jobs", "cancel", job_id)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.startswith(f"lumilio: job {job_id} could not be cancelled: ")

    assert paused.run_cli("jobs", "retry", job_id).stdout == f"job {job_id}: retried\n"
    assert documents(paused.run_cli("jobs", "show", job_id, "--json"))["state"] == "available"
    assert paused.run_cli("queues", "resume", QUEUE).stdout == f"queue {QUEUE}: resumed\n"
    await ended(paused, job_id)
    completed = documents(paused.run_cli("jobs", "list", "--state", "completed", "--kind", QUEUE, "--json"))
    assert [(job["job_id"], job["state"]) for job in completed["items"]] == [(job_id, "completed")]
    nothing = paused.run_cli("jobs", "list", "--state", "running", "--queue", QUEUE)
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "no jobs fit\n", "")


async def test_many_jobs_are_chosen_by_what_they_are(paused: RunningDaemon, make_photo: Callable[[], bytes]) -> None:
    job_ids = await send(paused, *(make_photo() for _ in range(3)))
    unsure = paused.run_cli("jobs", "cancel", "--queue", QUEUE)
    assert (unsure.returncode, unsure.stdout) == (2, "")
    assert unsure.stderr.endswith("error: no terminal to ask whether all that fit should be cancelled; add --yes\n")
    page = paused.run_cli("jobs", "list", "--queue", QUEUE, "--limit", "2", "--json")
    assert [job["job_id"] for job in documents(page)["items"]] == job_ids[:0:-1]
    assert documents(page)["next_cursor"]
    everything = documents(paused.run_cli("jobs", "list", "--queue", QUEUE, "--all", "--json"))
    assert [job["job_id"] for job in everything["items"]] == job_ids[::-1]
    assert everything["next_cursor"] is None
    table = paused.run_cli("jobs", "list", "--queue", QUEUE, "--limit", "2")
    assert len(table.stdout.splitlines()) == 3
    assert table.stderr == "lumilio: only the newest 2 are shown; --limit N shows more, --all shows all\n"

    cancelled = paused.run_cli("jobs", "cancel", "--kind", QUEUE, "--state", "available", "--yes", "--json")
    assert documents(cancelled) == {"cancelled": 3, "stopping": 0}
    queues = documents(paused.run_cli("queues", "list", "--json"))["items"]
    assert [queue["cancelled"] for queue in queues if queue["name"] == QUEUE] == [3]
    assert paused.run_cli("jobs", "cancel", "--all", "--yes").stdout == "jobs: 0 cancelled\n"
    retried = paused.run_cli("jobs", "retry", "--state", "cancelled")
    assert retried.stdout == "jobs: 3 retried\n"
    assert documents(paused.run_cli("jobs", "retry", "--all", "--json")) == {"retried": 0, "superseded": 0}


async def test_a_discarded_job_tells_why_and_what_can_be_done(paused: RunningDaemon, photo: bytes) -> None:
    (job_id,) = await send(paused, photo)
    for staged in (paused.library / ".lumilio/staging/incoming").iterdir():
        staged.unlink()
    assert paused.run_cli("queues", "resume", QUEUE).returncode == 0
    await ended(paused, job_id)
    listed = paused.run_cli("jobs", "list", "--state", "discarded").stdout
    assert re.search(rf"^ *{job_id}  discarded .*  storage\.staged_file_missing: \S", listed, re.MULTILINE)
    shown = paused.run_cli("jobs", "show", job_id).stdout
    assert re.search(r"^errors\nTRY .*\n  1  .*  storage\.staged_file_missing  \S", shown, re.MULTILINE)
    assert shown.endswith(f"\ntry again: lumilio jobs retry {job_id}\n")
    (error,) = documents(paused.run_cli("jobs", "show", job_id, "--json"))["errors"]
    assert (error["attempt"], error["code"]) == (1, "storage.staged_file_missing")


async def test_every_named_job_has_a_result_of_its_own(shared_daemon: RunningDaemon, photo: bytes) -> None:
    (job_id,) = await send(shared_daemon, photo)
    await ended(shared_daemon, job_id)
    done = shared_daemon.run_cli("jobs", "retry", "--json", "007000000", job_id, job_id)
    assert done.returncode == 1
    missing, completed = documents(done)["results"]
    assert missing == {
        "job_id": "7000000",
        "outcome": "failed",
        "code": "request.not_found",
        "reason": "job 7000000 does not exist",
    }
    assert (completed["job_id"], completed["outcome"], completed["code"]) == (job_id, "failed", "request.conflict")


@pytest.mark.parametrize(
    "command", [("jobs", "show", "7000000"), ("jobs", "cancel", "7000000"), ("queues", "pause", "nothing")], ids=str
)
def test_what_does_not_exist_ends_with_1_and_a_sentence(shared_daemon: RunningDaemon, command: Sequence[str]) -> None:
    done = shared_daemon.run_cli(*command)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"lumilio: .*(does not exist|holds no jobs)\n", done.stderr)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        (("jobs",), "required: COMMAND"),
        (("queues", "pause"), "required: NAME"),
        (("queues", "pause", "../jobs"), "'../jobs' is not a name"),
        (("queues", "pause", ".."), "'..' is not a name"),
        (("jobs", "show"), "required: ID"),
        (("jobs", "show", "x12"), "'x12' is not the id of a job; ids are decimal numbers"),
        (("jobs", "show", "-1"), "'-1' is not the id of a job"),
        (("jobs", "show", "١٢"), "is not the id of a job"),
        (("jobs", "retry"), "name jobs by their ids, or say which with"),
        (("jobs", "retry", "12", "--queue", "files"), "name jobs by their ids, or say which with"),
        (("jobs", "retry", "12", "--all"), "name jobs by their ids, or say which with"),
        (("jobs", "cancel", "--all", "--state", "running", "--yes"), "--all goes with neither"),
        (("jobs", "retry", "--state", "running"), "invalid choice: 'running'"),
        (("jobs", "cancel", "--state", "completed"), "invalid choice: 'completed'"),
        (("jobs", "list", "--limit", "0"), "'0' is not a number from 1 on"),
        (("jobs", "list", "--limit", "5", "--all"), "not allowed with argument"),
        (("jobs", "list", "--url", "http://x", "--data", "y"), "not allowed with argument"),
        (("jobs", "watch", "--patience", "-1"), "'-1' is not a number of seconds|expected one argument"),
    ],
    ids=str,
)
def test_wrong_usage_ends_with_2(capsys: pytest.CaptureFixture[str], command: Sequence[str], complaint: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(command)
    output, errors = capsys.readouterr()
    assert (end.value.code, output) == (2, "")
    assert errors.startswith(f"usage: lumilio {command[0]}")
    assert re.search(complaint, errors)


def test_every_state_of_a_job_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["jobs", "list", "--help"])
    assert ", ".join(JobState) in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "command",
    [
        ("jobs", "list"),
        ("jobs", "list", "--json"),
        ("jobs", "show", "1"),
        ("jobs", "retry", "1", "--json"),
        ("jobs", "cancel", "--all", "--yes"),
        ("jobs", "watch"),
        ("queues", "list"),
        ("queues", "resume", QUEUE),
    ],
    ids=str,
)
def test_without_a_daemon_one_sentence_says_what_to_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, command: Sequence[str]
) -> None:
    assert main([*command, "--data", str(tmp_path)]) == 2
    output, errors = capsys.readouterr()
    assert errors.startswith(f"lumilio: no daemon is running on {str(tmp_path)!r}; start it with")
    (tmp_path / "daemon.json").write_text(json.dumps({"url": "http://127.0.0.1:9", "token": "t", "pid": 1}))
    assert main([*command, "--data", str(tmp_path)]) == 2
    more, errors = capsys.readouterr()
    assert errors.startswith("lumilio: the daemon at http://127.0.0.1:9 cannot be reached; start")
    assert output + more == ""


def test_a_url_asks_for_a_login(shared_daemon: RunningDaemon, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(shared_daemon.admin_password + "\n")
    there = ("--url", shared_daemon.url, "--password-file", str(password))
    assert documents(shared_daemon.run_cli("queues", "list", "--json", *there))["workers"]
    password.write_text("wrong\n")
    refused = shared_daemon.run_cli("queues", "list", *there)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("lumilio: user name 'admin' and password do not belong together")


@contextmanager
def watching(daemon: RunningDaemon, *args: str) -> Iterator["subprocess.Popen[str]"]:
    """A watch that runs beside the test."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lumilio.cli", "jobs", "watch", "--data", str(daemon.data_dir), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(lines: Iterator[str], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Read JSON lines up to the one that is wanted."""
    read = []
    for line in lines:
        read.append(line)
        event: dict[str, Any] = json.loads(line)
        if wanted(event):
            return event
    raise AssertionError(f"it did not come: {read}")


async def test_a_watch_sees_jobs_end_and_is_itself_ended_by_ctrl_c(shared_daemon: RunningDaemon, photo: bytes) -> None:
    with watching(shared_daemon, "--json") as process, watching(shared_daemon) as for_people:
        assert process.stdout is not None
        assert for_people.stdout is not None
        assert for_people.stderr is not None
        assert until(process.stdout, lambda event: True) == {"event": "connected", "url": shared_daemon.url}
        assert for_people.stderr.readline() == f"lumilio: watching the jobs of {shared_daemon.url}; Ctrl-C ends\n"
        (job_id,) = await send(shared_daemon, photo)
        seen = until(process.stdout, lambda event: event.get("job_id") == job_id and event["state"] == "completed")
        assert (seen["event"], seen["kind"]) == ("job", QUEUE)
        pattern = re.compile(rf"\d\d:\d\d:\d\d  completed  {job_id}  {QUEUE}  1/\d+\n")
        assert next(line for line in for_people.stdout if pattern.fullmatch(line))
        for each in (process, for_people):
            each.send_signal(signal.SIGINT)
            _, errors = each.communicate(timeout=20)
            assert (each.returncode, errors) == (130, "")


async def test_a_watch_goes_on_after_the_daemon_was_killed_and_started_again(tmp_path: Path, photo: bytes) -> None:
    with running_daemon(tmp_path / "daemon") as daemon, watching(daemon, "--json") as process:
        assert process.stdout is not None
        until(process.stdout, lambda event: event["event"] == "connected")
        daemon.kill()
        until(process.stdout, lambda event: event["event"] == "notice")
        with running_daemon(tmp_path / "daemon") as restarted:
            until(process.stdout, lambda event: event == {"event": "connected", "url": restarted.url})
            (job_id,) = await send(restarted, photo)
            until(process.stdout, lambda event: event.get("job_id") == job_id and event["state"] == "completed")


@dataclass
class Terminal:
    """A command on a terminal of its own, and what it showed so far."""

    process: "subprocess.Popen[bytes]"
    screen: int
    shown: str = ""

    def until(self, text: str) -> None:
        """Read up to ``text``."""
        while text not in self.shown:
            self.shown += self._read() or f"<the end, without {text!r}>{text}"
        assert "<the end" not in self.shown, self.shown

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.screen, text.encode())

    def end(self) -> int:
        """Read the rest; the exit status."""
        while more := self._read():
            self.shown += more
        return self.process.wait(20)

    def _read(self) -> str:
        try:
            return os.read(self.screen, 65536).decode()
        except OSError:  # how Linux says that nobody has the terminal open any more
            return ""


@contextmanager
def terminal(daemon: RunningDaemon, *args: str, columns: int = 80) -> Iterator[Terminal]:
    """Run a command with a terminal as its input and outputs."""
    screen, line = pty.openpty()
    fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [sys.executable, "-m", "lumilio.cli", *args],
        stdin=line,
        stdout=line,
        stderr=line,
        env={**environment, "LUMILIO_DATA": str(daemon.data_dir), "TERM": "xterm-256color"},
    )
    os.close(line)
    try:
        yield Terminal(process, screen)
    finally:
        process.kill()
        process.wait()
        os.close(screen)


async def test_on_a_terminal_many_jobs_are_cancelled_only_after_a_yes(
    paused: RunningDaemon, make_photo: Callable[[], bytes]
) -> None:
    command = ("jobs", "cancel", "--queue", QUEUE)
    with terminal(paused, *command) as nothing:
        assert nothing.end() == 0
        assert nothing.shown == "jobs: 0 cancelled\r\n"
    await send(paused, make_photo(), make_photo())
    with terminal(paused, *command) as refused:
        refused.until("cancel 2 jobs? [y/N] ")
        refused.type("\n")
        assert refused.end() == 1
        assert "lumilio: nothing was cancelled" in refused.shown
    with terminal(paused, *command) as interrupted:
        interrupted.until("[y/N] ")
        interrupted.process.send_signal(signal.SIGINT)
        assert interrupted.end() == 130
        assert "Traceback" not in interrupted.shown
    with terminal(paused, *command) as confirmed:
        confirmed.until("[y/N] ")
        confirmed.type("y\n")
        assert confirmed.end() == 0
        assert "jobs: 2 cancelled" in confirmed.shown


@pytest.mark.parametrize("columns", [50, 90, 160])
async def test_a_table_fits_its_terminal_and_has_colours(
    shared_daemon: RunningDaemon, photo: bytes, columns: int
) -> None:
    (job_id,) = await send(shared_daemon, photo)
    await ended(shared_daemon, job_id)
    with terminal(shared_daemon, "jobs", "list", "--kind", QUEUE, columns=columns) as listing:
        assert listing.end() == 0
        assert "\x1b[32mcompleted\x1b[0m" in listing.shown
        shown = re.sub(r"\x1b\[[0-9;]*m", "", listing.shown).splitlines()
    lines = [line for line in shown if not line.startswith("lumilio: only the newest")]  # a sentence beside the table
    assert max(map(len, lines)) <= columns
    assert [line for line in lines if line.split()[0] == job_id]
    with terminal(shared_daemon, "jobs", "show", job_id, columns=columns) as showing:
        assert showing.end() == 0
        lines = re.sub(r"\x1b\[[0-9;]*m", "", showing.shown).splitlines()
    assert max(map(len, lines)) <= columns
