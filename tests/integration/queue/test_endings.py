"""What becomes of a job when an attempt ends."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import pytest

from lumilio.db import Database, Tx
from lumilio.errors import DatabaseError, JobDiscarded, JobSnoozed, MediaDamaged, ToolTimedOut
from lumilio.queue.kinds import JobContext, JobKind
from lumilio.queue.policy import Backoff, JobState
from lumilio.queue.store import Enqueued, Job, enqueue, live_job
from tests.integration.queue.work import QUEUE, Args, add_one, job_of, kind_of, until, working


async def test_a_result_can_be_read_while_the_retention_lasts(database: Database) -> None:
    done = asyncio.Event()

    async def work(_context: JobContext, args: Args) -> Mapping[str, object]:
        done.set()
        return {"n": args.n, "name": "a\0b\ud800", "parts": ["\0"], "\0": 'plain \\u0000 text "'}

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind):
        await until(done)
    job = await job_of(database, job_id)
    assert (job.state, job.attempt, job.errors) == (JobState.COMPLETED, 1, ())
    assert job.result == {
        "n": 0,
        "name": "a\ufffdb?",
        "parts": ["\ufffd"],
        "\ufffd": 'plain \\u0000 text "',
    }
    assert job.finished_at is not None


async def test_a_transient_failure_is_tried_again_until_it_works(database: Database) -> None:
    done, attempts = asyncio.Event(), list[tuple[int, bool]]()

    async def work(context: JobContext, _args: Args) -> None:
        attempts.append((context.attempt, context.last_attempt))
        if not context.last_attempt:
            raise ToolTimedOut("exiftool took 30 s\nand was killed")
        done.set()

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind):
        await until(done)
    job = await job_of(database, job_id)
    assert attempts == [(1, False), (2, False), (3, True)]
    assert (job.state, job.attempt) == (JobState.COMPLETED, 3)
    assert [(error.attempt, error.code, error.message) for error in job.errors] == [
        (1, "tool.timed_out", "exiftool took 30 s and was killed"),
        (2, "tool.timed_out", "exiftool took 30 s and was killed"),
    ]


async def test_a_job_waits_its_backoff_before_the_next_attempt(database: Database) -> None:
    failed = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        failed.set()
        raise OSError("input/output error")

    kind = JobKind(
        name="task", queue=QUEUE, args=Args, work=work, backoff=Backoff(first=1000, jitter=0.1), max_attempts=2
    )
    job_id = await add_one(database, kind)
    async with working(database, kind):
        await until(failed)
    job = await job_of(database, job_id)
    assert (job.state, job.attempt) == (JobState.RETRYABLE, 1)
    assert job.claimed_at is not None
    assert timedelta(seconds=900) <= job.run_at - job.claimed_at <= timedelta(seconds=1200)
    assert job.errors[0].message == "OSError: input/output error"


async def test_a_job_whose_attempts_are_used_up_is_discarded_and_told(database: Database) -> None:
    told = asyncio.Event()
    problems: list[Job] = []

    async def work(_context: JobContext, _args: Args) -> None:
        raise ValueError("defect")

    async def on_given_up(_tx: Tx, job: Job) -> None:
        problems.append(job)
        told.set()

    kind = kind_of(work, max_attempts=2)
    job_id = await add_one(database, kind)
    async with working(database, kind, on_given_up=on_given_up):
        await until(told)
    job = await job_of(database, job_id)
    assert problems == [job]
    assert (job.state, job.attempt) == (JobState.DISCARDED, 2)
    assert [error.code for error in job.errors] == ["internal.error", "internal.error"]


@pytest.mark.parametrize(
    ("raised", "code"),
    [(MediaDamaged("no image data"), "media.damaged"), (JobDiscarded("no image data"), "queue.discarded")],
    ids=["permanent", "discard"],
)
async def test_a_permanent_failure_is_not_tried_again(database: Database, raised: Exception, code: str) -> None:
    job = await _discarded(database, raised)
    assert job.attempt == 1
    assert [(error.code, error.message) for error in job.errors] == [(code, "no image data")]


async def _discarded(database: Database, raised: Exception) -> Job:
    told = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        raise raised

    async def on_given_up(_tx: Tx, _job: Job) -> None:
        told.set()

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with working(database, kind, on_given_up=on_given_up):
        await until(told)
    job = await job_of(database, job_id)
    assert job.state is JobState.DISCARDED
    return job


async def test_the_hook_writes_in_the_transaction_of_the_discard(database: Database) -> None:
    told = asyncio.Event()
    follow_ups: list[Enqueued] = []

    async def work(_context: JobContext, _args: Args) -> None:
        raise JobDiscarded("enough")

    kind, follow_up = kind_of(work), kind_of(work, name="follow up")

    async def on_given_up(tx: Tx, job: Job) -> None:
        if job.kind == "task":
            follow_ups.append(await enqueue(tx, follow_up.spec(Args())))
        told.set()

    await add_one(database, kind)
    async with working(database, kind, follow_up, on_given_up=on_given_up):
        await until(told)
    assert [answer.created for answer in follow_ups] == [True]


async def test_a_defect_in_the_hook_does_not_keep_the_job_running(database: Database) -> None:
    told = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        raise JobDiscarded("enough")

    kind = kind_of(work)

    async def on_given_up(tx: Tx, _job: Job) -> None:
        await enqueue(tx, kind.spec(Args(), key="undone"))
        told.set()
        await tx.execute("jobs.heartbeat", "not a number", [])

    job_id = await add_one(database, kind)
    async with working(database, kind, on_given_up=on_given_up):
        await until(told)
    assert (await job_of(database, job_id)).state is JobState.DISCARDED
    async with database.session() as session:
        assert await live_job(session, "task", "undone") is None


async def test_a_snooze_does_not_count(database: Database) -> None:
    done, attempts = asyncio.Event(), list[int]()

    async def work(context: JobContext, _args: Args) -> None:
        attempts.append(context.attempt)
        if len(attempts) <= 5:
            raise JobSnoozed(timedelta(), "exiftool is not installed")
        done.set()

    kind = kind_of(work, max_attempts=1)
    job_id = await add_one(database, kind)
    async with working(database, kind):
        await until(done)
    job = await job_of(database, job_id)
    assert attempts == [1] * 6
    assert (job.state, job.attempt, job.errors) == (JobState.COMPLETED, 1, ())


async def test_an_attempt_that_takes_too_long_is_stopped(database: Database) -> None:
    stopped = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    kind = kind_of(work, max_attempts=1, timeout=0.05)
    job_id = await add_one(database, kind)
    async with working(database, kind):
        await until(stopped)
    job = await job_of(database, job_id)
    assert job.state is JobState.DISCARDED
    assert "longer than 0.05 s" in job.errors[0].message


async def test_something_cancelled_inside_the_work_is_a_failure_not_an_interruption(database: Database) -> None:
    cancelled = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        cancelled.set()
        raise asyncio.CancelledError

    kind = kind_of(work, max_attempts=1)
    job_id = await add_one(database, kind)
    async with working(database, kind):
        await until(cancelled)
    assert (await job_of(database, job_id)).state is JobState.DISCARDED


async def test_arguments_that_no_longer_fit_discard_the_job_without_showing_their_values(database: Database) -> None:
    told = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        raise AssertionError

    async def on_given_up(_tx: Tx, _job: Job) -> None:
        told.set()

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with database.session() as session:
        await session.script("""UPDATE jobs SET args = '{"n": "secret"}'""", what="args of another version")
    async with working(database, kind, on_given_up=on_given_up):
        await until(told)
    job = await job_of(database, job_id)
    assert job.errors[0].code == "queue.args_invalid"
    assert job.errors[0].message.startswith("arguments do not fit job kind 'task': n: ")
    assert "secret" not in job.errors[0].message


async def test_only_the_last_errors_are_kept(database: Database) -> None:
    told = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        raise OSError("again")

    async def on_given_up(_tx: Tx, _job: Job) -> None:
        told.set()

    kind = kind_of(work, max_attempts=25)
    job_id = await add_one(database, kind)
    async with working(database, kind, on_given_up=on_given_up, poll=0.01):
        await until(told)
    assert [error.attempt for error in (await job_of(database, job_id)).errors] == list(range(6, 26))


RUNNING_TO_FINISHED = """
    INSERT INTO finished_jobs (
        id, kind, queue, args, state, priority, attempt, max_attempts, run_at, created_at, errors
    )
    SELECT id, kind, queue, args, state, priority, attempt, max_attempts, run_at, created_at, errors FROM jobs
"""


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET state = 'running'",
        "UPDATE jobs SET state = 'running', worker_id = 1, claimed_at = now()",
        "UPDATE jobs SET state = 'completed'",
        "UPDATE jobs SET priority = 4",
        "UPDATE jobs SET cancel_requested_at = now()",
        "UPDATE jobs SET progress = 1.5",
        RUNNING_TO_FINISHED,
        "UPDATE jobs SET state = 'nonsense'",
        "UPDATE jobs SET attempt = max_attempts",
        "UPDATE jobs SET attempt = -1",
        "UPDATE jobs SET max_attempts = 0",
        "UPDATE jobs SET worker_id = 1",
        "UPDATE jobs SET errors = '{}'",
    ],
)
async def test_the_database_refuses_rows_that_break_the_state_machine(tx: Tx, change: str) -> None:
    async def work(_context: JobContext, _args: Args) -> None:
        return

    await enqueue(tx, kind_of(work).spec(Args()))
    with pytest.raises(DatabaseError, match="violates check constraint"):
        await tx.script(change, what=change)
