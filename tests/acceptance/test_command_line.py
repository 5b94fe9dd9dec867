"""The command line as people and scripts use it: what it prints, where, and how it ends."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lumilio import __version__
from lumilio.cli import main
from lumilio.config import Config, default_toml
from tests.running import RunningDaemon

COMMANDS = (
    "up", "serve", "import", "worker", "check", "migrate", "config", "config init", "config show",
    "jobs", "jobs list", "jobs show", "jobs retry", "jobs cancel", "jobs watch",
    "queues", "queues list", "queues pause", "queues resume",
)  # fmt: skip


def _run(
    *args: str, cwd: Path | None = None, path: str | None = None, launcher: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if key != "LUMILIO_DATA"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    if path is not None:
        environment["PATH"] = path
    return subprocess.run(
        [*launcher, sys.executable, "-m", "lumilio.cli", *args],
        capture_output=True,
        text=True,
        timeout=100,
        cwd=cwd,
        env=environment,
        check=False,
    )


def _config(directory: Path, text: str = "") -> Path:
    path = directory / "lumilio.toml"
    path.write_text(f'[data]\ndirectory = "{directory / "data"}"\n{text}', encoding="utf-8")
    return path


def test_the_version_is_told() -> None:
    done = _run("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"lumilio {__version__}\n", "")


class Here:
    """The command within this process: a second quicker, for what neither the process nor its output is about."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def run(self, *args: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error."""
        try:
            status = main(args)
        except SystemExit as end:
            status = int(end.code or 0)
        return status, *self._capsys.readouterr()


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    """The command without a process of its own."""
    return Here(capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(here: Here, command: str) -> None:
    status, output, errors = here.run(*command.split(), "--help")
    assert (status, errors) == (0, "")
    assert output.startswith(f"usage: lumilio {command}")


@pytest.mark.parametrize(
    "args", [(), ("imprt",), ("up", "--colour"), ("up", "--port", "x"), ("config",), ("config", "edit")], ids=str
)
def test_wrong_usage_ends_with_2_and_a_usage_line(here: Here, args: tuple[str, ...]) -> None:
    status, output, errors = here.run(*args)
    assert (status, output) == (2, "")
    assert errors.startswith("usage: lumilio")


@pytest.mark.parametrize("command", ["up", "serve", "check", "migrate", "config show"])
def test_a_wrong_configuration_ends_with_2_and_every_fault(command: str, tmp_path: Path) -> None:
    config = _config(tmp_path, '[server]\nport = "x"\n[log]\nlevel = "\\u001b[31mloud"\n')
    done = _run(*command.split(), "--config", str(config))
    assert (done.returncode, done.stdout) == (2, "")
    assert "server.port: 'x': expected a valid integer" in done.stderr
    assert "log.level" in done.stderr
    assert "\x1b" not in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_configuration_is_made_and_never_replaced(here: Here, tmp_path: Path) -> None:
    path = tmp_path / "etc/deep/lumilio.toml"
    assert here.run("config", "init", str(path))[0] == 0
    assert path.read_text(encoding="utf-8") == default_toml()
    path.write_text("# mine\n", encoding="utf-8")
    status, _, errors = here.run("config", "init", str(path))
    assert status == 1
    assert "exists" in errors
    assert path.read_text(encoding="utf-8") == "# mine\n"
    for content, kept in (("# first\n", ".old"), ("# second\n", ".old.1"), ("# third\n", ".old.2")):
        path.write_text(content, encoding="utf-8")
        assert here.run("config", "init", "--force", str(path))[0] == 0
        assert path.with_name(f"{path.name}{kept}").read_text(encoding="utf-8") == content
    assert path.read_text(encoding="utf-8") == default_toml()
    assert here.run("config", "init", "-")[1] == default_toml()
    status, _, errors = here.run("config", "init", str(path / "lumilio.toml"))
    assert status == 1
    assert "cannot be made" in errors


def test_the_settings_in_effect_are_shown_and_can_be_read_again(here: Here, tmp_path: Path) -> None:
    config = _config(tmp_path, "[server]\nport = 1\n")
    status, shown, errors = here.run("config", "show", "--config", str(config))
    assert (status, errors) == (0, "")
    values = tomllib.loads(shown)
    assert values["server"]["port"] == 1
    again = tmp_path / "again.toml"
    again.write_text(shown, encoding="utf-8")
    assert here.run("config", "show", "--config", str(again))[1] == shown
    as_json = here.run("config", "show", "--config", str(config), "--json")[1]
    assert json.loads(as_json) == values == Config.model_validate(values).model_dump()


def test_output_into_a_closed_pipe_is_no_crash() -> None:
    program = f"{sys.executable} -m lumilio.cli config init - | head -c 1"
    done = subprocess.run(
        ["bash", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.stderr == ""


def test_check_tells_what_is_there_before_the_first_start_and_makes_nothing(tmp_path: Path) -> None:
    config = _config(tmp_path, "[ingest]\nreserve_mb = 0\n")
    done = _run("check", "--config", str(config), "--json")
    document = json.loads(done.stdout)
    verdicts = {check["name"]: check["verdict"] for check in document["checks"]}
    names = [
        "configuration",
        "postgresql",
        "exiftool",
        "ffmpeg",
        "libraw",
        "pillow",
        "fence",
        "repository",
        "disk space",
        "inotify",
    ]
    assert list(verdicts) == names
    assert (done.returncode, document["ok"]) == (0, True), document
    assert set(verdicts.values()) - {"warning"} == {"ok"}
    assert [path.name for path in tmp_path.iterdir()] == ["lumilio.toml"]


def test_check_looks_at_a_running_daemon_without_disturbing_it(shared_daemon: RunningDaemon) -> None:
    done = _run("check", "--config", str(shared_daemon.config))
    assert done.returncode == 0, done.stdout
    assert re.search(r"ok +database +PostgreSQL \d+\.\d+, pgvector 0\.8", done.stdout)
    assert re.search(r"ok +schema +up to date", done.stdout)
    assert re.search(rf"ok +repository +{re.escape(str(shared_daemon.library))}", done.stdout)
    assert shared_daemon.process.poll() is None


def test_check_names_a_missing_tool_its_loss_and_the_command_that_installs_it(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    done = _run("check", "--config", str(_config(tmp_path, "[ingest]\nreserve_mb = 0\n")), path=str(programs))
    assert done.returncode == 1
    assert re.search(r"failed +exiftool .*uploads wait unprocessed", done.stdout)
    assert "apt-get install libimage-exiftool-perl" in done.stdout


def test_check_fails_for_a_server_that_is_away_and_a_disk_that_is_full(tmp_path: Path) -> None:
    more = (shutil.disk_usage(tmp_path).total >> 20) + 1
    url = f"postgresql://lumilio@/lumilio?host={tmp_path}"
    config = _config(tmp_path, f'[database]\nurl = "{url}"\n[ingest]\nreserve_mb = {more}\n')
    done = _run("check", "--config", str(config))
    assert done.returncode == 1
    assert re.search(r"failed +database", done.stdout)
    assert re.search(r"failed +disk space .*MiB free", done.stdout)
    assert "Traceback" not in done.stderr


def test_check_says_so_when_this_user_may_not_look(tmp_path: Path) -> None:
    private = tmp_path / "private"
    (private / "data").mkdir(parents=True)
    private.chmod(0)
    lose = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    try:
        checked = _run("check", "--data", str(private / "data"), launcher=lose)
        started = _run("up", "--data", str(private / "data"), "--port", "0", launcher=lose)
    finally:
        private.chmod(0o700)
    assert checked.returncode == 1
    assert "Permission denied" in checked.stdout
    assert "run this as the user that Lumilio runs as" in checked.stdout
    assert started.returncode == 2
    assert "give it to this user" in started.stderr
    assert "Traceback" not in checked.stderr + started.stderr


def test_migrate_brings_a_new_database_up_to_date_once(tmp_path: Path) -> None:
    config = str(_config(tmp_path))
    first = _run("migrate", "--config", config)
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[0] == "applied 0001_create_library"
    second = _run("migrate", "--config", config)
    assert (second.returncode, second.stdout) == (0, "nothing to do\n")
    checked = _run("check", "--config", config)
    assert re.search(r"ok +schema +up to date", checked.stdout)


def test_migrate_leaves_the_database_to_a_daemon_that_runs(shared_daemon: RunningDaemon) -> None:
    done = _run("migrate", "--config", str(shared_daemon.config))
    assert done.returncode == 1
    assert "in use by another Lumilio" in done.stderr
    assert shared_daemon.process.poll() is None


@pytest.mark.parametrize("output", ["/dev/full", "&-"])
def test_an_output_that_takes_nothing_is_no_crash(output: str) -> None:
    command = f"{shlex.quote(sys.executable)} -m lumilio.cli config show > {output}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    if output == "/dev/full":
        assert done.returncode == 1
        assert done.stderr == "lumilio: the output cannot be written: No space left on device\n"
