"""What the event stream is made of: every change of a job is seen, however late it commits and whatever breaks."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from lumilio.api import feed as feeding
from lumilio.api.feed import Batch, Feed, Subscription
from lumilio.api.watch import MOST_ENDED, Look, Watch, cursor_of, moment_of
from lumilio.db import Database
from lumilio.errors import TooManyRequests
from lumilio.model import JobId, Role, UserId
from lumilio.queue import control, policy
from lumilio.queue.claims import Ended, settle
from lumilio.queue.control import JobFilter
from lumilio.queue.kinds import JobContext
from lumilio.queue.policy import Ending, JobState
from lumilio.tools.tokens import Caller
from tests.integration.queue.work import PATIENCE, STRANGER, Args, add, claim, complete, ignore, kind_of

DAY = timedelta(days=1)


async def _never(_context: JobContext, _args: Args) -> None:
    raise AssertionError


KIND = kind_of(_never)


async def _look(db: Database, watch: Watch) -> Look:
    async with db.session() as session:
        return await watch.look(session)


async def _changes(db: Database, watch: Watch) -> list[tuple[JobId, JobState]]:
    return [(job.id, job.state) for job in (await _look(db, watch)).changed]


async def _add(db: Database, count: int = 1) -> list[JobId]:
    return [each.job_id for each in await add(db, KIND, count)]


async def test_a_job_is_seen_when_it_begins_says_something_goes_back_and_ends(database: Database) -> None:
    watch = Watch()
    assert await _changes(database, watch) == []
    (job_id,) = await _add(database)
    assert await _changes(database, watch) == []
    async with database.session() as session:
        (job,) = await claim(session, worker_id=STRANGER, slots=1)
        assert await _changes(database, watch) == [(job_id, JobState.RUNNING)]
        assert await _changes(database, watch) == []
        await session.execute("jobs.report_progress", STRANGER, [job_id], [1], [0.5], ["half"])
        (changed,) = (await _look(database, watch)).changed
        assert (changed.progress, changed.progress_message) == (0.5, "half")
        again = Ending(state=JobState.RETRYABLE, delay=0.0, code="tool.error", message="once more")
        await settle(session, worker_id=STRANGER, ended=[Ended(job, again)])
        assert await _changes(database, watch) == [(job_id, JobState.RETRYABLE)]
        await session.execute("jobs.promote", 10)
        (job,) = await claim(session, worker_id=STRANGER, slots=1)
        assert await _changes(database, watch) == [(job_id, JobState.RUNNING)]
        await control.cancel(session, JobFilter(ids=(job_id,)), on_given_up=ignore)
        (changed,) = (await _look(database, watch)).changed
        assert changed.cancel_requested
        await complete(session, worker_id=STRANGER, ended=[Ended(job, policy.completed(None))])
        assert await _changes(database, watch) == [(job_id, JobState.COMPLETED)]
        assert await _changes(database, watch) == []


async def test_an_ending_that_commits_late_is_seen_and_its_moment_was_not_given_out_before(database: Database) -> None:
    watch = Watch()
    await _look(database, watch)
    slow, quick = await _add(database, 2)
    async with database.transaction() as tx:
        await control.cancel(tx, JobFilter(ids=(slow,)), on_given_up=ignore)
        async with database.transaction() as other:
            await control.cancel(other, JobFilter(ids=(quick,)), on_given_up=ignore)
        look = await _look(database, watch)
        assert [job.id for job in look.changed] == [quick]
        for _ in range(3):
            look = await _look(database, watch)
            assert look.changed == []
        held = look.horizon
    look = await _look(database, watch)
    (job,) = look.changed
    assert job.id == slow
    assert job.finished_at is not None
    assert job.finished_at >= held
    assert await _changes(database, watch) == []


async def test_a_reader_that_stays_open_does_not_hold_the_cursor_back_for_ever(database: Database) -> None:
    watch = Watch()
    async with database.transaction() as reader:
        began = await reader.value("job_control.horizon")
        async with asyncio.timeout(PATIENCE):
            while (await _look(database, watch)).horizon < began + timedelta(seconds=4):
                await asyncio.sleep(0.2)


async def test_a_job_that_ends_twice_is_told_twice(database: Database) -> None:
    watch = Watch()
    await _look(database, watch)
    (job_id,) = await _add(database)
    for _ in range(2):
        async with database.session() as session:
            await control.cancel(session, JobFilter(ids=(job_id,)), on_given_up=ignore)
            assert await _changes(database, watch) == [(job_id, JobState.CANCELLED)]
            await control.retry(session, JobFilter(ids=(job_id,)), attempts_of={})
            assert await _changes(database, watch) == []


def test_a_cursor_is_a_moment_to_the_microsecond() -> None:
    moment = moment_of("1700000000123457")
    assert moment is not None
    assert (moment.microsecond, cursor_of(moment)) == (123457, "1700000000123457")
    for text in ("", "-1", "1.5", "x", "٣", "9" * 17, " 1"):
        assert moment_of(text) is None, text


@asynccontextmanager
async def _feeding(db: Database) -> AsyncIterator[Feed]:
    feed = Feed(db, keep=DAY)
    try:
        yield feed
    finally:
        await feed.close()


@asynccontextmanager
async def _subscribed(
    feed: Feed, *, resume: str | None = None, user_id: UserId | None = None
) -> AsyncIterator[Subscription]:
    caller = Caller(user_id=user_id or UserId(uuid.uuid4()), role=Role.ADMIN)
    async with asyncio.timeout(PATIENCE) as limit:
        subscription = Subscription(caller, kind=None, queue=None, resume=resume, limit=limit)
        with feed.subscribed(subscription):
            yield subscription


async def _next(subscription: Subscription) -> Batch:
    batch = await subscription.next(PATIENCE)
    assert batch is not None
    return batch


async def _cancel(db: Database, ids: Sequence[JobId]) -> None:
    async with db.transaction() as tx:
        await control.cancel(tx, JobFilter(ids=tuple(ids)), on_given_up=ignore)


async def test_all_subscribers_share_one_look_which_ends_with_the_last_of_them(database: Database) -> None:
    async with _feeding(database) as feed:
        async with _subscribed(feed) as first, _subscribed(feed) as second:
            for subscription in (first, second):
                assert (await _next(subscription)).jobs == []
            (job_id,) = await _add(database)
            await _cancel(database, [job_id])
            for subscription in (first, second):
                assert [job.id for job in (await _next(subscription)).jobs] == [job_id]
            assert [task.get_name() for task in asyncio.all_tasks()].count("event feed") == 1
        async with asyncio.timeout(PATIENCE):
            while any(task.get_name() == "event feed" for task in asyncio.all_tasks()):
                await asyncio.sleep(0.01)
        async with _subscribed(feed) as third:
            assert (await _next(third)).jobs == []


async def test_a_cursor_is_answered_with_all_that_ended_since(database: Database) -> None:
    async with _feeding(database) as feed:
        async with _subscribed(feed) as subscription:
            begin = cursor_of((await _next(subscription)).after)
        ids = await _add(database, MOST_ENDED + 1)
        await _cancel(database, ids[1:])
        async with _subscribed(feed, resume=begin) as subscription:
            batch = await _next(subscription)
        assert sorted(job.id for job in batch.jobs) == ids[1:]
        assert (batch.reset, cursor_of(batch.before)) == (False, begin)
        assert batch.after > batch.before
        await _cancel(database, ids[:1])
        async with _subscribed(feed, resume=begin) as subscription:
            batch = await _next(subscription)
        assert (batch.reset, list(batch.jobs)) == (True, [])


async def test_a_subscriber_that_is_too_slow_loses_what_waits_and_is_told(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "MOST_WAITING", 3)
    async with _feeding(database) as feed, _subscribed(feed) as slow, _subscribed(feed) as quick:
        await _next(slow)
        await _next(quick)
        for count in (2, 2, 1):
            ids = await _add(database, count)
            await _cancel(database, ids)
            assert [job.id for job in (await _next(quick)).jobs] == ids
        lost = await _next(slow)
        assert (lost.reset, list(lost.jobs)) == (True, [])
        kept = await _next(slow)
        assert [job.id for job in kept.jobs] == ids
        assert kept.after > lost.after


async def test_the_feed_goes_on_after_the_database_was_away(database: Database) -> None:
    async with _feeding(database) as feed, _subscribed(feed) as subscription:
        await _next(subscription)
        (job_id,) = await _add(database)
        async with database.session() as session:
            await session.script(CUT_ALL, what="cut")
        await _cancel(database, [job_id])
        assert [job.id for job in (await _next(subscription)).jobs] == [job_id]


CUT_ALL = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


async def test_a_feed_that_was_closed_ends_its_streams_and_later_ones_at_once(database: Database) -> None:
    async with _feeding(database) as feed:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                async with _subscribed(feed) as subscription:
                    await feed.close()
                    await subscription.next(PATIENCE)
                    await subscription.next(PATIENCE)


async def test_subscribers_are_bounded_altogether(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "MOST_SUBSCRIBERS", 2)
    async with _feeding(database) as feed:
        async with _subscribed(feed), _subscribed(feed):
            with pytest.raises(TooManyRequests):
                async with _subscribed(feed):
                    raise AssertionError
        async with _subscribed(feed) as subscription:
            assert not (await _next(subscription)).reset
