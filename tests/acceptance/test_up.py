"""``lumilio up`` and ``lumilio check`` in a checkout, as the README has them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

READY = "is ready at"


@contextmanager
def _up(directory: Path) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "lumilio.cli", "up", "--data", "data", "--host", "127.0.0.1", "--port", "0"]
    with (directory / "out").open("wb") as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait_for_banners(directory: Path, count: int) -> str:
    deadline = time.monotonic() + 90
    while (said := (directory / "out").read_text()).count(READY) < count:
        assert time.monotonic() < deadline, said
        time.sleep(0.05)
    return said


def _import_photo(directory: Path, number: int) -> None:
    """Send one, and see it processed."""
    photo = directory / f"{number}.jpg"
    Image.new("RGB", (64, 48), (number, 2, 3)).save(photo)
    done = subprocess.run(
        [sys.executable, "-m", "lumilio.cli", "import", "--data", str(directory / "data"), str(photo), "--json"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    states = [json.loads(line).get("state") for line in done.stdout.splitlines()]
    assert "ready" in states, done.stdout + done.stderr


def test_it_starts_again_when_its_postgresql_was_killed_and_works_as_before(tmp_path: Path) -> None:
    with _up(tmp_path) as process:
        _wait_for_banners(tmp_path, 1)
        _import_photo(tmp_path, 1)
        pid = int((tmp_path / "data/postgres/data/postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
        said = _wait_for_banners(tmp_path, 2)
        assert "lumilio: PostgreSQL ended by itself (signal SIGKILL)" in said
        assert process.poll() is None
        _import_photo(tmp_path, 2)
    assert process.returncode == 0


def test_check_looks_at_the_library_of_this_directory(tmp_path: Path) -> None:
    with _up(tmp_path):
        _wait_for_banners(tmp_path, 1)
    command = [sys.executable, "-m", "lumilio.cli", "check", "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "LUMILIO_DATA"}
    checked = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    found = {item["name"]: item["detail"] for item in json.loads(checked.stdout)["checks"]}
    assert found["repository"] == str(tmp_path / "data/library")
    assert found["schema"] == "up to date"
    assert checked.returncode == 0


def test_check_tells_scripts_of_a_broken_configuration(tmp_path: Path) -> None:
    (tmp_path / "lumilio.toml").write_text("[server]\nport = 'x'\n")
    command = [sys.executable, "-m", "lumilio.cli", "check", "--json", "--config", str(tmp_path / "lumilio.toml")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    report = json.loads(checked.stdout)
    assert not report["ok"]
    assert "server.port: 'x'" in report["checks"][0]["detail"]
    assert checked.returncode == 2
