"""What plays in a browser: originals that can, web versions of the rest, the film within a motion photo."""

import asyncio
import io
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import av
import pytest
from PIL import Image

from lumilio.jobs import make_web_version
from lumilio.model import AssetId, Role
from lumilio.queue import store
from tests.acceptance.callers import add_account, admin_id, database_of, session_of, token_of
from tests.acceptance.evidence import PATIENCE, assert_tidy, rows_of, settled
from tests.films import film
from tests.running import RunningDaemon, finished, running_daemon, upload

Document = dict[str, Any]


@pytest.fixture
async def client(shared_daemon: RunningDaemon) -> AsyncIterator[aiohttp.ClientSession]:
    async with shared_daemon.session() as session:
        yield session


async def stored(client: aiohttp.ClientSession, name: str, data: bytes) -> Document:
    status, answer = await upload(client, name, data)
    assert status == 202, answer
    task = await finished(client, answer["task_id"])
    assert task["state"] == "completed", task
    return await asset_of(client, task["asset_id"])


async def asset_of(client: aiohttp.ClientSession, asset_id: str) -> Document:
    async with client.get(f"/api/v1/assets/{asset_id}") as response:
        document: Document = await response.json()
    return document


async def playable(client: aiohttp.ClientSession, asset_id: str) -> Document:
    """The asset once what plays is ready, or cannot be made."""
    async with asyncio.timeout(PATIENCE):
        while (asset := await asset_of(client, asset_id))["playback"]["state"] == "pending":
            await asyncio.sleep(0.05)
    return asset


async def played(client: aiohttp.ClientSession, asset: Document) -> tuple[str, bytes]:
    async with client.get(asset["playback"]["url"]) as response:
        assert response.status == 200, await response.text()
        return response.headers["Content-Type"], await response.read()


def streams(data: bytes) -> tuple[str, list[str]]:
    """Container and codecs, as a player sees them."""
    with av.open(io.BytesIO(data)) as container:
        return container.format.name.split(",")[0], [stream.codec_context.name for stream in container.streams]


async def test_a_film_that_browsers_play_is_served_as_it_is(client: aiohttp.ClientSession) -> None:
    data = film("mp4", seed=1)
    asset = await stored(client, "direct.mp4", data)

    assert asset["playback"] | {"url": ""} == {
        "state": "ready", "source": "original", "asset_id": asset["id"], "mime": "video/mp4", "url": "",
    }  # fmt: skip
    assert await played(client, asset) == ("video/mp4", data)
    sheet = asset["facts"]["streams"]
    assert (sheet["video_codec"], sheet["audio_codec"], sheet["channels"], sheet["hdr"]) == ("h264", "aac", 2, False)
    assert sheet["frame_rate"] == pytest.approx(25)
    assert sheet["duration"] == pytest.approx(1, abs=0.1)
    assert asset["render_source"] == "poster"
    assert (asset["width"], asset["height"]) == (320, 240)
    assert len(asset["thumbnails"]) == 3


async def test_a_film_in_the_wrong_container_is_moved_into_another_without_encoding(
    client: aiohttp.ClientSession,
) -> None:
    data = film("matroska", seed=2)
    asset = await playable(client, (await stored(client, "wrong.mkv", data))["id"])

    assert (asset["playback"]["state"], asset["playback"]["source"]) == ("ready", "web_version")
    mime, web = await played(client, asset)
    assert (mime, *streams(web)) == ("video/mp4", "mov", ["h264", "aac"])
    assert web.find(b"moov") < web.find(b"mdat")
    async with client.get(asset["original_url"]) as response:
        assert await response.read() == data


async def test_codecs_of_webm_in_another_container_become_webm(client: aiohttp.ClientSession) -> None:
    data = film("matroska", video="libvpx-vp9", audio="libopus", seed=9)
    asset = await playable(client, (await stored(client, "open.mkv", data))["id"])

    mime, web = await played(client, asset)
    assert (mime, *streams(web)) == ("video/webm", "matroska", ["vp9", "opus"])


async def test_a_web_version_that_is_there_is_not_made_again(
    client: aiohttp.ClientSession, shared_daemon: RunningDaemon
) -> None:
    asset = await playable(client, (await stored(client, "once.mkv", film("matroska", seed=10)))["id"])
    async with database_of(shared_daemon) as database, database.transaction() as tx:
        spec = make_web_version.spec(AssetId(UUID(asset["id"])), await admin_id(shared_daemon))
        done = await store.enqueue(tx, spec)
    async with asyncio.timeout(PATIENCE):
        while (job := await _job(client, done.job_id))["state"] != "completed":
            await asyncio.sleep(0.05)
    assert job["result"] == {"needed": False}


async def test_codecs_that_browsers_lack_are_encoded_anew(
    client: aiohttp.ClientSession, shared_daemon: RunningDaemon
) -> None:
    asset = await playable(client, (await stored(client, "old.avi", film("avi", video="mpeg4", audio="mp2")))["id"])

    mime, web = await played(client, asset)
    assert (mime, *streams(web)) == ("video/mp4", "mov", ["h264", "aac"])
    async with rows_of(shared_daemon) as rows:
        row = await rows.fetchrow("SELECT * FROM web_versions WHERE asset_id = $1", asset["id"])
    assert row is not None
    assert (row["made_by"], row["encoder"], row["bytes"]) == ("transcode", "libx264", len(web))
    async with client.get(asset["playback"]["url"], headers={"Range": "bytes=10-19"}) as response:
        assert (response.status, await response.read()) == (206, web[10:20])


async def test_sound_that_browsers_lack_becomes_aac(client: aiohttp.ClientSession) -> None:
    asset = await playable(
        client, (await stored(client, "tone.aiff", film("aiff", video=None, audio="pcm_s16be")))["id"]
    )

    mime, web = await played(client, asset)
    assert (mime, streams(web)[1]) == ("audio/mp4", ["aac"])
    assert (asset["render_source"], asset["width"]) == ("waveform", None)


async def test_a_lost_web_version_is_made_again_when_somebody_wants_to_see_it(
    client: aiohttp.ClientSession, shared_daemon: RunningDaemon
) -> None:
    asset = await playable(client, (await stored(client, "lost.mkv", film("matroska", seed=4)))["id"])
    (lost,) = shared_daemon.library.rglob(f"videos/*/*/{asset['content_hash']}.mp4")
    lost.unlink()

    async with client.get(asset["playback"]["url"]) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "2")
        told = await response.json()
    assert told["code"] == "request.not_ready"
    assert (await _job(client, int(told["detail"].split("job ")[1].split()[0])))["kind"] == "make_web_version"
    async with asyncio.timeout(PATIENCE):
        while (await client.get(asset["playback"]["url"])).status != 200:
            await asyncio.sleep(0.05)
    assert streams((await played(client, asset))[1])[1] == ["h264", "aac"]


async def test_nobody_else_may_play_it(client: aiohttp.ClientSession, shared_daemon: RunningDaemon) -> None:
    asset = await stored(client, "mine.mp4", film("mp4", seed=5))
    stranger, _ = await add_account(shared_daemon, Role.USER)
    token = token_of(shared_daemon, stranger, Role.USER)
    async with session_of(shared_daemon, token) as theirs, theirs.get(asset["playback"]["url"]) as response:
        assert response.status == 404


def motion_photo(tmp_path: Path, video: bytes) -> bytes:
    """As a Pixel makes them: a JPEG that says how many bytes at its end are a film."""
    path = tmp_path / "motion.jpg"
    Image.effect_mandelbrot((640, 480), (-2, -1.5, 1, 1.5), 50).convert("RGB").save(path, "JPEG")
    tags = [
        "-XMP-GCamera:MicroVideo=1",
        "-XMP-GCamera:MicroVideoVersion=1",
        f"-XMP-GCamera:MicroVideoOffset={len(video)}",
    ]
    subprocess.run(["exiftool", "-q", "-overwrite_original", *tags, path], check=True, timeout=30)
    return path.read_bytes() + video


async def test_the_film_within_a_motion_photo_plays(client: aiohttp.ClientSession, tmp_path: Path) -> None:
    video = film("mp4", seed=6)
    asset = await stored(client, "PXL_20240501_120000123.MP.jpg", motion_photo(tmp_path, video))

    assert (asset["kind"], asset["state"], asset["width"]) == ("photo", "ready", 640)
    assert (asset["playback"]["state"], asset["playback"]["source"]) == ("ready", "embedded")
    assert await played(client, asset) == ("video/mp4", video)
    url = asset["playback"]["url"]
    for asked, status, expected in (
        ("bytes=0-0", 206, video[:1]),
        ("bytes=-5", 206, video[-5:]),
        (f"bytes={len(video) - 3}-{len(video) + 100}", 206, video[-3:]),
        ("bytes=0-1,4-5", 200, video),
    ):
        async with client.get(url, headers={"Range": asked}) as response:
            assert (response.status, await response.read()) == (status, expected), asked
    async with client.get(url, headers={"Range": f"bytes={len(video)}-"}) as response:
        assert (response.status, response.headers["Content-Range"]) == (416, f"bytes */{len(video)}")
    async with client.head(url) as response:
        assert (response.status, response.headers["Content-Length"]) == (200, str(len(video)))


async def test_a_motion_photo_whose_film_browsers_lack_gets_a_web_version(
    client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    data = motion_photo(tmp_path, film("mp4", video="libx265", seed=7))
    asset = await playable(client, (await stored(client, "motion.jpg", data))["id"])

    mime, web = await played(client, asset)
    assert (mime, streams(web)[1]) == ("video/mp4", ["h264", "aac"])


async def test_a_live_photo_is_one_item_whose_film_plays(
    client: aiohttp.ClientSession, shared_daemon: RunningDaemon, tmp_path: Path
) -> None:
    path = tmp_path / "IMG_7001.JPG"
    Image.effect_mandelbrot((320, 240), (-2, -1.5, 1, 1.5), 60).convert("RGB").save(path, "JPEG")
    taken = ["-EXIF:DateTimeOriginal=2023:03:04 05:06:07", "-EXIF:OffsetTimeOriginal=+02:00"]
    subprocess.run(["exiftool", "-q", "-overwrite_original", *taken, path], check=True, timeout=30)
    moving = tmp_path / "IMG_7001.MOV"
    moving.write_bytes(film("mov", seed=8))
    stamp = ["-Keys:CreationDate=2023:03:04 05:06:06+02:00"]
    subprocess.run(["exiftool", "-q", "-overwrite_original", *stamp, moving], check=True, timeout=30)

    still, clip = await asyncio.gather(
        stored(client, path.name, path.read_bytes()), stored(client, moving.name, moving.read_bytes())
    )

    still = await asset_of(client, still["id"])
    assert [(each["id"], each["role"]) for each in still["companions"]] == [(clip["id"], "live_video")]
    assert still["playback"]["asset_id"] == clip["id"]
    async with client.get(still["playback"]["url"]) as response:
        assert (response.status, await response.read()) == (200, moving.read_bytes())
    async with client.get(f"/api/v1/assets/{still['id']}/playback") as response:
        assert (response.status, response.url.path) == (200, still["playback"]["url"])
    async with client.get("/api/v1/assets", params={"from": "2023-03-04", "to": "2023-03-04"}) as response:
        assert [item["id"] for item in (await response.json())["items"]] == [still["id"]]
    async with client.delete(f"/api/v1/assets/{still['id']}") as response:
        assert response.status == 204
    assert (await asset_of(client, clip["id"]))["trashed_at"] is not None
    async with client.post(f"/api/v1/assets/{still['id']}/restore") as response:
        assert response.status == 200
    assert (await asset_of(client, clip["id"]))["trashed_at"] is None


async def test_who_wants_to_watch_waits_for_no_other_and_a_cancelled_web_version_leaves_nothing(tmp_path: Path) -> None:
    with running_daemon(tmp_path) as daemon:
        async with daemon.session() as client:
            long = film("avi", video="mpeg4", audio=None, seconds=40, size=(1280, 720))
            asset = await stored(client, "long.avi", long)
            job = await _running_job(client)
            short = await stored(client, "short.avi", film("avi", video="mpeg4", audio=None, seed=3))
            async with client.get(short["playback"]["url"]) as response:
                assert response.status == 503
            assert (await playable(client, short["id"]))["playback"]["state"] == "ready"
            assert (await _job(client, int(job["job_id"])))["state"] == "running"
            async with client.post(f"/api/v1/jobs/{job['job_id']}/cancel") as response:
                assert response.status == 200
            asset = await playable(client, asset["id"])
            assert asset["playback"]["state"] == "failed"
            assert [problem["code"] for problem in asset["problems"]] == ["queue.cancelled"]
            assert asset["state"] == "ready"
            assert_tidy(daemon)
            assert list((daemon.library / ".lumilio/temp").iterdir()) == []
            async with client.post(f"/api/v1/jobs/{job['job_id']}/retry") as response:
                assert response.status == 200
            await _running_job(client)
            await settled(daemon)
            asset = await asset_of(client, asset["id"])
            assert (asset["playback"]["state"], asset["problems"]) == ("ready", [])


async def _job(client: aiohttp.ClientSession, job_id: int) -> Document:
    async with client.get(f"/api/v1/jobs/{job_id}") as response:
        document: Document = await response.json()
    return document


async def _running_job(client: aiohttp.ClientSession) -> Document:
    """The job that makes a web version, once it says how far it is."""
    async with asyncio.timeout(PATIENCE):
        while True:
            async with client.get("/api/v1/jobs", params={"kind": "make_web_version", "state": "running"}) as response:
                items = (await response.json())["items"]
            if items and items[0]["progress"]:
                job: Document = items[0]
                assert 0 < job["progress"] <= 1
                return job
            await asyncio.sleep(0.05)
