"""Health that tries what it tells, and metrics that are worth reading."""

import asyncio
import json

import aiohttp
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from lumilio import metrics
from tests.acceptance.callers import session_of
from tests.running import RunningDaemon, finished, running_daemon, upload


async def _becomes(daemon: RunningDaemon, expected: int) -> dict[str, str]:
    """Wait for that status; what is wrong then, by check."""
    async with asyncio.timeout(30):
        while (found := await _ready(daemon))[0] != expected:
            await asyncio.sleep(0.1)
    return found[1]


async def _ready(daemon: RunningDaemon) -> tuple[int, dict[str, str]]:
    async with session_of(daemon, None) as client, client.get("/health/ready") as response:
        health = await response.json()
    assert health["ok"] == (response.status == 200) == all(check["ok"] for check in health["checks"])
    assert [check["name"] for check in health["checks"]] == ["database", "migrations", "queue", "disk", "tools"]
    assert str(daemon.data_dir) not in json.dumps(health)
    return response.status, {check["name"]: check["detail"] for check in health["checks"] if not check["ok"]}


async def _delete(client: aiohttp.ClientSession, asset_id: str) -> int:
    async with client.delete(f"/api/v1/assets/{asset_id}") as response:
        return response.status


async def test_a_repository_that_goes_away_makes_it_unready_refuses_uploads_and_loses_nothing(
    daemon: RunningDaemon, photo: bytes
) -> None:
    sentinel = daemon.library / ".lumilio/repository.toml"
    hidden = daemon.data_dir / "sentinel.away"
    async with daemon.session() as client:
        _, answer = await upload(client, "kept.jpg", photo)
        asset_id = (await finished(client, answer["task_id"]))["asset_id"]
        assert await _becomes(daemon, 200) == {}
        files = sorted((daemon.library / "inbox").rglob("*.jpg"))

        sentinel.rename(hidden)
        wrong = await _becomes(daemon, 503)
        assert list(wrong) == ["disk"]
        assert "'Library' is offline" in wrong["disk"]
        status, problem = await upload(client, "refused.jpg", photo + b"x")
        assert (status, problem["code"]) == (503, "repository.offline")
        assert str(daemon.data_dir) not in json.dumps(problem)
        assert list((daemon.library / ".lumilio/staging/incoming").iterdir()) == []
        for path in ("original", "thumbnail"):
            async with client.get(f"/api/v1/assets/{asset_id}/{path}") as response:
                assert response.status in {200, 503}
        assert await _delete(client, asset_id) in {204, 503}
        assert sorted((daemon.library / "inbox").rglob("*.jpg")) == files
        async with client.post("/api/v1/assets/check", json={"hashes": [answer["content_hash"]]}) as response:
            assert (await response.json())["results"][0]["status"] == "known"

        hidden.rename(sentinel)
        assert await _becomes(daemon, 200) == {}
        status, answer = await upload(client, "taken.jpg", photo + b"x")
        assert status == 202
        assert (await finished(client, answer["task_id"]))["state"] == "completed"


async def test_a_daemon_that_starts_without_its_repository_says_so_and_takes_it_when_it_comes(
    daemon: RunningDaemon, photo: bytes
) -> None:
    assert daemon.stop() == 0
    away = daemon.data_dir / "unplugged"
    daemon.library.rename(away)
    with running_daemon(daemon.data_dir.parent) as again:
        assert list(await _becomes(again, 503)) == ["disk"]
        async with again.session() as client:
            status, problem = await upload(client, "refused.jpg", b"\xff\xd8\xff")
        assert (status, problem["code"]) == (503, "repository.offline")
        assert not again.library.exists()
        away.rename(again.library)
        assert await _becomes(again, 200) == {}
        async with again.session() as client:
            _, answer = await upload(client, "taken.jpg", photo)
            assert (await finished(client, answer["task_id"]))["state"] == "completed"


async def test_metrics_parse_and_count_what_happened(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        before = await _metrics(client)
        _, answer = await upload(client, "counted.jpg", photo)
        await finished(client, answer["task_id"])
        await upload(client, "counted.jpg", photo)
        async with client.get("/nowhere/at/all") as response:
            assert response.status == 404
        after = await _metrics(client)

    def grown(name: str, **labels: str) -> float:
        key = (name, tuple(sorted(labels.items())))
        return after.get(key, 0) - before.get(key, 0)

    assert grown("lumilio_uploads_total", outcome="accepted") == 1
    assert grown("lumilio_uploads_total", outcome="duplicate") == 1
    assert grown("lumilio_uploaded_bytes_total") == 2 * len(photo)
    assert grown("lumilio_assets_committed_total", kind="photo") == 1
    assert grown("lumilio_jobs_finished_total", kind="process_asset", outcome="completed") == 1
    assert grown("lumilio_http_requests_total", route="none", method="GET", status="404") == 1
    assert grown("lumilio_http_requests_total", route="/api/v1/assets", method="POST", status="202") == 1


async def _metrics(client: aiohttp.ClientSession) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    async with client.get("/metrics") as response:
        assert response.content_type == "text/plain"
        text = await response.text()
    families = list(text_string_to_metric_families(text))
    ours = {family.name for family in families if family.name.startswith("lumilio_")}
    defined = {
        family.name
        for metric in vars(metrics).values()
        if isinstance(metric, MetricWrapperBase)
        for family in metric.describe()
    }
    assert defined <= ours
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


async def test_paths_that_nobody_defined_make_no_metrics_of_their_own(shared_daemon: RunningDaemon) -> None:
    async with shared_daemon.session() as client:
        for number in range(20):
            async with client.request("GET", f"/made/up/{number}") as response:
                assert response.status == 404
        labels = {dict(labels).get("route") for _, labels in await _metrics(client)}
    assert not any("made" in str(label) for label in labels)
