"""Schema migrations: ``sql/migrations/NNNN_verb_phrase.sql``, forward only, each in one transaction.

Every daemon migrates at its start; an advisory lock lets one do it while the others wait. What was applied is recorded
with a checksum, so that an edited migration and a database of a newer Lumilio are both refused.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from lumilio.db import Database, Tx, sql_directory
from lumilio.errors import DatabaseError, DatabaseUnavailable, ExtensionMissing, MigrationFailed, SchemaTooNew

POSTGRESQL_FLOOR = 150000
"""``server_version_num`` of PostgreSQL 15."""
VECTOR_FLOOR = (0, 8)
"""The first pgvector with halfvec and iterative scans."""

LONGEST_MIGRATION = 6 * 3600.0
"""Seconds: an index over millions of rows on a slow disk, and as long for the daemons that wait for it."""

_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9]+(_[a-z0-9]+)+\.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file; ``checksum`` is the SHA-256 of its text."""

    version: int
    name: str
    sql: str
    checksum: str


def packaged_migrations() -> tuple[Migration, ...]:
    """The migrations of this Lumilio in order. Raises MigrationFailed for a name or number out of line."""
    migrations = []
    for position, path in enumerate(sorted((sql_directory() / "migrations").glob("*.sql")), start=1):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None or int(match[1]) != position:
            raise MigrationFailed(f"{path.name!r} is out of line; name it {position:04}_verb_phrase.sql")
        text = path.read_text(encoding="utf-8")
        checksum = hashlib.sha256(text.encode()).hexdigest()
        migrations.append(Migration(version=position, name=path.stem, sql=text, checksum=checksum))
    return tuple(migrations)


async def check_server(db: Database) -> None:
    """Refuse a PostgreSQL or pgvector that is too old. Raises DatabaseError or ExtensionMissing."""
    version = int(await db.value("schema.server_version"))
    if version < POSTGRESQL_FLOOR:
        raise DatabaseError(
            f"PostgreSQL {version // 10000} is too old; Lumilio needs 15 or newer, or leave database.url empty"
        )
    available = await db.value("schema.available_vector")
    if available is None or tuple(int(part) for part in str(available).split(".")[:2]) < VECTOR_FLOOR:
        raise ExtensionMissing(
            f"pgvector {available or 'is not installed'} on this PostgreSQL; Lumilio needs 0.8 or newer: install "
            "postgresql-NN-pgvector on the server, or leave database.url empty for the embedded server"
        )


async def migrate(db: Database) -> Sequence[Migration]:
    """Apply what is missing and return it. Raises SchemaTooNew, MigrationFailed, ExtensionMissing."""
    await check_server(db)
    packaged = packaged_migrations()
    applied: list[Migration] = []
    async with db.lock("migrations", timeout=LONGEST_MIGRATION) as session:
        await session.execute("schema.create_migrations_table")
        for migration in await _pending(session, packaged):
            await _apply(session, migration)
            applied.append(migration)
    return applied


async def pending_migrations(db: Database) -> Sequence[Migration]:
    """What ``migrate`` would apply; only reads. Raises SchemaTooNew and MigrationFailed as it would."""
    async with db.session() as session:
        if not await session.value("schema.migrations_table"):
            return packaged_migrations()
        return await _pending(session, packaged_migrations())


async def _pending(session: Tx, packaged: Sequence[Migration]) -> Sequence[Migration]:
    recorded = {row["version"]: row for row in await session.rows("schema.applied_migrations")}
    if recorded and max(recorded) > len(packaged):
        raise SchemaTooNew(
            f"the database has schema version {max(recorded)}, this Lumilio knows {len(packaged)}; "
            "install the newer Lumilio again, or restore the backup that was made before the upgrade"
        )
    for migration in packaged:
        row = recorded.get(migration.version)
        if row is not None and row["checksum"] != migration.checksum:
            raise MigrationFailed(f"migration {migration.name!r} differs from the one that was applied; reinstall")
    return [migration for migration in packaged if migration.version not in recorded]


async def _apply(session: Tx, migration: Migration) -> None:
    try:
        async with session.savepoint():
            await session.script(migration.sql, what=migration.name, timeout=LONGEST_MIGRATION)
            await session.execute("schema.record_migration", migration.version, migration.name, migration.checksum)
    except DatabaseUnavailable:
        raise
    except DatabaseError as exc:
        if "permission denied to create extension" in str(exc):
            raise ExtensionMissing(
                "this database role may not create the extension; let an administrator run, in this database: "
                "CREATE EXTENSION vector; CREATE EXTENSION pg_trgm;"
            ) from exc
        raise MigrationFailed(f"migration {migration.name!r} failed and was rolled back: {exc}") from exc
