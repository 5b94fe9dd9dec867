"""A thousand damaged and hostile files beside good ones: each costs itself at most, and says what is wrong with it."""

import asyncio
import io
import json
import os
import random
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from lumilio.media.detect import MEDIA_EXTENSIONS
from tests.acceptance.evidence import (
    all_assets,
    assert_tidy,
    descendants,
    digest,
    exiftools,
    photos,
    rows_of,
    settled,
    until,
)
from tests.running import RunningDaemon, finished, running_daemon, upload

FIXTURES = Path(__file__).parents[1] / "fixtures/media"
MIB = 1 << 20
VARIANTS = 1000
DECODER_MIB = 256
"""What the daemon of these tests allows a decoder."""
OVERTAKING = 40
"""Files that may be done before one that came earlier: eight times as many as are processed at once."""
DECODER_BASE_MIB = 120
"""A decoder that has done nothing yet: Python, Pillow and its libraries."""

HOSTILE_NAMES = (
    "-rf.jpg",
    "--version.jpg",
    "-config.jpg",
    "pipe |.jpg",
    "|echo pwned.jpg",
    "$(reboot).jpg",
    "`reboot`.jpg",
    "a;b&c>d<e.jpg",
    "quote'\".jpg",
    "percent %s %n %00.jpg",
    "new\nline.jpg",
    "tab\tbell\a.jpg",
    "\x1b[31mred.jpg",
    "back\\slash.jpg",
    "rtl \u202egpj.exe.jpg",
    "nfd e\u0301.jpg",
    "emoji \U0001f4f7.jpg",
    "CON.jpg",
    "trailing dot..jpg",
    " leading space.jpg",
    "@args.jpg",
    "x" * 251 + ".jpg",
    "\u00e9" * 125 + ".jpg",
    b"latin1 \xe9\xff.jpg",
    "[brackets]{}*?.jpg",
    "semi%2e%2e%2fescape.jpg",
)


def _png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _png_bomb(width: int, height: int) -> bytes:
    """Some hundred kilobytes that decode to hundreds of megabytes."""
    packer, row = zlib.compressobj(6), bytes(1 + 3 * width)
    return _png(width, height, b"".join(packer.compress(row) for _ in range(height)) + packer.flush())


def _png_with_swollen_profile() -> bytes:
    """A picture of one pixel whose colour profile unpacks to 200 MB."""
    packer = zlib.compressobj(9)
    profile = b"x\0\0" + b"".join(packer.compress(bytes(MIB)) for _ in range(200)) + packer.flush()
    plain = _png(1, 1, zlib.compress(bytes(4)))
    chunk = struct.pack(">I", len(profile)) + b"iCCP" + profile + struct.pack(">I", zlib.crc32(b"iCCP" + profile))
    return plain[:33] + chunk + plain[33:]


def _zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("a", bytes(200 * MIB))
    return buffer.getvalue()


def _gif_bomb(side: int) -> bytes:
    """Of one colour: some hundred kilobytes for hundreds of millions of pixels."""
    buffer = io.BytesIO()
    Image.new("P", (side, side)).save(buffer, "GIF")
    return buffer.getvalue()


def _truncated(noise: random.Random, data: bytes) -> bytes:
    return data[: noise.randrange(12, len(data))]


def _flipped(noise: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(noise.choice((1, 4, 64))):
        changed[noise.randrange(len(changed))] ^= noise.randrange(1, 256)
    return bytes(changed)


def _smeared(noise: random.Random, data: bytes) -> bytes:
    """A block of the file overwritten, as by a dying card."""
    start = noise.randrange(len(data))
    length = noise.randrange(1, 4096)
    return data[:start] + noise.randbytes(len(data[start : start + length])) + data[start + length :]


def _emptied(noise: random.Random, data: bytes) -> bytes:
    """Right at the beginning, then zeros: what a crash of some filesystems leaves."""
    start = noise.randrange(1, min(len(data), 4096))
    return data[:start] + bytes(len(data) - start)


DAMAGES: Sequence[Callable[[random.Random, bytes], bytes]] = (_truncated, _flipped, _smeared, _emptied)


def _damaged_variants(count: int) -> Iterator[tuple[bytes, bytes]]:
    """Name and content; the same ones every time."""
    noise = random.Random(20240501)
    originals = sorted(path for path in FIXTURES.rglob("*") if path.suffix.lower() in MEDIA_EXTENSIONS)
    assert originals
    for number in range(count):
        path = originals[number % len(originals)]
        damage = DAMAGES[number // len(originals) % len(DAMAGES)]
        yield f"{number:04}-{damage.__name__}-{path.name}".encode(), damage(noise, path.read_bytes())


def _odd_files() -> Iterator[tuple[bytes, bytes]]:
    good = {path.suffix.lower(): path.read_bytes() for path in sorted(FIXTURES.rglob("*")) if path.is_file()}
    extensions = (".jpg", ".png", ".webp", ".mp4", ".mp3", ".nef", ".heic", ".gif")
    for number, (suffix, wrong) in enumerate(zip(extensions, (*extensions[1:], extensions[0]), strict=True)):
        content = good.get(suffix) or good[".png"]
        yield f"wrong-{number}{wrong}".encode(), content + b"\0" * (number + 1)
    for suffix in (".jpg", ".png", ".mp4", ".cr2", ".flac"):
        yield f"empty{suffix}".encode(), b""
    playlist = b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    yield b"playlist.mp4", playlist
    yield b"concat.mov", b"ffconcat version 1.0\nfile /etc/passwd\n"
    yield b"page.jpg", b"<html><script>alert(1)</script></html>"
    yield b"vector.jpg", b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    yield b"bomb.png", _png_bomb(12000, 12000)
    yield b"wide.png", _png(0x7FFFFFFF, 1, b"")
    yield b"profile.png", _png_with_swollen_profile()
    yield b"archive.jpg", _zip_bomb()
    yield b"none.png", _png(0, 0, b"")
    yield (
        b"djvu.jpg",
        b'AT&TFORM\0\0\0\x20DJVUANTa\0\0\0\x10(metadata (Copyright "\\\n" . qx{touch pwned} . \\\n" b ") )',
    )


@dataclass(slots=True)
class ChildMemory:
    """The most that any child took while it was watched, in bytes, by what it is."""

    most: dict[str, int] = field(default_factory=dict)


@contextmanager
def watched_children(daemon: RunningDaemon) -> Iterator[ChildMemory]:
    """Look at the children's memory 20 times a second."""
    seen, over = ChildMemory(), threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for process in descendants(daemon):
                try:
                    name, size = process.name(), process.memory_info().rss
                except psutil.Error:
                    continue
                seen.most[name] = max(seen.most.get(name, 0), size)

    thread = threading.Thread(target=look, name="watch children")
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


@pytest.fixture(scope="module")
def tough_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """One daemon for all of this; a decoder gets little memory."""
    more = f"[decoders]\nmemory_mb = {DECODER_MIB}"
    with running_daemon(tmp_path_factory.mktemp("damage"), more_config=more) as daemon:
        yield daemon


def _write(root: Path, files: Mapping[bytes, bytes]) -> None:
    root.mkdir()
    for name, data in files.items():
        (root / os.fsdecode(name)).write_bytes(data)


@pytest.mark.timeout(300)
async def test_damaged_files_are_kept_bit_for_bit_with_a_reason_and_good_ones_are_ready(
    tough_daemon: RunningDaemon, tmp_path: Path
) -> None:
    good = {name.encode(): data for name, data in photos(20, seed=9).items()}
    names = [name.encode() if isinstance(name, str) else name for name in HOSTILE_NAMES]
    hostile = dict(zip(names, photos(len(names), seed=10).values(), strict=True))
    bad = {**dict(_damaged_variants(VARIANTS)), **dict(_odd_files())}
    files = {**good, **hostile, **bad}
    _write(tmp_path / "tree", files)
    with watched_children(tough_daemon) as children:
        ended = await asyncio.to_thread(
            tough_daemon.run_cli, "import", "--all", "--json", str(tmp_path / "tree"), timeout=200
        )
        await settled(tough_daemon, seconds=200, hasten=True)
    refused = _refused(ended.stdout)
    assert set(refused.values()) <= {"request.media_type_unsupported", "media.unsupported"}, refused
    assert ended.returncode == (1 if refused else 0), ended.stdout[-2000:]
    expected = {digest(data): (name, data) for name, data in files.items() if os.fsdecode(name) not in refused}
    async with tough_daemon.session() as client:
        assets = {asset["content_hash"]: asset for asset in await all_assets(client)}
        assert set(expected) <= set(assets), [expected[key][0] for key in set(expected) - set(assets)]
        for content_hash, (name, data) in expected.items():
            async with client.get(assets[content_hash]["original_url"]) as response:
                assert await response.read() == data, name
            _assert_told(assets[content_hash])
    for data in (*good.values(), *hostile.values()):
        assert assets[digest(data)]["state"] == "ready"
    whole = {digest(data) for data in (*good.values(), *hostile.values())}
    await _assert_nobody_waited_for_bad_ones(tough_daemon, whole)
    assert children.most["python"] < (DECODER_MIB + DECODER_BASE_MIB) * MIB, children.most
    assert children.most["exiftool"] < 1024 * MIB, children.most
    await _assert_unharmed(tough_daemon)


def _refused(output: str) -> dict[str, str]:
    """Files that are no media even by their name, by what the import said of them."""
    events = [json.loads(line) for line in output.splitlines()]
    return {Path(event["path"]).name: event["code"] for event in events if event.get("outcome") == "failed"}


def _assert_told(asset: Mapping[str, Any]) -> None:
    """Ready, not shown yet, or a problem whose reason says something."""
    if asset["state"] == "problem":
        assert asset["problems"], asset["file_name"]
    else:
        assert asset["state"] in ("ready", "unsupported"), asset["file_name"]
    for problem in asset["problems"]:
        assert problem["code"].split(".")[0] in ("media", "tool"), problem
        assert len(problem["reason"]) > 10, problem
        assert "Traceback" not in problem["reason"], problem
        assert "/tmp/" not in problem["reason"], problem


async def _assert_nobody_waited_for_bad_ones(daemon: RunningDaemon, good: set[str]) -> None:
    """Each good file had its turn: hardly a file that came later was done before it."""
    async with rows_of(daemon) as rows:
        overtaken = await rows.fetch(
            """SELECT j.args ->> 'content_hash' AS content_hash, (
                   SELECT count(*) FROM all_jobs AS later
                   WHERE later.kind = j.kind AND later.id > j.id AND later.finished_at < j.finished_at) AS by
               FROM all_jobs AS j WHERE j.kind = 'process_asset'"""
        )
    counts = [row["by"] for row in overtaken if row["content_hash"] in good]
    assert len(counts) == len(good)
    assert max(counts) <= OVERTAKING, sorted(counts)[-10:]


def _zombies(daemon: RunningDaemon) -> list[psutil.Process]:
    found = []
    for child in descendants(daemon):
        with suppress(psutil.NoSuchProcess):
            if child.status() == psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


async def _assert_unharmed(daemon: RunningDaemon) -> None:
    """No job tried too often, no child dead and unburied, nothing written that should not be."""
    async with rows_of(daemon) as rows:
        jobs = await rows.fetch("SELECT state, attempt, errors FROM all_jobs WHERE kind = 'process_asset'")
    assert {job["state"] for job in jobs} == {"completed"}
    assert max(job["attempt"] for job in jobs) <= 3
    assert daemon.process.poll() is None
    await until(lambda: not _zombies(daemon), "every dead child is buried", seconds=10)
    assert 1 <= len(exiftools(daemon)) <= 2
    assert not Path("pwned").exists()
    assert_tidy(daemon)


async def test_a_picture_that_needs_more_memory_than_allowed_is_a_problem_at_the_first_attempt(
    tough_daemon: RunningDaemon,
) -> None:
    """The header alone tells of the larger one. The other is within what is decoded by default, but not here."""
    async with tough_daemon.session() as client:
        for name, side in (("larger.gif", 27000), ("large.gif", 17000)):
            data = _gif_bomb(side)
            status, answer = await upload(client, name, data)
            assert status == 202
            task = await finished(client, answer["task_id"])
            assert task["attempt"] == 1
            async with client.get(f"/api/v1/assets/{task['asset_id']}") as response:
                asset = await response.json()
            assert (name, asset["state"]) == (name, "problem")
            assert [problem["code"] for problem in asset["problems"]] == ["media.over_budget"]
    await _assert_unharmed(tough_daemon)
