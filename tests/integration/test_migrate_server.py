"""A server that Lumilio did not make: used by URL, and refused with the way out when it will not do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from lumilio.db import Database, DatabaseAddress, open_database
from lumilio.errors import DatabaseError, DatabaseUnavailable, ExtensionMissing
from lumilio.migrate import check_server, migrate
from tests.database import TestCluster
from tests.running import finished, running_daemon, upload


def _url(address: DatabaseAddress) -> str:
    return f"postgresql://{address.user}@/{address.database}?host={quote(str(address.host), safe='')}"


@asynccontextmanager
async def _as_owner(address: DatabaseAddress) -> AsyncIterator[Database]:
    owner = DatabaseAddress(host=address.host, user="postgres", database=address.database)
    async with open_database(owner, pool_size=1) as opened:
        yield opened


async def _run(address: DatabaseAddress, statement: str) -> None:
    async with _as_owner(address) as database, database.session() as session:
        await session.script(statement, what=statement)


async def test_the_daemon_runs_on_a_server_by_url(cluster: TestCluster, tmp_path: Path) -> None:
    photo = b"\xff\xd8\xff\xe0" + bytes(100)
    async with cluster.empty() as address:

        async def use_it() -> None:
            with running_daemon(tmp_path / "daemon", more_config=f'[database]\nurl = "{_url(address)}"') as daemon:
                assert not (daemon.data_dir / "postgres").exists()
                async with daemon.session() as client:
                    status, answer = await upload(client, "a.jpg", photo)
                    assert status == 202
                    assert (await finished(client, answer["task_id"]))["asset_id"]
                    async with client.get("/health/ready") as response:
                        assert response.status == 200
                checked = await asyncio.to_thread(daemon.run_cli, "check", "--config", str(daemon.config))
                assert checked.returncode == 0, checked.stdout
                assert "PostgreSQL 18" in checked.stdout
                assert daemon.stop() == 0

        await use_it()
        async with open_database(address, pool_size=1) as database:
            assert await database.value("users.count") == 1
        with running_daemon(tmp_path / "daemon", more_config=f'[database]\nurl = "{_url(address)}"') as daemon:
            async with daemon.session() as client, client.get("/api/v1/assets") as response:
                assert len((await response.json())["items"]) == 1


async def test_a_server_without_pgvector_or_with_an_old_one_is_refused_with_the_way_out(cluster: TestCluster) -> None:
    async with cluster.empty() as address:
        await _run(
            address,
            f"""
            CREATE SCHEMA shadow;
            CREATE TABLE shadow.pg_available_extensions (name text, default_version text);
            GRANT USAGE ON SCHEMA shadow TO PUBLIC;
            GRANT SELECT ON shadow.pg_available_extensions TO PUBLIC;
            ALTER DATABASE {address.database} SET search_path = shadow, pg_catalog, public;
            """,
        )
        async with open_database(address, pool_size=1) as database:
            with pytest.raises(ExtensionMissing, match=r"pgvector is not installed .* leave database\.url empty"):
                await migrate(database)
        await _run(address, "INSERT INTO shadow.pg_available_extensions VALUES ('vector', '0.7.4')")
        async with open_database(address, pool_size=1) as database:
            with pytest.raises(ExtensionMissing, match=r"pgvector 0\.7\.4 on this PostgreSQL; Lumilio needs 0\.8"):
                await migrate(database)
        await _run(address, "UPDATE shadow.pg_available_extensions SET default_version = '0.10.0'")
        async with open_database(address, pool_size=1) as database:
            await check_server(database)


async def test_a_server_that_is_too_old_is_refused(cluster: TestCluster) -> None:
    async with cluster.empty() as address:
        await _run(
            address,
            f"""
            CREATE SCHEMA shadow;
            GRANT USAGE ON SCHEMA shadow TO PUBLIC;
            CREATE FUNCTION shadow.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT '140012' $$;
            ALTER DATABASE {address.database} SET search_path = shadow, pg_catalog, public;
            """,
        )
        async with open_database(address, pool_size=1) as database:
            with pytest.raises(DatabaseError, match="PostgreSQL 14 is too old; Lumilio needs 15 or newer"):
                await migrate(database)


async def test_a_role_that_may_not_create_the_extension_is_told_what_to_have_run(cluster: TestCluster) -> None:
    async with cluster.empty() as address:
        await _run(address, "DROP EXTENSION vector")
        async with open_database(address, pool_size=1) as database:
            with pytest.raises(ExtensionMissing, match=r"let an administrator run.* CREATE EXTENSION vector;"):
                await migrate(database)
        await _run(address, "CREATE EXTENSION vector")
        async with open_database(address, pool_size=1) as database:
            assert await migrate(database)


async def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    for address in (
        DatabaseAddress(host=str(tmp_path), user="lumilio", database="lumilio"),
        DatabaseAddress(url="postgresql://lumilio@127.0.0.1:1/lumilio"),
    ):
        with pytest.raises(DatabaseUnavailable):
            async with open_database(address, pool_size=1):
                pass


async def test_a_refused_login_is_an_error_that_no_waiting_mends(cluster: TestCluster) -> None:
    address = cluster.address("no_such_database")
    with pytest.raises(DatabaseError, match="no_such_database"):
        async with open_database(address, pool_size=1):
            pass
