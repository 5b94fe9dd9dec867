"""Workers for the tests of the queue, started and stopped as a daemon does it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from lumilio.db import Database, Tx
from lumilio.model import JobId
from lumilio.queue import claims
from lumilio.queue.claims import ClaimedJob, Ended
from lumilio.queue.kinds import JobContext, JobKind, QueueSettings
from lumilio.queue.policy import Backoff, JobState
from lumilio.queue.store import Enqueued, Job, enqueue_many, get_jobs
from lumilio.queue.watermark import Watermark
from lumilio.queue.worker import Worker

QUEUE = "testing"
STRANGER = 77
"""The id of a worker that is played by a test."""
AT_ONCE = Backoff(first=0, jitter=0)
PATIENCE = 60.0
"""Seconds that a test waits for an event before it fails."""


class Args(BaseModel):
    """What the jobs of these tests are told."""

    n: int = 0


Work = Callable[[JobContext, Args], Awaitable[Mapping[str, object] | None]]


def kind_of(
    work: Work, *, name: str = "task", queue: str = QUEUE, max_attempts: int = 3, timeout: float = 60
) -> JobKind[Args]:
    """A kind that retries at once."""
    return JobKind(
        name=name,
        queue=queue,
        args=Args,
        work=work,
        max_attempts=max_attempts,
        timeout=timeout,
        backoff=AT_ONCE,
    )


async def ignore(_tx: Tx, _job: Job) -> None:
    """A hook that has nothing to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A worker at work."""

    worker: Worker
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None]"

    async def drain(self) -> None:
        """Stop as on SIGTERM."""
        self.stopping.set()
        async with asyncio.timeout(PATIENCE):
            await self.task

    async def give_up(self) -> None:
        """Stop as when the deadline of the shutdown has passed."""
        self.task.cancel()
        await asyncio.wait([self.task], timeout=PATIENCE)


@asynccontextmanager
async def working(
    db: Database,
    *kinds: JobKind[Any],
    slots: int = 5,
    on_given_up: Callable[[Tx, Job], Awaitable[None]] = ignore,
    poll: float = 0.05,
    heartbeat: float = 5,
    rescue_after: float = 60,
) -> AsyncIterator[Running]:
    """Run a worker, and drain it at the end."""
    queues = dict.fromkeys((kind.queue for kind in kinds), slots)
    settings = QueueSettings(slots=queues, poll=poll, heartbeat=heartbeat, rescue_after=rescue_after)
    worker = Worker(db=db, kinds=kinds, settings=settings, on_given_up=on_given_up)
    stopping = asyncio.Event()
    running = Running(
        worker=worker, stopping=stopping, task=asyncio.create_task(worker.run(stopping), name="worker under test")
    )
    try:
        yield running
    finally:
        if not running.task.done():
            await running.drain()


async def add(db: Database, kind: JobKind[Args], count: int = 1) -> Sequence[Enqueued]:
    """Enqueue jobs numbered from 0 and commit."""
    async with db.transaction() as tx:
        return await enqueue_many(tx, [kind.spec(Args(n=n)) for n in range(count)])


async def add_one(db: Database, kind: JobKind[Args]) -> JobId:
    """Enqueue one job and commit."""
    return (await add(db, kind))[0].job_id


async def job_of(db: Database, job_id: JobId) -> Job:
    """A job that has to be there."""
    async with db.session() as session:
        return (await get_jobs(session, [job_id]))[job_id]


async def until_state(db: Database, job_id: JobId, state: JobState) -> Job:
    """Wait for the commit that brings a job into this state."""
    async with asyncio.timeout(PATIENCE):
        while (job := await job_of(db, job_id)).state is not state:
            await asyncio.sleep(0.005)
    return job


async def claim(tx: Tx, *, worker_id: int, slots: int) -> Sequence[ClaimedJob]:
    """Claim as some worker does, looking at everything."""
    marks, _ = Watermark().marks(0)
    answer = await claims.exchange(tx, worker_id=worker_id, queue=QUEUE, completed=[], slots=slots, marks=marks)
    return answer.claimed


async def complete(tx: Tx, *, worker_id: int, ended: Sequence[Ended]) -> frozenset[JobId]:
    """Report completed jobs as some worker does; returns those that were acknowledged."""
    answer = await claims.exchange(tx, worker_id=worker_id, queue=QUEUE, completed=ended, slots=0, marks=((), (), ()))
    return answer.acknowledged


async def until(event: asyncio.Event) -> None:
    """Wait for something that has to happen."""
    async with asyncio.timeout(PATIENCE):
        await event.wait()
