"""The migrations, the named queries and the committed schema belong together."""

import asyncio
import re
import shutil
from pathlib import Path

import asyncpg
import pytest

from lumilio import migrate as migration_module
from lumilio.db import Database, named_queries, open_database, sql_directory
from lumilio.errors import MigrationFailed, SchemaTooNew
from lumilio.migrate import migrate, packaged_migrations, pending_migrations
from lumilio.model import JobId
from lumilio.queue.policy import Priority
from lumilio.queue.store import get_jobs
from tests.database import TestCluster
from tests.schema_dump import SCHEMA, dump_schema


def test_names_are_numbered_verb_phrases_without_gaps() -> None:
    names = [path.name for path in sorted((sql_directory() / "migrations").iterdir())]
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    assert all(re.fullmatch(r"\d{4}_(create|add|drop|alter|rename|backfill|index)_[a-z0-9_]+\.sql", n) for n in names)


async def test_an_empty_database_gets_every_migration_once(cluster: TestCluster) -> None:
    async with cluster.empty() as address, open_database(address) as db:
        assert [migration.version for migration in await pending_migrations(db)] == [
            migration.version for migration in packaged_migrations()
        ]
        assert list(await migrate(db)) == list(packaged_migrations())
        assert list(await migrate(db)) == []
        assert list(await pending_migrations(db)) == []


async def test_two_daemons_that_start_together_migrate_once(cluster: TestCluster) -> None:
    async with cluster.empty() as address, open_database(address) as one, open_database(address) as other:
        applied = await asyncio.gather(migrate(one), migrate(other))
        assert sorted(map(len, applied)) == [0, len(packaged_migrations())]


async def test_an_edited_migration_is_refused(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "sql"
    shutil.copytree(sql_directory(), copy)
    first = sorted((copy / "migrations").iterdir())[0]
    first.write_text(first.read_text(encoding="utf-8") + "\n-- edited\n", encoding="utf-8")
    monkeypatch.setattr(migration_module, "sql_directory", lambda: copy)
    with pytest.raises(MigrationFailed, match=first.stem):
        await migrate(database)


async def test_a_migration_that_fails_leaves_nothing_behind(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "sql"
    shutil.copytree(sql_directory(), copy)
    broken = copy / "migrations" / f"{len(packaged_migrations()) + 1:04}_create_nothing.sql"
    broken.write_text("CREATE TABLE half_done (id int); SELECT no_such_column;", encoding="utf-8")
    monkeypatch.setattr(migration_module, "sql_directory", lambda: copy)
    with pytest.raises(MigrationFailed, match="no_such_column"):
        await migrate(database)
    async with database.session() as session:
        await session.script("CREATE TABLE half_done (id int)", what="the name is free")


async def test_a_newer_schema_is_refused(database: Database) -> None:
    newer = len(packaged_migrations()) + 1
    await database.execute("schema.record_migration", newer, f"{newer:04}_add_future", "0" * 64)
    with pytest.raises(SchemaTooNew, match=f"schema version {newer}"):
        await migrate(database)


async def test_every_named_query_fits_the_schema(cluster: TestCluster) -> None:
    faults = {}
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(**cluster.address().connect_args())
    try:
        for name, text in named_queries().items():
            try:
                await connection.prepare(text)
            except asyncpg.PostgresError as exc:
                faults[name] = str(exc)
    finally:
        await connection.close(timeout=10)
    assert faults == {}


async def test_the_committed_schema_is_what_the_migrations_make(cluster: TestCluster) -> None:
    async with cluster.clone() as address:
        made = await asyncio.to_thread(dump_schema, address)
    assert SCHEMA.read_text(encoding="utf-8") == made, "run: python -m tests.schema_dump"


BEFORE_FINISHED_JOBS = """
    INSERT INTO jobs (kind, queue, key, args, state, priority, attempt, max_attempts, worker_id, claimed_at,
                      heartbeat_at, finished_at, result, errors)
    VALUES ('a', 'q', 'k', '{"n": 1}', 'available', 0, 0, 3, NULL, NULL, NULL, NULL, NULL, '[]'),
           ('b', 'q', NULL, '{"n": 2}', 'running', 0, 1, 3, 7, now(), now(), NULL, NULL, '[]'),
           ('c', 'q', NULL, '{"n": 3}', 'retryable', 0, 1, 3, NULL, now(), NULL, NULL, NULL, '[]'),
           ('d', 'q', 'k', '{"n": 4}', 'completed', 0, 1, 3, NULL, now(), NULL, now(), '{"r": 1}', '[]'),
           ('e', 'q', NULL, '{"n": 5}', 'discarded', 0, 3, 3, NULL, now(), NULL, now(), NULL, '[]')
"""


async def test_jobs_of_an_older_schema_keep_their_ids_states_and_history(
    cluster: TestCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "sql"
    shutil.copytree(sql_directory(), copy)
    for path in (copy / "migrations").iterdir():
        if int(path.name[:4]) > 2:
            path.unlink()
    async with cluster.empty() as address, open_database(address) as db:
        with monkeypatch.context() as old:
            old.setattr(migration_module, "sql_directory", lambda: copy)
            await migrate(db)
        async with db.session() as session:
            await session.script(BEFORE_FINISHED_JOBS, what="jobs of the older schema")
        await migrate(db)
        async with db.session() as session:
            jobs = await get_jobs(session, [JobId(number) for number in range(1, 6)])
    assert [(job.kind, job.state, job.args["n"], job.attempt, job.priority) for _, job in sorted(jobs.items())] == [
        ("a", "available", 1, 0, Priority.NORMAL),
        ("b", "running", 2, 1, Priority.NORMAL),
        ("c", "retryable", 3, 1, Priority.NORMAL),
        ("d", "completed", 4, 1, Priority.NORMAL),
        ("e", "discarded", 5, 3, Priority.NORMAL),
    ]
    assert jobs[JobId(4)].result == {"r": 1}
