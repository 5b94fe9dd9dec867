"""The event stream: what it tells and to whom, and that nothing is missed between two streams."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lumilio.api.feed import MOST_OF_ONE
from lumilio.model import Role
from tests.acceptance.callers import add_account, session_of, token_of
from tests.acceptance.evidence import PATIENCE, photos, rows_of, spoken
from tests.acceptance.raw_http import connect, head_of
from tests.acceptance.test_api_jobs import NOWHERE, enqueued, held_back, job_once, new_kind, posted
from tests.running import RunningDaemon, finished, running_daemon, upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One block of the stream; ``name`` is empty for one that only moves the cursor."""

    name: str
    event_id: str
    data: dict[str, Any]


@asynccontextmanager
async def streaming(
    client: aiohttp.ClientSession, *, resume: str | None = None, **query: str
) -> AsyncIterator[AsyncIterator[Event]]:
    """The events of one stream, from its first block on."""
    headers = {"Last-Event-ID": resume} if resume is not None else {}
    timeout = aiohttp.ClientTimeout(total=None, sock_read=PATIENCE)
    async with client.get("/api/v1/events", params=query, headers=headers, timeout=timeout) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream"), await response.text()
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Accel-Buffering"] == "no"
        async with aclosing(_events(response.content)) as events:
            first = await anext(events)
            assert first.event_id == ""  # the greeting
            yield events


async def _events(content: aiohttp.StreamReader) -> AsyncGenerator[Event, None]:
    fields: dict[str, str] = {}
    async for line in content:
        text = line.decode().rstrip("\n")
        if text and not text.startswith(":"):
            name, _, value = text.partition(": ")
            fields[name] = value
        elif not text:
            data = json.loads(fields["data"]) if "data" in fields else {}
            yield Event(name=fields.get("event", ""), event_id=fields.get("id", ""), data=data)
            fields = {}


async def until(events: AsyncIterator[Event], wanted: Callable[[Event], bool]) -> list[Event]:
    """What comes up to the first event that is wanted."""
    found: list[Event] = []
    async with asyncio.timeout(PATIENCE):
        async for event in events:
            found.append(event)
            if wanted(event):
                return found
    raise AssertionError(f"the stream ended with {found}")


async def cursor(events: AsyncIterator[Event]) -> str:
    """Where the stream begins."""
    return (await until(events, lambda event: event.event_id != ""))[-1].event_id


def tells(
    job_id: str, *, name: str = "job", state: str = "completed", or_reset: bool = False
) -> Callable[[Event], bool]:
    """Whether an event tells that a job is in a state (or that events were missed)."""
    return lambda event: (
        (or_reset and event.name == "reset")
        or (
            event.name == name
            and event.data["state"] == state
            and job_id == event.data["job_id" if name == "job" else "task_id"]
        )
    )


async def test_an_upload_is_told_from_its_begin_to_its_end(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client, streaming(client) as events:
        await cursor(events)
        async with held_back(shared_daemon):
            _, answer = await upload(client, "told.jpg", photo)
            task_id = answer["task_id"]
            found = await until(events, tells(task_id, name="task", state="running"))
        found += await until(events, tells(task_id, name="task"))
        about = [event for event in found if event.data.get("job_id", event.data.get("task_id")) == task_id]
        assert [(event.name, event.data["state"]) for event in about] == [
            ("job", "running"),
            ("task", "running"),
            ("job", "completed"),
            ("task", "completed"),
        ]
        assert all(event.event_id.isdigit() for event in about)
        assert about[-1].data == await finished(client, task_id)
        async with client.get(f"/api/v1/jobs/{task_id}") as response:
            document = await response.json()
        assert about[-2].data == {key: document[key] for key in about[-2].data}
        assert (about[-2].data["kind"], about[-2].data["attempt"]) == ("process_asset", 1)


async def test_a_new_stream_begins_with_what_runs(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client, AsyncExitStack() as stack:
        async with held_back(shared_daemon):
            _, answer = await upload(client, "runs.jpg", photo)
            await job_once(client, answer["task_id"], lambda job: job["state"] == "running")
            events = await stack.enter_async_context(streaming(client))
            first = await anext(events)
            assert (first.name, first.data["job_id"]) == ("job", answer["task_id"])
            assert first.data["state"] == "running"
        await until(events, tells(answer["task_id"]))


async def test_a_stream_resumes_where_the_one_before_broke_off(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        async with streaming(client) as events:
            last = await cursor(events)
        _, answer = await upload(client, "between.jpg", photo)
        await finished(client, answer["task_id"])
        ways: tuple[dict[str, str], ...] = ({"resume": last}, {"last_event_id": last})
        for way in ways:
            async with streaming(client, **way) as events:
                found = await until(events, tells(answer["task_id"], name="task"))
                assert "reset" not in {event.name for event in found}
        async with streaming(client, resume=last, last_event_id="an older one") as events:
            found = await until(events, tells(answer["task_id"], name="task"))
            assert "reset" not in {event.name for event in found}


async def test_a_batch_that_broke_off_in_the_middle_comes_again_whole(shared_daemon: RunningDaemon) -> None:
    kind = new_kind()
    made = {str(job_id) for job_id in await enqueued(shared_daemon, kind, 5)}
    async with shared_daemon.session() as client:
        async with streaming(client, kind=kind) as events:
            begin = await cursor(events)
            await posted(client, "/jobs/cancel", {"kind": kind})
            first = await anext(events)
            assert first.data["job_id"] in made
        assert int(first.event_id) >= int(begin)
        async with streaming(client, kind=kind, resume=first.event_id) as events:
            found = [await anext(events) for _ in made]
        assert {event.data["job_id"] for event in found} == made
        async with streaming(client, kind=kind, resume=found[-1].event_id) as events:
            again = await until(events, lambda event: event.event_id != "")
        assert len(again) <= len(made)


@pytest.mark.parametrize("way", ["malformed", "too old", "of the future"])
async def test_a_cursor_that_leads_nowhere_is_answered_with_a_reset(shared_daemon: RunningDaemon, way: str) -> None:
    now = time.time_ns() // 1000
    hours = 3_600_000_000
    resume = {"malformed": "é 12", "too old": str(now - 25 * hours), "of the future": str(now + hours)}[way]
    async with shared_daemon.session() as client:
        async with streaming(client, last_event_id=resume) as events:
            first = await anext(events)
            assert first.name == "reset"
            assert "list" in first.data["reason"]
            assert first.event_id
        async with streaming(client, resume=first.event_id) as events:
            assert (await anext(events)).name != "reset"


async def test_more_endings_than_can_be_told_are_a_reset_for_old_and_new_streams(shared_daemon: RunningDaemon) -> None:
    kind = new_kind()
    await enqueued(shared_daemon, kind, 1500)
    async with shared_daemon.session() as client:
        async with streaming(client, kind=kind) as events:
            begin = await cursor(events)
            async with rows_of(shared_daemon) as rows:
                await rows.execute(END_AT_ONCE, kind)
            found = await until(events, lambda event: event.name == "reset")
            assert {event.name for event in found} <= {"", "reset"}
            (one,) = await enqueued(shared_daemon, kind)
            await posted(client, f"/jobs/{one}/cancel")
            await until(events, tells(str(one), state="cancelled"))
        async with streaming(client, kind=kind, resume=begin) as events:
            assert (await anext(events)).name == "reset"


END_AT_ONCE = """
WITH gone AS (DELETE FROM jobs WHERE kind = $1 RETURNING jobs.*)
INSERT INTO finished_jobs (
    id, kind, queue, key, args, state, priority, attempt, max_attempts, run_at, owner_id, created_at, errors
)
SELECT
    id, kind, queue, key, args, 'completed', priority, attempt, max_attempts, run_at, owner_id, created_at, errors
FROM gone
"""


@pytest.mark.parametrize("role", [Role.USER, Role.GUEST])
async def test_an_account_is_told_of_its_own_jobs_only(shared_daemon: RunningDaemon, role: Role) -> None:
    account, _ = await add_account(shared_daemon, role)
    kind = new_kind()
    (theirs, ours) = (*await enqueued(shared_daemon, kind), *await enqueued(shared_daemon, kind, owner_id=account))
    async with (
        shared_daemon.session() as admin,
        session_of(shared_daemon, token_of(shared_daemon, account, role)) as client,
        streaming(admin, kind=kind) as all_events,
        streaming(client) as events,
    ):
        begin = await cursor(events)
        for job_id in (theirs, ours):
            assert (await posted(admin, f"/jobs/{job_id}/cancel"))[0] == 200
        told = await until(events, tells(str(ours), state="cancelled"))
        assert str(theirs) not in {event.data.get("job_id") for event in told}
        assert {event.data.get("job_id") for event in await until(all_events, tells(str(ours), state="cancelled"))} == {
            None,
            str(theirs),
            str(ours),
        }
        async with streaming(client, resume=begin) as again:
            told = await until(again, tells(str(ours), state="cancelled"))
            assert {event.data.get("job_id") for event in told} <= {None, str(ours)}


async def test_a_stream_can_be_narrowed_to_a_kind_and_a_queue(shared_daemon: RunningDaemon) -> None:
    kind, other, place = new_kind(), new_kind(), f"place-{uuid.uuid4().hex[:8]}"
    jobs = [
        *await enqueued(shared_daemon, kind),
        *await enqueued(shared_daemon, other, queue=place),
        *await enqueued(shared_daemon, kind, queue=place),
    ]
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(shared_daemon.session())
        by_kind = await stack.enter_async_context(streaming(client, kind=kind))
        by_queue = await stack.enter_async_context(streaming(client, queue=place))
        by_both = await stack.enter_async_context(streaming(client, queue=place, kind=kind))
        for events in (by_kind, by_queue, by_both):
            await cursor(events)
        for job_id in jobs:
            await posted(client, f"/jobs/{job_id}/cancel")
        last = tells(str(jobs[2]), state="cancelled")
        expected = ((by_kind, {jobs[0], jobs[2]}), (by_queue, {jobs[1], jobs[2]}), (by_both, {jobs[2]}))
        for events, wanted in expected:
            told = await until(events, last)
            assert {event.data["job_id"] for event in told if event.data} == {str(job_id) for job_id in wanted}


async def test_nothing_is_missed_over_a_restart_of_the_daemon(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    over: set[str] = set()

    def note(event: Event) -> None:
        if event.name == "task" and event.data["state"] == "completed":
            over.add(event.data["task_id"])

    with running_daemon(tmp_path / "daemon") as daemon:
        async with daemon.session() as client, streaming(client) as events:
            last = await cursor(events)
            for name, data in photos(30, seed=11, size=(640, 480)).items():
                status, answer = await upload(client, name, data)
                assert status == 202
                acknowledged.add(answer["task_id"])
            event = (await until(events, lambda event: event.name == "task"))[-1]
            note(event)
            stopping = asyncio.create_task(asyncio.to_thread(daemon.stop))
            async for event in events:
                note(event)
                last = event.event_id or last
            assert await stopping == 0
    assert len(over) < len(acknowledged)
    with running_daemon(tmp_path / "daemon") as daemon:
        async with daemon.session() as client, asyncio.timeout(PATIENCE), streaming(client, resume=last) as events:
            async for event in events:
                assert event.name != "reset"
                note(event)
                if over == acknowledged:
                    break


async def test_streams_end_at_once_when_the_daemon_is_told_to_stop(daemon: RunningDaemon) -> None:
    silent = await connect(daemon)
    await silent.send(head_of(daemon, "GET", "/api/v1/events"))
    async with daemon.session() as client, streaming(client) as events:
        await cursor(events)
        began = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(daemon.stop))
        async for _ in events:
            pass
        assert time.monotonic() - began < 3
        assert await stopping == 0
        assert time.monotonic() - began < 10
    await silent.abort()
    assert spoken(daemon) == ""


async def test_a_client_that_takes_nothing_is_reset_and_holds_up_neither_the_others_nor_the_stop(
    daemon: RunningDaemon,
) -> None:
    kind = new_kind()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(daemon.session())
        slow = await stack.enter_async_context(streaming(client, kind=kind))
        blocked = await stack.enter_async_context(streaming(client, kind=kind))
        quick = await stack.enter_async_context(streaming(client, kind=kind))
        for events in (slow, blocked, quick):
            await cursor(events)
        async with rows_of(daemon) as rows:
            for _ in range(8):  # 2.4 MB each: more than the kernel and the queue of a stream take together
                last = str((await enqueued(daemon, kind, 900))[-1])
                await rows.execute(BLOW_UP, kind)
                await rows.execute(END_AT_ONCE, kind)
                await until(quick, tells(last, or_reset=True))
        found = await until(slow, lambda event: event.name == "reset")
        assert found[-1].event_id
        assert len(found) < 8 * 900
        began = time.monotonic()
        assert await asyncio.to_thread(daemon.stop) == 0
        assert time.monotonic() - began < 10
        assert spoken(daemon) == ""


BLOW_UP = """
UPDATE jobs SET errors = jsonb_build_array(
    jsonb_build_object('attempt', 1, 'at', now(), 'code', 'media.damaged', 'message', repeat('x', 2000))
) WHERE kind = $1
"""


async def test_a_stream_does_not_outlive_the_token_of_its_caller(shared_daemon: RunningDaemon) -> None:
    account, _ = await add_account(shared_daemon, Role.USER)
    token = token_of(shared_daemon, account, Role.USER, timedelta(seconds=2))
    began = time.monotonic()
    async with session_of(shared_daemon, token) as client, streaming(client) as events:
        async for _ in events:
            pass
    assert time.monotonic() - began < 10


async def test_an_account_has_a_bounded_number_of_streams_and_closed_ones_make_room(
    shared_daemon: RunningDaemon,
) -> None:
    account, _ = await add_account(shared_daemon, Role.GUEST)
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Authorization": f"Bearer {token_of(shared_daemon, account, Role.GUEST)}"}
    async with aiohttp.ClientSession(shared_daemon.url, headers=headers, connector=connector) as client:
        async with AsyncExitStack() as stack:
            for _ in range(MOST_OF_ONE):
                await stack.enter_async_context(streaming(client))
            async with client.get("/api/v1/events") as response:
                assert response.status == 429
                assert (await response.json(content_type=None))["code"] == "request.too_many"
                assert int(response.headers["Retry-After"]) > 0
            async with shared_daemon.session() as admin, streaming(admin) as events:
                await cursor(events)
        async with asyncio.timeout(PATIENCE):
            while await _status(client) == 429:
                await asyncio.sleep(0.1)


async def _status(client: aiohttp.ClientSession) -> int:
    async with client.get("/api/v1/events") as response:
        return response.status


async def test_a_silent_stream_pings_and_moves_its_cursor(shared_daemon: RunningDaemon) -> None:
    async with shared_daemon.session() as client, streaming(client, kind=new_kind(), queue=NOWHERE) as events:
        first = await cursor(events)
        later = await cursor(events)
        assert int(later) - int(first) > 10_000_000


async def test_head_of_the_stream_answers_without_a_body(shared_daemon: RunningDaemon) -> None:
    async with shared_daemon.session() as client:
        async with asyncio.timeout(10), client.head("/api/v1/events") as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
            assert await response.read() == b""
        async with client.get("/health/live") as response:
            assert response.status == 200
