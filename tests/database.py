"""Real PostgreSQL for tests: one cluster a test process, and a migrated database for each test that commits."""

import asyncio
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from lumilio.db import DatabaseAddress, open_database
from lumilio.migrate import migrate
from lumilio.tools.postgres import ClusterAddress, run_cluster

TEMPLATE = "lumilio_template"
SHARED = "lumilio_shared"
"""Migrated as well, for transactions that are rolled back: a template with a connection cannot be cloned."""
_START_TIMEOUT = 110.0
"""Seconds: under the time-out of one test, so that a cluster that does not start says why."""

_numbers = itertools.count(1)


class TestCluster:
    """The cluster of this test process. It loses data in a power failure, and nothing less."""

    __test__ = False

    def __init__(self, address: ClusterAddress) -> None:
        self._address = address

    def address(self, database: str = SHARED) -> DatabaseAddress:
        """How to connect to one database."""
        return DatabaseAddress(host=self._address.host, user=self._address.user, database=database)

    @property
    def _owner(self) -> DatabaseAddress:
        return DatabaseAddress(host=self._address.host, user="postgres", database="postgres")

    async def prepare(self) -> None:
        """Switch durability off and make the template and the shared database."""
        async with open_database(self._owner, pool_size=1) as server, server.session() as session:
            await session.script("ALTER SYSTEM SET fsync = off", what="fsync off")
            await session.script("SELECT pg_reload_conf()", what="reload")
        await self._create(TEMPLATE, template="template1")
        async with open_database(self.address(TEMPLATE), pool_size=1) as template:
            await migrate(template)
        await self._create(SHARED, template=TEMPLATE)

    @asynccontextmanager
    async def empty(self) -> AsyncIterator[DatabaseAddress]:
        """A database before its first migration."""
        async with self._database("template1") as address:
            yield address

    @asynccontextmanager
    async def clone(self) -> AsyncIterator[DatabaseAddress]:
        """A migrated database of one's own."""
        async with self._database(TEMPLATE) as address:
            yield address

    @asynccontextmanager
    async def _database(self, template: str) -> AsyncIterator[DatabaseAddress]:
        name = f"test_{next(_numbers)}"
        await self._create(name, template=template)
        try:
            yield self.address(name)
        finally:
            # Only the superuser may end an autovacuum that is at work there.
            async with open_database(self._owner, pool_size=1) as server, server.session() as session:
                await session.script(f"DROP DATABASE {name} WITH (FORCE)", what="drop")

    async def _create(self, name: str, *, template: str) -> None:
        await self._run(f"CREATE DATABASE {name} TEMPLATE {template}")

    async def _run(self, statement: str) -> None:
        async with open_database(self.address("lumilio"), pool_size=1) as server, server.session() as session:
            await session.script(statement, what=statement)


@contextmanager
def running_test_cluster() -> Iterator[TestCluster]:
    """Run a cluster in a thread of its own: each test has its own event loop, and the cluster outlives it.

    The thread lives until the end, because PostgreSQL is told to end with the thread that started it.
    """
    directory = Path(tempfile.mkdtemp(prefix="lumilio-pg-"))
    ready: Future[TestCluster] = Future()
    loop = asyncio.new_event_loop()
    finish = asyncio.Event()

    async def serve() -> None:
        try:
            async with run_cluster(directory, start_timeout=60) as cluster:
                test_cluster = TestCluster(cluster.address)
                await test_cluster.prepare()
                ready.set_result(test_cluster)
                await finish.wait()
        except BaseException as exc:
            if ready.done():
                raise
            ready.set_exception(exc)

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work, name=f"test cluster {os.getpid()}")
    thread.start()
    try:
        yield ready.result(_START_TIMEOUT)
    finally:
        if thread.is_alive():
            loop.call_soon_threadsafe(finish.set)
        thread.join()
        shutil.rmtree(directory)
