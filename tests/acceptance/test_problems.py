"""Damaged files over the API and from the command line: seen, tried again, ignored, and tried again by themselves."""

import asyncio
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import pytest

from lumilio.catalog import assets, problems
from lumilio.jobs import render_asset, retry_problems
from lumilio.model import AssetId, Problem, ProcessingState, Role
from lumilio.queue.store import enqueue
from tests.acceptance.callers import add_account, database_of, session_of, token_of
from tests.acceptance.evidence import PATIENCE, rows_of
from tests.running import RunningDaemon, finished, upload

HOSTILE = "\x1b]0;owned\x07[bold red]torn\n\u202egpj.jpg"
Document = dict[str, Any]


async def got(client: aiohttp.ClientSession, **query: Any) -> Document:
    """What a listing answers."""
    async with client.get("/api/v1/problems", params=query) as response:
        assert response.status == 200, await response.text()
        document: Document = await response.json()
        return document


async def posted(client: aiohttp.ClientSession, action: str, **body: Any) -> tuple[int, Any]:
    """The status and the answer of an action."""
    async with client.post(f"/api/v1/problems/{action}", json=body) as response:
        return response.status, await response.json(content_type=None)


async def stored(daemon: RunningDaemon, data: bytes, name: str = "torn.jpg") -> str:
    """Upload, wait, and the id of the asset."""
    async with daemon.session() as client:
        status, answer = await upload(client, name, data)
        assert status == 202, answer
        return str((await finished(client, answer["task_id"]))["asset_id"])


def damaged(photo: bytes) -> bytes:
    """Right at its beginning, and then nothing that can be decoded."""
    return photo[:400]


async def recorded(daemon: RunningDaemon, asset_id: str, problem: Problem) -> None:
    """Let an asset have a problem that it has not."""
    async with database_of(daemon) as database, database.transaction() as tx:
        await assets.set_state(tx, AssetId(uuid.UUID(asset_id)), ProcessingState.PROBLEM)
        await problems.record(tx, AssetId(uuid.UUID(asset_id)), problem)


async def problems_once(
    client: aiohttp.ClientSession, asset_id: str, expected: Mapping[str, int], *, seconds: float = PATIENCE
) -> Sequence[Document]:
    """The problems of an asset as soon as they are of these steps, with so many attempts, and no job is at them."""
    async with asyncio.timeout(seconds):
        while True:
            items = (await got(client, asset_id=asset_id))["items"]
            attempts = {item["step"]: item["attempts"] for item in items}
            if attempts == expected and all(item["next_attempt"] is None for item in items):
                return list(items)
            await asyncio.sleep(0.05)


INVENTED = Problem(
    code="tool.decoder_crashed", step=render_asset.STEP, reason="the decoder died", tool="pillow", tool_version="0.0.1"
)


async def test_a_damaged_file_is_listed_with_everything_that_helps(shared_daemon: RunningDaemon, photo: bytes) -> None:
    asset_id = await stored(shared_daemon, damaged(photo))
    async with shared_daemon.session() as client:
        page = await got(client, asset_id=asset_id, step="render")
        (item,) = page["items"]
        assert page["next_cursor"] is None
        assert page["counts"] == [{"code": "media.damaged", "step": "render", "problems": 1}]
        assert (item["asset_id"], item["kind"], item["format"]) == (asset_id, "photo", "jpeg")
        assert (item["code"], item["attempts"], item["ignored"]) == ("media.damaged", 1, False)
        assert item["first_seen"] == item["last_seen"]
        assert item["next_attempt"] is None
        assert item["reason"]
        assert (item["tool"], bool(item["tool_version"])) == ("pillow", True)
        assert (shared_daemon.library / item["path"]).read_bytes() == damaged(photo)
        async with client.get(f"/api/v1/assets/{asset_id}") as response:
            assert [each["code"] for each in (await response.json())["problems"]] == ["media.damaged"]


async def test_a_retry_that_fails_again_counts_and_what_is_ignored_stays_ignored(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    asset_id = await stored(shared_daemon, damaged(photo))
    async with shared_daemon.session() as client:
        assert await posted(client, "ignore", asset_id=[asset_id], dry_run=True) == (200, {"changed": 1})
        assert await posted(client, "ignore", asset_id=[asset_id]) == (200, {"changed": 1})
        assert await posted(client, "ignore", asset_id=[asset_id]) == (200, {"changed": 0})
        assert (await got(client, asset_id=asset_id, ignored="false"))["items"] == []
        (item,) = (await got(client, asset_id=asset_id, ignored="true"))["items"]
        assert item["ignored"]
        nothing = await posted(client, "retry", asset_id=[asset_id], ignored=False)
        assert nothing == (200, {"retried": 0, "waiting": 0})
        assert await posted(client, "retry", asset_id=[asset_id], dry_run=True) == (200, {"retried": 1, "waiting": 0})
        assert await posted(client, "retry", asset_id=[asset_id]) == (200, {"retried": 1, "waiting": 0})
        (item,) = await problems_once(client, asset_id, {"render": 2})
        assert item["ignored"]
        assert item["first_seen"] < item["last_seen"]
        assert await posted(client, "ignore", asset_id=[asset_id], ignored=False) == (200, {"changed": 1})
        assert not (await got(client, asset_id=asset_id))["items"][0]["ignored"]


async def test_a_retry_that_succeeds_ends_the_problem(shared_daemon: RunningDaemon, photo: bytes) -> None:
    asset_id = await stored(shared_daemon, photo)
    await recorded(shared_daemon, asset_id, INVENTED)
    async with shared_daemon.session() as client:
        assert len((await got(client, asset_id=asset_id))["items"]) == 1
        assert await posted(client, "retry", asset_id=[asset_id]) == (200, {"retried": 1, "waiting": 0})
        await problems_once(client, asset_id, {})
        async with client.get(f"/api/v1/assets/{asset_id}") as response:
            document = await response.json()
        assert (document["state"], document["problems"]) == ("ready", [])


async def test_facts_that_could_not_be_read_are_read_again(shared_daemon: RunningDaemon, photo: bytes) -> None:
    asset_id = await stored(shared_daemon, photo)
    await recorded(
        shared_daemon, asset_id, Problem(code="tool.timed_out", step="facts", reason="too slow", tool="exiftool")
    )
    async with shared_daemon.session() as client:
        assert await posted(client, "retry", asset_id=[asset_id]) == (200, {"retried": 1, "waiting": 0})
        await problems_once(client, asset_id, {})


async def test_another_version_of_a_tool_tries_again_by_itself_and_once(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    mended, torn = await stored(shared_daemon, photo), await stored(shared_daemon, damaged(photo))
    await recorded(shared_daemon, mended, INVENTED)
    async with rows_of(shared_daemon) as rows:
        await rows.execute("UPDATE problems SET tool_version = '0.0.1' WHERE asset_id = $1", uuid.UUID(torn))
    async with shared_daemon.session() as client:
        for _ in range(2):
            async with database_of(shared_daemon) as database, database.transaction() as tx:
                job = await enqueue(tx, retry_problems.spec())
            await finished_job(client, str(job.job_id))
            await problems_once(client, mended, {})
            (item,) = await problems_once(client, torn, {"render": 2})
            assert item["tool_version"] != "0.0.1"


async def test_what_an_earlier_version_rendered_gets_all_that_is_found_out_since(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    asset_id = await stored(shared_daemon, photo)
    forget = (
        "UPDATE assets SET render_source = NULL, thumbhash = NULL, perceptual_hash = NULL, width = NULL WHERE id = $1"
    )
    found = "SELECT render_source, thumbhash, perceptual_hash, width FROM assets WHERE id = $1"
    async with shared_daemon.session() as client, rows_of(shared_daemon) as rows:
        before = await rows.fetchrow(found, uuid.UUID(asset_id))
        await rows.execute(forget, uuid.UUID(asset_id))
        async with database_of(shared_daemon) as database, database.transaction() as tx:
            job = await enqueue(tx, retry_problems.spec())
        await finished_job(client, str(job.job_id))
        async with asyncio.timeout(PATIENCE):
            while await rows.fetchrow(found, uuid.UUID(asset_id)) != before:
                await asyncio.sleep(0.05)


async def finished_job(client: aiohttp.ClientSession, job_id: str) -> None:
    """Wait until a job is completed."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with client.get(f"/api/v1/jobs/{job_id}") as response:
                if (await response.json())["state"] == "completed":
                    return
            await asyncio.sleep(0.05)


async def test_pages_follow_one_another_and_only_the_first_counts(shared_daemon: RunningDaemon, photo: bytes) -> None:
    made = [await stored(shared_daemon, damaged(photo) + bytes([number])) for number in range(5)]
    async with shared_daemon.session() as client:
        found: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = await got(client, limit="2", step="render", asset_id=made, **cursor)
            assert (page["counts"] is None) == bool(found)
            found += [item["asset_id"] for item in page["items"]]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert found == made[::-1]
        assert await posted(client, "ignore", asset_id=made, dry_run=True) == (200, {"changed": 5})
        assert await posted(client, "ignore", asset_id=made, kind="video") == (200, {"changed": 0})
        fits = {"asset_id": made[1:], "format": "jpeg", "code": "media.damaged"}
        assert await posted(client, "ignore", **fits) == (200, {"changed": 4})
        assert [each["problems"] for each in (await got(client, ignored="false", asset_id=made))["counts"]] == [1]


@pytest.mark.parametrize("role", [Role.USER, Role.GUEST])
async def test_problems_of_others_do_not_exist_for_an_account(
    shared_daemon: RunningDaemon, photo: bytes, role: Role
) -> None:
    asset_id = await stored(shared_daemon, damaged(photo))
    stranger, _ = await add_account(shared_daemon, role)
    async with session_of(shared_daemon, token_of(shared_daemon, stranger, role)) as client:
        assert await got(client, asset_id=asset_id) == {"items": [], "next_cursor": None, "counts": []}
        assert (await got(client))["items"] == []
        for action, answer in (("retry", {"retried": 0, "waiting": 0}), ("ignore", {"changed": 0})):
            for body in ({"all": True}, {"asset_id": [asset_id]}):
                status, found = await posted(client, action, **body)
                if role is Role.USER:
                    assert (status, found) == (200, answer)
                else:
                    assert (status, found["code"]) == (403, "auth.forbidden")
    async with shared_daemon.session() as client:
        (item,) = await problems_once(client, asset_id, {"render": 1})
        assert not item["ignored"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=501",
        "ignored=perhaps",
        "kind=document",
        "asset_id=12",
        "code=%00",
        "colour=red",
        "cursor=x",
        "cursor=" + "W10",
        "cursor=WyIyMDI0IiwgIngiLCAxXQ",
        "code=a&code=b",
    ],
)
async def test_a_query_that_means_nothing_is_refused(shared_daemon: RunningDaemon, query: str) -> None:
    async with shared_daemon.session() as client, client.get(f"/api/v1/problems?{query}") as response:
        assert (response.status, (await response.json())["code"]) == (400, "request.invalid")


@pytest.mark.parametrize("action", ["retry", "ignore"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"all": False},
        {"dry_run": True},
        {"all": "yes"},
        {"asset_id": []},
        {"asset_id": [], "all": True},
        {"asset_id": ["12"]},
        {"asset_id": [str(uuid.UUID(int=number)) for number in range(1001)]},
        {"code": "\0"},
        {"kind": "document"},
        {"colour": "red", "all": True},
    ],
)
async def test_an_action_on_nothing_or_on_everything_by_accident_is_refused(
    shared_daemon: RunningDaemon, action: str, body: Document
) -> None:
    async with shared_daemon.session() as client:
        status, problem = await posted(client, action, **body)
    assert (status, problem["code"]) == (400, "request.invalid")


async def test_the_command_lists_shows_ignores_and_retries(daemon: RunningDaemon, photo: bytes) -> None:
    nothing = daemon.run_cli("problems", "list")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (0, "no problems\n", "")
    asset_id = await stored(daemon, damaged(photo))
    listed = daemon.run_cli("problems", "list")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert re.search(rf"^{asset_id}  \S.*  render  media\.damaged  pillow \S+  +1  ", listed.stdout, re.MULTILINE)
    assert re.search(r"^ +1  media\.damaged  render$", listed.stdout, re.MULTILINE)
    assert listed.stdout.endswith("\nall about one: lumilio problems show ASSET\n")

    shown = daemon.run_cli("problems", "show", asset_id)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert re.search(r"^type +photo jpeg$", shown.stdout, re.MULTILINE)
    assert f"try again: lumilio problems retry {asset_id}\n" in shown.stdout
    document = json.loads(daemon.run_cli("problems", "show", asset_id, "--json").stdout)
    assert [item["file_name"] for item in document["items"]] == ["torn.jpg"]

    hide = ("problems", "ignore", "--code", "media.damaged")
    assert daemon.run_cli(*hide, "--dry-run").stdout == "1 problem would be ignored\n"
    assert daemon.run_cli(*hide).stdout == "1 problem ignored\n"
    assert daemon.run_cli("problems", "list").stdout == "no problems\n"
    assert f"{asset_id}" in daemon.run_cli("problems", "list", "--ignored").stdout
    assert daemon.run_cli("problems", "retry", "--all").stdout == "0 files will be tried again\n"
    assert daemon.run_cli("problems", "ignore", "--undo", asset_id).stdout == "1 problem shown again\n"

    would = daemon.run_cli("problems", "retry", "--tool", "pillow", "--dry-run", "--json")
    assert json.loads(would.stdout) == {"retried": 1, "waiting": 0}
    retried = daemon.run_cli("problems", "retry", asset_id)
    assert (retried.returncode, retried.stderr) == (0, "")
    assert retried.stdout == "1 file will be tried again\nfollow it: lumilio jobs watch\n"
    async with daemon.session() as client:
        await problems_once(client, asset_id, {"render": 2})
    everything = json.loads(daemon.run_cli("problems", "list", "--all", "--json").stdout)
    assert [item["attempts"] for item in everything["items"]] == [2]
    assert everything["counts"] == [{"code": "media.damaged", "step": "render", "problems": 1}]


async def test_no_name_and_no_reason_steers_the_terminal(shared_daemon: RunningDaemon, photo: bytes) -> None:
    asset_id = await stored(shared_daemon, damaged(photo))
    async with rows_of(shared_daemon) as rows:
        await rows.execute("UPDATE assets SET file_name = $2 WHERE id = $1", uuid.UUID(asset_id), HOSTILE)
        await rows.execute("UPDATE locations SET path = $2 WHERE asset_id = $1", uuid.UUID(asset_id), HOSTILE)
        await rows.execute("UPDATE problems SET reason = $2 WHERE asset_id = $1", uuid.UUID(asset_id), HOSTILE)
    for command in (["list", "--format", "jpeg"], ["show", asset_id], ["show", asset_id, "--json"]):
        done = shared_daemon.run_cli("problems", *command)
        assert (done.returncode, done.stderr) == (0, "")
        assert asset_id in done.stdout
        assert "gpj.jpg" in done.stdout
        assert not set("\x1b\x07\u202e") & set(done.stdout)
    (item,) = json.loads(done.stdout)["items"]
    assert [item[key] for key in ("file_name", "path", "reason")] == [HOSTILE] * 3


def test_the_command_says_what_it_cannot_find(shared_daemon: RunningDaemon) -> None:
    unknown = str(uuid.uuid4())
    shown = shared_daemon.run_cli("problems", "show", unknown)
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr == f"lumilio: asset {unknown} has no problem\n"
    assert shared_daemon.run_cli("problems", "retry", unknown).returncode == 1
