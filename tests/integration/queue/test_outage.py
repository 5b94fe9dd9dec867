"""PostgreSQL goes away in the middle and comes back: nothing is lost, nothing counted twice."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from lumilio.db import Database, DatabaseAddress, open_database
from lumilio.migrate import migrate
from lumilio.queue.kinds import JobContext
from lumilio.queue.policy import JobState
from lumilio.queue.store import get_jobs
from lumilio.tools.postgres import RunningCluster, run_cluster
from tests.integration.queue.work import Args, add, add_one, job_of, kind_of, until, working


@pytest.fixture
def directory() -> Iterator[Path]:
    """A place for a cluster of one's own, with a short path."""
    path = Path(tempfile.mkdtemp(prefix="lumilio-outage-"))
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def opened(cluster: RunningCluster) -> AsyncIterator[Database]:
    address = DatabaseAddress(host=cluster.address.host, user=cluster.address.user, database=cluster.address.database)
    async with open_database(address, pool_size=4) as db:
        yield db


async def crash(cluster: RunningCluster) -> None:
    """PostgreSQL's immediate shutdown: no checkpoint, every connection cut."""
    os.kill(cluster.pid, signal.SIGQUIT)
    await cluster.wait_exited()


async def test_every_job_is_completed_when_postgresql_restarts_in_the_middle(directory: Path) -> None:
    total = 1500
    completions, quarter, everything = Counter[int](), asyncio.Event(), asyncio.Event()

    async def work(_context: JobContext, args: Args) -> None:
        completions[args.n] += 1
        if len(completions) >= total / 4:
            quarter.set()
        if len(completions) == total:
            everything.set()

    kind = kind_of(work)
    async with AsyncExitStack() as workers:
        async with run_cluster(directory) as cluster:
            db = await workers.enter_async_context(opened(cluster))
            other = await workers.enter_async_context(opened(cluster))
            await migrate(db)
            jobs = await add(db, kind, total)
            for database in (db, other):
                await workers.enter_async_context(working(database, kind, slots=7))
            await until(quarter)
            await crash(cluster)
        async with run_cluster(directory) as cluster:
            await until(everything)
            await workers.aclose()
            async with opened(cluster) as db, db.session() as session:
                found = await get_jobs(session, [job.job_id for job in jobs])
    assert Counter(job.state for job in found.values()) == {JobState.COMPLETED: total}
    # Only claims whose answer was lost, or whose ending was, may have run twice: never more than there were slots.
    assert completions.total() - total <= 14


async def test_a_job_that_runs_through_an_outage_is_not_run_again(directory: Path) -> None:
    started, release, attempts = asyncio.Event(), asyncio.Event(), list[int]()

    async def work(context: JobContext, _args: Args) -> None:
        attempts.append(context.attempt)
        started.set()
        await release.wait()

    kind = kind_of(work)
    async with AsyncExitStack() as worker:
        async with run_cluster(directory) as cluster:
            db = await worker.enter_async_context(opened(cluster))
            await migrate(db)
            job_id = await add_one(db, kind)
            await worker.enter_async_context(working(db, kind, heartbeat=0.2))
            await until(started)
            await crash(cluster)
            release.set()  # it ends while nobody can be told
        async with run_cluster(directory) as cluster:
            await worker.aclose()
            async with opened(cluster) as db:
                job = await job_of(db, job_id)
    assert attempts == [1]
    assert (job.state, job.attempt, job.errors) == (JobState.COMPLETED, 1, ())


async def test_giving_up_while_the_database_is_away_ends_in_time(directory: Path) -> None:
    started = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        started.set()
        await asyncio.Event().wait()

    kind = kind_of(work)
    async with run_cluster(directory) as cluster, opened(cluster) as db:
        await migrate(db)
        await add_one(db, kind)
        async with working(db, kind) as worker:
            await until(started)
            await crash(cluster)
            await worker.give_up()
            assert worker.task.cancelled()
