"""Making the thumbnails of an asset anew, and developing a RAW in full."""

import asyncio
import io
from typing import Any

import aiohttp
import numpy as np
from PIL import Image

from lumilio.model import Role
from tests.acceptance.callers import add_account, session_of, token_of
from tests.acceptance.evidence import PATIENCE
from tests.conformance.dng import dng, mosaic
from tests.running import RunningDaemon, finished, upload

Document = dict[str, Any]


def _raw() -> bytes:
    """A DNG of 2400 x 1600 pixels with a preview of 1200 x 800."""
    x, y = np.meshgrid(np.linspace(0, 255, 2400), np.linspace(0, 255, 1600))
    pixels = np.stack([x, y, (x + y) / 2], axis=-1).astype(np.uint8)
    preview = io.BytesIO()
    Image.fromarray(pixels).resize((1200, 800)).save(preview, "JPEG")
    return dng(mosaic(pixels), preview=(preview.getvalue(), 1200, 800))


async def _stored(client: aiohttp.ClientSession, name: str, data: bytes) -> str:
    _, answer = await upload(client, name, data)
    return str((await finished(client, answer["task_id"]))["asset_id"])


async def _asset(client: aiohttp.ClientSession, asset_id: str) -> Document:
    async with client.get(f"/api/v1/assets/{asset_id}") as response:
        document: Document = await response.json()
    return document


async def _rendered(client: aiohttp.ClientSession, asset_id: str, **how: bool) -> Document:
    """The job, once it has ended."""
    async with client.post(f"/api/v1/assets/{asset_id}/render", json=how) as response:
        assert response.status == 202, await response.text()
        job_id = (await response.json())["job_id"]
    async with asyncio.timeout(PATIENCE):
        while True:
            async with client.get(f"/api/v1/jobs/{job_id}") as response:
                job: Document = await response.json()
            if job["state"] in ("completed", "discarded"):
                return job
            await asyncio.sleep(0.05)


async def test_a_raw_is_developed_in_full_when_somebody_asks(shared_daemon: RunningDaemon) -> None:
    async with shared_daemon.session() as client:
        asset_id = await _stored(client, "shot.dng", _raw())
        assert (await _asset(client, asset_id))["render_source"] == "embedded_preview"

        assert (await _rendered(client, asset_id, full=True))["state"] == "completed"

        asset = await _asset(client, asset_id)
        assert (asset["state"], asset["render_source"], asset["width"]) == ("ready", "full_size", 2400)
        assert (await _rendered(client, asset_id))["state"] == "completed"
        assert (await _asset(client, asset_id))["render_source"] == "embedded_preview"


async def test_a_development_that_fails_leaves_what_is_there(shared_daemon: RunningDaemon) -> None:
    async with shared_daemon.session() as client:
        whole = _raw()
        asset_id = await _stored(client, "cut.dng", whole[: len(whole) // 2])
        before = await _asset(client, asset_id)
        assert (before["state"], before["render_source"]) == ("ready", "embedded_preview")

        job = await _rendered(client, asset_id, full=True)

        assert job["state"] == "discarded"
        after = await _asset(client, asset_id)
        assert (after["state"], after["render_source"], after["problems"]) == ("ready", "embedded_preview", [])


async def test_facts_that_are_read_again_stay_what_they_are(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        asset_id = await _stored(client, "again.jpg", photo)
        before = await _asset(client, asset_id)

        assert (await _rendered(client, asset_id, facts=True))["state"] == "completed"

        after = await _asset(client, asset_id)
        assert after["facts"] == before["facts"]
        assert after["thumbhash"] == before["thumbhash"]
        assert after["perceptual_hash"] == before["perceptual_hash"]


async def test_nobody_else_may_ask(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        asset_id = await _stored(client, "mine.jpg", photo)
    stranger, _ = await add_account(shared_daemon, Role.USER)
    token = token_of(shared_daemon, stranger, Role.USER)
    async with (
        session_of(shared_daemon, token) as theirs,
        theirs.post(f"/api/v1/assets/{asset_id}/render", json={}) as response,
    ):
        assert response.status == 404
