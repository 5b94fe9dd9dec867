"""Lumilio's own queue, as the daemon runs it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from pydantic import BaseModel

from lumilio.db import Database, DatabaseAddress, Tx, open_database
from lumilio.migrate import migrate
from lumilio.queue.kinds import JobContext, JobKind, QueueSettings
from lumilio.queue.store import Job, enqueue, enqueue_many
from lumilio.queue.worker import Worker
from tests.benchmarks.queue_contender import Ran

QUEUE = "benchmark"


class Args(BaseModel):
    """What a job is told."""

    n: int


class Lumilio:
    """``run_at`` is when all jobs are due, None for at once."""

    name = "lumilio"
    unfinished = "SELECT count(*) FROM jobs"

    def __init__(self, *, run_at: datetime | None = None) -> None:
        self._run_at = run_at

    async def install(self, address: DatabaseAddress) -> None:
        """Migrate."""
        async with open_database(address, pool_size=2) as db:
            await migrate(db)

    @asynccontextmanager
    async def open(self, address: DatabaseAddress, *, concurrency: int, ran: Ran) -> AsyncIterator["LumilioQueue"]:
        """A worker with the settings of the daemon."""

        async def work(_context: JobContext, args: Args) -> None:
            ran(args.n)

        kind = JobKind(name="noop", queue=QUEUE, args=Args, work=work)
        async with open_database(address) as db:
            settings = QueueSettings(slots={QUEUE: concurrency})
            worker = Worker(db=db, kinds=[kind], settings=settings, on_given_up=_ignore)
            yield LumilioQueue(db, worker, kind, self._run_at)


class LumilioQueue:
    """A worker and the pool that it shares with whoever enqueues."""

    def __init__(self, db: Database, worker: Worker, kind: JobKind[Args], run_at: datetime | None) -> None:
        self._db = db
        self._worker = worker
        self._kind = kind
        self._run_at = run_at

    async def enqueue(self, number: int) -> None:
        """The statement commits by itself, as it does with the others."""
        async with self._db.session() as session:
            await enqueue(session, self._kind.spec(Args(n=number), run_at=self._run_at))
        self._worker.announce(QUEUE)

    async def enqueue_many(self, numbers: range) -> None:
        """One statement."""
        async with self._db.session() as session:
            await enqueue_many(session, [self._kind.spec(Args(n=number), run_at=self._run_at) for number in numbers])
        self._worker.announce(QUEUE)

    async def work(self, stopping: asyncio.Event) -> None:
        """Drain at the end."""
        await self._worker.run(stopping)


async def _ignore(_tx: Tx, _job: Job) -> None:
    """Nothing is given up here."""
