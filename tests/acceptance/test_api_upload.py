"""Uploads: acknowledged when durable, refused with a reason, and never half kept."""

import asyncio
import itertools
import json
import re
import tomllib
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from blake3 import blake3

from tests.acceptance.evidence import rows_of
from tests.acceptance.raw_http import CLOSING, connect, head_of, part_of, post
from tests.running import RunningDaemon, finished, running_daemon, upload

HOSTILE_NAMES = (
    "../../x.jpg",
    "/etc/passwd.jpg",
    "..",
    "....jpg",
    "..\\..\\windows.jpg",
    "name\nwith line.jpg",
    "nul\0inside.jpg",
    "turned\u202egpj.jpg",
    "e\u0301 decomposed.jpg",
    "x" * 296 + ".jpg",
    "é" * 148 + ".jpg",
    "trailing dots....",
    "trailing spaces   ",
    "emoji 📷🏖️.jpg",
    "-rf.jpg",
    "pipe |.jpg",
    "$(touch x).jpg",
    "%2e%2e%2fescaped.jpg",
    "con.jpg",
    ".hidden.jpg",
    ".lumilio",
    "<script>alert(1)</script>.jpg",
    'quote".jpg',
    "\x1b[31mred.jpg",
)


def _photo(photo: bytes, number: int) -> bytes:
    """Another file with the same picture."""
    return photo + number.to_bytes(4, "big")


def _incoming(daemon: RunningDaemon) -> list[str]:
    return [path.name for path in (daemon.library / ".lumilio/staging/incoming").iterdir()]


async def _asset(client: aiohttp.ClientSession, asset_id: str) -> dict[str, Any]:
    async with client.get(f"/api/v1/assets/{asset_id}") as response:
        assert response.status == 200
        document: dict[str, Any] = await response.json()
        return document


async def _nothing_waits(daemon: RunningDaemon) -> None:
    """Staging becomes empty by itself: of what was refused at once, of the rest as its job ends.

    Other tests of the same daemon cancel jobs, whose bytes stay for a retry.
    """
    async with asyncio.timeout(60), rows_of(daemon) as rows:
        cancelled = await rows.fetch("SELECT args ->> 'upload_id' AS id FROM finished_jobs WHERE state = 'cancelled'")
        while set(_incoming(daemon)) - {row["id"] for row in cancelled}:
            await asyncio.sleep(0.05)


async def test_the_same_bytes_again_are_answered_with_the_asset(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        status, first = await upload(client, "one.jpg", photo)
        assert (status, first["status"], first["size"]) == (202, "processing", len(photo))
        assert first["content_hash"] == blake3(photo).hexdigest()
        task = await finished(client, first["task_id"])
        assert (task["state"], task["duplicate"], task["file_name"]) == ("completed", False, "one.jpg")
        status, again = await upload(client, "another name.jpg", photo)
        assert (status, again["status"], again["asset_id"]) == (200, "duplicate", task["asset_id"])
        assert again["task_id"] is None
        assert (await _asset(client, task["asset_id"]))["file_name"] == "one.jpg"


async def test_a_stated_digest_is_compared_and_never_believed(shared_daemon: RunningDaemon, photo: bytes) -> None:
    right = blake3(photo).hexdigest()
    async with shared_daemon.session() as client:
        status, answer = await upload(client, "a.jpg", photo, headers={"X-Content-Hash": "0" * 64})
        assert (status, answer["code"]) == (400, "request.hash_mismatch")
        for garbage in ("x", "../" * 20, right + "0"):
            status, answer = await upload(client, "a.jpg", photo, headers={"X-Content-Hash": garbage})
            assert (status, answer["code"]) == (400, "request.invalid")
        await _nothing_waits(shared_daemon)
        async with client.post("/api/v1/assets/check", json={"hashes": [right]}) as response:
            assert (await response.json())["results"][0]["status"] == "unknown"
        status, answer = await upload(client, "a.jpg", photo, headers={"X-Content-Hash": right.upper()})
        assert (status, answer["content_hash"]) == (202, right)


async def test_each_file_of_a_batch_has_its_own_answer(tmp_path: Path, photo: bytes) -> None:
    with running_daemon(tmp_path / "small", more_config="max_file_mb = 1") as daemon:
        async with daemon.session() as client:
            _, first = await upload(client, "first.jpg", photo)
            await finished(client, first["task_id"])
            body = (
                part_of(_photo(photo, 1), file_name="good.jpg")
                + part_of(photo, file_name="again.jpg")
                + part_of(b"hello", file_name="letter.txt")
                + part_of(photo + bytes(1 << 20), file_name="huge.jpg")
                + part_of(_photo(photo, 2), file_name="wrong.jpg", more=b"X-Content-Hash: %s\r\n" % (b"0" * 64))
                + part_of(_photo(photo, 3), name="picture", file_name="field.jpg")
                + part_of(_photo(photo, 4), file_name="")
                + part_of(_photo(photo, 5), file_name="last.jpg")
            )
            answer = await post(daemon, "/api/v1/assets/batch", body + CLOSING)
            assert answer.status == 200
            results = json.loads(answer.body)["results"]
            told = [(item["file_name"], item["http_status"], (item["error"] or {}).get("code")) for item in results]
            assert told == [
                ("good.jpg", 202, None),
                ("again.jpg", 200, None),
                ("letter.txt", 415, "media.unsupported"),
                ("huge.jpg", 413, "request.too_large"),
                ("wrong.jpg", 400, "request.hash_mismatch"),
                ("field.jpg", 400, "request.invalid"),
                ("", 400, "request.invalid"),
                ("last.jpg", 202, None),
            ]
            assert (await finished(client, results[-1]["upload"]["task_id"]))["state"] == "completed"
            alone = await post(daemon, "/api/v1/assets", part_of(photo + bytes(1 << 20)) + CLOSING)
            assert (alone.status, alone.problem()["code"]) == (413, "request.too_large")
            await _nothing_waits(daemon)


async def test_a_batch_of_nothing_or_of_too_much_is_refused_as_a_whole(tmp_path: Path, photo: bytes) -> None:
    with running_daemon(tmp_path / "small", more_config="max_batch_files = 2") as daemon:
        empty = await post(daemon, "/api/v1/assets/batch", CLOSING)
        assert (empty.status, empty.problem()["code"]) == (400, "request.invalid")
        three = b"".join(part_of(_photo(photo, number)) for number in range(3))
        refused = await post(daemon, "/api/v1/assets/batch", three + CLOSING)
        assert (refused.status, refused.problem()["code"]) == (413, "request.too_large")
        assert "what came before is kept" in refused.problem()["detail"]


@pytest.mark.parametrize("data", [b"hello world", b"", b"\x7fELF" + bytes(5000)], ids=["text", "empty", "program"])
async def test_what_is_no_media_is_refused(shared_daemon: RunningDaemon, data: bytes) -> None:
    async with shared_daemon.session() as client:
        status, answer = await upload(client, "notes.txt", data)
    assert (status, answer["code"]) == (415, "media.unsupported")
    await _nothing_waits(shared_daemon)


async def test_an_empty_photo_is_kept_and_shown_as_a_problem(tmp_path: Path) -> None:
    with running_daemon(tmp_path / "daemon") as daemon:
        async with daemon.session() as client:
            status, answer = await upload(client, "empty.jpg", b"")
            assert status == 202
            task = await finished(client, answer["task_id"])
            assert task["state"] == "failed"
            asset = await _asset(client, task["asset_id"])
            assert (asset["state"], asset["size"], asset["kind"]) == ("problem", 0, "photo")
            assert "empty" in " ".join(item["reason"] for item in asset["problems"])
            assert str(daemon.data_dir) not in json.dumps([task, asset])
            async with client.get(asset["original_url"]) as response:
                assert (response.status, await response.read()) == (200, b"")


async def test_a_damaged_photo_is_kept_and_its_problem_names_no_path_of_the_server(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    damaged = photo[: len(photo) // 2]
    async with shared_daemon.session() as client:
        _, answer = await upload(client, "half.jpg", damaged)
        task = await finished(client, answer["task_id"])
        asset = await _asset(client, task["asset_id"])
        assert str(shared_daemon.data_dir) not in json.dumps([task, asset["problems"], asset["facts"]])
        async with client.get(asset["original_url"]) as response:
            assert await response.read() == damaged


async def test_hostile_names_end_inside_the_inbox(shared_daemon: RunningDaemon, photo: bytes) -> None:
    inbox = shared_daemon.library / "inbox"
    outside = {
        path for path in shared_daemon.library.parent.rglob("*") if not path.is_relative_to(shared_daemon.library)
    }
    async with shared_daemon.session() as client:
        for number, name in enumerate(HOSTILE_NAMES):
            data = _photo(photo, number)
            told = json.dumps(name, ensure_ascii=False)[1:-1] if '"' in name else name
            answer = await post(shared_daemon, "/api/v1/assets", part_of(data, file_name=told) + CLOSING)
            if answer.status == 400:
                assert answer.problem()["code"] == "request.invalid", name
                assert set(name) & set("\n\0\x1b"), name
                continue
            assert answer.status == 202, (name, answer.body)
            task = await finished(client, json.loads(answer.body)["task_id"])
            assert task["state"] == "completed", (name, task)
            asset = await _asset(client, task["asset_id"])
            assert "/" not in asset["file_name"], name
            async with client.get(asset["original_url"]) as response:
                assert await response.read() == data, name
                assert "\n" not in response.headers["Content-Disposition"]
    stored = {path.read_bytes() for path in inbox.rglob("*") if path.is_file()}
    refused = [name for number, name in enumerate(HOSTILE_NAMES) if _photo(photo, number) not in stored]
    assert all(set(name) & set("\n\0\x1b") for name in refused)
    assert all(len(path.name.encode()) <= 255 for path in inbox.rglob("*"))
    after = {path for path in shared_daemon.library.parent.rglob("*") if not path.is_relative_to(shared_daemon.library)}
    assert not [path for path in after - outside if path.suffix == ".jpg"]


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ('filename="my photo (1).jpg"', "my photo (1).jpg"),
        ('filename="Größe 中文.jpg"', "Größe 中文.jpg"),
        ("filename=\"fallback.jpg\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.jpg", "Größe.jpg"),
        ('filename="folder/below\\\\c.jpg"', "c.jpg"),
    ],
)
async def test_names_are_kept_as_their_owner_wrote_them(
    shared_daemon: RunningDaemon, photo: bytes, told: str, kept: str
) -> None:
    head = f'--frontier\r\nContent-Disposition: form-data; name="file"; {told}\r\n\r\n'
    answer = await post(shared_daemon, "/api/v1/assets", head.encode() + photo + b"\r\n" + CLOSING)
    assert (answer.status, json.loads(answer.body)["file_name"]) == (202, kept)


async def test_a_file_needs_a_name(shared_daemon: RunningDaemon, photo: bytes) -> None:
    for name in (None, "", ".", "/"):
        answer = await post(shared_daemon, "/api/v1/assets", part_of(photo, file_name=name) + CLOSING)
        assert (answer.status, answer.problem()["code"]) == (400, "request.invalid"), name
    await _nothing_waits(shared_daemon)


async def test_many_uploads_at_once_of_equal_names_and_overlapping_contents_become_one_asset_a_content(
    tmp_path: Path, photo: bytes
) -> None:
    contents = [_photo(photo, number) for number in range(16)]
    with running_daemon(tmp_path / "daemon") as daemon:
        async with daemon.session() as client:
            answers = await asyncio.gather(*(upload(client, "same.jpg", data) for data in contents * 4))
            assert Counter(status for status, _ in answers).keys() <= {200, 202}
            assets: dict[str, set[str]] = {}
            for _, answer in answers:
                found = answer["asset_id"] or (await finished(client, answer["task_id"]))["asset_id"]
                assets.setdefault(answer["content_hash"], set()).add(found)
            assert sorted(assets) == sorted(blake3(data).hexdigest() for data in contents)
            assert all(len(found) == 1 for found in assets.values())
            await _nothing_waits(daemon)
        files = [path for path in (daemon.library / "inbox").rglob("*") if path.is_file()]
        assert sorted(path.read_bytes() for path in files) == sorted(contents)
        assert not [event for event in daemon.log_events() if event["level"] in {"error", "critical"}]


async def test_an_upload_that_breaks_off_leaves_nothing_behind(shared_daemon: RunningDaemon, photo: bytes) -> None:
    crashes = len([event for event in shared_daemon.log_events() if event["level"] == "error"])
    body = part_of(photo + bytes(3 << 20)) + CLOSING
    content_type = "Content-Type: multipart/form-data; boundary=frontier"
    for sent in (10, 200, len(photo), len(body) // 2, len(body) - 5):
        for length in (f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"):
            client = await connect(shared_daemon)
            begun = body[:sent] if length.startswith("C") else b"%x\r\n" % len(body) + body[:sent]
            await client.send(head_of(shared_daemon, "POST", "/api/v1/assets", content_type, length) + begun)
            await client.abort()
    await _nothing_waits(shared_daemon)
    async with shared_daemon.session() as session:
        status, _ = await upload(session, "after.jpg", photo)
    assert status == 202
    assert len([event for event in shared_daemon.log_events() if event["level"] == "error"]) == crashes


async def test_a_slow_upload_in_chunks_of_unknown_length_is_taken(shared_daemon: RunningDaemon, photo: bytes) -> None:
    body = part_of(photo) + CLOSING
    client = await connect(shared_daemon)
    lines = ("Content-Type: multipart/form-data; boundary=frontier", "Transfer-Encoding: chunked")
    await client.send(head_of(shared_daemon, "POST", "/api/v1/assets", *lines))
    step = max(1, len(body) // 50)
    for start in range(0, len(body), step):
        chunk = body[start : start + step]
        await client.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        await asyncio.sleep(0.005)
    await client.send(b"0\r\n\r\n")
    answer = await client.answer()
    assert (answer.status, json.loads(answer.body)["size"]) == (202, len(photo))
    await client.abort()


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "malformed"),
        (b"no boundary at all", "malformed"),
        (part_of(b"\xff\xd8\xff" + bytes(9000))[:-2], "ends in the middle|malformed"),
        (part_of(b"\xff\xd8\xff" + bytes(9000)), "malformed|ends in the middle"),
        (part_of(b"\xff\xd8\xff", more=b"bad header\r\n") + CLOSING, "malformed"),
        (part_of(b"\xff\xd8\xff", more=b"Content-Type: multipart/mixed\r\n") + CLOSING, "malformed|inside a field"),
        (part_of(b"\xff\xd8\xff", more=b"X: " + b"y" * 20_000 + b"\r\n") + CLOSING, "malformed"),
        (part_of(b"x" * 50, name="_charset_", file_name=None) + CLOSING, "malformed|no file"),
        (part_of(b"x", name="repository_id", file_name=None) + part_of(b"\xff\xd8\xff") + CLOSING, "no.? a repository"),
        (part_of(b"x" * 2000, name="repository_id", file_name=None) + CLOSING, "longer than"),
        (part_of(b"x", name="album", file_name=None) + CLOSING, "unexpected field 'album'"),
        (CLOSING, "no file came"),
        (part_of(b"\xff\xd8\xff") * 2 + CLOSING, "'file' after the file"),
        (
            part_of(b"\xff\xd8\xff") + part_of(b"x", name="repository_id", file_name=None) + CLOSING,
            "'repository_id' after the file",
        ),
    ],
    ids=itertools.count(),
)
async def test_a_malformed_body_is_refused_and_nothing_of_it_is_kept(
    shared_daemon: RunningDaemon, body: bytes, told: str
) -> None:
    answer = await post(shared_daemon, "/api/v1/assets", body)
    assert answer.status == 400, answer
    problem = answer.problem()
    assert problem["code"] == "request.invalid"
    assert re.search(told, problem["detail"]), problem
    await _nothing_waits(shared_daemon)


@pytest.mark.parametrize("header", ["Content-Encoding: gzip", "Content-Transfer-Encoding: base64"])
async def test_an_encoded_part_is_refused_rather_than_stored_encoded(shared_daemon: RunningDaemon, header: str) -> None:
    body = part_of(b"\xff\xd8\xff", more=header.encode() + b"\r\n") + CLOSING
    answer = await post(shared_daemon, "/api/v1/assets", body)
    assert (answer.status, answer.problem()["code"]) == (415, "request.media_type_unsupported")


async def test_an_unknown_repository_is_not_found(shared_daemon: RunningDaemon, photo: bytes) -> None:
    for repository_id in (str(uuid.uuid4()), "{" + str(uuid.uuid4()) + "}"):
        body = part_of(repository_id.encode(), name="repository_id", file_name=None) + part_of(photo) + CLOSING
        answer = await post(shared_daemon, "/api/v1/assets", body)
        assert (answer.status, answer.problem()["code"]) == (404, "request.not_found")


async def test_a_repository_can_be_named(shared_daemon: RunningDaemon, photo: bytes) -> None:
    text = (shared_daemon.library / ".lumilio/repository.toml").read_text(encoding="utf-8")
    repository_id = str(tomllib.loads(text)["id"]).encode()
    body = part_of(repository_id, name="repository_id", file_name=None) + part_of(photo) + CLOSING
    assert (await post(shared_daemon, "/api/v1/assets", body)).status == 202


async def test_the_files_own_time_stands_in_for_a_capture_time(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        headers = {"X-File-Modified": "2011-03-04T05:06:07.250000+02:00"}
        _, answer = await upload(client, "dated.jpg", photo, headers=headers)
        task = await finished(client, answer["task_id"])
        captured = (await _asset(client, task["asset_id"]))["facts"]["captured"]
        assert captured["source"] == "modified"
        assert captured["local"].startswith("2011-03-04T03:06:07")
    (stored,) = [path for path in (shared_daemon.library / "inbox/2011/03").iterdir() if path.read_bytes() == photo]
    assert stored.stat().st_mtime == 1299207967.25


async def test_a_files_time_that_is_none_is_refused_and_an_impossible_one_counts_as_unknown(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    async with shared_daemon.session() as client:
        for text in ("yesterday", "2024-05-01T12:00:00", "1714564800", ""):
            status, answer = await upload(client, "dated.jpg", photo, headers={"X-File-Modified": text})
            assert (status, answer["code"]) == (400, "request.invalid"), text
        for number, text in enumerate(
            ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "1601-01-01T00:00:00Z")
        ):
            status, answer = await upload(client, "old.jpg", _photo(photo, number), headers={"X-File-Modified": text})
            assert status == 202, text
            assert (await finished(client, answer["task_id"]))["state"] == "completed", text
