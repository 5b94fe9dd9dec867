"""Who gets which job, and at what cost."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from lumilio.db import Database, DatabaseAddress, named_queries, open_database
from lumilio.queue.control import depths
from lumilio.queue.kinds import JobContext
from lumilio.queue.notifier import Notifier
from lumilio.queue.policy import JobState, Priority
from lumilio.queue.store import enqueue, get_jobs
from tests.integration.queue.work import QUEUE, Args, add, kind_of, until, working

SEED = """
    INSERT INTO jobs (kind, queue, args, state, max_attempts, priority, run_at)
    SELECT 'task', 'testing', '{{"n": 1}}', CASE WHEN n % 10 = 0 THEN 'scheduled' ELSE 'available' END,
           3, n % 4, now() + n * interval '1 ms'
    FROM generate_series(1, {jobs}) AS n
"""
EXCHANGE = """
    EXECUTE exchange(7, 'testing', '{1,2}', '{1,1}', '{null,null}', 50, '{0,1,2,3}',
                     '{-infinity,-infinity,-infinity,-infinity}', '{0,0,0,0}')
"""


async def test_many_workers_never_run_one_job_twice(database_address: DatabaseAddress) -> None:
    total, runs, everything = 2000, Counter[int](), asyncio.Event()

    async def work(_context: JobContext, args: Args) -> None:
        runs[args.n] += 1
        if runs.total() == total:
            everything.set()

    kind = kind_of(work)
    async with AsyncExitStack() as stack:
        databases = [await stack.enter_async_context(open_database(database_address, pool_size=3)) for _ in range(6)]
        enqueued = await add(databases[0], kind, total)
        async with AsyncExitStack() as workers:
            for db in databases:
                await workers.enter_async_context(working(db, kind, slots=7))
            await until(everything)
        async with databases[0].session() as session:
            jobs = await get_jobs(session, [job.job_id for job in enqueued])
    assert set(runs.values()) == {1}
    assert len(runs) == total
    assert {(job.state, job.attempt) for job in jobs.values()} == {(JobState.COMPLETED, 1)}


async def test_jobs_start_by_priority_then_in_the_order_they_were_enqueued(database: Database) -> None:
    order: list[int] = []
    last = asyncio.Event()

    async def work(_context: JobContext, args: Args) -> None:
        order.append(args.n)
        if len(order) == 4:
            last.set()

    kind = kind_of(work)
    async with database.transaction() as tx:
        for n, priority in ((0, Priority.IDLE), (1, Priority.NORMAL), (2, Priority.IDLE), (3, Priority.INTERACTIVE)):
            await enqueue(tx, kind.spec(Args(n=n), priority=priority))
    async with working(database, kind, slots=1):
        await until(last)
    assert order == [3, 1, 0, 2]


async def test_a_queue_never_runs_more_jobs_than_it_has_slots(database: Database) -> None:
    running, most, left, done = 0, 0, 40, asyncio.Event()

    async def work(_context: JobContext, _args: Args) -> None:
        nonlocal running, most, left
        running += 1
        most = max(most, running)
        async with database.session() as session:
            await depths(session)
        running -= 1
        left -= 1
        if left == 0:
            done.set()

    kind = kind_of(work)
    await add(database, kind, left)
    async with working(database, kind, slots=3):
        await until(done)
    assert most == 3


@pytest.mark.parametrize("plan", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize(("jobs", "analysed"), [(50_000, False), (50_000, True), (1_000_000, True)])
async def test_a_claim_reads_by_index_however_many_jobs_wait(
    database_address: DatabaseAddress, jobs: int, plan: str, analysed: bool
) -> None:
    connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(**database_address.connect_args())
    try:
        await connection.execute(SEED.format(jobs=jobs))
        if analysed:
            await connection.execute("ANALYZE jobs")
        await connection.execute(f"SET plan_cache_mode = {plan}")
        await connection.execute(f"PREPARE exchange AS {named_queries()['jobs.exchange']}")
        explained = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {EXCHANGE}"))
    finally:
        await connection.close()
    top = explained[0]["Plan"]
    nodes = _nodes(top)
    assert "jobs_claim_idx" in {node.get("Index Name") for node in nodes}
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan" and node.get("Relation Name") == "jobs"]
    assert not {"Sort", "Incremental Sort"} & {node["Node Type"] for node in nodes}
    assert top["Shared Hit Blocks"] + top["Shared Read Blocks"] < 3000


def _nodes(node: dict[str, Any]) -> Sequence[dict[str, Any]]:
    return [node, *(inner for child in node.get("Plans", []) for inner in _nodes(child))]


async def test_a_job_announced_by_another_process_starts_without_waiting_for_the_poll(
    database_address: DatabaseAddress,
) -> None:
    started, second_started, release = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(_context: JobContext, args: Args) -> None:
        if args.n == 0:
            started.set()
            await release.wait()
        else:
            second_started.set()

    kind = kind_of(work)
    async with open_database(database_address) as here, open_database(database_address) as elsewhere:
        await add(here, kind)
        other = Notifier(
            db=elsewhere, worker_id=1, heartbeat=5, silent_for=50, debounce=0, wakes={}, on_cancel=lambda: None
        )
        async with working(here, kind, poll=3600), asyncio.TaskGroup() as group:
            announcing = group.create_task(other.run(), name="other process")
            await until(started)  # the first look is over, and nothing ends that would cause another
            async with elsewhere.transaction() as tx:
                await enqueue(tx, kind.spec(Args(n=1)))
            other.announce(QUEUE)
            await until(second_started)
            release.set()
            announcing.cancel()
