"""Listing, thumbnails, originals, and the way into the trash and out again."""

import asyncio
import base64
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from lumilio.catalog import assets
from lumilio.catalog.assets import NewAsset
from lumilio.model import (
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
from tests.acceptance.callers import add_account, database_of, session_of, token_of
from tests.running import RunningDaemon, finished, upload

SORTS = [(sort, order) for sort in ("captured", "added") for order in ("asc", "desc")]
KINDS = (
    MediaType(kind=MediaKind.PHOTO, format="jpeg", mime="image/jpeg"),
    MediaType(kind=MediaKind.VIDEO, format="mp4", mime="video/mp4"),
    MediaType(kind=MediaKind.AUDIO, format="mp3", mime="audio/mpeg"),
)
START = datetime(2020, 1, 1)  # noqa: DTZ001 - a wall clock


@pytest.fixture
async def owner(shared_daemon: RunningDaemon) -> UserId:
    """An account with a library of its own."""
    user_id, _ = await add_account(shared_daemon, Role.USER)
    return user_id


@pytest.fixture
async def client(shared_daemon: RunningDaemon, owner: UserId) -> AsyncIterator[aiohttp.ClientSession]:
    """That account's client."""
    async with session_of(shared_daemon, token_of(shared_daemon, owner, Role.USER)) as session:
        yield session


async def _insert(daemon: RunningDaemon, owner: UserId, captured: list[datetime]) -> list[str]:
    """Rows of assets, of the three kinds in turn, each added in a transaction of its own."""
    added = []
    async with database_of(daemon) as database, database.session() as session:
        for number, local in enumerate(captured):
            media_type = KINDS[number % 3]
            time = CaptureTime(local=local, utc_offset=None, source=CaptureTimeSource.EXIF)
            asset = NewAsset(
                owner_id=owner,
                content_hash=ContentHash(uuid.uuid4().hex * 2),
                file_name=f"{number}.x",
                size=number,
                media_type=media_type,
                state=ProcessingState.READY,
                facts=Facts(media_type=media_type, capture_time=time, exif={}),
            )
            added.append(str(await assets.add_asset(session, asset)))
    return added


async def _page(client: aiohttp.ClientSession, **query: str) -> dict[str, Any]:
    async with client.get("/api/v1/assets", params=query) as response:
        assert response.status == 200, await response.text()
        page: dict[str, Any] = await response.json()
        return page


async def _walk(client: aiohttp.ClientSession, **query: str) -> AsyncIterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = await _page(client, **query, **({"cursor": cursor} if cursor else {}))
        assert len(page["items"]) <= int(query["limit"])
        for item in page["items"]:
            yield item
        cursor = page["next_cursor"]
        if cursor is None:
            return
        assert len(page["items"]) == int(query["limit"])


@pytest.mark.parametrize(("sort", "order"), SORTS)
async def test_pages_show_everything_once_and_in_order_while_assets_are_added(
    shared_daemon: RunningDaemon, owner: UserId, client: aiohttp.ClientSession, sort: str, order: str
) -> None:
    times = [START + timedelta(days=number % 7) for number in range(25)]
    ids = await _insert(shared_daemon, owner, times)
    fresh: list[str] = []
    seen = []
    async for item in _walk(client, sort=sort, order=order, limit="4"):
        seen.append(item)
        if len(seen) % 8 == 0:
            fresh += await _insert(shared_daemon, owner, [START - timedelta(days=1), START + timedelta(days=30)])
    shown = [item["id"] for item in seen]
    assert len(set(shown)) == len(shown)
    assert [found for found in shown if found not in fresh] == [
        item["id"] for item in await _all(client, sort, order) if item["id"] in ids
    ]
    assert set(ids) <= set(shown)
    key = "captured_local" if sort == "captured" else "created_at"
    values = [(item[key], item["id"]) for item in seen]
    assert values == sorted(values, reverse=order == "desc")


async def _all(client: aiohttp.ClientSession, sort: str, order: str) -> list[dict[str, Any]]:
    page = await _page(client, sort=sort, order=order, limit="500")
    assert page["next_cursor"] is None
    items: list[dict[str, Any]] = page["items"]
    return items


async def test_a_listing_is_filtered_by_type_across_its_pages(
    shared_daemon: RunningDaemon, owner: UserId, client: aiohttp.ClientSession
) -> None:
    await _insert(shared_daemon, owner, [START] * 10)
    for kind, count in (("photo", 4), ("video", 3), ("audio", 3)):
        items = [item async for item in _walk(client, type=kind, limit="2")]
        assert [item["kind"] for item in items] == [kind] * count
        assert len({item["id"] for item in items}) == count


async def test_the_last_page_ends_the_listing_even_when_it_is_full(
    shared_daemon: RunningDaemon, owner: UserId, client: aiohttp.ClientSession
) -> None:
    assert await _page(client) == {"items": [], "next_cursor": None}
    await _insert(shared_daemon, owner, [START] * 4)
    first = await _page(client, limit="2")
    last = await _page(client, limit="2", cursor=first["next_cursor"])
    assert (len(last["items"]), last["next_cursor"]) == (2, None)


async def test_a_listing_is_newest_capture_first_unless_told_otherwise(
    shared_daemon: RunningDaemon, owner: UserId, client: aiohttp.ClientSession
) -> None:
    ids = await _insert(shared_daemon, owner, [START, START + timedelta(1), START + timedelta(2)])
    assert [item["id"] for item in (await _page(client))["items"]] == ids[::-1]


def _cursor(*parts: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


SOME_ID = str(uuid.UUID(int=5))
TAMPERED = (
    "x",
    "!!!!",
    "🂡",
    _cursor(),
    _cursor("captured", "desc", "", 5, SOME_ID),
    _cursor("captured", "desc", "", "2020-01-01T00:00:00", "no uuid"),
    _cursor("captured", "desc", "", "2020-01-01T00:00:00", None),
    _cursor("captured", "desc", "", "2020-01-01T00:00:00+00:00", SOME_ID),
    _cursor("captured", "desc", "", "someday", SOME_ID),
    _cursor("captured", "asc", "", "2020-01-01T00:00:00", SOME_ID),
    _cursor("captured", "desc", "photo", "2020-01-01T00:00:00", SOME_ID),
    _cursor("added", "desc", "", "2020-01-01T00:00:00+00:00", SOME_ID),
    _cursor("captured", "desc", "", "2020-01-01T00:00:00", SOME_ID, "more"),
    base64.urlsafe_b64encode(b"5").decode(),
    base64.urlsafe_b64encode(b'{"a": 1}').decode(),
    base64.urlsafe_b64encode(b"[" * 300).decode(),
    base64.urlsafe_b64encode(b"\xff\xfe").decode(),
)


@pytest.mark.parametrize("cursor", TAMPERED, ids=itertools.count())
async def test_a_cursor_that_was_tampered_with_is_refused(client: aiohttp.ClientSession, cursor: str) -> None:
    async with client.get("/api/v1/assets", params={"cursor": cursor}) as response:
        assert (response.status, (await response.json(content_type=None))["code"]) == (400, "request.invalid")


@pytest.mark.parametrize(
    ("sort", "value"),
    [
        ("captured", "0001-01-01T00:00:00"),
        ("captured", "9999-12-31T23:59:59.999999"),
        ("added", "0001-01-01T00:00:00+14:00"),
        ("added", "9999-12-31T23:59:59-14:00"),
        ("added", "0001-01-01T00:00:00+00:00"),
    ],
)
async def test_a_cursor_at_the_end_of_time_is_harmless(client: aiohttp.ClientSession, sort: str, value: str) -> None:
    query = {"cursor": _cursor(sort, "desc", "", value, SOME_ID), "sort": sort}
    async with client.get("/api/v1/assets", params=query) as response:
        assert response.status in {200, 400}


# Files


async def _stored(client: aiohttp.ClientSession, name: str, data: bytes) -> dict[str, Any]:
    _, answer = await upload(client, name, data)
    task = await finished(client, answer["task_id"])
    assert task["state"] == "completed", task
    return await _asset(client, task["asset_id"])


async def _asset(client: aiohttp.ClientSession, asset_id: str) -> dict[str, Any]:
    async with client.get(f"/api/v1/assets/{asset_id}") as response:
        assert response.status == 200
        asset: dict[str, Any] = await response.json()
        return asset


async def test_thumbnails_are_cached_privately_and_revalidated(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as session:
        asset = await _stored(session, "thumb.jpg", photo)
        for item, side in zip(asset["thumbnails"], (150, 300, 320), strict=True):
            async with session.get(item["url"]) as response:
                body = await response.read()
                assert (response.status, response.content_type) == (200, "image/webp")
                assert body[:4] + body[8:12] == b"RIFFWEBP"
                assert response.headers["Cache-Control"].startswith("private")
                etag = response.headers["ETag"]
            assert max(item["width"], item["height"]) == side
            async with session.get(item["url"], headers={"If-None-Match": etag}) as response:
                assert (response.status, await response.read()) == (304, b"")
                assert response.headers["Cache-Control"].startswith("private")
            async with session.get(item["url"], headers={"If-None-Match": '"another"'}) as response:
                assert response.status == 200
            async with session.get(item["url"], headers={"Range": "bytes=4-9"}) as response:
                assert (response.status, await response.read()) == (206, body[4:10])


async def test_a_thumbnail_of_an_unknown_size_is_refused(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as session:
        asset = await _stored(session, "thumb.jpg", photo)
        async with session.get(f"/api/v1/assets/{asset['id']}/thumbnail?size=150") as response:
            assert response.status == 400
        async with session.get(f"/api/v1/assets/{asset['id']}/thumbnail") as response:
            assert response.status == 200


@pytest.mark.parametrize("damage", ["lost", "truncated", "empty"])
async def test_a_damaged_thumbnail_is_made_again(shared_daemon: RunningDaemon, photo: bytes, damage: str) -> None:
    async with shared_daemon.session() as session:
        asset = await _stored(session, "lost.jpg", photo)
        digest = asset["content_hash"]
        folder = shared_daemon.library / ".lumilio/assets/thumbnails/300" / digest[:2] / digest[2:4]
        file = folder / f"{digest}.webp"
        whole = file.read_bytes()
        if damage == "lost":
            file.unlink()
        else:
            file.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"")
        url = f"/api/v1/assets/{asset['id']}/thumbnail?size=medium"
        async with session.get(url) as response:
            assert response.status == 404
            assert "made again" in (await response.json(content_type=None))["detail"]
        async with asyncio.timeout(60):
            while True:
                async with session.get(url) as response:
                    if response.status == 200:
                        assert await response.read() == whole
                        break
                await asyncio.sleep(0.05)


async def test_originals_come_back_bit_for_bit_with_ranges(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as session:
        asset = await _stored(session, "original.jpg", photo)
        async with session.get(asset["original_url"]) as response:
            assert await response.read() == photo
            assert (response.content_type, response.headers["Accept-Ranges"]) == ("image/jpeg", "bytes")
            assert response.headers["Cache-Control"].startswith("private")
            assert "sandbox" in response.headers["Content-Security-Policy"]
            assert response.headers["Content-Disposition"] == "inline; filename*=UTF-8''original.jpg"
            etag = response.headers["ETag"]
        for asked, status, expected in (
            ("bytes=0-0", 206, photo[:1]),
            ("bytes=100-199", 206, photo[100:200]),
            ("bytes=-10", 206, photo[-10:]),
            (f"bytes={len(photo) - 5}-", 206, photo[-5:]),
            (f"bytes=10-{len(photo) * 2}", 206, photo[10:]),
        ):
            async with session.get(asset["original_url"], headers={"Range": asked}) as response:
                assert (response.status, await response.read()) == (status, expected), asked
                assert response.headers["Content-Range"].endswith(f"/{len(photo)}")
        async with session.get(asset["original_url"], headers={"Range": f"bytes={len(photo)}-"}) as response:
            assert response.status == 416
            assert response.headers["Content-Range"] == f"bytes */{len(photo)}"
        for condition, status in ((etag, 206), ('"another"', 200)):
            headers = {"Range": "bytes=0-9", "If-Range": condition}
            async with session.get(asset["original_url"], headers=headers) as response:
                assert response.status == status
        async with session.get(asset["original_url"], headers={"If-None-Match": etag}) as response:
            assert response.status == 304


async def test_a_file_whose_name_another_ones_begins_with_is_never_sent_in_its_place(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    headers = {"X-File-Modified": "1999-01-01T00:00:00Z"}
    async with shared_daemon.session() as session:
        ids = []
        for number, suffix in enumerate(("", ".gz", ".br")):
            _, answer = await upload(session, f"twin.jpg{suffix}", photo + bytes(number), headers=headers)
            ids.append((await finished(session, answer["task_id"]))["asset_id"])
        assert (shared_daemon.library / "inbox/1999/01/twin.jpg.gz").exists()
        for encodings in ("gzip", "br", "gzip, br", "identity"):
            url = f"/api/v1/assets/{ids[0]}/original"
            async with session.get(url, headers={"Accept-Encoding": encodings}) as response:
                assert "Content-Encoding" not in response.headers
                assert await response.read() == photo


async def test_an_original_is_offered_under_its_own_name_however_odd(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    name = "Größe; filename=evil.exe.jpg"
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("file", photo, filename=name)
    async with shared_daemon.session() as session:
        async with session.post("/api/v1/assets", data=form) as response:
            task = await finished(session, (await response.json())["task_id"])
        async with session.get(f"/api/v1/assets/{task['asset_id']}/original") as response:
            disposition = response.headers["Content-Disposition"]
            assert disposition == "inline; filename*=UTF-8''Gr%C3%B6%C3%9Fe%3B%20filename%3Devil.exe.jpg"


# Trash


def _files(daemon: RunningDaemon, folder: str, data: bytes) -> list[str]:
    root = daemon.library / folder
    return [path.name for path in root.rglob("*") if path.is_file() and path.read_bytes() == data]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def _delete(session: aiohttp.ClientSession, asset_id: str) -> int:
    async with session.delete(f"/api/v1/assets/{asset_id}") as response:
        return response.status


async def _restore(session: aiohttp.ClientSession, asset_id: str) -> int:
    async with session.post(f"/api/v1/assets/{asset_id}/restore") as response:
        return response.status


async def _listed(session: aiohttp.ClientSession, asset_id: str) -> bool:
    return any([item["id"] == asset_id async for item in _walk(session, sort="added", limit="500")])


async def test_a_deleted_asset_leaves_the_list_and_waits_in_the_trash_until_it_is_restored(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    async with shared_daemon.session() as session:
        asset = await _stored(session, "trashed.jpg", photo)
        assert await _listed(session, asset["id"])
        assert await _delete(session, asset["id"]) == 204
        assert not await _listed(session, asset["id"])
        assert (await _asset(session, asset["id"]))["trashed_at"] is not None
        await _until(lambda: _files(shared_daemon, ".lumilio/trash", photo) == ["trashed.jpg"])
        assert _files(shared_daemon, "inbox", photo) == []
        assert await _delete(session, asset["id"]) == 409
        async with session.get(asset["original_url"]) as response:
            assert await response.read() == photo
        status, again = await upload(session, "again.jpg", photo)
        assert (status, again["asset_id"], again["trashed"]) == (200, asset["id"], True)
        assert await _restore(session, asset["id"]) == 200
        await _until(lambda: _files(shared_daemon, "inbox", photo) == ["trashed.jpg"])
        assert _files(shared_daemon, ".lumilio/trash", photo) == []
        assert await _listed(session, asset["id"])
        assert await _restore(session, asset["id"]) == 409
        async with session.get(asset["original_url"]) as response:
            assert await response.read() == photo


async def test_a_restored_asset_never_replaces_what_took_its_name(shared_daemon: RunningDaemon, photo: bytes) -> None:
    headers = {"X-File-Modified": "2003-02-01T00:00:00Z"}
    newcomer = photo + b"newcomer"
    async with shared_daemon.session() as session:
        _, answer = await upload(session, "name.jpg", photo, headers=headers)
        first = (await finished(session, answer["task_id"]))["asset_id"]
        assert await _delete(session, first) == 204
        await _until(lambda: _files(shared_daemon, "inbox", photo) == [])
        _, answer = await upload(session, "name.jpg", newcomer, headers=headers)
        await finished(session, answer["task_id"])
        taken = _files(shared_daemon, "inbox", newcomer)
        assert await _restore(session, first) == 200
        await _until(lambda: len(_files(shared_daemon, "inbox", photo)) == 1)
        assert _files(shared_daemon, "inbox", newcomer) == taken
        assert _files(shared_daemon, "inbox", photo) != taken
        async with session.get(f"/api/v1/assets/{first}/original") as response:
            assert await response.read() == photo


async def test_deleting_and_restoring_at_once_ends_with_the_file_where_the_row_says(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    async with shared_daemon.session() as session:
        asset = await _stored(session, "raced.jpg", photo)
        for _ in range(20):
            statuses = await asyncio.gather(
                *(action(session, asset["id"]) for action in (_delete, _restore, _delete, _restore))
            )
            assert set(statuses) <= {200, 204, 409}
        for _ in range(2):
            trashed = (await _asset(session, asset["id"]))["trashed_at"] is not None
            here, there = (".lumilio/trash", "inbox") if trashed else ("inbox", ".lumilio/trash")
            await _until(lambda: len(_files(shared_daemon, here, photo)) == 1)  # noqa: B023 - used at once
            assert _files(shared_daemon, there, photo) == []
            async with session.get(asset["original_url"]) as response:
                assert await response.read() == photo
            assert await (_restore if trashed else _delete)(session, asset["id"]) in {200, 204}
        assert datetime.fromisoformat((await _asset(session, asset["id"]))["updated_at"]).tzinfo == UTC


async def test_a_file_is_called_known_only_while_its_bytes_are_there(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    async with shared_daemon.session() as session:
        asset = await _stored(session, "known.jpg", photo)

        async def known() -> tuple[str, str | None]:
            body = {"hashes": ["0" * 64, asset["content_hash"].upper(), "1" * 64]}
            async with session.post("/api/v1/assets/check", json=body) as response:
                results = (await response.json())["results"]
            assert [item["status"] for item in results[::2]] == ["unknown", "unknown"]
            return results[1]["status"], results[1]["asset_id"]

        assert await known() == ("known", asset["id"])
        (file,) = [
            path
            for path in (shared_daemon.library / "inbox").rglob("*")
            if path.is_file() and path.read_bytes() == photo
        ]
        file.unlink()
        assert await known() == ("unknown", None)
        status, answer = await upload(session, "known.jpg", photo)
        assert status == 202
        assert (await finished(session, answer["task_id"]))["asset_id"] == asset["id"]
        assert await known() == ("known", asset["id"])
