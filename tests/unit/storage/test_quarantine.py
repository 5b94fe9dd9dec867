"""Bytes that cannot become an asset are set aside, and come back for another try as they were."""

from uuid import uuid4

import pytest
from blake3 import blake3

from lumilio.errors import RepositoryOffline, StagedFileMissing
from lumilio.model import ContentHash, UploadId
from lumilio.storage.quarantine import quarantine, take_back
from lumilio.storage.repository import SENTINEL, Repository
from tests.unit.storage.conftest import Stage

DATA = b"strange"
HASH = ContentHash(blake3(DATA).hexdigest())


async def test_quarantine_keeps_the_bytes_and_the_reason_and_may_be_repeated(
    repository: Repository, stage: Stage
) -> None:
    staged = await stage(b"strange")
    for _ in range(2):
        kept = await quarantine(repository, staged.upload_id, "no photo \udcff")
        assert kept == repository.failed / str(staged.upload_id)
        assert kept.read_bytes() == b"strange"
        assert kept.with_suffix(".txt").read_text() == "no photo ?\n"
    assert not staged.path.exists()


async def test_quarantine_of_nothing_is_an_error(repository: Repository) -> None:
    with pytest.raises(StagedFileMissing):
        await quarantine(repository, UploadId(uuid4()), "gone")


async def test_what_was_set_aside_comes_back_without_its_reason_and_may_be_asked_for_twice(
    repository: Repository, stage: Stage
) -> None:
    staged = await stage(DATA)
    kept = await quarantine(repository, staged.upload_id, "the disk failed")
    assert await take_back(repository, staged.upload_id, content_hash=HASH, size=len(DATA))
    assert staged.path.read_bytes() == DATA
    assert not kept.exists()
    assert not kept.with_suffix(".txt").exists()
    assert not await take_back(repository, staged.upload_id, content_hash=HASH, size=len(DATA))
    assert staged.path.read_bytes() == DATA


async def test_what_somebody_edited_meanwhile_stays_where_it_is(repository: Repository, stage: Stage) -> None:
    staged = await stage(DATA)
    kept = await quarantine(repository, staged.upload_id, "the disk failed")
    kept.write_bytes(b"changed")
    assert not await take_back(repository, staged.upload_id, content_hash=HASH, size=len(DATA))
    assert kept.read_bytes() == b"changed"
    assert not staged.path.exists()


async def test_nothing_comes_back_over_a_file_that_waits_already(repository: Repository, stage: Stage) -> None:
    staged = await stage(DATA)
    kept = repository.failed / str(staged.upload_id)
    kept.write_bytes(DATA)
    assert await take_back(repository, staged.upload_id, content_hash=HASH, size=len(DATA))
    assert staged.path.read_bytes() == DATA
    assert not kept.exists()


async def test_nothing_comes_back_from_a_repository_that_is_away(repository: Repository, stage: Stage) -> None:
    staged = await stage(DATA)
    await quarantine(repository, staged.upload_id)
    (repository.root / SENTINEL).unlink()
    with pytest.raises(RepositoryOffline):
        await take_back(repository, staged.upload_id, content_hash=HASH, size=len(DATA))
