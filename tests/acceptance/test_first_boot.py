"""The line that everything stands on: bytes in, safely stored, processed, seen through the API."""

import stat

from tests.running import RunningDaemon, finished, upload


async def test_an_uploaded_photo_is_stored_processed_and_listed(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        status, answer = await upload(client, "first.jpg", photo)
        assert status == 202
        assert answer["status"] == "processing"
        task = await finished(client, answer["task_id"])
        assert task["state"] == "completed"
        async with client.get(f"/api/v1/assets/{task['asset_id']}") as response:
            asset = await response.json()
        assert (asset["width"], asset["height"], asset["state"]) == (320, 200, "ready")
        assert [item["size"] for item in asset["thumbnails"]] == ["small", "medium", "large"]
        async with client.get(asset["original_url"]) as response:
            assert await response.read() == photo


def test_the_first_password_is_for_its_owner_only(shared_daemon: RunningDaemon) -> None:
    path = shared_daemon.data_dir / "initial-admin-password"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(shared_daemon.admin_password) >= 20
