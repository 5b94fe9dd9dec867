"""The access rule, generated from the OpenAPI document: every route, every kind of caller."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from lumilio.api.app import ROUTES
from lumilio.api.context import Access
from lumilio.catalog import assets
from lumilio.catalog.assets import NewAsset
from lumilio.model import (
    AssetId,
    CaptureTime,
    CaptureTimeSource,
    ContentHash,
    Facts,
    MediaKind,
    MediaType,
    ProcessingState,
    Role,
    UserId,
)
from tests.acceptance.callers import add_account, admin_id, database_of, session_of, token_of
from tests.running import RunningDaemon, finished, upload

JPEG = MediaType(kind=MediaKind.PHOTO, format="jpeg", mime="image/jpeg")
NOBODY = ("no token", "garbage", "expired", "another key", "another scheme", "in the query")


@dataclass(frozen=True, slots=True, kw_only=True)
class Belongings:
    """What the administrator has: one asset and the task that made it."""

    asset_id: str
    task_id: str
    content_hash: str


async def _belongings(daemon: RunningDaemon, photo: bytes) -> Belongings:
    async with daemon.session() as client:
        _, answer = await upload(client, "mine.jpg", photo)
        task = await finished(client, answer["task_id"])
    return Belongings(asset_id=task["asset_id"], task_id=answer["task_id"], content_hash=answer["content_hash"])


async def _operations(daemon: RunningDaemon) -> list[tuple[str, str, dict[str, Any]]]:
    async with session_of(daemon, None) as client, client.get("/api/v1/openapi.json") as response:
        document = await response.json()
    return [
        (method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]


def _filled(path: str, has: Belongings) -> str:
    return path.format(asset_id=has.asset_id, task_id=has.task_id, job_id=has.task_id, name="start.js", kind="xmp")


async def _status(client: aiohttp.ClientSession, method: str, path: str, **more: Any) -> tuple[int, str]:
    async with client.request(method, path, **more) as response:
        code = ""
        if method != "HEAD" and response.content_type == "application/problem+json":
            code = (await response.json(content_type=None))["code"]
            if response.status == 401:
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
        return response.status, code


def test_every_route_has_an_access_decision_and_only_these_need_none() -> None:
    assert {type(route.access) for route in ROUTES} == {Access}
    assert sorted(f"{route.method} {route.path}" for route in ROUTES if route.access is Access.PUBLIC) == [
        "GET /api/v1/openapi.json",
        "GET /docs",
        "GET /docs/{name}",
        "GET /health/live",
        "GET /health/ready",
        "POST /api/v1/auth/login",
        "POST /api/v1/auth/refresh",
    ]


def test_nothing_that_changes_anything_is_open_to_guests() -> None:
    assert [route.path for route in ROUTES if route.access is Access.GUEST and route.method != "GET"] == []


@pytest.mark.parametrize("nobody", NOBODY)
async def test_without_a_valid_token_every_route_but_the_public_ones_answers_401(
    shared_daemon: RunningDaemon, photo: bytes, nobody: str
) -> None:
    has = await _belongings(shared_daemon, photo)
    owner = await admin_id(shared_daemon)
    valid = token_of(shared_daemon, owner, Role.ADMIN)
    headers = {
        "no token": {},
        "garbage": {"Authorization": "Bearer garbage.é.x"},
        "expired": {"Authorization": f"Bearer {token_of(shared_daemon, owner, Role.ADMIN, -timedelta(seconds=1))}"},
        "another key": {"Authorization": f"Bearer {valid[:-4]}AAAA"},
        "another scheme": {"Authorization": f"Basic {valid}"},
        "in the query": {},
    }[nobody]
    query = {"access_token": valid, "token": valid} if nobody == "in the query" else {}
    async with aiohttp.ClientSession(shared_daemon.url, headers=headers) as client:
        for method, path, operation in await _operations(shared_daemon):
            found = await _status(client, method, _filled(path, has), params=query)
            if operation["x-access"] == "public":
                assert found[0] not in {401, 403}, (method, path)
            else:
                assert found == (401, "auth.unauthenticated"), (method, path)
                if method == "GET":
                    assert (await _status(client, "HEAD", _filled(path, has)))[0] == 401, path


@pytest.mark.parametrize("role", [Role.GUEST, Role.USER])
async def test_another_account_meets_its_role_first_and_then_finds_nothing_of_the_owner(
    shared_daemon: RunningDaemon, photo: bytes, role: Role
) -> None:
    has = await _belongings(shared_daemon, photo)
    stranger, _ = await add_account(shared_daemon, role)
    allowed = {"public", "guest"} | ({"user"} if role is Role.USER else set())
    async with session_of(shared_daemon, token_of(shared_daemon, stranger, role)) as client:
        for method, path, operation in await _operations(shared_daemon):
            found = await _status(client, method, _filled(path, has))
            if operation["x-access"] not in allowed:
                assert found == (403, "auth.forbidden"), (method, path)
            elif any(name in path for name in ("{asset_id}", "{task_id}", "{job_id}")):
                assert found == (404, "request.not_found"), (method, path)
            else:
                assert found[0] not in {401, 403} and found[0] < 500, (method, path)
    await _assert_untouched(shared_daemon, has)


async def test_an_administrator_finds_nothing_of_another_account_either(shared_daemon: RunningDaemon) -> None:
    stranger, _ = await add_account(shared_daemon, Role.USER)
    asset_id = await _insert_asset(shared_daemon, stranger)
    has = Belongings(asset_id=str(asset_id), task_id="0", content_hash="0" * 64)
    async with shared_daemon.session() as client:
        for method, path, _ in await _operations(shared_daemon):
            if "{asset_id}" in path:
                found = await _status(client, method, _filled(path, has))
                assert found == (404, "request.not_found"), (method, path)
    async with session_of(shared_daemon, token_of(shared_daemon, stranger, Role.USER)) as client:
        async with client.get(f"/api/v1/assets/{asset_id}") as response:
            assert response.status == 200
        async with client.get("/api/v1/assets") as response:
            assert [item["id"] for item in (await response.json())["items"]] == [str(asset_id)]


async def _insert_asset(daemon: RunningDaemon, owner_id: UserId) -> AssetId:
    captured = CaptureTime(
        local=datetime.now(UTC).replace(tzinfo=None), utc_offset=None, source=CaptureTimeSource.MODIFIED
    )
    asset = NewAsset(
        owner_id=owner_id,
        content_hash=ContentHash(uuid.uuid4().hex * 2),
        file_name="theirs.jpg",
        size=5,
        media_type=JPEG,
        state=ProcessingState.READY,
        facts=Facts(media_type=JPEG, capture_time=captured, exif={}),
    )
    async with database_of(daemon) as database, database.session() as session:
        asset_id = await assets.add_asset(session, asset)
    assert asset_id is not None
    return asset_id


async def test_whoever_has_nothing_sees_nothing(shared_daemon: RunningDaemon, photo: bytes) -> None:
    has = await _belongings(shared_daemon, photo)
    stranger, _ = await add_account(shared_daemon, Role.USER)
    gone = UserId(uuid.uuid4())
    for user_id in (stranger, gone):
        async with session_of(shared_daemon, token_of(shared_daemon, user_id, Role.USER)) as client:
            for sort in ("captured", "added"):
                async with client.get(f"/api/v1/assets?sort={sort}") as response:
                    assert await response.json() == {"items": [], "next_cursor": None}
            async with client.get(f"/api/v1/tasks?id={has.task_id}") as response:
                assert await response.json() == {"items": []}
            async with client.post("/api/v1/assets/check", json={"hashes": [has.content_hash]}) as response:
                (result,) = (await response.json())["results"]
                assert (result["status"], result["asset_id"]) == ("unknown", None)


async def test_a_stranger_who_sends_the_owners_bytes_learns_nothing(shared_daemon: RunningDaemon, photo: bytes) -> None:
    has = await _belongings(shared_daemon, photo)
    stranger, _ = await add_account(shared_daemon, Role.USER)
    async with session_of(shared_daemon, token_of(shared_daemon, stranger, Role.USER)) as client:
        status, answer = await upload(client, "theirs.jpg", photo)
    assert (status, answer["code"]) == (404, "request.not_found")
    assert has.asset_id not in str(answer)
    await _assert_untouched(shared_daemon, has)


async def test_a_cursor_of_the_owner_shows_a_stranger_nothing(shared_daemon: RunningDaemon, photo: bytes) -> None:
    await _belongings(shared_daemon, photo)
    await _belongings(shared_daemon, photo + b"\0")
    async with shared_daemon.session() as client, client.get("/api/v1/assets?limit=1") as response:
        cursor = (await response.json())["next_cursor"]
    stranger, _ = await add_account(shared_daemon, Role.USER)
    async with (
        session_of(shared_daemon, token_of(shared_daemon, stranger, Role.USER)) as client,
        client.get("/api/v1/assets", params={"limit": "1", "cursor": cursor}) as response,
    ):
        assert (await response.json())["items"] == []


async def test_the_scheme_of_a_token_is_read_in_any_case(shared_daemon: RunningDaemon) -> None:
    headers = {"Authorization": f"bEARER  {shared_daemon.token} "}
    async with (
        aiohttp.ClientSession(shared_daemon.url, headers=headers) as client,
        client.get("/api/v1/assets?limit=1") as response,
    ):
        assert response.status == 200


async def _assert_untouched(daemon: RunningDaemon, has: Belongings) -> None:
    async with daemon.session() as client, client.get(f"/api/v1/assets/{has.asset_id}") as response:
        assert (await response.json())["trashed_at"] is None
