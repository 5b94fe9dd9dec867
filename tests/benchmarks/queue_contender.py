"""What the job queues that are compared have in common, and the PostgreSQL that all of them use."""

import asyncio
import itertools
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import asyncpg

from lumilio.db import DatabaseAddress
from lumilio.tools.postgres import RunningCluster
from tests.benchmarks.measuring import Processors, cpu_seconds

_REAPING = 0.2
"""Seconds after which the CPU of connections that ended is that of PostgreSQL's first process."""

Ran = Callable[[int], None]
"""The whole work of a job: called with its number."""


class Queue(Protocol):
    """A queue that is connected. What is enqueued is committed when the call returns."""

    async def enqueue(self, number: int) -> None:
        """One job in a transaction of its own."""

    async def enqueue_many(self, numbers: range) -> None:
        """All of them in one call."""

    async def work(self, stopping: asyncio.Event) -> None:
        """Run jobs until ``stopping`` is set and those that run are reported."""


class Contender(Protocol):
    """``unfinished`` is the SQL that counts the jobs whose completion is not recorded."""

    @property
    def name(self) -> str: ...
    @property
    def unfinished(self) -> str: ...

    async def install(self, address: DatabaseAddress) -> None:
        """Make its tables in an empty database."""

    def open(self, address: DatabaseAddress, *, concurrency: int, ran: Ran) -> AbstractAsyncContextManager[Queue]:
        """Connect; jobs will call ``ran``."""


@dataclass(slots=True, kw_only=True)
class Spent:
    """CPU seconds of a stretch of time, and the share of all processors that others had meanwhile."""

    client: float = 0.0
    server: float = 0.0
    others: float = 0.0

    def per_job(self, jobs: int) -> dict[str, float]:
        """Microseconds of CPU a job."""
        return {
            "client_cpu_us": self.client / jobs * 1e6,
            "server_cpu_us": self.server / jobs * 1e6,
            "others": self.others,
        }


@dataclass(frozen=True, slots=True)
class Server:
    """One PostgreSQL with its default, durable settings, and a new database for each measurement."""

    cluster: RunningCluster
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def address(self, database: str, user: str = "lumilio") -> DatabaseAddress:
        """How to connect; the user ``postgres`` may do everything."""
        return DatabaseAddress(host=self.cluster.address.host, user=user, database=database)

    @asynccontextmanager
    async def connected(self, database: str, user: str = "postgres") -> AsyncIterator["asyncpg.Connection[Any]"]:
        """A connection of its own."""
        connection: asyncpg.Connection[Any] = await asyncpg.connect(**self.address(database, user).connect_args())
        try:
            yield connection
        finally:
            await connection.close()

    async def create(self, database: str, template: str = "template1") -> DatabaseAddress:
        """A copy of a database that nobody is connected to."""
        async with self.connected("postgres", "lumilio") as connection:
            await connection.execute(f"CREATE DATABASE {database} TEMPLATE {template} STRATEGY file_copy")
        return self.address(database)

    @asynccontextmanager
    async def copy(self, template: str) -> AsyncIterator[DatabaseAddress]:
        """A copy for one measurement."""
        database = f"measured_{next(self._numbers)}"
        address = await self.create(database, template)
        try:
            yield address
        finally:
            async with self.connected("postgres") as connection:  # only the superuser may end an autovacuum there
                await connection.execute(f"DROP DATABASE {database} WITH (FORCE)")

    async def settle(self, address: DatabaseAddress) -> None:
        """Leave no work of the past, such as dirty pages and rows without statistics, to what is measured next."""
        async with self.connected(address.database or "") as connection:
            await connection.execute("VACUUM (ANALYZE)")
            await connection.execute("CHECKPOINT")

    @asynccontextmanager
    async def spending(self) -> AsyncIterator[Spent]:
        """Measure the block."""
        await asyncio.sleep(_REAPING)
        spent, server, processors, client = Spent(), self._cpu(), Processors.now(), _client_cpu()
        yield spent
        spent.client = _client_cpu() - client
        await asyncio.sleep(_REAPING)
        later, spent.server = Processors.now(), self._cpu() - server
        spent.others = later.shares_since(processors, spent.client + spent.server)["by_others"]

    def _cpu(self) -> float:
        return sum(cpu_seconds(self.cluster.pid).values())


def _client_cpu() -> float:
    """Of this process and those that it ran to their end."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)
