"""Settings: right ones are frozen values, wrong ones are all told at once."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from pydantic import ValidationError

from lumilio.config import Config, load_config
from lumilio.errors import ConfigError


def _file(directory: Path, text: str) -> Path:
    path = directory / "lumilio.toml"
    path.write_text(text, encoding="utf-8")
    return path


def _faults(directory: Path, text: str, overrides: dict[str, dict[str, Any]] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        load_config(_file(directory, text), overrides)
    return str(refused.value).splitlines()


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert load_config(_file(tmp_path, "")) == Config()


def test_every_fault_is_told_at_once_with_file_key_value_and_what_was_expected(tmp_path: Path) -> None:
    faults = _faults(
        tmp_path,
        """
        [server]
        port = 99999
        hots = "::1"
        [queue]
        poll_seconds = "often"
        [log]
        level = "loud"
        [serverr]
        port = 1
        """,
    )
    file = tmp_path / "lumilio.toml"
    assert sorted(faults) == sorted(
        [
            f"{file}: server.port: 99999: expected less than or equal to 65535",
            f"{file}: server.hots: unknown key; known here: host, port, request_timeout_seconds",
            f"{file}: queue.poll_seconds: 'often': expected a valid number",
            f"{file}: log.level: 'loud': expected 'debug', 'info', 'warning' or 'error'",
            f"{file}: serverr: unknown key; known here: "
            "auth, daemon, data, database, decoders, ingest, log, queue, schedule, server, video",
        ]
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[server]\nport = true", "server.port: True: expected a valid integer"),
        ("[server]\nport = 8420.0", "server.port: 8420.0: expected a valid integer"),
        ('[server]\nport = "8420"', "server.port: '8420': expected a valid integer"),
        ("[server]\nhost = 1", "server.host: 1: expected a valid string"),
        ("[queue]\npoll_seconds = nan", "queue.poll_seconds: nan: expected"),
        ("[queue]\npoll_seconds = inf", "queue.poll_seconds: inf: expected"),
        ('[data]\ndirectory = ""', "data.directory: '': expected"),
        ("server = 3", "server: 3: expected a table: [server]"),
        ("[[server]]\nport = 1", "server: [{'port': 1}]: expected a table: [server]"),
        ("[queue]\nheartbeat_seconds = 30.0", "queue: expected rescue_after_seconds = 60.0 to be at least three times"),
        ('[database]\npassword_file = "/p"', "database: expected password_file only together with url"),
        ('[database]\nurl = "mysql://h/d"', "database.url: expected a URL that begins with postgresql://"),
        ('[database]\nurl = "postgresql://[h/d"', "database.url: expected a URL that begins with postgresql://, but"),
    ],
)
def test_a_wrong_value_or_combination_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (fault,) = _faults(tmp_path, text)
    assert fault.startswith(f"{tmp_path / 'lumilio.toml'}: {told}")


@pytest.mark.parametrize(
    "url", ["postgresql://lumilio:hunter2@host/lumilio", "postgresql://lumilio@host/lumilio?password=hunter2"]
)
def test_a_password_in_the_url_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    (fault,) = _faults(tmp_path, f'[database]\nurl = "{url}"')
    assert "database.password_file" in fault
    assert "hunter2" not in fault


def test_a_server_by_url_with_a_password_file_is_taken(tmp_path: Path) -> None:
    text = '[database]\nurl = "postgresql://lumilio@/lumilio?host=/run/postgresql"\npassword_file = "/p"'
    assert load_config(_file(tmp_path, text)).database.password_file == "/p"


def test_a_wrong_option_is_blamed_on_the_command_line(tmp_path: Path) -> None:
    faults = _faults(tmp_path, "[server]\nrequest_timeout_seconds = 0", {"server": {"port": -1}})
    assert [fault.split(": ")[:2] for fault in faults] == [
        ["command line", "server.port"],
        [str(tmp_path / "lumilio.toml"), "server.request_timeout_seconds"],
    ]


def test_options_win_over_the_file(tmp_path: Path) -> None:
    config = load_config(_file(tmp_path, '[server]\nport = 1\nhost = "::1"'), {"server": {"port": 2}})
    assert (config.server.port, config.server.host) == (2, "::1")


def test_a_file_that_is_not_there_or_no_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: No such file or directory; make one with: lumilio config"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(_file(tmp_path, "[server\n"))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(binary)
    with pytest.raises(ConfigError, match="directory"):
        load_config(tmp_path)


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValidationError):
        Config().server.port = 1


def test_what_is_in_effect_can_be_written_and_read_again(tmp_path: Path) -> None:
    config = load_config(_file(tmp_path, '[server]\nport = 1\n[data]\ndirectory = "/x"'))
    text = tomli_w.dumps(config.model_dump())
    assert tomllib.loads(text)["server"]["port"] == 1
    assert load_config(_file(tmp_path, text)) == config


def test_paths_are_absolute_and_the_default_repository_lies_below_the_data(tmp_path: Path) -> None:
    config = load_config(_file(tmp_path, '[data]\ndirectory = "here"'))
    assert config.data_directory == Path("here").absolute()
    assert config.repository_root == Path("here").absolute() / "library"
    elsewhere = load_config(_file(tmp_path, '[data]\nrepository = "/photos"'))
    assert elsewhere.repository_root == Path("/photos")
