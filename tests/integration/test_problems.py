"""Problems as rows, and what brings a failed file back to work: another version, a new format, somebody who asks."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lumilio.catalog import assets, problems, repositories, users
from lumilio.catalog.assets import NewAsset
from lumilio.catalog.problems import ListedProblem, ProblemFilter
from lumilio.db import Database, Tx, named_queries
from lumilio.errors import JobSnoozed
from lumilio.jobs import make_web_version, render_asset, retry_problems
from lumilio.jobs.library import Library, OwnedRepository
from lumilio.jobs.retry_problems import Retried, RetryProblems
from lumilio.model import (
    AssetId,
    CaptureTime,
    CaptureTimeSource,
    ContentHash,
    Facts,
    JobId,
    MediaKind,
    MediaType,
    Problem,
    ProcessingState,
    Role,
    UserId,
)
from lumilio.queue import store
from lumilio.queue.control import JobFilter, list_jobs
from lumilio.queue.kinds import JobContext
from lumilio.queue.policy import JobState, Priority
from lumilio.queue.store import Job
from lumilio.storage.creation import create_repository
from lumilio.storage.repository import Repository

JPEG = MediaType(kind=MediaKind.PHOTO, format="jpeg", mime="image/jpeg")
NEF = MediaType(kind=MediaKind.PHOTO, format="nef", mime="image/x-nikon-nef")
MP4 = MediaType(kind=MediaKind.VIDEO, format="mp4", mime="video/mp4")
EVERYTHING = ProblemFilter()
NOTHING = {"outdated": 0, "supported": 0, "unrendered": 0}


async def user(tx: Tx, name: str = "anna") -> UserId:
    return await users.add_user(tx, name, "hash", Role.USER)


async def asset(
    tx: Tx, owner_id: UserId, media_type: MediaType = JPEG, state: ProcessingState = ProcessingState.PROBLEM
) -> AssetId:
    captured = CaptureTime(
        local=datetime(2024, 5, 1, 12),  # noqa: DTZ001 - a wall clock
        utc_offset=None,
        source=CaptureTimeSource.EXIF,
    )
    new = NewAsset(
        owner_id=owner_id,
        content_hash=ContentHash(uuid.uuid4().hex * 2),
        file_name="photo.jpg",
        size=5,
        media_type=media_type,
        state=state,
        facts=Facts(media_type=media_type, capture_time=captured, exif={}),
    )
    asset_id = await assets.add_asset(tx, new)
    assert asset_id is not None
    return asset_id


def torn(**changes: Any) -> Problem:
    members = {
        "code": "media.damaged",
        "step": "render",
        "reason": "the picture is torn",
        "tool": "pillow",
        "tool_version": "13.0.0",
    }
    return Problem(**{**members, **changes})


async def listed(tx: Tx, owner_id: UserId, **wanted: Any) -> Sequence[ListedProblem]:
    return (await problems.page(tx, owner_id, ProblemFilter(**wanted), limit=100)).items


async def only(tx: Tx, owner_id: UserId) -> ListedProblem:
    (found,) = await listed(tx, owner_id)
    return found


async def ignore(tx: Tx, owner_id: UserId, asset_id: AssetId, step: str = "render", *, ignored: bool = True) -> int:
    return await problems.set_ignored(tx, owner_id, [(asset_id, step)], ignored=ignored)


async def render_jobs(db: Database) -> Sequence[Job]:
    async with db.session() as session:
        return await list_jobs(session, JobFilter(queue=render_asset.QUEUE), before=None, limit=5000)


def library(db: Database, woken: list[str] | None = None, repositories: Sequence[Repository] = ()) -> Library:
    owned = {
        each.id: OwnedRepository(repository=each, owner_id=UserId(uuid.uuid4()), is_default=True)
        for each in repositories
    }
    return Library(db=db, repositories=owned, wake_queue=(woken if woken is not None else []).append)


def attempt() -> JobContext:
    return JobContext(job_id=JobId(1), attempt=1, max_attempts=3, owner_id=None, report=lambda *_: None)


async def run(
    db: Database,
    versions: Mapping[str, str],
    formats: Sequence[str] = (),
    woken: list[str] | None = None,
    repositories: Sequence[Repository] = (),
) -> Mapping[str, object]:
    async def found() -> Mapping[str, str]:
        return versions

    shelf = library(db, woken, repositories)
    job = RetryProblems(library=shelf, versions=found, formats=formats)
    return await job.work(attempt(), retry_problems.Args())


async def test_a_problem_comes_back_as_it_was_recorded(tx: Tx) -> None:
    owner_id = await user(tx)
    asset_id = await asset(tx, owner_id, NEF)
    await problems.record(tx, asset_id, torn())
    found = await only(tx, owner_id)
    assert (found.asset_id, found.file_name, found.path) == (asset_id, "photo.jpg", None)
    assert (found.kind, found.format, found.problem) == (MediaKind.PHOTO, "nef", torn())
    assert (found.attempts, found.ignored_at, found.created_at) == (1, None, found.updated_at)
    assert await problems.of_asset(tx, asset_id) == [torn()]


async def test_what_a_tool_said_is_kept_as_one_line_that_no_terminal_obeys(tx: Tx) -> None:
    owner_id = await user(tx)
    asset_id = await asset(tx, owner_id)
    await problems.record(tx, asset_id, torn(reason="\x1b[31mtorn\0 \ud800 at\nrow 7" + "x" * 5000))
    (found,) = await problems.of_asset(tx, asset_id)
    assert found.reason.startswith("\\x1b[31mtorn\\x00 \ufffd at row 7x")
    assert len(found.reason) == 2000


async def test_the_same_step_again_is_one_more_attempt_and_the_last_reason_counts(database: Database) -> None:
    async with database.transaction() as tx:
        owner_id = await user(tx)
        asset_id = await asset(tx, owner_id)
        await problems.record(tx, asset_id, torn())
    async with database.transaction() as tx:
        await problems.record(tx, asset_id, torn(code="tool.timed_out", reason="too slow", tool_version="14"))
        await problems.record(tx, asset_id, torn(step="facts"))
    async with database.session() as session:
        facts, render = sorted(await listed(session, owner_id), key=lambda each: each.problem.step)
    assert (render.attempts, render.problem.reason, render.problem.tool_version) == (2, "too slow", "14")
    assert render.created_at < render.updated_at
    assert facts.attempts == 1


async def test_the_tries_of_a_job_add_up_and_one_that_never_began_counts_as_one(tx: Tx) -> None:
    owner_id = await user(tx)
    asset_id = await asset(tx, owner_id)
    for attempts, sum_of_all in ((3, 3), (2, 5), (0, 6), (1, 7)):
        await problems.record(tx, asset_id, torn(), attempts=attempts)
        assert (await only(tx, owner_id)).attempts == sum_of_all


@pytest.mark.parametrize(
    ("repeat", "stays"),
    [
        (torn(reason="torn at another row"), True),
        (torn(tool=None, tool_version=None), True),
        (torn(code="media.over_budget"), False),
        (torn(tool_version="14"), False),
        (torn(tool="libvips"), False),
        (torn(code="queue.worker_died", tool=None, tool_version=None), False),
    ],
)
async def test_what_is_ignored_stays_so_until_it_fails_in_another_way(tx: Tx, repeat: Problem, stays: bool) -> None:
    owner_id = await user(tx)
    asset_id = await asset(tx, owner_id)
    await problems.record(tx, asset_id, torn())
    assert await ignore(tx, owner_id, asset_id) == 1
    await problems.record(tx, asset_id, repeat)
    assert ((await only(tx, owner_id)).ignored_at is not None) is stays


async def test_steps_that_succeed_have_no_problem_any_more(tx: Tx) -> None:
    owner_id = await user(tx)
    asset_id = await asset(tx, owner_id)
    for step in ("render", "facts", "process"):
        await problems.record(tx, asset_id, torn(step=step))
    await problems.clear(tx, asset_id, "facts")
    assert [each.step for each in await problems.of_asset(tx, asset_id)] == ["process", "render"]
    await problems.clear(tx, asset_id, "process", "render", "detect")
    assert await problems.of_asset(tx, asset_id) == []


async def test_pages_follow_one_another_newest_first_whatever_fails_meanwhile(database: Database) -> None:
    made: list[tuple[AssetId, str]] = []
    async with database.session() as session:
        owner_id = await user(session)
        for _ in range(4):
            asset_id = await asset(session, owner_id)
            for step in ("facts", "render"):
                await problems.record(session, asset_id, torn(step=step))
                made.append((asset_id, step))
        met: list[tuple[AssetId, str]] = []
        after = None
        while True:
            page = await problems.page(session, owner_id, EVERYTHING, after=after, limit=3)
            met += [(each.asset_id, each.problem.step) for each in page.items]
            if page.end is None:
                break
            assert len(page.items) == 3
            after = page.end
            await problems.record(session, made[-1][0], torn(step=made[-1][1]))
        assert met == made[::-1]
        exact = await problems.page(session, owner_id, EVERYTHING, limit=8)
        assert (len(exact.items), exact.end) == (8, None)


async def test_problems_are_filtered_and_counted_by_everything_that_is_known(tx: Tx) -> None:
    owner_id = await user(tx)
    photo, raw, film = await asset(tx, owner_id), await asset(tx, owner_id, NEF), await asset(tx, owner_id, MP4)
    await problems.record(tx, photo, torn())
    await problems.record(tx, raw, torn(code="tool.timed_out", tool="libraw", tool_version="0.21"))
    await problems.record(tx, film, torn(step="facts", tool="exiftool", tool_version="12.57"))
    await problems.record(tx, film, torn())
    await ignore(tx, owner_id, film, "facts")
    expected: tuple[tuple[dict[str, Any], set[tuple[AssetId, str]]], ...] = (
        ({"code": "tool.timed_out"}, {(raw, "render")}),
        ({"step": "facts"}, {(film, "facts")}),
        ({"tool": "pillow"}, {(photo, "render"), (film, "render")}),
        ({"kind": MediaKind.VIDEO}, {(film, "facts"), (film, "render")}),
        ({"format": "nef"}, {(raw, "render")}),
        ({"ignored": True}, {(film, "facts")}),
        ({"ignored": False}, {(photo, "render"), (raw, "render"), (film, "render")}),
        ({"asset_ids": (photo, raw)}, {(photo, "render"), (raw, "render")}),
        ({"tool": "pillow", "kind": MediaKind.PHOTO}, {(photo, "render")}),
        ({"tool": "pillow", "format": "nef"}, set()),
    )
    for wanted, found in expected:
        items = await listed(tx, owner_id, **wanted)
        assert {(each.asset_id, each.problem.step) for each in items} == found, wanted
        assert sum(each.problems for each in await problems.counts(tx, owner_id, ProblemFilter(**wanted))) == len(found)
    assert [(each.code, each.step, each.problems) for each in await problems.counts(tx, owner_id, EVERYTHING)] == [
        ("media.damaged", "render", 2),
        ("media.damaged", "facts", 1),
        ("tool.timed_out", "render", 1),
    ]


async def test_problems_of_others_and_of_the_trash_are_not_listed_and_not_changed(tx: Tx) -> None:
    anna, boris = await user(tx), await user(tx, "boris")
    theirs, trashed = await asset(tx, boris), await asset(tx, anna)
    for asset_id in (theirs, trashed):
        await problems.record(tx, asset_id, torn())
    await assets.set_trashed(tx, trashed, anna)
    assert await listed(tx, anna) == []
    assert await problems.counts(tx, anna, EVERYTHING) == []
    assert await ignore(tx, anna, theirs) == 0
    assert (await only(tx, boris)).ignored_at is None


async def test_ignoring_is_said_once_and_taken_back(tx: Tx) -> None:
    owner_id = await user(tx)
    asset_id = await asset(tx, owner_id)
    await problems.record(tx, asset_id, torn())
    assert [await ignore(tx, owner_id, asset_id, ignored=value) for value in (False, True, True, False)] == [0, 1, 0, 1]
    assert await ignore(tx, owner_id, asset_id, "another step") == 0


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
