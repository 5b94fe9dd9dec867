"""Digests and readers of files that change, vanish or turn into something else."""

import os
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from blake3 import blake3

from lumilio.client.digest import Candidate, CandidateFile, FileChanged, FileUnreadable, Stopped, read_candidate
from lumilio.model import ContentHash


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.jpg"
    path.write_bytes(os.urandom(2_500_000))
    return path


def candidate_of(path: Path) -> Candidate:
    return read_candidate(str(path), threading.Event())


def test_the_digest_is_that_of_all_bytes(photo: Path) -> None:
    candidate = candidate_of(photo)
    assert candidate.content_hash == blake3(photo.read_bytes()).hexdigest()
    assert candidate.size == 2_500_000


def test_an_empty_file_has_a_digest_too(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert candidate_of(tmp_path / "empty.jpg").content_hash == blake3(b"").hexdigest()


def test_a_link_that_took_the_files_place_is_not_followed(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "link.jpg").symlink_to(photo)
    with pytest.raises(FileUnreadable, match="symbolic links"):
        candidate_of(tmp_path / "link.jpg")


def test_a_file_that_is_gone_is_unreadable_by_the_systems_reason(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadable, match="No such file"):
        candidate_of(tmp_path / "gone.jpg")


def test_hashing_ends_when_the_import_does(photo: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        read_candidate(str(photo), stop)


def test_times_keep_their_microseconds_and_impossible_ones_are_none(photo: Path) -> None:
    os.utime(photo, ns=(0, 1_500_000_000_123_456_789))
    assert candidate_of(photo).modified == datetime(2017, 7, 14, 2, 40, 0, 123456, tzinfo=UTC)
    impossible = Candidate(path="x", size=0, modified_ns=10**30, content_hash=ContentHash("0" * 64))
    assert impossible.modified is None


async def test_a_file_that_changed_after_hashing_is_not_opened(photo: Path) -> None:
    candidate = candidate_of(photo)
    photo.write_bytes(b"other")
    file = CandidateFile(candidate)
    with pytest.raises(FileChanged):
        await file.open()
    file.close()


async def test_a_file_that_shrinks_while_it_is_sent_has_changed(photo: Path) -> None:
    file = CandidateFile(candidate_of(photo))
    await file.open()
    assert len(await file.read(1000)) == 1000
    os.truncate(photo, 500)
    with pytest.raises(FileChanged):
        await file.read(1000)
    file.close()


async def test_nothing_is_read_after_closing(photo: Path) -> None:
    file = CandidateFile(candidate_of(photo))
    await file.open()
    file.close()
    with pytest.raises(FileChanged):
        await file.read(1)
