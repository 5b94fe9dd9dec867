"""Cancelling what waits and what runs, pausing queues, trying again what failed."""

import asyncio
from datetime import timedelta

import pytest

from lumilio.db import Database
from lumilio.errors import JobCancelled, JobSnoozed, ToolTimedOut
from lumilio.queue import control
from lumilio.queue.control import JobFilter
from lumilio.queue.kinds import JobContext, JobKind
from lumilio.queue.policy import JobState
from lumilio.queue.store import Job, enqueue
from tests.integration.queue.work import (
    QUEUE,
    STRANGER,
    Args,
    Running,
    add,
    add_one,
    claim,
    ignore,
    job_of,
    kind_of,
    until,
    until_state,
    working,
)


async def _cancel(db: Database, wanted: JobFilter, worker: Running | None = None) -> control.Cancelled:
    async with db.transaction() as tx:
        answer = await control.cancel(tx, wanted, on_given_up=ignore)
    if worker is not None:
        worker.worker.announce_cancel()
    return answer


async def _retry(db: Database, wanted: JobFilter, kind: JobKind[Args]) -> control.Retried:
    async with db.transaction() as tx:
        return await control.retry(tx, wanted, attempts_of={kind.name: kind.max_attempts})


async def _never(_context: JobContext, _args: Args) -> None:
    raise AssertionError


async def test_a_waiting_job_that_is_cancelled_never_runs_and_is_told(database: Database) -> None:
    told: list[Job] = []

    async def on_given_up(_tx: object, job: Job) -> None:
        told.append(job)

    kind = kind_of(_never)
    first, second = await add(database, kind, 2)
    async with database.transaction() as tx:
        answer = await control.cancel(tx, JobFilter(ids=(first.job_id,)), on_given_up=on_given_up)
    assert (answer.over, answer.running) == ([first.job_id], [])
    job = await job_of(database, first.job_id)
    assert (job.state, job.attempt) == (JobState.CANCELLED, 0)
    assert told == [job]
    assert (await job_of(database, second.job_id)).state is JobState.AVAILABLE


@pytest.mark.parametrize("told_by", ["notification", "heartbeat"])
async def test_a_running_job_that_is_cancelled_is_interrupted(database: Database, told_by: str) -> None:
    started, interrupted, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            interrupted.set()

    async def on_given_up(_tx: object, _job: Job) -> None:
        told.set()

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind, heartbeat=0.1, rescue_after=60, on_given_up=on_given_up) as worker:
        await until(started)
        answer = await _cancel(database, JobFilter(ids=(job_id,)), worker if told_by == "notification" else None)
        assert (answer.over, answer.running) == ([], [job_id])
        await until(interrupted)
        await until(told)
    job = await job_of(database, job_id)
    assert (job.state, job.attempt) == (JobState.CANCELLED, 1)
    assert [error.code for error in job.errors] == ["queue.cancelled"]


async def test_a_job_that_runs_elsewhere_is_cancelled_by_a_notification(database: Database) -> None:
    started, interrupted = asyncio.Event(), asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            interrupted.set()

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind), working(database, kind_of(_never, queue="other")) as elsewhere:
        await until(started)
        await _cancel(database, JobFilter(ids=(job_id,)), elsewhere)
        await until(interrupted)
    assert (await job_of(database, job_id)).state is JobState.CANCELLED


async def test_a_job_that_finishes_although_it_is_cancelled_is_completed(database: Database) -> None:
    started = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> dict[str, object]:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return {"done": True}
        raise AssertionError

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind) as worker:
        await until(started)
        await _cancel(database, JobFilter(), worker)
    job = await job_of(database, job_id)
    assert (job.state, job.result) == (JobState.COMPLETED, {"done": True})


@pytest.mark.parametrize(
    "error",
    [ToolTimedOut("slow"), JobSnoozed(timedelta(hours=1), "later")],
    ids=["a failure", "a snooze"],
)
async def test_a_job_that_would_be_tried_again_is_cancelled_instead(database: Database, error: Exception) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        started.set()
        await go_on.wait()
        raise error

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind):
        await until(started)
        await _cancel(database, JobFilter())  # nobody tells the worker
        go_on.set()
    assert (await job_of(database, job_id)).state is JobState.CANCELLED


async def test_a_cancelled_job_that_its_worker_gives_back_is_over(database: Database) -> None:
    started = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        started.set()
        await asyncio.Event().wait()

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind) as worker:
        await until(started)
        await _cancel(database, JobFilter())
        await worker.give_up()
    assert (await job_of(database, job_id)).state is JobState.CANCELLED


async def test_a_cancelled_job_whose_worker_died_is_not_run_again(database: Database) -> None:
    kind = kind_of(_never)
    job_id = await add_one(database, kind)
    async with database.session() as session:
        await claim(session, worker_id=STRANGER, slots=1)
    told: list[JobState] = []

    async def on_given_up(_tx: object, job: Job) -> None:
        told.append(job.state)

    assert (await _cancel(database, JobFilter())).running == [job_id]
    async with working(database, kind, on_given_up=on_given_up):
        await until_state(database, job_id, JobState.CANCELLED)
    assert told == [JobState.CANCELLED]


async def test_work_may_cancel_its_own_job(database: Database) -> None:
    ended = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        ended.set()
        raise JobCancelled("the album is gone")

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind):
        await until(ended)
    job = await job_of(database, job_id)
    assert (job.state, job.errors[0].code, job.errors[0].message) == (
        JobState.CANCELLED,
        "queue.cancelled",
        "the album is gone",
    )


async def test_a_filter_cancels_what_fits_all_of_it_and_nothing_else(database: Database) -> None:
    one, other = kind_of(_never, name="one"), kind_of(_never, name="other")
    await add(database, one, 3)
    kept = await add(database, other, 2)
    answer = await _cancel(database, JobFilter(kind="one", states=(JobState.AVAILABLE,)))
    assert answer.count == 3
    assert (await _cancel(database, JobFilter(kind="one"))).count == 0
    assert {(await job_of(database, job.job_id)).state for job in kept} == {JobState.AVAILABLE}


async def test_a_discarded_job_that_is_retried_has_all_attempts_again_and_keeps_its_history(
    database: Database,
) -> None:
    attempts, healthy, done = list[int](), False, asyncio.Event()

    async def work(context: JobContext, _args: Args) -> None:
        attempts.append(context.attempt)
        if not healthy:
            raise ToolTimedOut("slow")
        done.set()

    kind = kind_of(work, max_attempts=2)
    job_id = await add_one(database, kind)
    async with working(database, kind) as worker:
        await until_state(database, job_id, JobState.DISCARDED)
        assert (await _retry(database, JobFilter(ids=(job_id,)), kind)).revived == [job_id]
        worker.worker.announce(QUEUE)
        await until_state(database, job_id, JobState.DISCARDED)
        healthy = True
        retried = await _retry(database, JobFilter(states=(JobState.DISCARDED,)), kind)
        assert retried.revived == [job_id]
        assert retried.queues == {QUEUE}
        worker.worker.announce(QUEUE)
        await until(done)
    job = await job_of(database, job_id)
    assert attempts == [1, 2, 3, 4, 5]
    assert (job.state, job.attempt) == (JobState.COMPLETED, 5)
    assert [error.attempt for error in job.errors] == [1, 2, 3, 4]


async def test_what_is_not_over_or_succeeded_is_not_retried(database: Database) -> None:
    done = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        done.set()

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    assert (await _retry(database, JobFilter(), kind)).revived == []
    async with working(database, kind):
        await until(done)
    assert (await _retry(database, JobFilter(ids=(job_id,)), kind)).revived == []


async def test_a_job_is_not_revived_beside_a_live_one_that_does_the_same(database: Database) -> None:
    kind = kind_of(_never)
    async with database.transaction() as tx:
        old = (await enqueue(tx, kind.spec(Args(), key="k"))).job_id
    await _cancel(database, JobFilter())
    async with database.transaction() as tx:
        new = await enqueue(tx, kind.spec(Args(), key="k"))
    answer = await _retry(database, JobFilter(), kind)
    assert (answer.revived, answer.superseded) == ([], [old])
    assert (await job_of(database, old)).state is JobState.CANCELLED
    assert (await job_of(database, new.job_id)).state is JobState.AVAILABLE


async def test_two_retries_at_once_revive_a_job_once(database: Database) -> None:
    kind = kind_of(_never)
    await add(database, kind, 20)
    await _cancel(database, JobFilter())
    answers = await asyncio.gather(*(_retry(database, JobFilter(), kind) for _ in range(4)))
    assert sorted(job_id for answer in answers for job_id in answer.revived) == sorted(
        {job_id for answer in answers for job_id in answer.revived}
    )
    async with database.session() as session:
        assert (await control.depths(session))[QUEUE, JobState.AVAILABLE].jobs == 20
        assert await control.failures(session) == {}


async def test_nothing_of_a_paused_queue_is_claimed_until_it_is_resumed(database: Database) -> None:
    ran = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        ran.set()

    kind = kind_of(work)
    async with database.session() as session:
        assert await control.pause(session, QUEUE)
        assert not await control.pause(session, QUEUE)
        assert set(await control.paused_queues(session)) == {QUEUE}
    job_id = await add_one(database, kind)
    async with working(database, kind) as worker:
        async with database.session() as session:
            assert await claim(session, worker_id=STRANGER, slots=1) == []
            assert await control.resume(session, QUEUE)
            assert not await control.resume(session, QUEUE)
        worker.worker.announce(QUEUE)
        await until(ran)
    assert (await job_of(database, job_id)).state is JobState.COMPLETED
