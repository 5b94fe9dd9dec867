"""``lumilio import`` against a real daemon, as its users run it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from blake3 import blake3
from PIL import Image

from lumilio.media.detect import MEDIA_EXTENSIONS
from tests.conformance.reference import CORPUS, FIXTURES
from tests.running import RunningDaemon, running_daemon

MEDIA = CORPUS if CORPUS.is_dir() else FIXTURES


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Forty small JPEGs that no other test has."""
    made = tmp_path / "photos"
    made.mkdir()
    for number in range(40):
        image = Image.effect_noise((200, 150), 40 + number).convert("RGB")
        image.save(made / f"{number:02}.jpg", comment=f"{tmp_path} {number}")
    return made


def summary(output: str) -> dict[str, Any]:
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["event"] == "summary" for line in lines] == [False] * (len(lines) - 1) + [True]
    last: dict[str, Any] = lines[-1]
    return last


def digests(directory: Path) -> set[str]:
    files = (path for path in directory.rglob("*") if path.is_file() and path.suffix.lower() in MEDIA_EXTENSIONS)
    return {blake3(path.read_bytes()).hexdigest() for path in files}


async def assert_there(daemon: RunningDaemon, wanted: set[str]) -> None:
    async with (
        daemon.session() as client,
        client.post("/api/v1/assets/check", json={"hashes": sorted(wanted)}) as response,
    ):
        results = (await response.json())["results"]
    assert {item["content_hash"]: item["status"] for item in results} == dict.fromkeys(wanted, "known")


@contextmanager
def importing(data: Path, *args: str) -> Iterator["subprocess.Popen[str]"]:
    """An import that runs beside the test, its JSON to be read from ``stdout``."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lumilio.cli", "import", "--json", "--data", str(data), *args],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_sent(output: IO[str] | None) -> str:
    """Read up to the first file that arrived; what was read."""
    assert output is not None
    read = ""
    for line in output:
        read += line
        if '"outcome": "sent"' in line:
            return read
    raise AssertionError(f"no file was sent: {read}")


async def test_every_real_file_arrives_and_a_second_import_sends_nothing(daemon: RunningDaemon) -> None:
    wanted = digests(MEDIA)
    first = daemon.run_cli("import", "--json", str(MEDIA), timeout=300)
    assert first.returncode == 0, first.stdout + first.stderr
    sums = summary(first.stdout)
    assert (sums["sent"], sums["failed"], sums["pending"]) == (len(wanted), 0, 0)
    assert sums["ready"] + sums["unsupported"] + sums["problems"] == len(wanted)
    await assert_there(daemon, wanted)
    again = summary(daemon.run_cli("import", "--json", str(MEDIA)).stdout)
    assert (again["sent"], again["duplicates"], again["exit_code"]) == (0, sums["sent"] + sums["duplicates"], 0)


async def test_an_interrupted_import_ends_at_once_and_continues_where_it_was(
    shared_daemon: RunningDaemon, photos: Path
) -> None:
    for path in photos.iterdir():
        os.truncate(path, 2_000_000)
    with importing(shared_daemon.data_dir, "--jobs", "1", str(photos)) as process:
        output = wait_for_sent(process.stdout)
        process.send_signal(signal.SIGINT)
        output += process.communicate(timeout=10)[0]
        assert process.returncode == 130
    first = summary(output)
    assert first["end"] == "interrupted"
    assert 0 < first["sent"] < 40
    second = summary(shared_daemon.run_cli("import", "--json", str(photos)).stdout)
    assert second["exit_code"] == 0
    assert second["duplicates"] >= first["sent"]
    assert second["sent"] + second["duplicates"] == 40
    await assert_there(shared_daemon, digests(photos))


async def test_a_daemon_that_is_killed_and_started_again_in_the_middle_is_survived(
    tmp_path: Path, photos: Path
) -> None:
    home = tmp_path / "daemon"
    quick = "[queue]\nheartbeat_seconds = 1.0\nrescue_after_seconds = 4.0"
    with running_daemon(home, more_config=quick) as daemon, importing(daemon.data_dir, str(photos)) as process:
        output = wait_for_sent(process.stdout)
        daemon.kill()
        with running_daemon(home, more_config=quick) as restarted:
            output += process.communicate(timeout=60)[0]
            assert process.returncode == 0
            sums = summary(output)
            assert (sums["sent"] + sums["duplicates"], sums["failed"], sums["lost"]) == (40, 0, 0)
            await assert_there(restarted, digests(photos))
            async with restarted.session() as client, client.get("/api/v1/assets?limit=100") as response:
                assert len((await response.json())["items"]) == 40


async def test_a_file_that_cannot_be_read_fails_and_the_others_arrive(
    shared_daemon: RunningDaemon, photos: Path
) -> None:
    result = shared_daemon.run_cli("import", "--all", str(photos), "/proc/self/mem")
    assert result.returncode == 1
    assert "1  failed" in result.stdout
    assert "/mem: Input/output error" in result.stdout
    await assert_there(shared_daemon, digests(photos))


def test_a_damaged_photo_is_stored_and_told_as_a_problem(
    shared_daemon: RunningDaemon, photos: Path, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes((photos / "00.jpg").read_bytes()[:600])
    result = shared_daemon.run_cli("import", str(damaged))
    assert result.returncode == 0
    assert "1  stored, but with a problem" in result.stdout
    assert f"problem: {damaged}: " in result.stderr


def test_a_dry_run_names_what_would_be_sent_and_sends_nothing(shared_daemon: RunningDaemon, photos: Path) -> None:
    for _ in range(2):
        result = shared_daemon.run_cli("import", "--dry-run", str(photos))
        assert result.returncode == 0
        assert f"would send {photos / '00.jpg'}" in result.stdout
        assert "would send 40 files" in result.stdout


def test_a_url_asks_for_a_login(shared_daemon: RunningDaemon, photos: Path, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(shared_daemon.admin_password + "\n")
    arguments = ("import", str(photos), "--url", shared_daemon.url, "--password-file", str(password))
    assert shared_daemon.run_cli(*arguments).returncode == 0
    password.write_text("wrong\n")
    refused = shared_daemon.run_cli(*arguments)
    assert refused.returncode == 2
    assert refused.stderr == (
        f"lumilio import: user name 'admin' and password do not belong together at {shared_daemon.url}\n"
    )


def test_without_a_daemon_one_sentence_says_what_to_do(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "lumilio.cli", "import", "--data", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == (
        f"lumilio import: no daemon is running on {str(tmp_path)!r}; start it with `make run` or "
        "`systemctl start lumilio`, or name a running one with --url or --data\n"
    )
    assert result.stdout == ""


def test_a_daemon_that_went_away_is_named_by_its_address(tmp_path: Path) -> None:
    (tmp_path / "daemon.json").write_text(json.dumps({"url": "http://127.0.0.1:9", "token": "t", "pid": 1}))
    result = subprocess.run(
        [sys.executable, "-m", "lumilio.cli", "import", "--data", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("lumilio import: the daemon at http://127.0.0.1:9 cannot be reached; start")


def test_links_and_pipes_are_counted_and_those_that_are_named_have_failed(
    shared_daemon: RunningDaemon, photos: Path, tmp_path: Path
) -> None:
    for number in range(2, 40):
        (photos / f"{number:02}.jpg").unlink()
    (photos / "link.jpg").symlink_to("00.jpg")
    for name in ("pipe", "pipe.jpg"):
        os.mkfifo(photos / name)
    told = shared_daemon.run_cli("import", "--dry-run", str(photos))
    assert [" ".join(line.split()) for line in told.stdout.splitlines()[-2:]] == [
        "1 symbolic link was not followed",
        "2 special files (pipes, sockets) were left out",
    ]
    assert "--all" not in told.stdout
    assert told.returncode == 0
    sums = summary(shared_daemon.run_cli("import", "--json", "--all", str(photos)).stdout)
    counted = ("sent", "expected_files", "links", "special", "skipped", "failed", "exit_code")
    assert [sums[key] for key in counted] == [2, 2, 1, 2, 0, 0, 0]
    named = shared_daemon.run_cli("import", str(photos / "link.jpg"), str(photos / "pipe"))
    assert named.returncode == 1
    assert f"{photos / 'link.jpg'}: a symbolic link, not followed; name the file it points to" in named.stdout
    assert f"{photos / 'pipe'}: a pipe, socket or device, not a file that can be sent" in named.stdout
    through = tmp_path / "through"
    through.symlink_to(photos)
    again = summary(shared_daemon.run_cli("import", "--json", str(through)).stdout)
    assert (again["duplicates"], again["exit_code"]) == (2, 0)
