"""Daemons for tests that use Lumilio as its users do."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.running import RunningDaemon, running_daemon

_colours = itertools.count(1)


@pytest.fixture(scope="session")
def shared_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """One daemon for all tests of this process that only add files of their own."""
    with running_daemon(tmp_path_factory.mktemp("shared")) as daemon:
        yield daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[RunningDaemon]:
    """A daemon of this test alone."""
    with running_daemon(tmp_path / "daemon") as running:
        yield running


@pytest.fixture
def photo(tmp_path: Path) -> bytes:
    """A JPEG that no other test of this process has."""
    path = tmp_path / "photo.jpg"
    number = next(_colours)
    image = Image.new("RGB", (320, 200), (number % 251, number * 7 % 241, number * 13 % 239))
    image.save(path, quality=90, comment=f"{tmp_path} {number}")
    return path.read_bytes()
