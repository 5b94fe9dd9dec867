"""Stopping: drain on SIGTERM, give back when the deadline has passed."""

import asyncio

from lumilio.db import Database
from lumilio.errors import ToolTimedOut
from lumilio.queue.control import depths
from lumilio.queue.kinds import JobContext
from lumilio.queue.policy import JobState
from tests.integration.queue.work import QUEUE, Args, add, add_one, job_of, kind_of, until, working


async def test_a_drain_finishes_running_jobs_and_claims_no_more(database: Database) -> None:
    both, release, running = asyncio.Event(), asyncio.Event(), 0

    async def work(_context: JobContext, _args: Args) -> None:
        nonlocal running
        running += 1
        if running == 2:
            both.set()
        await release.wait()

    kind = kind_of(work)
    jobs = await add(database, kind, 5)
    async with working(database, kind, slots=2) as worker:
        await until(both)
        worker.stopping.set()
        release.set()
        await worker.drain()
    states = [(await job_of(database, job.job_id)).state for job in jobs]
    assert states == [JobState.COMPLETED] * 2 + [JobState.AVAILABLE] * 3
    assert running == 2


async def test_an_interrupted_job_returns_to_its_queue_without_using_an_attempt(database: Database) -> None:
    started, cleaned = asyncio.Event(), asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.set()

    kind = kind_of(work, max_attempts=1)
    job_id = await add_one(database, kind)
    async with working(database, kind) as worker:
        await until(started)
        await worker.give_up()
    job = await job_of(database, job_id)
    assert worker.task.cancelled()
    assert cleaned.is_set()
    assert (job.state, job.attempt, job.errors) == (JobState.AVAILABLE, 0, ())


async def test_a_job_that_answers_its_interruption_with_another_error_is_interrupted_all_the_same(
    database: Database,
) -> None:
    started = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as exc:
            raise ToolTimedOut("killed") from exc

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind) as worker:
        await until(started)
        await worker.give_up()
    job = await job_of(database, job_id)
    assert (job.state, job.attempt, job.errors) == (JobState.AVAILABLE, 0, ())


async def test_a_job_that_finishes_while_its_worker_gives_up_stays_finished(database: Database) -> None:
    started = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind) as worker:
        await until(started)
        await worker.give_up()
    assert (await job_of(database, job_id)).state is JobState.COMPLETED


async def test_giving_up_in_the_middle_of_any_load_leaves_no_job_running(database: Database) -> None:
    total, runs, some = 300, 0, asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        nonlocal runs
        runs += 1
        if runs % 40 == 0:
            some.set()
        async with database.session() as session:
            await depths(session)

    kind = kind_of(work)
    jobs = await add(database, kind, total)
    for _ in range(6):
        some.clear()
        async with working(database, kind, slots=13) as worker:
            await until(some)
            await worker.give_up()
    async with database.session() as session:
        assert set(await depths(session)) == {(QUEUE, JobState.AVAILABLE)}
    for job in jobs:
        found = await job_of(database, job.job_id)
        assert (found.state, found.attempt, found.errors) in (
            (JobState.AVAILABLE, 0, ()),
            (JobState.COMPLETED, 1, ()),
        )


async def test_a_worker_that_is_stopped_before_it_started_claims_nothing(database: Database) -> None:
    async def work(_context: JobContext, _args: Args) -> None:
        raise AssertionError

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind) as worker:
        worker.stopping.set()
    assert (await job_of(database, job_id)).attempt == 0
