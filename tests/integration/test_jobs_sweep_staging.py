"""What a sweep takes away, what it sets aside and what it leaves alone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from lumilio.db import Database
from lumilio.jobs import process_asset, sweep_staging
from lumilio.jobs.library import Library, OwnedRepository
from lumilio.jobs.sweep_staging import SweepStaging
from lumilio.model import RepositoryId, UserId
from lumilio.queue import store
from lumilio.storage.creation import create_repository
from lumilio.storage.repository import Repository
from tests.integration.jobs_interrupted import attempt

OWNER = UserId(uuid4())


@pytest.fixture
async def repository(tmp_path: Path) -> Repository:
    return await create_repository(tmp_path / "library", name="Photos")


async def _sweep(db: Database, repository: Repository, *, older_than: datetime) -> None:
    owned = OwnedRepository(repository=repository, owner_id=OWNER, is_default=True)
    library = Library(db=db, repositories={repository.id: owned}, wake_queue=lambda _queue: None)
    args = sweep_staging.Args(repository_id=repository.id, older_than=older_than)
    await SweepStaging(library=library).work(attempt(), args)


def _stage(repository: Repository) -> UUID:
    upload_id = uuid4()
    (repository.incoming / str(upload_id)).write_bytes(b"bytes")
    return upload_id


GIVE_UP = """
    WITH gone AS (DELETE FROM jobs WHERE id = (SELECT max(id) FROM jobs) RETURNING *)
    INSERT INTO finished_jobs (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, created_at, errors
    )
    SELECT id, kind, queue, args, 'discarded', priority, attempt, max_attempts, run_at, created_at, errors FROM gone
"""


async def _enqueue(db: Database, repository: Repository, upload_id: UUID, *, state: str) -> None:
    args = process_asset.Args(
        upload_id=upload_id,
        repository_id=repository.id,
        owner_id=OWNER,
        content_hash=uuid4().hex * 2,
        file_name="photo.jpg",
        size=5,
    )
    async with db.transaction() as tx:
        await store.enqueue(tx, process_asset.spec(args))
        if state == "discarded":
            await tx.script(GIVE_UP, what="the job is given up")


def _soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=1)


async def test_parts_are_removed_and_whole_files_without_a_live_job_are_set_aside(
    database: Database, repository: Repository
) -> None:
    orphan, live, given_up = (_stage(repository) for _ in range(3))
    part = repository.incoming / f"{uuid4()}.part"
    part.write_bytes(b"by")
    await _enqueue(database, repository, live, state="available")
    await _enqueue(database, repository, given_up, state="discarded")
    await _sweep(database, repository, older_than=_soon())
    assert not part.exists()
    assert len(list(repository.incoming.iterdir())) == 3, "whole files may belong to a job that is just being committed"
    await _sweep(database, repository, older_than=_soon() + sweep_staging.MARGIN)
    assert [path.name for path in repository.incoming.iterdir()] == [str(live)]
    assert (repository.failed / str(given_up)).read_bytes() == b"bytes"
    assert "given up" in (repository.failed / f"{given_up}.txt").read_text()
    assert (repository.failed / str(orphan)).read_bytes() == b"bytes"
    assert "no job" in (repository.failed / f"{orphan}.txt").read_text()


async def test_files_younger_than_the_sweep_asks_for_stay(database: Database, repository: Repository) -> None:
    upload_id = _stage(repository)
    (repository.temp / f".{uuid4()}.tmp").write_bytes(b"half")
    await _sweep(database, repository, older_than=datetime.now(UTC) - timedelta(seconds=5))
    assert [path.name for path in repository.incoming.iterdir()] == [str(upload_id)]
    assert len(list(repository.temp.iterdir())) == 1


async def test_half_written_files_of_a_killed_daemon_are_removed_and_locks_stay(
    database: Database, repository: Repository
) -> None:
    (repository.temp / f".{uuid4()}.tmp").write_bytes(b"half")
    (repository.temp / f".{uuid4()}.lumilio-part").write_bytes(b"half")
    (repository.temp / "overwrite.lock").touch()
    await _sweep(database, repository, older_than=_soon())
    assert [path.name for path in repository.temp.iterdir()] == ["overwrite.lock"]


async def test_a_repository_that_is_away_is_left_alone(database: Database, repository: Repository) -> None:
    _stage(repository)
    sentinel = repository.root / ".lumilio/repository.toml"
    sentinel.rename(sentinel.with_suffix(".away"))
    await _sweep(database, repository, older_than=_soon())
    assert len(list(repository.incoming.iterdir())) == 1


def test_an_interrupted_sweep_does_not_stand_for_that_of_the_next_start() -> None:
    first, second = (
        sweep_staging.spec(sweep_staging.Args(repository_id=RepositoryId(UUID(int=1)), older_than=started))
        for started in (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 2, tzinfo=UTC))
    )
    assert first.key != second.key
