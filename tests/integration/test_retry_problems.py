"""What brings a failed file back to work: another version, a new format, somebody who asks."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lumilio.catalog import assets, problems, repositories
from lumilio.catalog.problems import ProblemFilter
from lumilio.db import Database, Tx, named_queries
from lumilio.errors import JobSnoozed
from lumilio.jobs import make_web_version, render_asset, retry_problems
from lumilio.jobs.retry_problems import Retried, RetryProblems
from lumilio.model import (
    ProcessingState,
    UserId,
)
from lumilio.queue import store
from lumilio.queue.control import JobFilter, list_jobs
from lumilio.queue.policy import JobState, Priority
from lumilio.storage.creation import create_repository
from lumilio.storage.repository import Repository
from tests.integration.problem_cases import (
    EVERYTHING,
    MP4,
    NEF,
    NOTHING,
    asset,
    attempt,
    ignore,
    library,
    listed,
    only,
    render_jobs,
    run,
    torn,
    user,
)


async def test_another_version_of_the_tool_gives_every_problem_one_more_try(database: Database) -> None:
    async with database.transaction() as tx:
        owner_id = await user(tx)
        damaged, big, film = await asset(tx, owner_id), await asset(tx, owner_id), await asset(tx, owner_id, MP4)
        await problems.record(tx, damaged, torn())
        await problems.record(tx, big, torn(code="media.over_budget"))
        await problems.record(tx, film, torn(code="tool.decoder_crashed", tool="ffmpeg", tool_version="8.1"))
    woken: list[str] = []
    assert await run(database, {"pillow": "13.0.0", "ffmpeg": "8.1"}, woken=woken) == NOTHING
    assert (await render_jobs(database), woken) == ([], [])
    versions = {"pillow": "13.1.0", "ffmpeg": "8.1"}
    assert await run(database, versions, woken=woken) == {"outdated": 2, "supported": 0, "unrendered": 0}
    jobs = await render_jobs(database)
    assert {job.args["asset_id"] for job in jobs} == {str(damaged), str(big)}
    assert {(job.kind, job.priority, job.owner_id) for job in jobs} == {(render_asset.KIND, Priority.IDLE, owner_id)}
    assert woken == [render_asset.QUEUE]
    assert await run(database, versions) == NOTHING
    assert len(await render_jobs(database)) == 2


async def test_a_retry_that_fails_as_before_or_in_silence_is_not_repeated_for_the_same_version(
    database: Database,
) -> None:
    versions = {"pillow": "14", "lumilio": "0.2"}
    async with database.session() as session:
        owner_id = await user(session)
        asset_id = await asset(session, owner_id)
        await problems.record(session, asset_id, torn())
        assert (await run(database, versions))["outdated"] == 1
        for repeat in (torn(tool_version="14"), torn(tool=None, tool_version=None)):
            await session.script("DELETE FROM jobs", what="the retry is over")
            await problems.record(session, asset_id, repeat)
            assert (await run(database, versions))["outdated"] == 0
        # Its process died: no tool is known, and Lumilio answers for that, once.
        await problems.record(session, asset_id, torn(code="tool.decoder_crashed", tool=None, tool_version=None))
        assert (await run(database, versions))["outdated"] == 1
        await session.script("DELETE FROM jobs", what="the retry is over")
        await problems.record(session, asset_id, torn(code="tool.decoder_crashed", tool=None, tool_version=None))
        assert (await run(database, versions))["outdated"] == 0
        assert (await run(database, {**versions, "lumilio": "0.3"}))["outdated"] == 1


async def test_what_is_ignored_trashed_or_our_own_fault_is_not_retried_by_itself(database: Database) -> None:
    async with database.transaction() as tx:
        owner_id = await user(tx)
        ignored, trashed, ours = [await asset(tx, owner_id) for _ in range(3)]
        for asset_id in (ignored, trashed):
            await problems.record(tx, asset_id, torn())
        await problems.record(tx, ours, torn(code="storage.error"))
        await ignore(tx, owner_id, ignored)
        await assets.set_trashed(tx, trashed, owner_id)
    assert await run(database, {"pillow": "14"}) == NOTHING
    async with database.session() as session:
        await assets.clear_trashed(session, trashed, owner_id)
        await ignore(session, owner_id, ignored, ignored=False)
    assert await run(database, {"pillow": "14"}) == {"outdated": 2, "supported": 0, "unrendered": 0}


@pytest.mark.parametrize(
    ("steps", "facts"),
    [
        (("render",), False),
        (("facts",), True),
        (("facts", "render"), True),
        (("detect", "facts", "process", "render"), True),
        (("render", "web_version"), False),
    ],
)
@pytest.mark.parametrize("asked", [True, False])
async def test_an_asset_gets_one_job_that_does_all_that_failed(
    database: Database, steps: Sequence[str], facts: bool, asked: bool
) -> None:
    async with database.transaction() as tx:
        owner_id = await user(tx)
        asset_id = await asset(tx, owner_id, MP4)
        for step in steps:
            await problems.record(tx, asset_id, torn(step=step))
    if asked:
        await retry_problems.retry(library(database), owner_id, EVERYTHING)
    else:
        assert (await run(database, {"pillow": "14"}))["outdated"] == 1 + (make_web_version.STEP in steps)
    (job,) = await render_jobs(database)
    assert (job.args["asset_id"], job.args["facts"]) == (str(asset_id), facts)
    async with database.session() as session:
        encoding = await list_jobs(session, JobFilter(kind=make_web_version.KIND), before=None, limit=10)
    assert len(encoding) == (make_web_version.STEP in steps)


async def test_retrying_only_what_was_not_rendered_reads_facts_that_failed_as_well(database: Database) -> None:
    async with database.transaction() as tx:
        owner_id = await user(tx)
        asset_id = await asset(tx, owner_id)
        for step in ("facts", "render"):
            await problems.record(tx, asset_id, torn(step=step))
    for step in ("render", "facts"):
        assert (await retry_problems.retry(library(database), owner_id, ProblemFilter(step=step))).retried <= 1
        (job,) = await render_jobs(database)
        assert job.args["facts"]
    async with database.session() as session:
        found = await retry_problems.next_attempts(session, owner_id, await listed(session, owner_id))
    assert {name: each.id for name, each in found.items()} == {
        (asset_id, "facts"): job.id,
        (asset_id, "render"): job.id,
    }


async def test_versions_are_asked_for_at_each_run(database: Database) -> None:
    async with database.transaction() as tx:
        owner_id = await user(tx)
        await problems.record(tx, await asset(tx, owner_id), torn())
    here = {"pillow": "13.0.0"}

    async def versions() -> Mapping[str, str]:
        return dict(here)

    job = RetryProblems(library=library(database), versions=versions, formats=[])
    assert await job.work(attempt(), retry_problems.Args()) == NOTHING
    here["pillow"] = "13.1.0"
    assert (await job.work(attempt(), retry_problems.Args()))["outdated"] == 1


async def test_assets_of_a_format_that_has_a_processor_now_are_rendered_once(database: Database) -> None:
    async with database.transaction() as tx:
        owner_id = await user(tx)
        unsupported = ProcessingState.UNSUPPORTED
        raws = [await asset(tx, owner_id, NEF, unsupported) for _ in range(3)]
        await asset(tx, owner_id, MP4, unsupported)
        await asset(tx, owner_id, NEF, ProcessingState.READY)
        await assets.set_trashed(tx, raws[0], owner_id)
    for supported in (2, 0):
        assert await run(database, {}, ["nef", "jpeg"]) == {"outdated": 0, "supported": supported, "unrendered": 0}
        assert {job.args["asset_id"] for job in await render_jobs(database)} == {str(each) for each in raws[1:]}


@pytest.fixture
async def repository(tmp_path: Path) -> Repository:
    return await create_repository(tmp_path / "library", name="Photos")


OLD_ONES = """
WITH made AS (
    INSERT INTO assets (
        owner_id, content_hash, file_name, size, kind, format, mime, state, captured_local, captured_source
    )
    SELECT
        r.owner_id, decode(lpad(to_hex(n), 64, '0'), 'hex'), 'photo', 1, 'photo', 'jpeg', 'image/jpeg', 'ready',
        '2024-01-01', 'exif'
    FROM repositories AS r, generate_series(1, {count}) AS n
    RETURNING id
)
INSERT INTO locations (asset_id, repository_id, path)
SELECT made.id, r.id, made.id::text FROM made, repositories AS r
"""
DONE = """
UPDATE assets SET render_source = 'original'
WHERE id IN (SELECT (args ->> 'asset_id')::uuid FROM jobs WHERE kind = 'render_asset');
DELETE FROM jobs
"""


async def ready_earlier(db: Database, repository: Repository, count: int) -> UserId:
    """Assets of a version that kept no sources of thumbnails."""
    async with db.transaction() as tx:
        owner_id = await user(tx)
        row = repositories.RepositoryRow(
            id=repository.id, owner_id=owner_id, name="Photos", root=repository.root, is_default=True
        )
        await repositories.add_repository(tx, row)
        await tx.script(OLD_ONES.format(count=count), what="assets")
    return owner_id


async def test_what_an_earlier_version_made_ready_is_rendered_anew_with_its_facts(
    database: Database, repository: Repository
) -> None:
    owner_id = await ready_earlier(database, repository, 3)
    async with database.session() as session:
        trashed, nowhere = await asset(session, owner_id), await asset(session, owner_id, state=ProcessingState.READY)
        assert await assets.set_trashed(session, trashed, owner_id)
    woken: list[str] = []
    assert await run(database, {}, woken=woken, repositories=[repository]) == {**NOTHING, "unrendered": 3}
    jobs = await render_jobs(database)
    assert {(job.kind, job.priority, job.owner_id, job.args["facts"]) for job in jobs} == {
        (render_asset.KIND, Priority.IDLE, owner_id, True)
    }
    assert len({job.args["asset_id"] for job in jobs} - {str(trashed), str(nowhere)}) == 3
    assert woken == [render_asset.QUEUE]
    assert await run(database, {}, woken=woken, repositories=[repository]) == NOTHING
    async with database.session() as session:
        await session.script(DONE, what="the jobs end")
    assert await run(database, {}, woken=woken, repositories=[repository]) == NOTHING
    assert await render_jobs(database) == []


async def test_what_lies_on_a_disk_that_is_away_is_not_waited_for(database: Database, repository: Repository) -> None:
    await ready_earlier(database, repository, 3)
    away = repository.root.rename(repository.root.with_name("away"))
    assert await run(database, {}, repositories=[repository]) == NOTHING
    assert await run(database, {}) == NOTHING
    away.rename(repository.root)
    assert (await run(database, {}, repositories=[repository]))["unrendered"] == 3


async def test_a_large_library_of_an_earlier_version_is_taken_piece_by_piece(
    database: Database, repository: Repository
) -> None:
    most = retry_problems.UNRENDERED_AT_ONCE
    await ready_earlier(database, repository, most + 700)
    for _ in range(2):  # those that wait are not joined by others
        with pytest.raises(JobSnoozed) as snoozed:
            await run(database, {}, repositories=[repository])
        assert snoozed.value.delay == retry_problems.UNRENDERED_DELAY
        assert len(await render_jobs(database)) == most
    async with database.session() as session:
        await session.script(DONE, what="the jobs end")
    assert await run(database, {}, repositories=[repository]) == {**NOTHING, "unrendered": 700}


MANY = """
INSERT INTO assets (
    owner_id, content_hash, file_name, size, kind, format, mime, state, captured_local, captured_source
)
SELECT
    users.id, decode(lpad(to_hex(n), 64, '0'), 'hex'), 'photo', 1, 'photo',
    CASE WHEN n % 2 = 0 THEN 'jpeg' ELSE 'nef' END, 'image/jpeg',
    CASE WHEN n % 2 = 0 THEN 'problem' ELSE 'unsupported' END, '2024-01-01', 'exif'
FROM users, generate_series(1, 2400) AS n;
INSERT INTO problems (asset_id, step, code, reason, tool, tool_version)
SELECT id, 'render', 'media.damaged', 'torn', 'pillow', '1' FROM assets WHERE state = 'problem'
"""


async def test_many_are_retried_in_batches_and_by_two_at_once_only_once(database: Database) -> None:
    async with database.transaction() as tx:
        await user(tx)
        await tx.script(MANY, what="problems")
    done = await asyncio.gather(*(run(database, {"pillow": "2"}, ["nef"]) for _ in range(2)))
    assert [sum(int(str(each[key])) for each in done) for key in ("outdated", "supported")] == [1200, 1200]
    assert len(await render_jobs(database)) == 2400


async def test_somebody_who_asks_gets_a_job_for_each_asset_or_hurries_the_one_that_waits(database: Database) -> None:
    woken: list[str] = []
    async with database.transaction() as tx:
        owner_id = await user(tx)
        fresh, later, running = [await asset(tx, owner_id) for _ in range(3)]
        for asset_id in (fresh, later, running):
            await problems.record(tx, asset_id, torn())
        waiting = await store.enqueue(tx, render_asset.later(later, owner_id))
        there = await store.enqueue(tx, render_asset.spec(running, owner_id))
    shelf = library(database, woken)
    assert await retry_problems.retry(shelf, owner_id, EVERYTHING, dry_run=True) == Retried(retried=3, waiting=0)
    assert (len(await render_jobs(database)), woken) == (2, [])
    assert await retry_problems.retry(shelf, owner_id, EVERYTHING) == Retried(retried=2, waiting=1)
    jobs = {job.id: job for job in await render_jobs(database)}
    assert len(jobs) == 3
    assert woken == [render_asset.QUEUE]
    hurried = jobs[waiting.job_id]
    assert (hurried.state, hurried.priority) == (JobState.AVAILABLE, Priority.NORMAL)
    assert hurried.run_at < datetime.now(UTC) + timedelta(seconds=5)
    assert jobs[there.job_id].state is JobState.AVAILABLE
    assert await retry_problems.retry(shelf, owner_id, EVERYTHING) == Retried(retried=0, waiting=3)


async def test_only_what_fits_and_belongs_to_the_caller_is_retried(database: Database) -> None:
    async with database.transaction() as tx:
        anna, boris = await user(tx), await user(tx, "boris")
        mine, other, theirs = await asset(tx, anna), await asset(tx, anna, NEF), await asset(tx, boris)
        for asset_id in (mine, other, theirs):
            await problems.record(tx, asset_id, torn())
    shelf = library(database)
    named = ProblemFilter(asset_ids=(theirs,))
    assert await retry_problems.retry(shelf, anna, named) == Retried(retried=0, waiting=0)
    assert await retry_problems.retry(shelf, anna, ProblemFilter(format="jpeg")) == Retried(retried=1, waiting=0)
    assert [job.args["asset_id"] for job in await render_jobs(database)] == [str(mine)]
    assert await retry_problems.set_ignored(shelf, anna, EVERYTHING, ignored=True, dry_run=True) == 2
    assert await retry_problems.set_ignored(shelf, anna, EVERYTHING, ignored=True) == 2
    assert await retry_problems.set_ignored(shelf, anna, EVERYTHING, ignored=True) == 0
    async with database.session() as session:
        assert (await only(session, boris)).ignored_at is None


async def test_a_problem_tells_which_job_tries_it_again(database: Database) -> None:
    async with database.transaction() as tx:
        owner_id = await user(tx)
        asset_id, other = await asset(tx, owner_id), await asset(tx, owner_id)
        for step in ("render", "facts"):
            await problems.record(tx, asset_id, torn(step=step))
        await problems.record(tx, other, torn())
        job = await store.enqueue(tx, render_asset.later(asset_id, owner_id))
        found = await retry_problems.next_attempts(tx, owner_id, await listed(tx, owner_id))
    assert {name: each.id for name, each in found.items()} == {(asset_id, "render"): job.job_id}


OUTDATED_PLAN = """
INSERT INTO problems (asset_id, step, code, reason, tool, tool_version)
SELECT id, step, 'media.damaged', 'torn', nullif(step, 'lumilio'), '1'
FROM assets, unnest('{pillow,libraw,lumilio,ffmpeg}'::text[]) AS step;
ANALYZE problems, assets
"""


@pytest.mark.parametrize("tool", ["pillow", "lumilio"])
async def test_that_no_tool_has_changed_is_found_out_by_index(tx: Tx, tool: str) -> None:
    await user(tx)
    await tx.script(MANY.partition(";")[0], what="assets")
    await tx.script(OUTDATED_PLAN, what="problems")
    query = named_queries()["problems.take_outdated"]
    plan = await tx._connection.fetch(f"EXPLAIN (ANALYZE, COSTS OFF) {query}", tool, "1", 500)
    text = "\n".join(row[0] for row in plan)
    assert "Index Scan on problems_tool_idx" in text
    assert "Index Cond: ((COALESCE(tool" in text
