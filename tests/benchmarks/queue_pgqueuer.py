"""pgqueuer: asyncpg on one connection, which is faster than its pool, and tables tuned by its own ``autovac``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from lumilio.db import DatabaseAddress
from tests.benchmarks.queue_contender import Ran


class Pgqueuer:
    """With ``max_concurrent_tasks`` no more jobs run than are asked for, two at least, and it fetches half as many.

    That is faster than its ``concurrency_limit``. ``bounded`` False: no limit, as when it is not told otherwise, and a
    fetch takes as many as shall run; were the jobs slower than the fetches, any number of them would run.
    """

    unfinished = "SELECT count(*) FROM pgqueuer"

    def __init__(self, *, bounded: bool) -> None:
        self.name = "pgqueuer" if bounded else "pgqueuer_unbounded"
        self._bounded = bounded

    async def install(self, address: DatabaseAddress) -> None:
        """What ``pgq install`` and ``pgq autovac`` do."""
        connection = await asyncpg.connect(**address.connect_args())
        queries = Queries(AsyncpgDriver(connection))
        await queries.install()
        await queries.optimize_autovacuum()
        await connection.close()

    @asynccontextmanager
    async def open(self, address: DatabaseAddress, *, concurrency: int, ran: Ran) -> AsyncIterator["PgqueuerQueue"]:
        """A connection for whoever enqueues and one for the worker."""

        async def work(job: Job) -> None:
            ran(int(job.payload))

        enqueuing, working = [await asyncpg.connect(**address.connect_args()) for _ in range(2)]
        worker = PgQueuer(AsyncpgDriver(working))
        worker.entrypoint("noop")(work)
        most = max(2, concurrency) if self._bounded else None
        batch = most // 2 if most else concurrency
        try:
            yield PgqueuerQueue(Queries(AsyncpgDriver(enqueuing)), worker, batch=batch, most=most)
        finally:
            await enqueuing.close()
            await working.close()


class PgqueuerQueue:
    """A worker, and a connection for whoever enqueues."""

    def __init__(self, queries: Queries, worker: PgQueuer, *, batch: int, most: int | None) -> None:
        self._queries = queries
        self._worker = worker
        self._batch = batch
        self._most = most

    async def enqueue(self, number: int) -> None:
        """One statement."""
        await self._queries.enqueue("noop", b"%d" % number)

    async def enqueue_many(self, numbers: range) -> None:
        """One statement."""
        count = len(numbers)
        await self._queries.enqueue(["noop"] * count, [b"%d" % number for number in numbers], [0] * count)

    async def work(self, stopping: asyncio.Event) -> None:
        """Its buffers are written when it ends."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._worker.qm.run(batch_size=self._batch, max_concurrent_tasks=self._most))
            await stopping.wait()
            self._worker.shutdown.set()
