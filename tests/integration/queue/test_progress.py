"""What a running job says of itself can be read while it runs, and costs one write a second at most."""

import asyncio
from datetime import timedelta

from lumilio.db import Database
from lumilio.errors import JobSnoozed
from lumilio.model import JobId
from lumilio.queue.kinds import JobContext
from lumilio.queue.policy import JobState
from lumilio.queue.progress import ProgressBoard
from lumilio.queue.store import Job
from tests.integration.queue.work import PATIENCE, STRANGER, Args, add, add_one, claim, job_of, kind_of, working

HOUR = timedelta(hours=1)


async def _never(_context: JobContext, _args: Args) -> None:
    raise AssertionError


async def _until_said(db: Database, job_id: JobId, message: str) -> Job:
    async with asyncio.timeout(PATIENCE):
        while (job := await job_of(db, job_id)).progress_message != message:
            await asyncio.sleep(0.01)
    return job


async def test_the_latest_of_many_reports_is_shown_and_the_job_forgets_it_when_it_ends(database: Database) -> None:
    release = asyncio.Event()

    async def work(context: JobContext, _args: Args) -> None:
        for step in range(1000):
            context.progress(step / 2000, f"frame {step}\x1b[31m")
        await release.wait()

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind):
        job = await _until_said(database, job_id, "frame 999\\x1b[31m")
        assert job.progress is not None
        assert abs(job.progress - 0.4995) < 1e-6
        release.set()
    job = await job_of(database, job_id)
    assert (job.state, job.progress, job.progress_message) == (JobState.COMPLETED, None, None)


async def test_reports_of_many_jobs_are_one_write_and_out_of_bounds_ones_are_cut(database: Database) -> None:
    jobs = await add(database, kind_of(_never), 3)
    async with database.session() as session:
        await claim(session, worker_id=STRANGER, slots=3)
    board = ProgressBoard(db=database, worker_id=STRANGER, interval=3600)
    for job, fraction in zip(jobs, (-3.0, 0.5, 7.0), strict=True):
        board.report(job.job_id, 1, fraction, "x" * 9999)
    board.report(jobs[0].job_id, 2, 0.9, "of an attempt that is not this one")
    running = asyncio.create_task(board.run(), name="board")
    found = [await _until_said(database, job.job_id, "x" * 500) for job in jobs]
    running.cancel()
    assert [job.progress for job in found] == [0.0, 0.5, 1.0]


async def test_the_next_attempt_begins_without_the_progress_of_the_last(database: Database) -> None:
    snooze, release = asyncio.Event(), asyncio.Event()

    async def work(context: JobContext, _args: Args) -> None:
        if release.is_set():
            raise AssertionError
        context.progress(None, "half")
        await snooze.wait()
        release.set()
        raise JobSnoozed(HOUR, "later")

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind):
        assert (await _until_said(database, job_id, "half")).progress is None
        snooze.set()
    job = await job_of(database, job_id)
    assert (job.state, job.progress_message) == (JobState.SCHEDULED, None)
