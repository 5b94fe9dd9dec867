"""A disk that is full or away stops nothing for good: uploads are refused, jobs wait, and all goes on by itself."""

import asyncio
import io
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import running
from tests.acceptance.evidence import (
    all_assets,
    assert_whole,
    count_files,
    decoding_held_up,
    noise_photo,
    photos,
    rows_of,
    send,
    settled,
    until,
    write_tree,
)
from tests.acceptance.small_disk import daemon_on_small_disk
from tests.running import RunningDaemon, finished, upload

MIB = 1 << 20


async def _upload_film(client: aiohttp.ClientSession, size: int) -> tuple[int, dict[str, Any]]:
    form = aiohttp.FormData()
    film = b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + random.Random(size).randbytes(size)
    form.add_field("file", io.BytesIO(film), filename="film.mp4")
    async with client.post("/api/v1/assets", data=form) as response:
        return response.status, await response.json()


async def _health(client: aiohttp.ClientSession) -> tuple[int, str]:
    async with client.get("/health/ready") as response:
        checks = (await response.json())["checks"]
        return response.status, next(check["detail"] for check in checks if check["name"] == "disk")


async def test_what_does_not_fit_is_refused_whole_and_fits_once_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "CONFIG", running.CONFIG.replace("reserve_mb = 0", "reserve_mb = 4"))
    files = photos(6, seed=1)
    with daemon_on_small_disk(tmp_path / "daemon", monkeypatch, mebibytes=32) as (daemon, disk):
        async with daemon.session() as client:
            status, problem = await _upload_film(client, 40 * MIB)
            assert (status, problem["code"]) == (507, "storage.disk_full")
            assert await _health(client) == (200, "1 repositories online")
            disk.fill(leave=4 * MIB + 1000)
            status, problem = await upload(client, "one.jpg", files["noise-1-000.jpg"])
            assert (status, problem["code"]) == (507, "storage.disk_full")
            disk.fill(leave=3 * MIB)
            status, detail = await _health(client)
            assert status == 503
            assert "uploads are refused" in detail
            assert count_files(disk.root / ".lumilio/staging") == 0
            importing = asyncio.create_task(_import(daemon, write_tree(tmp_path / "tree", files)))
            await until(lambda: daemon.log.read_text().count("storage.disk_full") >= 4, "the import was refused")
            disk.clear()
            assert await importing == 0
            assert await _health(client) == (200, "1 repositories online")
            async with rows_of(daemon) as rows:
                assert await rows.fetchval("SELECT count(*) FROM assets WHERE state = 'ready'") == len(files)


async def _import(daemon: RunningDaemon, tree: Path) -> int:
    """``lumilio import`` waits for a disk that is full."""
    ended = await asyncio.to_thread(daemon.run_cli, "import", "--json", str(tree))
    return ended.returncode


async def test_jobs_wait_for_space_and_finish_when_there_is_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = photos(4, seed=2)
    with daemon_on_small_disk(tmp_path / "daemon", monkeypatch, mebibytes=24) as (daemon, disk):
        async with daemon.session() as client:
            with await _decoders_held_up(daemon, client):
                await _committed(daemon, files)
                disk.fill(leave=0)
            await _all_wait(daemon, len(files))
            status, problem = await upload(client, "more.jpg", noise_photo(random.Random(3), (640, 480)))
            assert (status, problem["code"]) == (507, "storage.disk_full")
            assert count_files(disk.root / ".lumilio/staging") == 0
            assert count_files(disk.root / ".lumilio/temp") == 0
            disk.clear()
            await settled(daemon, hasten=True)
            assets = await all_assets(client)
            assert [asset["state"] for asset in assets] == ["ready"] * (len(files) + 1)
            assert {len(asset["thumbnails"]) for asset in assets} == {3}


@pytest.mark.parametrize("gone", [".lumilio/repository.toml", ""])
async def test_a_disk_that_is_unplugged_at_work_is_waited_for(daemon: RunningDaemon, gone: str) -> None:
    files = photos(4, seed=4)
    place = daemon.library / gone
    away = daemon.data_dir / "away"
    async with daemon.session() as client:
        with await _decoders_held_up(daemon, client):
            await _committed(daemon, files)
            place.rename(away)
        await _all_wait(daemon, len(files))
        status, problem = await upload(client, "more.jpg", noise_photo(random.Random(5), (64, 64)))
        assert (status, problem["code"]) == (503, "repository.offline")
        assert (await _health(client))[0] == 503
        before = await all_assets(client)
        assert sorted(asset["state"] for asset in before) == ["ready"] + ["stored"] * len(files)
        async with client.get(before[0]["original_url"]) as response:
            assert response.status == 503
        assert not place.exists(), "nothing may be made where the disk belongs"
        away.rename(place)
        assert (await _health(client))[0] == 200
        await settled(daemon, hasten=True)
        first = noise_photo(random.Random("first"), (64, 64))
        await assert_whole(daemon, [first, *files.values()])
        async with rows_of(daemon) as rows:
            assert await rows.fetchval("SELECT count(*) FROM locations WHERE state <> 'present'") == 0


async def _decoders_held_up(daemon: RunningDaemon, client: aiohttp.ClientSession) -> Any:
    """Have the fork server started by a first photo, and stop it with its decoders."""
    status, answer = await upload(client, "first.jpg", noise_photo(random.Random("first"), (64, 64)))
    assert status == 202
    assert (await finished(client, answer["task_id"]))["state"] == "completed"
    return decoding_held_up(daemon)


async def _committed(daemon: RunningDaemon, files: Mapping[str, bytes]) -> None:
    """Upload, and wait until every file has its name and its rows."""
    await send(daemon, files, {})
    async with rows_of(daemon) as rows, asyncio.timeout(60):
        while await rows.fetchval("SELECT count(*) FROM assets WHERE state = 'stored'") < len(files):
            await asyncio.sleep(0.02)


async def _all_wait(daemon: RunningDaemon, count: int) -> None:
    """All jobs are snoozed: not failed, no attempt burned."""
    async with rows_of(daemon) as rows, asyncio.timeout(60):
        query = "SELECT attempt, errors FROM jobs WHERE kind = 'process_asset' AND state = 'scheduled'"
        while len(waiting := await rows.fetch(query)) < count:
            await asyncio.sleep(0.05)
    assert {(job["attempt"], job["errors"]) for job in waiting} == {(0, "[]")}
