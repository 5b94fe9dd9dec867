"""What goes wrong once in a million jobs: crossing cancels, lost claims, lock orders, servers that are not ready."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
import pytest

from lumilio import metrics
from lumilio.db import Database, DatabaseAddress, open_database
from lumilio.errors import DatabaseUnavailable
from lumilio.queue import claims, control, periodic
from lumilio.queue.attempts import Attempts, Interruption
from lumilio.queue.claims import ClaimedJob, Ended
from lumilio.queue.control import JobFilter
from lumilio.queue.kinds import JobContext
from lumilio.queue.memory import MemoryBudget
from lumilio.queue.periodic import PeriodicJob
from lumilio.queue.policy import Ending, JobState, completed
from lumilio.queue.store import enqueue_many
from tests.integration.queue.work import (
    PATIENCE,
    QUEUE,
    STRANGER,
    Args,
    add,
    add_one,
    claim,
    complete,
    ignore,
    job_of,
    kind_of,
    until,
    until_state,
    working,
)


async def _never(_context: JobContext, _args: Args) -> None:
    raise AssertionError


@pytest.mark.parametrize("why", list(Interruption))
async def test_an_attempt_that_is_interrupted_before_its_first_step_ends_all_the_same(
    database: Database, why: Interruption
) -> None:
    await add_one(database, kind_of(_never))
    async with database.session() as session:
        (job,) = await claim(session, worker_id=STRANGER, slots=1)
    woken = asyncio.Event()
    attempts = Attempts(
        table={"task": kind_of(_never)}, memory=MemoryBudget(1), report=lambda *_said: None, wake=woken.set
    )
    async with asyncio.TaskGroup() as group:
        attempts.start(group, job)
        assert attempts.interrupt((job.id, job.attempt), why)
        assert not attempts.interrupt((job.id, job.attempt), why)
    assert woken.is_set()
    assert len(attempts) == 0
    assert [end.ending for end in attempts.ended] == ([] if why.value is None else [why.value])


async def test_cancels_that_cross_their_claims_leave_no_slot_and_no_job_behind(database: Database) -> None:
    total, ran = 300, asyncio.Event()

    async def work(_context: JobContext, args: Args) -> None:
        if args.n == total - 1:
            ran.set()
        await asyncio.sleep(0)

    kind = kind_of(work)
    jobs = await add(database, kind, total)
    async with working(database, kind, slots=20) as worker:
        for start in range(0, total - 1, 10):
            ids = tuple(job.job_id for job in jobs[start : start + 10] if job is not jobs[-1])
            async with database.transaction() as tx:
                await control.cancel(tx, JobFilter(ids=ids), on_given_up=ignore)
            worker.worker.announce_cancel()
        await until(ran)
    async with database.session() as session:
        assert await control.depths(session) == {}


async def test_a_claim_that_was_committed_after_its_connection_was_lost_is_given_back(database: Database) -> None:
    done = asyncio.Event()

    async def work(context: JobContext, _args: Args) -> None:
        assert context.attempt == 1
        done.set()

    kind = kind_of(work)
    async with working(database, kind, heartbeat=0.1) as worker:
        async with database.session() as session:
            await session.script("INSERT INTO job_queues (name) VALUES ('testing')", what="nobody else claims")
        job_id = await add_one(database, kind)
        async with database.session() as session:
            await session.script(
                "UPDATE jobs SET state = 'running', attempt = 1, claimed_at = now(), "  # noqa: S608
                f"worker_id = {worker.worker.worker_id}",
                what="the old backend commits at last",
            )
            await session.script("DELETE FROM job_queues", what="go on")
        await until(done)
    job = await job_of(database, job_id)
    assert (job.state, job.attempt, job.errors) == (JobState.COMPLETED, 1, ())


async def test_a_late_notification_does_not_cancel_a_later_attempt(database: Database) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        started.set()
        await release.wait()

    kind = kind_of(work)
    job_id = await add_one(database, kind)
    async with database.transaction() as tx:
        await control.cancel(tx, JobFilter(), on_given_up=ignore)
        await control.retry(tx, JobFilter(), attempts_of={"task": 3})
    async with working(database, kind) as worker:
        await until(started)
        worker.worker.announce_cancel()
        await database.value("job_control.paused")  # the look that this caused is before or behind this one
        release.set()
    assert (await job_of(database, job_id)).state is JobState.COMPLETED


async def test_a_schedule_that_this_process_does_not_know_keeps_nobody_busy(database: Database) -> None:
    job = PeriodicJob(name="known", expression="30 3 * * *", specs=list)
    await periodic.plan(database, [job])
    async with database.session() as session:
        await session.script(
            "INSERT INTO job_schedules VALUES ('of a newer version', '* * * * *', now() - interval '1 day')",
            what="a newer version was here",
        )
    _, soonest = await periodic.fire_due(database, [job])
    assert soonest is not None
    assert soonest > 0


READ_ONLY = "ALTER DATABASE {} SET default_transaction_read_only = on"
PROMOTED = "ALTER DATABASE {} RESET default_transaction_read_only"
DISCONNECT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def test_a_server_that_only_reads_is_waited_for(database_address: DatabaseAddress) -> None:
    done = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        done.set()

    kind, name = kind_of(work), database_address.database
    async with open_database(database_address, pool_size=1) as admin, admin.session() as session:
        await enqueue_many(session, [kind.spec(Args())])
        await session.script(READ_ONLY.format(name), what="a standby")
        async with open_database(database_address) as db, working(db, kind) as worker:
            with pytest.raises(DatabaseUnavailable):
                await add_one(db, kind)
            await worker.worker.registered(asyncio.Event())
            assert not worker.task.done()
            await session.script(PROMOTED.format(name), what="it is promoted")
            await session.script(DISCONNECT, what="everybody connects again")
            await until(done)


async def test_a_worker_ends_its_own_old_session_that_the_server_still_shows(database: Database) -> None:
    done = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        done.set()

    kind = kind_of(work)
    async with working(database, kind) as worker:
        await worker.worker.registered(asyncio.Event())
        async with database.session() as session:
            await session.script(
                "SELECT pg_terminate_backend(pid) FROM job_sessions WHERE role = 'worker'", what="the network is cut"
            )
        async with database.listener("the old session") as old:
            async with asyncio.timeout(PATIENCE):
                while not await old.session.value("jobs.hold_worker_lock", worker.worker.worker_id):
                    await old.session.value("jobs.end_own_session", worker.worker.worker_id)
            await until(old.closed)
        await add_one(database, kind)
        worker.worker.announce(QUEUE)
        await until(done)
        assert worker.worker.alive


async def _repeat(times: int, act: Callable[[], Awaitable[Any]]) -> None:
    for _ in range(times):
        await act()


async def test_reports_and_cancels_of_the_same_jobs_do_not_deadlock(database_address: DatabaseAddress) -> None:
    kind = kind_of(_never)
    async with open_database(database_address, pool_size=4) as db:
        await add(db, kind, 400)
        async with db.session() as session:
            claimed: Sequence[ClaimedJob] = await claim(session, worker_id=STRANGER, slots=400)

        async def cancel() -> None:
            async with db.transaction() as tx:
                await control.cancel(tx, JobFilter(), on_given_up=ignore)

        async def report(jobs: Sequence[ClaimedJob], ending: Ending) -> None:
            async with db.session() as session:
                ended = [Ended(job, ending) for job in reversed(jobs)]
                if ending.state is JobState.COMPLETED:
                    await complete(session, worker_id=STRANGER, ended=ended)
                else:
                    await claims.settle(session, worker_id=STRANGER, ended=ended)

        snooze = Ending(state=JobState.SCHEDULED, delay=3600, counted=False)
        await asyncio.gather(
            _repeat(5, cancel),
            *(report(claimed[start : start + 50], completed(None)) for start in range(0, 200, 50)),
            *(report(claimed[start : start + 50], snooze) for start in range(200, 400, 50)),
        )
        async with db.session() as session:
            assert JobState.RUNNING not in {state for _, state in await control.depths(session)}


async def test_bulk_retries_and_enqueues_of_the_same_keys_do_not_deadlock(database_address: DatabaseAddress) -> None:
    kind = kind_of(_never)
    forward = [kind.spec(Args(), key=f"{n:03}") for n in range(300)]
    async with open_database(database_address, pool_size=4) as db:
        for _ in range(5):
            async with db.transaction() as tx:
                await enqueue_many(tx, forward[::-1])
            async with db.transaction() as tx:
                await control.cancel(tx, JobFilter(), on_given_up=ignore)

            async def retry() -> None:
                async with db.transaction() as tx:
                    await control.retry(tx, JobFilter(), attempts_of={})

            async def enqueue() -> None:
                async with db.transaction() as tx:
                    await enqueue_many(tx, forward)

            await asyncio.gather(retry(), enqueue())
            async with db.transaction() as tx:
                await tx.script("TRUNCATE jobs, finished_jobs", what="again")


async def test_a_claim_is_planned_once(database: Database) -> None:
    async with database.busy_session("claims") as session:
        for _ in range(7):  # PostgreSQL plans five times anew before it thinks about it
            await claim(session, worker_id=STRANGER, slots=1)
        connection: asyncpg.Connection[asyncpg.Record] = session._connection  # type: ignore[assignment]
        plans = await connection.fetchrow(
            "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE '%acknowledged%'"
        )
    assert plans is not None
    assert plans["generic_plans"] > 0
    assert plans["custom_plans"] == 0


async def test_a_queue_of_many_slots_completes_everything_on_two_lanes(database: Database) -> None:
    total, runs, done = 3000, set[int](), asyncio.Event()

    async def work(_context: JobContext, args: Args) -> None:
        assert args.n not in runs
        runs.add(args.n)
        if len(runs) == total:
            done.set()

    kind = kind_of(work)
    await add(database, kind, total)
    async with working(database, kind, slots=32):
        await until(done)
    async with database.session() as session:
        assert await control.depths(session) == {}


async def test_what_two_lanes_have_begun_is_given_back_whole(database: Database) -> None:
    started = asyncio.Event()

    async def work(_context: JobContext, args: Args) -> None:
        if args.n == 20:
            started.set()
        await asyncio.Event().wait()

    kind = kind_of(work, max_attempts=1)
    jobs = await add(database, kind, 40)
    async with working(database, kind, slots=32) as worker:
        await until(started)
        await worker.give_up()
    for job in jobs:
        found = await until_state(database, job.job_id, JobState.AVAILABLE)
        assert (found.attempt, found.errors) == (0, ())


async def test_a_worker_that_has_nothing_to_do_looks_no_more_often_than_it_polls(database: Database) -> None:
    done = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        done.set()

    kind = kind_of(work, queue="idle")
    async with working(database, kind, poll=3600) as worker:
        await add_one(database, kind)
        worker.worker.announce("idle")
        await until(done)
        looked = metrics.CLAIM_SECONDS.labels(queue="idle")._sum
        await asyncio.sleep(1.5)  # the job has ended, and one look at everything more
        before = looked.get()
        await asyncio.sleep(0.5)
        assert looked.get() == before


async def test_a_worker_that_waits_for_its_last_job_before_it_stops_does_not_spin(database: Database) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        started.set()
        await release.wait()

    kind = kind_of(work)
    await add_one(database, kind)
    async with working(database, kind, slots=32, poll=3600) as worker:
        await until(started)
        worker.stopping.set()
        await asyncio.sleep(1.2)  # past the moment of the next look at everything
        before = time.process_time()
        await asyncio.sleep(1)
        assert time.process_time() - before < 0.3
        release.set()
