"""Bulk changes of capture times over the API and from the command line, through cancellations and crashes."""

import asyncio
import json
import re
import shlex
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from lumilio.api.time_changes import MAX_NAMED
from lumilio.model import Role
from tests.acceptance.callers import add_account, admin_id, session_of, token_of
from tests.acceptance.evidence import PATIENCE, rows_of
from tests.running import RunningDaemon, finished, running_daemon, upload

PATH = "/api/v1/time-changes"
BATCHES = 4500
"""Assets of four whole batches and a half."""
Document = dict[str, Any]


async def posted(client: aiohttp.ClientSession, path: str = PATH, **body: Any) -> tuple[int, Any]:
    async with client.post(path, json=body) as response:
        return response.status, await response.json(content_type=None)


async def listed(client: aiohttp.ClientSession, **query: str) -> Document:
    async with client.get(PATH, params=query) as response:
        assert response.status == 200, await response.text()
        document: Document = await response.json()
        return document


async def change_once(client: aiohttp.ClientSession, change_id: str, holds: Callable[[Document], bool]) -> Document:
    """The change as soon as something holds of it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            (item,) = (await listed(client, id=change_id))["items"]
            if holds(item):
                return dict(item)
            await asyncio.sleep(0.05)


def ended(item: Mapping[str, Any]) -> bool:
    return bool(item["state"] == "ended")


async def stored(daemon: RunningDaemon, photo: bytes, name: str | None = None) -> str:
    async with daemon.session() as client:
        headers = {"X-File-Modified": "2024-05-01T12:00:00.123Z"}
        _, answer = await upload(client, name or f"{uuid.uuid4().hex}.jpg", photo, headers=headers)
        return str((await finished(client, answer["task_id"]))["asset_id"])


async def captured(client: aiohttp.ClientSession, asset_id: str) -> tuple[datetime, Any, str]:
    """Clock, offset and source."""
    async with client.get(f"/api/v1/assets/{asset_id}") as response:
        found = (await response.json())["facts"]["captured"]
    return datetime.fromisoformat(found["local"]), found["offset"], found["source"]


async def test_a_shift_is_begun_done_listed_and_undone(shared_daemon: RunningDaemon, photo: bytes) -> None:
    asset_id = await stored(shared_daemon, photo)
    shift = timedelta(days=2, hours=-3)
    async with shared_daemon.session() as client:
        local, offset, _ = await captured(client, asset_id)
        selection = {"ids": [asset_id]}
        seconds = shift // timedelta(seconds=1)
        counted = await posted(client, shift_seconds=seconds, selection=selection, dry_run=True)
        assert counted == (200, {"matching": 1})
        status, begun = await posted(client, shift_seconds=seconds, selection=selection)
        assert (status, begun["matching"], begun["shift_seconds"]) == (202, 1, seconds)
        assert begun["selection"]["named"] == 1
        assert begun["job_id"]
        change = await change_once(client, begun["id"], ended)
        assert (change["changed"], change["ended_at"] is None) == (1, False)
        assert await captured(client, asset_id) == (local + shift, offset, "user")
        status, back = await posted(client, shift_seconds=-seconds, selection=selection)
        await change_once(client, back["id"], ended)
        assert (await captured(client, asset_id))[0] == local
        newest = (await listed(client))["items"]
        assert [item["id"] for item in newest[:2]] == [back["id"], begun["id"]]
        page = await listed(client, limit="1", cursor=back["id"])
        assert [item["id"] for item in page["items"]] == [begun["id"]]


async def test_reading_again_forgets_edits_only_when_asked(shared_daemon: RunningDaemon, photo: bytes) -> None:
    asset_id = await stored(shared_daemon, photo)
    async with shared_daemon.session() as client:
        before = await captured(client, asset_id)
        selection = {"ids": [asset_id]}
        _, shifted = await posted(client, shift_seconds=60, selection=selection)
        await change_once(client, shifted["id"], ended)
        for discard, source, changed in ((False, "user", 0), (True, before[2], 1)):
            body: Document = {"shift_seconds": None, "selection": selection, "discard_edits": discard}
            status, begun = await posted(client, **body)
            assert (status, begun["discard_edits"]) == (202, discard)
            assert (await change_once(client, begun["id"], ended))["changed"] == changed
            assert (await captured(client, asset_id))[2] == source


@pytest.mark.parametrize("role", [Role.USER, Role.GUEST])
async def test_the_times_and_changes_of_others_are_out_of_reach(
    shared_daemon: RunningDaemon, photo: bytes, role: Role
) -> None:
    asset_id = await stored(shared_daemon, photo)
    async with shared_daemon.session() as client:
        before = await captured(client, asset_id)
        _, mine = await posted(client, shift_seconds=60, selection={"ids": [str(uuid.uuid4())]})
        assert mine["matching"] == 0
        assert (await change_once(client, mine["id"], ended))["changed"] == 0
    stranger, _ = await add_account(shared_daemon, role)
    async with session_of(shared_daemon, token_of(shared_daemon, stranger, role)) as client:
        assert (await listed(client))["items"] == []
        assert (await listed(client, id=mine["id"]))["items"] == []
        for selection in ({"all": True}, {"ids": [asset_id]}):
            status, answer = await posted(client, shift_seconds=3600, selection=selection)
            if role is Role.USER:
                assert (status, answer["matching"]) == (202, 0)
                await change_once(client, answer["id"], ended)
            else:
                assert (status, answer["code"]) == (403, "auth.forbidden")
    async with shared_daemon.session() as client:
        assert await captured(client, asset_id) == before


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"selection": {"all": True}},
        {"shift_seconds": 60},
        {"shift_seconds": 60, "selection": {}},
        {"shift_seconds": 60, "selection": {"all": False}},
        {"shift_seconds": 60, "selection": {"ids": []}},
        {"shift_seconds": 60, "selection": {"ids": ["12"]}},
        {"shift_seconds": 60, "selection": {"all": True, "colour": "red"}},
        {"shift_seconds": 60, "selection": {"captured_from": "2024-05-01T00:00:00Z"}},
        {"shift_seconds": 60, "selection": {"captured_to": "yesterday"}},
        {"shift_seconds": 60, "selection": {"make": ""}},
        {"shift_seconds": 60, "selection": {"model": "\0"}},
        {"shift_seconds": 60, "selection": {"kind": "document"}},
        {"shift_seconds": 0, "selection": {"all": True}},
        {"shift_seconds": 1.5, "selection": {"all": True}},
        {"shift_seconds": "60", "selection": {"all": True}},
        {"shift_seconds": 200 * 365 * 86400 + 1, "selection": {"all": True}},
        {"shift_seconds": -(2**63), "selection": {"all": True}},
        {"shift_seconds": 60, "selection": {"all": True}, "discard_edits": True},
    ],
)
async def test_a_change_that_means_nothing_is_refused(shared_daemon: RunningDaemon, body: Document) -> None:
    async with shared_daemon.session() as client:
        status, problem = await posted(client, **body)
        assert (status, problem["code"]) == (400, "request.invalid")
        assert "all" not in problem or not problem["all"]


async def test_as_many_assets_are_named_as_a_body_has_room_for(shared_daemon: RunningDaemon) -> None:
    ids = [str(uuid.uuid4()) for _ in range(MAX_NAMED + 1)]
    async with shared_daemon.session() as client:
        full = await posted(client, shift_seconds=60, selection={"ids": ids[1:]}, dry_run=True)
        assert full == (200, {"matching": 0})
        status, problem = await posted(client, shift_seconds=60, selection={"ids": ids}, dry_run=True)
        assert (status, problem["code"]) == (400, "request.invalid")


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "cursor=x", "id=12", "colour=red"])
async def test_a_query_that_means_nothing_is_refused(shared_daemon: RunningDaemon, query: str) -> None:
    async with shared_daemon.session() as client, client.get(f"{PATH}?{query}") as response:
        assert (response.status, (await response.json())["code"]) == (400, "request.invalid")


FILL = """
INSERT INTO assets (
    owner_id, content_hash, file_name, size, kind, format, mime, state, captured_local, captured_source
)
SELECT
    $1, decode(lpad(to_hex(n), 64, '0'), 'hex'), 'photo.jpg', 1, 'photo', 'jpeg', 'image/jpeg', 'ready',
    '2024-05-01 12:00:00', 'exif'
FROM generate_series(1, $2::integer) AS n
"""
SHIFTED_ONCE = "SELECT count(*) FROM assets WHERE captured_local = timestamp '2024-05-01 13:00:00'"


async def fill(daemon: RunningDaemon) -> None:
    """Rows of many assets."""
    owner = await admin_id(daemon)
    async with rows_of(daemon) as rows:
        await rows.execute(FILL, owner, BATCHES)


@asynccontextmanager
async def held_up(daemon: RunningDaemon, after: int) -> AsyncIterator[None]:
    """No change gets past so many assets meanwhile. It may outlive the daemon and its database."""
    host = str((daemon.data_dir / "postgres/run").resolve())
    connection: asyncpg.Connection[Any] = await asyncpg.connect(host=host, user="lumilio", database="lumilio")
    try:
        await connection.execute("BEGIN")
        await connection.execute(
            "SELECT FROM assets WHERE id = (SELECT id FROM assets ORDER BY id OFFSET $1 LIMIT 1) FOR UPDATE", after
        )
        yield
    finally:
        with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            connection.terminate()


async def how_many_were_shifted_once(daemon: RunningDaemon) -> int:
    async with rows_of(daemon) as rows:
        return int(await rows.fetchval(SHIFTED_ONCE))


async def test_a_change_that_is_cancelled_stops_between_batches_and_goes_on_when_it_is_retried(
    daemon: RunningDaemon,
) -> None:
    await fill(daemon)
    async with daemon.session() as client:
        async with held_up(daemon, 2500):
            _, begun = await posted(client, shift_seconds=3600, selection={"all": True})
            change = await change_once(client, begun["id"], lambda item: item["changed"] == 2000)
            assert change["state"] == "running"
            status, _ = await posted(client, f"/api/v1/jobs/{begun['job_id']}/cancel")
            assert status == 200
            change = await change_once(client, begun["id"], lambda item: item["state"] == "stopped")
            assert (change["changed"], change["ended_at"], change["job_id"]) == (2000, None, None)
        assert await how_many_were_shifted_once(daemon) == 2000
        status, _ = await posted(client, f"/api/v1/jobs/{begun['job_id']}/retry")
        assert status == 200
        change = await change_once(client, begun["id"], ended)
    assert change["changed"] == BATCHES
    assert await how_many_were_shifted_once(daemon) == BATCHES


async def test_a_daemon_that_is_killed_in_the_middle_shifts_every_asset_once(tmp_path: Path) -> None:
    with running_daemon(tmp_path / "daemon") as daemon:
        await fill(daemon)
        async with held_up(daemon, 2500):
            async with daemon.session() as client:
                _, begun = await posted(client, shift_seconds=3600, selection={"all": True})
                await change_once(client, begun["id"], lambda item: item["changed"] == 2000)
            daemon.kill()
    with running_daemon(tmp_path / "daemon") as daemon:
        async with daemon.session() as client:
            change = await change_once(client, begun["id"], ended)
        assert change["changed"] == BATCHES
        assert await how_many_were_shifted_once(daemon) == BATCHES


async def test_the_command_counts_shifts_lists_and_reads_again(shared_daemon: RunningDaemon, photo: bytes) -> None:
    name = uuid.uuid4().hex
    asset_id = await stored(shared_daemon, photo, f"{name}_1.jpg")
    chosen = ("--file-name", f"{name.upper()}_?.jpg", "--kind", "photo")
    would = shared_daemon.run_cli("times", "shift", "--by", "+1h30m", *chosen, "--dry-run")
    assert (would.returncode, would.stdout, would.stderr) == (0, "1 asset would be visited\n", "")
    async with shared_daemon.session() as client:
        before = await captured(client, asset_id)
        done = shared_daemon.run_cli("times", "shift", "--by", "+1h30m", *chosen)
        assert (done.returncode, done.stderr) == (0, "")
        undo = f"lumilio times shift --by=-1h30m --kind photo --file-name '{name.upper()}_?.jpg'"
        assert done.stdout == f"1 asset changed\nundo it: {undo}\n"
        assert (await captured(client, asset_id))[0] == before[0] + timedelta(hours=1, minutes=30)
        row = rf"^(now|\d+ s ago) +ended +\+1h30m +1 +--kind photo --file-name {name.upper()}_\?\.jpg$"
        assert re.search(row, shared_daemon.run_cli("times", "list").stdout, re.MULTILINE)
        kept = shared_daemon.run_cli("times", "rederive", asset_id)
        assert (kept.returncode, kept.stdout) == (0, "0 assets changed, 1 stay as they were\n")
        again = shared_daemon.run_cli("times", "rederive", "--discard-edits", asset_id, "--json")
        change = json.loads(again.stdout)
        assert (change["state"], change["changed"], change["matching"]) == ("ended", 1, 1)
        assert await captured(client, asset_id) == before
        begun = json.loads(shared_daemon.run_cli("times", "shift", "--by=-45s", asset_id, "--no-wait", "--json").stdout)
        assert begun["shift_seconds"] == -45
        await change_once(client, begun["id"], ended)
        assert (await captured(client, asset_id))[0] == before[0] - timedelta(seconds=45)
        day = f"{before[0]:%Y-%m-%d}"
        for first, last, matching in ((day, day, 1), ("0001-01-01", f"{before[0] - timedelta(days=1):%Y-%m-%d}", 0)):
            window = (*chosen, "--from", first, "--to", last, "--dry-run", "--json")
            assert json.loads(shared_daemon.run_cli("times", "rederive", *window).stdout) == {"matching": matching}


async def test_a_shift_by_less_than_nothing_is_undone_by_the_command_that_it_tells(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    asset_id = await stored(shared_daemon, photo)
    async with shared_daemon.session() as client:
        before, *_ = await captured(client, asset_id)
        name = (await captured_name(client, asset_id)).upper()
        window = ("--from", f"{before:%Y-%m-%d}", "--to", f"{before:%Y-%m-%d}")
        done = shared_daemon.run_cli("times", "shift", "--by", "-1d2h", "--file-name", name, *window)
        assert (done.returncode, done.stderr) == (0, "")
        assert (await captured(client, asset_id))[0] == before - timedelta(days=1, hours=2)
        _, undo, careful = done.stdout.splitlines()
        assert careful.startswith("careful: --from and --to now refer to the shifted times")
        back = shared_daemon.run_cli(*shlex.split(undo.removeprefix("undo it: lumilio ")))
        assert (back.returncode, back.stdout.splitlines()[0]) == (0, "1 asset changed")
        assert (await captured(client, asset_id))[0] == before


async def test_a_shift_by_the_ids_of_no_assets_names_them_and_changes_nothing(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    asset_id, unknown = await stored(shared_daemon, photo), str(uuid.uuid4())
    async with shared_daemon.session() as client:
        before = await captured(client, asset_id)
        for more in ([], ["--dry-run"], ["--no-wait", "--json"]):
            refused = shared_daemon.run_cli("times", "shift", "--by", "+1h", asset_id, unknown, *more)
            assert (refused.returncode, refused.stdout) == (1, "")
            assert refused.stderr == f"lumilio: no such asset: {unknown}; nothing was changed\n"
        assert await captured(client, asset_id) == before


async def captured_name(client: aiohttp.ClientSession, asset_id: str) -> str:
    async with client.get(f"/api/v1/assets/{asset_id}") as response:
        return str((await response.json())["file_name"])
