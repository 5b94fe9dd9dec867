"""Where the command line looks for a daemon, and what it says when there is none."""

import json
from pathlib import Path

import pytest

from lumilio.client.discovery import data_directory, parse_url, read_address
from lumilio.errors import ClientError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("LUMILIO_DATA", raising=False)
    return tmp_path


def write_daemon(data: Path, content: object) -> None:
    data.mkdir(parents=True, exist_ok=True)
    (data / "daemon.json").write_text(json.dumps(content))


def test_the_nearest_place_wins(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = places / "lumilio.toml"
    system.write_text('[data]\ndirectory = "/srv/photos"\n')

    def directory(data: Path | None = None) -> Path:
        return data_directory(data, working=places, system_config=system)

    assert directory() == Path("/srv/photos")
    (places / "data").mkdir()
    assert directory() == Path("/srv/photos")
    write_daemon(places / "data", {})
    assert directory() == places / "data"
    monkeypatch.setenv("LUMILIO_DATA", "/elsewhere")
    assert directory() == Path("/elsewhere")
    assert directory(Path("/named")) == Path("/named")


def test_a_system_configuration_that_names_no_directory_means_the_default(places: Path) -> None:
    system = places / "lumilio.toml"
    system.write_text("[server]\nport = 1\n")
    assert data_directory(None, working=places, system_config=system) == Path("/var/lib/lumilio")


def test_without_any_place_the_way_to_start_a_daemon_is_said(places: Path) -> None:
    with pytest.raises(ClientError, match=r"no daemon is running here; start it with `make run` or `systemctl"):
        data_directory(None, working=places, system_config=places / "absent.toml")


def test_a_broken_system_configuration_is_named(places: Path) -> None:
    system = places / "lumilio.toml"
    system.write_text("[[[")
    with pytest.raises(ClientError, match=r"lumilio.toml' cannot be read"):
        data_directory(None, working=places, system_config=system)


def test_the_daemons_file_gives_url_and_token(places: Path) -> None:
    write_daemon(places, {"url": "http://127.0.0.1:8420/", "token": "t", "pid": 1})
    address = read_address(places)
    assert (address.url, address.token) == ("http://127.0.0.1:8420", "t")


@pytest.mark.parametrize("content", [[], {}, {"url": "http://x"}, {"url": 1, "token": "t"}, {"url": "x", "token": "t"}])
def test_a_file_that_says_something_else_is_refused(places: Path, content: object) -> None:
    write_daemon(places, content)
    with pytest.raises(ClientError):
        read_address(places)


def test_a_half_written_or_absent_file_is_explained(places: Path) -> None:
    with pytest.raises(ClientError, match="no daemon is running on"):
        read_address(places)
    (places / "daemon.json").write_text('{"url": "ht')
    with pytest.raises(ClientError, match="restart the daemon"):
        read_address(places)


@pytest.mark.parametrize("url", ["http://nas:8420", "https://photos.example/lumilio/", "http://[::1]:8420"])
def test_urls_lose_their_last_slash(url: str) -> None:
    assert parse_url(url) == url.rstrip("/")


@pytest.mark.parametrize(
    "url", ["", "nas:8420", "ftp://nas", "http://", "http://nas:port", "http://u:p@nas", "http://n?x=1"]
)
def test_what_is_no_url_of_a_daemon_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="is not the URL of a daemon"):
        parse_url(url)
