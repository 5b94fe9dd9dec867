"""Jobs come into being with the data they concern, and once a key."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from pydantic import BaseModel

from lumilio.db import Database, DatabaseAddress, Tx, open_database
from lumilio.errors import JobArgsInvalid
from lumilio.queue.control import JobFilter, cancel, depths
from lumilio.queue.kinds import JobContext
from lumilio.queue.policy import JobState, Priority
from lumilio.queue.store import Enqueued, JobSpec, enqueue, enqueue_many, get_job, get_jobs, live_job
from tests.integration.queue.work import QUEUE, STRANGER, Args, claim, ignore, job_of, kind_of, until, working


class Name(BaseModel):
    """Arguments with a text that came from outside."""

    name: str


async def _nothing(_context: JobContext, _args: Args) -> None:
    return


async def test_a_race_for_one_key_from_20_connections_makes_one_job(database_address: DatabaseAddress) -> None:
    kind = kind_of(_nothing)
    start = asyncio.Event()

    async with open_database(database_address, pool_size=20) as db:

        async def contend() -> Enqueued:
            async with db.transaction() as tx:
                await start.wait()
                return await enqueue(tx, kind.spec(Args(), key="the one"))

        for round_number in range(5):
            start.clear()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(contend(), name=f"contender {n}") for n in range(20)]
                start.set()
            answers = [task.result() for task in tasks]
            assert sum(answer.created for answer in answers) == 1
            assert len({answer.job_id for answer in answers}) == 1
            async with db.transaction() as tx:
                await cancel(tx, JobFilter(), on_given_up=ignore)
                assert len(await get_jobs(tx, [answers[0].job_id])) == 1, round_number


async def test_overlapping_batches_in_opposite_order_do_not_deadlock(database_address: DatabaseAddress) -> None:
    kind = kind_of(_nothing)
    specs = [kind.spec(Args(n=n), key=f"{n:03}") for n in range(200)]
    async with open_database(database_address) as db:

        async def add(batch: list[JobSpec]) -> list[Enqueued]:
            async with db.transaction() as tx:
                return list(await enqueue_many(tx, batch))

        forward, backward = await asyncio.gather(add(specs), add(specs[::-1]))
    assert [answer.job_id for answer in forward] == [answer.job_id for answer in backward[::-1]]
    assert sum(answer.created for answer in (*forward, *backward)) == 200


async def test_a_key_is_free_again_when_its_job_is_over(database: Database) -> None:
    done = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        done.set()

    kind = kind_of(work)
    async with database.transaction() as tx:
        first = await enqueue(tx, kind.spec(Args(), key="k"))
    async with working(database, kind):
        await until(done)
    async with database.transaction() as tx:
        assert await live_job(tx, "task", "k") is None
        second = await enqueue(tx, kind.spec(Args(), key="k"))
        found = await live_job(tx, "task", "k")
    assert second.created
    assert found is not None
    assert found.id == second.job_id != first.job_id


async def test_keys_of_different_kinds_do_not_meet(tx: Tx) -> None:
    answers = [await enqueue(tx, kind_of(_nothing, name=name).spec(Args(), key="k")) for name in ("one", "other")]
    assert [answer.created for answer in answers] == [True, True]


async def test_a_transaction_that_fails_takes_its_jobs_with_it(database: Database) -> None:
    with pytest.raises(ZeroDivisionError):
        async with database.transaction() as tx:
            await enqueue(tx, kind_of(_nothing).spec(Args()))
            raise ZeroDivisionError
    async with database.session() as session:
        assert await depths(session) == {}


async def test_many_answers_are_in_the_order_of_the_specs(tx: Tx) -> None:
    kind = kind_of(_nothing)
    there = await enqueue(tx, kind.spec(Args(n=1), key="b"))
    keys = ["c", "b", None, "a", None, "c"]
    answers = await enqueue_many(tx, [kind.spec(Args(n=n), key=key) for n, key in enumerate(keys)])
    jobs = await get_jobs(tx, [answer.job_id for answer in answers])
    assert [answer.created for answer in answers] == [True, False, True, True, True, False]
    assert answers[1].job_id == there.job_id
    assert answers[5].job_id == answers[0].job_id
    assert [jobs[answers[position].job_id].args["n"] for position in (0, 2, 3, 4)] == [0, 2, 3, 4]
    assert await enqueue_many(tx, []) == []


async def test_a_job_with_a_time_waits_for_it(database: Database) -> None:
    ran, runs = asyncio.Event(), set[int]()

    async def work(_context: JobContext, args: Args) -> None:
        runs.add(args.n)
        if len(runs) == 2:
            ran.set()

    kind = kind_of(work)
    now = datetime.now(UTC)
    async with database.transaction() as tx:
        soon = await enqueue(tx, kind.spec(Args(n=1), run_at=now + timedelta(seconds=0.3)))
        past = await enqueue(tx, kind.spec(Args(n=2), run_at=now - timedelta(days=1)))
        far = await enqueue(tx, kind.spec(Args(n=3), run_at=now + timedelta(days=1)))
        assert {place: depth.jobs for place, depth in (await depths(tx)).items()} == {
            (QUEUE, JobState.SCHEDULED): 2,
            (QUEUE, JobState.AVAILABLE): 1,
        }
    async with working(database, kind):
        await until(ran)
    jobs = [await job_of(database, job.job_id) for job in (soon, past, far)]
    assert [job.state for job in jobs] == [JobState.COMPLETED, JobState.COMPLETED, JobState.SCHEDULED]
    assert all(job.claimed_at >= job.run_at for job in jobs if job.claimed_at)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        kind_of(_nothing).spec(Args(), run_at=datetime(2020, 1, 1))  # noqa: DTZ001 that is the point


async def test_arguments_that_cannot_be_stored_are_refused_by_name(tx: Tx) -> None:
    with pytest.raises(JobArgsInvalid, match="'upload'"):
        await enqueue(tx, JobSpec(kind="upload", queue=QUEUE, args=Name(name="a\0b")))
    literal = await enqueue(tx, JobSpec(kind="upload", queue=QUEUE, args=Name(name="a\\u0000b")))
    job = await get_job(tx, literal.job_id)
    assert job is not None
    assert job.args == {"name": "a\\u0000b"}


async def test_finished_jobs_are_removed_after_their_retention_in_batches(database: Database) -> None:
    async with database.transaction() as tx:
        answers = await enqueue_many(tx, [kind_of(_nothing).spec(Args(n=n)) for n in range(10)])
        some = JobFilter(ids=tuple(answer.job_id for answer in answers[:5]))
        await cancel(tx, some, on_given_up=ignore)
        await tx.script("UPDATE finished_jobs SET finished_at = now() - interval '8 days'", what="days go by")
    assert await database.execute("jobs.remove_completed", 7 * 86400.0, 3) == 0
    assert [await database.execute("jobs.remove_failed", 7 * 86400.0, 3) for _ in range(3)] == [3, 2, 0]
    async with database.session() as session:
        assert set(await get_jobs(session, [answer.job_id for answer in answers])) == {
            answer.job_id for answer in answers[5:]
        }


async def test_many_jobs_without_keys_are_all_there_in_the_order_in_which_they_were_given(database: Database) -> None:
    owner, kind = uuid4(), kind_of(_nothing)
    specs = [kind.spec(Args(n=n), priority=Priority.IDLE, owner_id=owner) for n in range(250)]
    async with database.transaction() as tx:
        answers = await enqueue_many(tx, specs)
        jobs = await get_jobs(tx, [answer.job_id for answer in answers])
    assert all(answer.created for answer in answers)
    assert [jobs[answer.job_id].args for answer in answers] == [{"n": n} for n in range(250)]
    assert {(job.state, job.priority, job.owner_id, job.max_attempts) for job in jobs.values()} == {
        (JobState.AVAILABLE, Priority.IDLE, owner, 3)
    }
    async with database.session() as session:
        claimed = await claim(session, worker_id=STRANGER, slots=250)
    assert [job.id for job in claimed] == [answer.job_id for answer in answers]


async def test_of_many_jobs_with_one_that_cannot_be_stored_none_is_there(database: Database) -> None:
    specs = [JobSpec(kind="upload", queue=QUEUE, args=Name(name="a" if n else "a\0b")) for n in range(250)]
    with pytest.raises(JobArgsInvalid):
        async with database.session() as session:
            await enqueue_many(session, specs[::-1])
    async with database.session() as session:
        assert await depths(session) == {}


async def test_of_many_jobs_those_with_a_key_that_lives_are_found_not_made(database: Database) -> None:
    kind = kind_of(_nothing)
    specs = [kind.spec(Args(n=n), key=str(n % 200)) for n in range(300)]
    async with database.transaction() as tx:
        answers = await enqueue_many(tx, specs)
    assert [answer.created for answer in answers] == [True] * 200 + [False] * 100
    assert answers[200].job_id == answers[0].job_id


async def test_a_row_with_json_of_another_version_can_be_read(tx: Tx) -> None:
    job_id = (await enqueue(tx, kind_of(_nothing).spec(Args()))).job_id
    await tx.script(
        """UPDATE jobs SET args = '"text"', errors = '[7, {}, {"attempt": "x", "at": "noon", "new": 1},
            {"attempt": 1, "at": "2026-01-02T03:04:05Z", "code": "c", "message": "m"}]'""",
        what="another version was here",
    )
    job = await get_job(tx, job_id)
    assert job is not None
    assert job.args == {}
    assert [(error.attempt, error.code) for error in job.errors] == [(0, "queue.error"), (0, "queue.error"), (1, "c")]
    assert [error.at for error in job.errors] == [
        job.created_at,
        job.created_at,
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    ]
