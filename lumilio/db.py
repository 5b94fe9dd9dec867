"""PostgreSQL: the pool, transactions, named queries and LISTEN. The only module that imports asyncpg.

Queries live in ``sql/queries/<file>.sql`` under ``-- name: <query>`` and are called ``<file>.<query>``. Every asyncpg
exception leaves here as DatabaseUnavailable (worth another try) or DatabaseError (a defect).
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg
from asyncpg.connection import Connection as AsyncpgConnection
from asyncpg.pool import PoolConnectionProxy

from lumilio.errors import DatabaseError, DatabaseUnavailable

Row = Mapping[str, Any]
"""One result row, read by column name."""

_LOCK_POLL = 0.05
_JSONB_VERSION = b"\x01"
_NAME = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)
_WORTH_RETRYING = (
    OSError,
    TimeoutError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.CannotConnectNowError,
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is about to become the primary
)


class JsonText(str):
    """A value for a jsonb column that is JSON text already."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAddress:
    """Where PostgreSQL listens: a URL, or the directory of a Unix socket."""

    url: str | None = None
    password: str | None = None
    host: str | None = None
    user: str | None = None
    database: str | None = None

    def connect_args(self) -> dict[str, Any]:
        """Arguments for asyncpg; the URL wins."""
        if self.url:
            return {"dsn": self.url, "password": self.password}
        return {"host": self.host, "user": self.user, "database": self.database}


def sql_directory() -> Path:
    """``sql/`` as packaged in a wheel, else beside the package in a checkout."""
    package = Path(__file__).parent
    packaged = package / "_sql"
    return packaged if packaged.is_dir() else package.parent / "sql"


@cache
def named_queries() -> Mapping[str, str]:
    """All named queries, ``file.query`` → SQL. Raises DatabaseError for a name that is defined twice."""
    queries: dict[str, str] = {}
    for path in sorted((sql_directory() / "queries").glob("*.sql")):
        parts = _NAME.split(path.read_text(encoding="utf-8"))
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            key = f"{path.stem}.{name}"
            if key in queries:
                raise DatabaseError(f"query {key!r} is defined twice in {path.name}")
            queries[key] = text.strip()
    return queries


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except _WORTH_RETRYING as exc:
        raise DatabaseUnavailable(f"{what}: {str(exc) or type(exc).__name__}") from exc
    except asyncpg.InterfaceError as exc:
        # asyncpg says both "connection is closed" and "you called me wrongly" by this class.
        if any(word in str(exc) for word in ("closed", "closing", "released")):
            raise DatabaseUnavailable(f"{what}: {exc}") from exc
        raise DatabaseError(f"{what}: {exc}") from exc
    except asyncpg.PostgresError as exc:
        raise DatabaseError(f"{what}: {exc}") from exc


@asynccontextmanager
async def _transaction(connection: "AsyncpgConnection[Any] | PoolConnectionProxy[Any]") -> AsyncIterator[None]:
    transaction = connection.transaction()
    with _translated("begin"):
        await transaction.start()
    try:
        yield
    except BaseException:
        with suppress(*_WORTH_RETRYING, asyncpg.InterfaceError):
            await transaction.rollback()
        raise
    with _translated("commit"):
        await transaction.commit()


class Tx:
    """A connection lent for one transaction (or, from ``Database.session``, for single statements)."""

    __slots__ = ("_connection",)

    def __init__(self, connection: "AsyncpgConnection[Any] | PoolConnectionProxy[Any]") -> None:
        self._connection = connection

    async def rows(self, query: str, *args: object) -> Sequence[Row]:
        """Run a named query and return all rows."""
        with _translated(query):
            return await self._connection.fetch(named_queries()[query], *args)

    async def row(self, query: str, *args: object) -> Row | None:
        """Run a named query and return its first row, or None."""
        with _translated(query):
            return await self._connection.fetchrow(named_queries()[query], *args)

    async def value(self, query: str, *args: object) -> Any:
        """Run a named query and return the first column of its first row, or None."""
        with _translated(query):
            return await self._connection.fetchval(named_queries()[query], *args)

    async def execute(self, query: str, *args: object) -> int:
        """Run a named query and return how many rows it touched."""
        with _translated(query):
            status = await self._connection.execute(named_queries()[query], *args)
        count = status.rsplit(" ", 1)[-1]
        return int(count) if count.isdigit() else 0

    async def execute_many(self, query: str, args: Iterable[Sequence[object]]) -> None:
        """Run a named query once for each argument list, in one round trip."""
        with _translated(query):
            await self._connection.executemany(named_queries()[query], args)

    async def copy(self, table: str, columns: Sequence[str], records: Iterable[Sequence[object]]) -> None:
        """Insert rows by COPY, which streams while ``records`` makes them: the fastest way to insert many."""
        with _translated(f"copy to {table}"):
            await self._connection.copy_records_to_table(table, records=records, columns=columns)

    async def script(self, text: str, *, what: str, timeout: float | None = None) -> None:
        """Run SQL text that is not a named query: migrations and tests. ``timeout`` in seconds, None for the pool's."""
        with _translated(what):
            await self._connection.execute(text, timeout=timeout)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A nested transaction: an exception inside undoes only what happened inside."""
        async with _transaction(self._connection):
            yield


class Listener:
    """A connection of its own that receives notifications and may hold session locks."""

    def __init__(self, connection: "AsyncpgConnection[Any]") -> None:
        self._connection = connection
        self.session = Tx(connection)
        self.closed = asyncio.Event()
        connection.add_termination_listener(lambda _connection: self.closed.set())

    async def listen(self, channel: str, callback: Callable[[str], None]) -> None:
        """Call ``callback(payload)`` on the event loop for each notification of the channel."""
        with _translated(f"listen {channel}"):
            await self._connection.add_listener(channel, lambda _c, _pid, _channel, payload: callback(str(payload)))

    async def ping(self, timeout: float) -> None:
        """Prove that the connection still answers. Raises DatabaseUnavailable."""
        with _translated("listener ping"):
            await self._connection.fetchval("SELECT 1", timeout=timeout)


class Database:
    """The pool. Built by ``open_database`` only."""

    def __init__(self, pool: "asyncpg.Pool[Any]", address: DatabaseAddress) -> None:
        self._pool = pool
        self._address = address

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """A transaction that commits when the block ends and rolls back when it raises."""
        async with self._acquired() as connection, _transaction(connection):
            yield Tx(connection)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Tx]:
        """A connection without a transaction: each statement commits by itself."""
        async with self._acquired() as connection:
            yield Tx(connection)

    @asynccontextmanager
    async def lock(self, name: str, *, timeout: float) -> AsyncIterator[Tx]:
        """Hold the advisory lock of this name on a connection of its own, which is lent meanwhile.

        Raises DatabaseUnavailable when another holder keeps it for ``timeout`` seconds.
        """
        async with self.session() as session:
            try:
                async with asyncio.timeout(timeout) as waiting:
                    # Not pg_advisory_lock: a statement that waits holds a snapshot, which holds back vacuum.
                    while not await session.value("schema.try_lock", name):  # noqa: ASYNC110
                        await asyncio.sleep(_LOCK_POLL)
                    waiting.reschedule(None)
                    yield session
            except TimeoutError as exc:
                if not waiting.expired():
                    raise
                raise DatabaseUnavailable(f"lock {name!r} was not free within {timeout:g} s; try again") from exc
            finally:
                await session.value("schema.unlock", name)

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator["PoolConnectionProxy[Any]"]:
        with _translated("connect"):
            connection = await self._pool.acquire(timeout=30)
        try:
            yield connection
        finally:
            with suppress(*_WORTH_RETRYING, asyncpg.InterfaceError):
                await self._pool.release(connection, timeout=10)

    async def rows(self, query: str, *args: object) -> Sequence[Row]:
        """One named query on a connection of the pool."""
        async with self.session() as session:
            return await session.rows(query, *args)

    async def row(self, query: str, *args: object) -> Row | None:
        """The first row of one named query, or None."""
        async with self.session() as session:
            return await session.row(query, *args)

    async def value(self, query: str, *args: object) -> Any:
        """The first column of the first row of one named query, or None."""
        async with self.session() as session:
            return await session.value(query, *args)

    async def execute(self, query: str, *args: object) -> int:
        """How many rows one named query touched."""
        async with self.session() as session:
            return await session.execute(query, *args)

    @asynccontextmanager
    async def listener(self, name: str) -> AsyncIterator[Listener]:
        """A connection outside the pool, for LISTEN, which the server shows under this name."""
        async with self._dedicated({"application_name": name}) as connection:
            yield Listener(connection)

    @asynccontextmanager
    async def busy_session(self, name: str) -> AsyncIterator[Tx]:
        """A connection outside the pool for few statements that run all the time: each is planned once.

        PostgreSQL would plan them at every call, at several times their own cost, whenever it thinks that pays.
        """
        settings = {"application_name": name, "plan_cache_mode": "force_generic_plan"}
        async with self._dedicated(settings) as connection:
            yield Tx(connection)

    @asynccontextmanager
    async def _dedicated(self, settings: dict[str, str]) -> "AsyncIterator[AsyncpgConnection[Any]]":
        with _translated("connect"):
            connection: AsyncpgConnection[Any] = await asyncpg.connect(
                **self._address.connect_args(), timeout=30, command_timeout=60, server_settings=settings
            )
        try:
            yield connection
        finally:
            with suppress(*_WORTH_RETRYING, asyncpg.InterfaceError):
                await connection.close(timeout=5)


async def _keep_as_it_is(_connection: "AsyncpgConnection[Any]") -> None:
    """Nothing leaves settings or locks on a pooled connection, so the reset's round trip would be for nothing."""


async def _prepare_connection(connection: "AsyncpgConnection[Any]") -> None:
    await connection.set_type_codec("json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    # Binary, because COPY is.
    await connection.set_type_codec("jsonb", encoder=_jsonb, decoder=_from_jsonb, schema="pg_catalog", format="binary")


def _jsonb(value: object) -> bytes:
    return _JSONB_VERSION + (value if isinstance(value, JsonText) else json.dumps(value)).encode()


def _from_jsonb(data: bytes) -> object:
    return json.loads(data[len(_JSONB_VERSION) :])


@asynccontextmanager
async def open_database(
    address: DatabaseAddress, *, pool_size: int = 16, command_timeout: float = 60
) -> AsyncIterator[Database]:
    """Connect a pool of at most ``pool_size`` connections. Raises DatabaseUnavailable."""
    with _translated("connect"):
        pool = await asyncpg.create_pool(
            **address.connect_args(),
            min_size=1,
            max_size=pool_size,
            command_timeout=command_timeout,
            timeout=30,
            init=_prepare_connection,
            reset=_keep_as_it_is,
        )
    try:
        yield Database(pool, address)
    finally:
        try:
            async with asyncio.timeout(10):
                await pool.close()
        except TimeoutError:
            pool.terminate()
