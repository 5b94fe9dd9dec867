"""Jobs and queues over the API: what is listed, who sees what of it, and what cancel, retry, pause and resume do."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from pydantic import BaseModel

from lumilio.jobs import make_web_version
from lumilio.model import JobId, Role, UserId
from lumilio.queue.policy import Priority
from lumilio.queue.store import JobSpec, enqueue_many
from tests.acceptance.callers import add_account, admin_id, database_of, session_of, token_of
from tests.acceptance.evidence import rows_of
from tests.running import RunningDaemon, finished, upload

NOWHERE = "nowhere"
"""A queue that no worker works on."""
SECRET = "/srv/secret/library"
Document = dict[str, Any]


class Args(BaseModel):
    """What the jobs of these tests are told."""

    path: str = SECRET


def new_kind() -> str:
    """A kind that no other test uses."""
    return f"kind-{uuid.uuid4().hex[:12]}"


async def enqueued(
    daemon: RunningDaemon,
    kind: str,
    count: int = 1,
    *,
    owner_id: UserId | None = None,
    queue: str = NOWHERE,
    key: str | None = None,
) -> Sequence[JobId]:
    """Jobs that wait for ever, oldest first."""
    spec = JobSpec(kind=kind, queue=queue, args=Args(), key=key, priority=Priority.IDLE, owner_id=owner_id)
    async with database_of(daemon) as database, database.transaction() as tx:
        return [each.job_id for each in await enqueue_many(tx, [spec] * count)]


async def got(client: aiohttp.ClientSession, path: str, **query: Any) -> Document:
    """What a GET that succeeds answers."""
    async with client.get(f"/api/v1{path}", params=query) as response:
        assert response.status == 200, await response.text()
        document: Document = await response.json()
        return document


async def posted(client: aiohttp.ClientSession, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
    """The status and the answer of a POST."""
    async with client.post(f"/api/v1{path}", json=body) as response:
        return response.status, await response.json(content_type=None)


async def ids(client: aiohttp.ClientSession, **query: Any) -> list[int]:
    """The ids of a page."""
    return [int(item["job_id"]) for item in (await got(client, "/jobs", **query))["items"]]


async def job_once(
    client: aiohttp.ClientSession, job_id: int | str, holds: Callable[[Document], bool], *, seconds: float = 60
) -> Document:
    """The job as soon as something holds of it."""
    async with asyncio.timeout(seconds):
        while not holds(job := await got(client, f"/jobs/{job_id}")):
            await asyncio.sleep(0.02)
    return job


@asynccontextmanager
async def paused(client: aiohttp.ClientSession, queue: str = "process_asset") -> AsyncIterator[None]:
    """Hold a queue up meanwhile."""
    status, _ = await posted(client, f"/queues/{queue}/pause")
    assert status == 200
    try:
        yield
    finally:
        await posted(client, f"/queues/{queue}/resume")


@asynccontextmanager
async def held_back(daemon: RunningDaemon) -> AsyncIterator[None]:
    """Let the jobs of uploads run meanwhile, but not end: none can store its asset."""
    async with rows_of(daemon) as rows, rows.transaction():
        await rows.execute("LOCK TABLE assets IN EXCLUSIVE MODE")
        yield


async def test_jobs_are_listed_newest_first_by_state_queue_and_kind(shared_daemon: RunningDaemon) -> None:
    one, other, place = new_kind(), new_kind(), f"place-{uuid.uuid4().hex[:8]}"
    first = list(await enqueued(shared_daemon, one, 3))
    second = list(await enqueued(shared_daemon, other, 2, queue=place))
    async with shared_daemon.session() as client:
        assert await ids(client, kind=one) == first[::-1]
        assert await ids(client, queue=place) == second[::-1]
        assert await ids(client, queue=NOWHERE, kind=other) == []
        assert (await posted(client, f"/jobs/{first[1]}/cancel"))[0] == 200
        assert await ids(client, kind=one, state="available") == [first[2], first[0]]
        assert await ids(client, kind=one, state="cancelled") == [first[1]]
        assert await ids(client, kind=one, state=["cancelled", "available"]) == first[::-1]
        assert await ids(client, kind=one, state="running") == []
        assert (await ids(client))[0] >= second[-1]


async def test_pages_follow_one_another_without_gaps_whatever_changes_meanwhile(shared_daemon: RunningDaemon) -> None:
    kind = new_kind()
    made = list(await enqueued(shared_daemon, kind, 7))
    async with shared_daemon.session() as client:
        found: list[int] = []
        cursor: dict[str, str] = {}
        while True:
            page = await got(client, "/jobs", kind=kind, limit="3", **cursor)
            found += [int(item["job_id"]) for item in page["items"]]
            if page["next_cursor"] is None:
                break
            assert len(page["items"]) == 3
            cursor = {"cursor": page["next_cursor"]}
            await posted(client, f"/jobs/{made[0]}/cancel")
            await enqueued(shared_daemon, kind)
        assert found == made[::-1]
        exact = await got(client, "/jobs", kind=kind, state="cancelled", limit="1")
        assert (len(exact["items"]), exact["next_cursor"]) == (1, None)


async def test_a_job_tells_everything_about_itself(shared_daemon: RunningDaemon) -> None:
    kind, owner = new_kind(), await admin_id(shared_daemon)
    (job_id,) = await enqueued(shared_daemon, kind, owner_id=owner, key="the key")
    async with shared_daemon.session() as client:
        job = await got(client, f"/jobs/{job_id}")
        (item,) = (await got(client, "/jobs", kind=kind))["items"]
    assert datetime.fromisoformat(job.pop("created_at")).utcoffset() is not None
    assert datetime.fromisoformat(job.pop("run_at")).utcoffset() is not None
    assert job == {
        "job_id": str(job_id),
        "kind": kind,
        "queue": NOWHERE,
        "state": "available",
        "priority": "idle",
        "attempt": 0,
        "max_attempts": 5,
        "claimed_at": None,
        "finished_at": None,
        "progress": None,
        "progress_message": None,
        "cancel_requested": False,
        "owner_id": str(owner),
        "last_error": None,
        "key": "the key",
        "args": {"path": SECRET},
        "result": None,
        "errors": [],
    }
    assert set(item) == set(job) - {"key", "args", "result", "errors"} | {"created_at", "run_at"}


FAIL = """
UPDATE jobs SET attempt = 2, errors = jsonb_build_array(
    jsonb_build_object('attempt', 1, 'at', now(), 'code', 'media.damaged', 'message', 'the picture is torn'),
    jsonb_build_object('attempt', 2, 'at', now(), 'code', 'storage.error', 'message', $2::text)
) WHERE id = $1
"""


async def test_an_owner_sees_of_a_job_what_does_not_name_the_servers_paths(shared_daemon: RunningDaemon) -> None:
    owner, _ = await add_account(shared_daemon, Role.USER)
    kind = new_kind()
    (job_id,) = await enqueued(shared_daemon, kind, owner_id=owner, key=SECRET)
    async with rows_of(shared_daemon) as rows:
        await rows.execute(FAIL, job_id, f"{SECRET} is torn")
    async with session_of(shared_daemon, token_of(shared_daemon, owner, Role.USER)) as client:
        job = await got(client, f"/jobs/{job_id}")
        (item,) = (await got(client, "/jobs"))["items"]
        _, cancelled = await posted(client, f"/jobs/{job_id}/cancel")
        status, retried = await posted(client, f"/jobs/{job_id}/retry")
    assert (status, retried["state"], cancelled["outcome"]) == (200, "available", "cancelled")
    assert "secret" not in str([job, item, retried, cancelled])
    assert (job["key"], job["args"], job["result"]) == (None, None, None)
    assert [error["code"] for error in job["errors"]] == ["media.damaged", "storage.error"]
    assert job["errors"][0]["message"] == "the picture is torn"
    assert job["last_error"] == job["errors"][1] == item["last_error"]
    async with shared_daemon.session() as client:
        assert (await got(client, f"/jobs/{job_id}"))["last_error"]["message"] == f"{SECRET} is torn"


@pytest.mark.parametrize("role", [Role.USER, Role.GUEST])
async def test_jobs_of_others_and_of_nobody_do_not_exist_for_an_account(
    shared_daemon: RunningDaemon, role: Role
) -> None:
    stranger, _ = await add_account(shared_daemon, role)
    owner, _ = await add_account(shared_daemon, Role.USER)
    kind = new_kind()
    theirs = [*await enqueued(shared_daemon, kind, owner_id=owner), *await enqueued(shared_daemon, kind)]
    (mine,) = await enqueued(shared_daemon, kind, owner_id=stranger)
    async with session_of(shared_daemon, token_of(shared_daemon, stranger, role)) as client:
        assert await ids(client) == [mine]
        assert await ids(client, kind=kind, cursor=str(mine)) == []
        assert (await got(client, f"/jobs/{mine}"))["job_id"] == str(mine)
        for job_id in theirs:
            async with client.get(f"/api/v1/jobs/{job_id}") as response:
                assert response.status == 404
            for action in ("cancel", "retry"):
                status, problem = await posted(client, f"/jobs/{job_id}/{action}")
                assert status == (404 if role is Role.USER else 403)
                assert "state" not in problem
        if role is Role.USER:
            assert await posted(client, "/jobs/cancel", {"all": True}) == (200, {"cancelled": 1, "stopping": 0})
            assert await posted(client, "/jobs/retry", {"all": True}) == (200, {"retried": 1, "superseded": 0})
        else:
            assert (await posted(client, "/jobs/cancel", {"all": True}))[0] == 403
    async with shared_daemon.session() as client:
        assert await ids(client, kind=kind, state="available") == [mine, *theirs[::-1]]
        assert (await posted(client, f"/jobs/{theirs[0]}/cancel"))[0] == 200


def _staged(daemon: RunningDaemon, data: bytes) -> int:
    """How many copies wait in staging, or were set aside."""
    staging = daemon.library / ".lumilio/staging"
    return sum(path.is_file() and path.read_bytes() == data for path in staging.rglob("*"))


async def test_an_upload_that_is_cancelled_keeps_its_bytes_and_completes_when_it_is_retried(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    async with shared_daemon.session() as client:
        async with paused(client):
            status, answer = await upload(client, "cancelled.jpg", photo)
            assert status == 202
            task_id = answer["task_id"]
            assert (await got(client, f"/tasks/{task_id}"))["state"] == "queued"
            answers = (200, {"job_id": task_id, "outcome": "cancelled"})
            assert await posted(client, f"/jobs/{task_id}/cancel") == answers
        task = await got(client, f"/tasks/{task_id}")
        assert (task["state"], task["problem"]["code"], task["asset_id"]) == ("failed", "queue.cancelled", None)
        assert _staged(shared_daemon, photo) == 1
        job = await got(client, f"/jobs/{task_id}")
        assert (job["state"], job["attempt"]) == ("cancelled", 0)
        assert job["finished_at"] is not None
        status, again = await posted(client, f"/jobs/{task_id}/cancel")
        assert (status, again["code"]) == (409, "request.conflict")
        assert f"job {task_id} is cancelled" in again["detail"]
        status, job = await posted(client, f"/jobs/{task_id}/retry")
        assert (status, job["state"], job["max_attempts"]) == (200, "available", 10)
        task = await finished(client, task_id)
        assert (task["state"], task["problem"]) == ("completed", None)
        assert _staged(shared_daemon, photo) == 0
        async with client.get(f"/api/v1/assets/{task['asset_id']}/original") as response:
            assert await response.read() == photo
        for action in ("cancel", "retry"):
            status, refused = await posted(client, f"/jobs/{task_id}/{action}")
            assert (status, refused["code"]) == (409, "request.conflict")
            assert f"job {task_id} is completed" in refused["detail"]


async def test_a_job_is_not_retried_beside_another_that_does_the_same(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    async with shared_daemon.session() as client, paused(client):
        _, first = await upload(client, "twice.jpg", photo)
        assert (await posted(client, f"/jobs/{first['task_id']}/retry"))[0] == 409
        await posted(client, f"/jobs/{first['task_id']}/cancel")
        _, second = await upload(client, "twice.jpg", photo)
        assert second["task_id"] != first["task_id"]
        status, problem = await posted(client, f"/jobs/{first['task_id']}/retry")
        assert (status, problem["code"]) == (409, "request.conflict")
        assert f"job {second['task_id']} does the work" in problem["detail"]
        assert (await got(client, f"/jobs/{first['task_id']}"))["state"] == "cancelled"


async def test_a_running_job_is_told_to_stop_and_can_be_retried(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        async with held_back(shared_daemon):
            _, answer = await upload(client, "stopped.jpg", photo)
            job_id = answer["task_id"]
            await job_once(client, job_id, lambda job: job["state"] == "running")
            assert await posted(client, f"/jobs/{job_id}/cancel") == (200, {"job_id": job_id, "outcome": "stopping"})
            job = await job_once(client, job_id, lambda job: job["state"] != "running")
        assert (job["state"], job["last_error"]["code"]) == ("cancelled", "queue.cancelled")
        assert (await got(client, f"/tasks/{job_id}"))["state"] == "failed"
        assert (await posted(client, f"/jobs/{job_id}/retry"))[0] == 200
        task = await finished(client, job_id)
        assert (task["state"], task["asset_state"], task["problem"]) == ("completed", "ready", None)


async def test_many_jobs_are_cancelled_and_retried_by_a_filter(shared_daemon: RunningDaemon) -> None:
    kind, bystander = new_kind(), new_kind()
    await enqueued(shared_daemon, kind, 2100)
    (spared,) = await enqueued(shared_daemon, bystander)
    none, all_cancelled = {"cancelled": 0, "stopping": 0}, {"cancelled": 2100, "stopping": 0}
    async with shared_daemon.session() as client:
        for other in ({"state": ["retryable"]}, {"queue": "elsewhere"}):
            assert await posted(client, "/jobs/cancel", {"kind": kind, **other}) == (200, none)
        assert await posted(client, "/jobs/cancel", {"kind": kind, "queue": NOWHERE}) == (200, all_cancelled)
        assert await ids(client, kind=kind, state="available") == []
        only_discarded = {"kind": kind, "state": ["discarded"]}
        assert await posted(client, "/jobs/retry", only_discarded) == (200, {"retried": 0, "superseded": 0})
        assert await posted(client, "/jobs/retry", {"kind": kind}) == (200, {"retried": 2100, "superseded": 0})
        assert len(await ids(client, kind=kind, state="available", limit="500")) == 500
        assert await posted(client, "/jobs/cancel", {"kind": kind}) == (200, all_cancelled)
        assert await ids(client, kind=bystander, state="available") == [spared]


async def test_what_another_job_does_is_counted_and_passed_by_when_many_are_retried(
    shared_daemon: RunningDaemon,
) -> None:
    kind = new_kind()
    async with shared_daemon.session() as client:
        for _ in range(3):
            await enqueued(shared_daemon, kind, key="the same")
            await posted(client, "/jobs/cancel", {"kind": kind})
        await enqueued(shared_daemon, kind)
        await posted(client, "/jobs/cancel", {"kind": kind})
        assert await posted(client, "/jobs/retry", {"kind": kind}) == (200, {"retried": 2, "superseded": 2})
        assert len(await ids(client, kind=kind, state="cancelled")) == 2


async def test_a_filter_without_anything_is_refused_unless_all_is_said(daemon: RunningDaemon) -> None:
    kind = new_kind()
    nothing: tuple[Document, ...] = ({}, {"state": []}, {"all": False})
    await enqueued(daemon, kind, 2)
    async with daemon.session() as client:
        for action in ("cancel", "retry"):
            for body in nothing:
                status, problem = await posted(client, f"/jobs/{action}", body)
                assert (status, problem["code"]) == (400, "request.invalid")
                assert '"all": true' in problem["detail"]
        assert await ids(client, kind=kind, state="available", limit="500") != []
        status, counts = await posted(client, "/jobs/cancel", {"all": True})
        assert (status, counts["cancelled"] >= 2) == (200, True)
        assert await ids(client, kind=kind, state="available") == []
        status, counts = await posted(client, "/jobs/retry", {"all": True})
        assert (status, counts["retried"] >= 2) == (200, True)


async def test_running_jobs_are_stopped_once_when_many_are_cancelled(daemon: RunningDaemon, photo: bytes) -> None:
    async with daemon.session() as client:
        async with held_back(daemon):
            _, answer = await upload(client, "stopped.jpg", photo)
            await job_once(client, answer["task_id"], lambda job: job["state"] == "running")
            status, counts = await posted(client, "/jobs/cancel", {"kind": "process_asset"})
            assert (status, counts) == (200, {"cancelled": 0, "stopping": 1})
            job = await job_once(client, answer["task_id"], lambda job: job["state"] != "running")
        assert job["state"] == "cancelled"
        assert (await posted(client, f"/jobs/{answer['task_id']}/retry"))[0] == 200
        assert (await finished(client, answer["task_id"]))["state"] == "completed"


async def _queue(client: aiohttp.ClientSession, name: str) -> Document | None:
    items = (await got(client, "/queues"))["items"]
    assert [item["name"] for item in items] == sorted(item["name"] for item in items)
    return next((item for item in items if item["name"] == name), None)


async def test_queues_tell_how_full_they_are_and_who_works_on_them(shared_daemon: RunningDaemon) -> None:
    place = f"place-{uuid.uuid4().hex[:8]}"
    async with shared_daemon.session() as client:
        known = await _queue(client, "process_asset")
        assert known is not None
        assert known["slots"] >= 5
        assert known["states"].keys() == {"available", "scheduled", "running", "retryable"}
        assert await _queue(client, "files") is not None
        assert await _queue(client, place) is None
        made = await enqueued(shared_daemon, new_kind(), 3, queue=place)
        await posted(client, f"/jobs/{made[0]}/cancel")
        queue = await _queue(client, place)
        assert queue is not None
        assert (queue["slots"], queue["paused_at"], queue["cancelled"], queue["discarded"]) == (None, None, 1, 0)
        assert queue["states"]["available"]["jobs"] == 2
        assert 0 <= queue["states"]["available"]["oldest_seconds"] < 60
        assert queue["states"]["running"] == {"jobs": 0, "oldest_seconds": None}
        (worker,) = (await got(client, "/queues"))["workers"]
        assert worker["name"].startswith("lumilio worker ")
        assert datetime.fromisoformat(worker["seen_at"]).utcoffset() is not None


async def test_a_paused_queue_begins_nothing_until_it_is_resumed(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        status, held = await posted(client, "/queues/process_asset/pause")
        try:
            assert (status, held["name"]) == (200, "process_asset")
            status, again = await posted(client, "/queues/process_asset/pause")
            assert (status, again["paused_at"]) == (200, held["paused_at"])
            _, answer = await upload(client, "held.jpg", photo)
            queue = await _queue(client, "process_asset")
            assert queue is not None
            assert (queue["paused_at"], queue["states"]["available"]["jobs"]) == (held["paused_at"], 1)
            with pytest.raises(TimeoutError):
                await finished(client, answer["task_id"], seconds=1)
            assert (await got(client, f"/tasks/{answer['task_id']}"))["state"] == "queued"
        finally:
            status, resumed = await posted(client, "/queues/process_asset/resume")
        assert (status, resumed["paused_at"]) == (200, None)
        began = asyncio.get_running_loop().time()
        assert (await finished(client, answer["task_id"]))["state"] == "completed"
        assert asyncio.get_running_loop().time() - began < 10
        assert (await posted(client, "/queues/process_asset/resume"))[0] == 200


async def test_a_queue_that_only_some_jobs_of_a_kind_go_to_is_listed_and_paused_like_all(
    shared_daemon: RunningDaemon,
) -> None:
    async with shared_daemon.session() as client:
        listed = {item["name"]: item for item in (await got(client, "/queues"))["items"]}
        assert listed[make_web_version.NOW_QUEUE]["slots"] == 1
        for what, paused in (("pause", True), ("resume", False)):
            async with client.post(f"/api/v1/queues/{make_web_version.NOW_QUEUE}/{what}") as response:
                assert response.status == 200
                assert ((await response.json())["paused_at"] is not None) is paused
