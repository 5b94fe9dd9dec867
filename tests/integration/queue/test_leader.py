"""One process does the maintenance for all, and another one takes over when it dies or freezes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

from lumilio.db import Database, DatabaseAddress, open_database
from lumilio.queue import control, periodic
from lumilio.queue.kinds import JobContext, QueueSettings
from lumilio.queue.notifier import Notifier
from lumilio.queue.periodic import PeriodicJob
from lumilio.queue.policy import JobState
from lumilio.queue.store import JobSpec
from lumilio.queue.worker import Worker
from tests.integration.queue.work import PATIENCE, QUEUE, Args, add, ignore, kind_of, until, working


@asynccontextmanager
async def _notifying(db: Database, worker_id: int, *, heartbeat: float) -> AsyncIterator[Notifier]:
    notifier = Notifier(
        db=db,
        worker_id=worker_id,
        heartbeat=heartbeat,
        silent_for=3 * heartbeat,
        debounce=0,
        wakes={},
        on_cancel=lambda: None,
    )
    task = asyncio.create_task(notifier.run(), name=f"notifier {worker_id}")
    try:
        yield notifier
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_one_of_several_leads_and_another_one_when_it_has_gone(database: Database) -> None:
    async with AsyncExitStack() as others:
        async with _notifying(database, 1, heartbeat=0.05) as first:
            await until(first.leading)
            rest = [await others.enter_async_context(_notifying(database, n, heartbeat=0.05)) for n in (2, 3)]
            await until(rest[0].registered)
            await until(rest[1].registered)
            assert not any(other.leading.is_set() for other in rest)
        waits = [asyncio.create_task(other.leading.wait(), name="leading") for other in rest]
        done, left = await asyncio.wait(waits, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        assert len(done) == 1
        for wait in left:
            wait.cancel()
        assert sum(other.leading.is_set() for other in rest) == 1


async def test_a_frozen_leader_is_deposed(database: Database) -> None:
    async with database.listener("frozen") as frozen:
        row = await frozen.session.row("jobs.lead", 60.0)
        assert row is not None
        assert row["leading"]
        async with _notifying(database, 1, heartbeat=0.1) as heir:
            await until(heir.leading)
        await until(frozen.closed)


async def test_workers_that_live_are_listed_with_their_last_sign_of_life(database: Database) -> None:
    async with _notifying(database, 7, heartbeat=0.05) as notifier:
        await until(notifier.registered)
        async with database.session() as session:
            (worker,) = await control.workers(session)
    assert worker.worker_id == 7
    assert worker.name.startswith("lumilio worker ")
    assert worker.seen_at is not None
    assert datetime.now(UTC) - worker.seen_at < timedelta(seconds=30)


def _every(expression: str, specs: list[JobSpec]) -> PeriodicJob:
    return PeriodicJob(name="nightly", expression=expression, specs=lambda: specs)


async def _nothing(_context: JobContext, _args: Args) -> None:
    return


async def _let_days_go_by(db: Database) -> None:
    async with db.session() as session:
        await session.script("UPDATE job_schedules SET next_run_at = now() - interval '3 days'", what="time goes by")


async def test_a_periodic_job_fires_once_however_many_processes_fire_it(database_address: DatabaseAddress) -> None:
    job = _every("30 3 * * *", [kind_of(_nothing).spec(Args())])
    async with AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(open_database(database_address, pool_size=2)) for _ in range(6)]
        await asyncio.gather(*(periodic.plan(db, [job]) for db in databases))
        await _let_days_go_by(databases[0])
        await asyncio.gather(*(periodic.fire_due(db, [job]) for db in databases))
        await asyncio.gather(*(periodic.fire_due(db, [job]) for db in databases))
        async with databases[0].session() as session:
            assert (await control.depths(session))[QUEUE, JobState.AVAILABLE].jobs == 1


async def test_the_next_moment_is_known_and_a_new_expression_counts_at_once(database: Database) -> None:
    await periodic.plan(database, [_every("30 3 * * *", [])])
    _, soonest = await periodic.fire_due(database, [_every("30 3 * * *", [])])
    assert soonest is not None
    assert 0 < soonest <= 25 * 3600
    await periodic.plan(database, [_every("* * * * *", [])])
    _, soonest = await periodic.fire_due(database, [_every("* * * * *", [])])
    assert soonest is not None
    assert 0 < soonest <= 60


async def test_a_moment_that_was_missed_while_nothing_ran_is_made_up_for(database: Database) -> None:
    job = _every("30 3 * * *", [kind_of(_nothing).spec(Args())])
    await periodic.plan(database, [job])
    await _let_days_go_by(database)
    await periodic.plan(database, [job])  # the next start
    queues, _ = await periodic.fire_due(database, [job])
    assert queues == {QUEUE}


async def test_a_schedule_that_was_removed_fires_no_more(database: Database) -> None:
    await periodic.plan(database, [_every("* * * * *", [])])
    await periodic.plan(database, [])
    assert await periodic.fire_due(database, []) == (set(), None)


async def test_a_worker_runs_its_periodic_jobs(database: Database) -> None:
    ran = asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        ran.set()

    kind = kind_of(work)
    job = _every("30 3 * * *", [kind.spec(Args())])
    await periodic.plan(database, [job])
    await _let_days_go_by(database)
    stopping = asyncio.Event()
    worker = Worker(
        db=database, kinds=[kind], settings=QueueSettings(slots={QUEUE: 1}), on_given_up=ignore, periodic=[job]
    )
    running = asyncio.create_task(worker.run(stopping), name="worker")
    await until(ran)
    assert worker.leading
    stopping.set()
    await running


async def test_jobs_due_later_are_made_available_by_whoever_leads(database: Database) -> None:
    count = 3
    done, runs = asyncio.Event(), list[int]()

    async def work(_context: JobContext, args: Args) -> None:
        runs.append(args.n)
        if len(runs) == count:
            done.set()

    kind = kind_of(work)
    await add(database, kind, count)
    async with database.session() as session:
        await session.script(
            "UPDATE jobs SET state = 'scheduled', run_at = now() - interval '1 s'", what="they wait for their time"
        )
    async with working(database, kind, slots=1), working(database, kind, slots=1):
        await until(done)
    assert sorted(runs) == list(range(count))
