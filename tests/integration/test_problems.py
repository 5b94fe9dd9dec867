"""Problems as rows: recorded, counted, listed, ignored."""

from typing import Any

import pytest

from lumilio.catalog import assets, problems
from lumilio.catalog.problems import ProblemFilter
from lumilio.db import Database, Tx
from lumilio.model import (
    AssetId,
    MediaKind,
    Problem,
)
from tests.integration.problem_cases import (
    EVERYTHING,
    MP4,
    NEF,
    asset,
    ignore,
    listed,
    only,
    torn,
    user,
)


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
