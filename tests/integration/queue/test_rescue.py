"""Workers that die or freeze: their jobs run again, and what they still say is not believed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from lumilio.db import Database, DatabaseAddress, Tx, open_database
from lumilio.errors import JobSnoozed
from lumilio.queue import claims
from lumilio.queue.claims import ClaimedJob, Ended
from lumilio.queue.kinds import JobContext
from lumilio.queue.policy import Ending, JobState
from lumilio.queue.rescue import rescue
from lumilio.queue.store import Job
from tests.integration.queue.work import (
    PATIENCE,
    QUEUE,
    STRANGER,
    Args,
    add,
    add_one,
    claim,
    complete,
    job_of,
    kind_of,
    until,
    working,
)

CHECKOUT = Path(__file__).parents[3]


async def _never(_context: JobContext, _args: Args) -> None:
    raise AssertionError


@asynccontextmanager
async def worker_process(address: DatabaseAddress, mode: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.queue.worker_process"),
        *(str(address.host), str(address.user), str(address.database), mode),
        cwd=CHECKOUT,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: asyncio.subprocess.Process, lines: int) -> None:
    """Wait until the process has begun so many jobs."""
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        for _ in range(lines):
            assert (await process.stdout.readline()).startswith(b"started ")


async def kill(process: asyncio.subprocess.Process) -> None:
    """kill -9."""
    process.kill()
    async with asyncio.timeout(PATIENCE):
        await process.wait()


@pytest.mark.parametrize("heir", ["starts afterwards", "is there already"])
async def test_jobs_of_a_killed_process_run_again_in_another_one(database_address: DatabaseAddress, heir: str) -> None:
    done, again = asyncio.Event(), list[tuple[int, int]]()

    async def work(context: JobContext, args: Args) -> None:
        again.append((args.n, context.attempt))
        if len(again) == 3:
            done.set()

    kind = kind_of(work)
    async with open_database(database_address) as db, worker_process(database_address, "hang") as process:
        jobs = await add(db, kind, 3)
        await said(process, 3)
        if heir == "starts afterwards":
            await kill(process)
            async with working(db, kind):  # with a heartbeat of 10 s and a rescue after 60: by the free lock, at once
                await until(done)
        else:
            async with working(db, kind, heartbeat=0.2):
                await kill(process)
                await until(done)
        found = [await job_of(db, job.job_id) for job in jobs]
    assert sorted(again) == [(0, 2), (1, 2), (2, 2)]
    assert {(job.state, job.attempt) for job in found} == {(JobState.COMPLETED, 2)}
    assert {error.code for job in found for error in job.errors} == {"queue.worker_died"}


async def test_a_job_that_kills_its_process_for_the_last_time_is_discarded_and_told(
    database_address: DatabaseAddress,
) -> None:
    told, problems = asyncio.Event(), list[Job]()

    async def work(_context: JobContext, _args: Args) -> None:
        raise AssertionError

    async def on_given_up(_tx: Tx, job: Job) -> None:
        problems.append(job)
        told.set()

    kind = kind_of(work, max_attempts=1)
    async with open_database(database_address) as db, worker_process(database_address, "hang") as process:
        job_id = await add_one(db, kind)
        await said(process, 1)
        await kill(process)
        async with working(db, kind, on_given_up=on_given_up):
            await until(told)
            async with db.session() as session:  # the hook runs inside the rescue: wait for its commit
                await session.script("SELECT id FROM jobs FOR UPDATE", what="wait for the rescue")
        assert problems == [await job_of(db, job_id)]
    assert problems[0].state is JobState.DISCARDED
    assert problems[0].errors[-1].code == "queue.worker_died"


async def test_jobs_of_a_living_worker_are_left_alone(database_address: DatabaseAddress) -> None:
    looked, ran = asyncio.Event(), list[int]()

    async def work(_context: JobContext, args: Args) -> None:
        ran.append(args.n)
        looked.set()

    async def hang(_context: JobContext, _args: Args) -> None:
        await asyncio.Event().wait()

    kind = kind_of(work)
    async with open_database(database_address) as db, worker_process(database_address, "hang") as process:
        theirs = await add(db, kind, 3)
        await said(process, 3)
        async with working(db, kind):
            await add_one(db, kind_of(work))
            await until(looked)
        assert {(await job_of(db, job.job_id)).state for job in theirs} == {JobState.RUNNING}
        assert len(ran) == 1


async def _claimed_by_stranger(db: Database) -> ClaimedJob:
    async with db.session() as session:
        return (await claim(session, worker_id=STRANGER, slots=1))[0]


async def _report(db: Database, job: ClaimedJob, state: JobState) -> bool:
    done = state is JobState.COMPLETED
    end = Ended(job, Ending(state=state, result='{"by": "stranger"}' if done else None))
    async with db.session() as session:
        if done:
            return job.id in await complete(session, worker_id=STRANGER, ended=[end])
        return job.id in await claims.settle(session, worker_id=STRANGER, ended=[end])


async def test_a_late_worker_cannot_overwrite_a_rescued_job(database: Database) -> None:
    running, release = asyncio.Event(), asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> dict[str, object]:
        running.set()
        await release.wait()
        return {"by": "rescuer"}

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    late = await _claimed_by_stranger(database)
    async with working(database, kind):
        await until(running)
        assert not await _report(database, late, JobState.COMPLETED)
        assert not await _report(database, late, JobState.AVAILABLE)
        assert (await job_of(database, job_id)).state is JobState.RUNNING
        release.set()
    assert not await _report(database, late, JobState.COMPLETED)
    job = await job_of(database, job_id)
    assert (job.state, job.attempt, job.result) == (JobState.COMPLETED, 2, {"by": "rescuer"})


async def test_an_ending_is_recorded_once(database: Database) -> None:
    async def work(_context: JobContext, _args: Args) -> None:
        raise AssertionError

    await add_one(database, kind_of(work))
    job = await _claimed_by_stranger(database)
    assert await _report(database, job, JobState.COMPLETED)
    assert not await _report(database, job, JobState.COMPLETED)


async def test_a_frozen_worker_loses_its_jobs_although_its_connection_is_open(database: Database) -> None:
    rescued = asyncio.Event()

    async def work(context: JobContext, _args: Args) -> None:
        assert context.attempt == 2
        rescued.set()

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with database.listener("frozen") as frozen:
        assert await frozen.session.value("jobs.hold_worker_lock", STRANGER)
        await _claimed_by_stranger(database)
        async with working(database, kind, heartbeat=0.1, rescue_after=0.6):
            await until(rescued)
    assert (await job_of(database, job_id)).state is JobState.COMPLETED


async def test_heartbeats_keep_a_long_job_with_its_worker(database: Database) -> None:
    ticks, started, done = 0, asyncio.Event(), asyncio.Event()
    attempts: list[int] = []

    async def long_work(context: JobContext, _args: Args) -> None:
        attempts.append(context.attempt)
        started.set()
        await done.wait()

    async def tick(_context: JobContext, _args: Args) -> None:
        nonlocal ticks
        ticks += 1
        if ticks == 15:  # well over the time after which a silent job is rescued
            done.set()
        else:
            raise JobSnoozed(timedelta(seconds=0.1), "not yet")

    kind, clock = kind_of(long_work), kind_of(tick, name="clock")
    job_id = await add_one(database, kind)
    async with working(database, kind, clock, heartbeat=0.1, rescue_after=0.6):
        await until(started)
        await add_one(database, clock)
        await until(done)
    job = await job_of(database, job_id)
    assert attempts == [1]
    assert (job.state, job.attempt) == (JobState.COMPLETED, 1)


async def test_a_claim_whose_answer_was_lost_is_given_back_by_its_worker(database: Database) -> None:
    async def work(_context: JobContext, _args: Args) -> None:
        raise AssertionError

    jobs = await add(database, kind_of(work), 3)
    async with database.session() as session:
        first, second = await claim(session, worker_id=STRANGER, slots=2)
        wrong = {(first.id, 2), (jobs[2].job_id, 1)}
        released = await claims.release(session, worker_id=STRANGER, attempts={(second.id, 1), *wrong})
        assert released == {second.id: JobState.AVAILABLE}
        assert await claims.mine(session, worker_id=STRANGER, queue=QUEUE) == {(first.id, 1): False}
    states = [(await job_of(database, job.job_id)).state for job in jobs]
    assert states == [JobState.RUNNING, JobState.AVAILABLE, JobState.AVAILABLE]


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.RETRYABLE, JobState.DISCARDED])
async def test_a_late_ending_is_not_taken_for_that_of_a_later_attempt_of_the_same_worker(
    database: Database, state: JobState
) -> None:
    await add_one(database, kind_of(_never))
    late = await _claimed_by_stranger(database)
    async with database.transaction() as tx:
        assert len(await rescue(tx, lost=[STRANGER], silent_for=0)) == 1
    again = await _claimed_by_stranger(database)
    assert (again.id, again.attempt) == (late.id, 2)
    assert not await _report(database, late, state)
    assert (await job_of(database, late.id)).state is JobState.RUNNING
    assert await _report(database, again, state)


async def test_a_worker_that_was_frozen_stops_the_attempts_that_it_lost(database: Database) -> None:
    started, stopped, again, release = asyncio.Event(), asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(context: JobContext, _args: Args) -> None:
        if context.attempt == 1:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()
        again.set()
        await release.wait()

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind, heartbeat=0.1, rescue_after=60) as worker:
        await until(started)
        async with database.session() as session:  # as another process does that saw no life
            await session.script(
                "UPDATE jobs SET state = 'available', worker_id = NULL", what="somebody else takes the job back"
            )
        worker.worker.announce(QUEUE)
        await until(stopped)
        await until(again)
        release.set()
    job = await job_of(database, job_id)
    assert (job.state, job.attempt, job.errors) == (JobState.COMPLETED, 2, ())
