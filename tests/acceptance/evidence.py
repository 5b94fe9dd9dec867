"""What the tests of durability go by: pictures that nobody else has, and the rows, files and processes of a daemon."""

import asyncio
import io
import os
import random
import struct
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import psutil
from blake3 import blake3
from PIL import Image

from tests.running import RunningDaemon, upload

PATIENCE = 60.0
"""Seconds that a test waits for what has to happen, before it fails."""
LIVE = ("available", "scheduled", "running", "retryable")

Files = Mapping[str, bytes]
"""File name → content."""


def photos(count: int, *, seed: int, size: tuple[int, int] = (480, 320)) -> dict[str, bytes]:
    """JPEGs of noise, which compress badly and are all different."""
    noise = random.Random(seed)
    return {f"noise-{seed}-{number:03}.jpg": noise_photo(noise, size) for number in range(count)}


def noise_photo(noise: random.Random, size: tuple[int, int]) -> bytes:
    """One of them."""
    width, height = size
    picture = Image.frombytes("RGB", size, noise.randbytes(width * height * 3))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def big_photo(number: int) -> bytes:
    """A PNG of a megabyte that takes a decoder a third of a second; numbers make different files."""
    png, words = _grey_png(16000), f"Comment\0{number}".encode("latin-1")
    chunk = len(words).to_bytes(4, "big") + b"tEXt" + words + zlib.crc32(b"tEXt" + words).to_bytes(4, "big")
    return png[:-12] + chunk + png[-12:]


@cache
def _grey_png(side: int) -> bytes:
    packer, row = zlib.compressobj(6), b"\0" + bytes([77]) * (3 * side)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def digest(data: bytes) -> str:
    """BLAKE3, as the library names contents."""
    return blake3(data).hexdigest()


def write_tree(root: Path, files: Files) -> Path:
    """The files in a directory."""
    root.mkdir(parents=True)
    for name, data in files.items():
        (root / name).write_bytes(data)
    return root


async def until(happened: Callable[[], object], what: str, *, seconds: float = PATIENCE) -> None:
    """Look every few milliseconds."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(0.005)


@asynccontextmanager
async def rows_of(daemon: RunningDaemon) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """The embedded database of a running daemon."""
    host = str((daemon.data_dir / "postgres/run").resolve())
    connection: asyncpg.Connection[Any] = await asyncpg.connect(host=host, user="lumilio", database="lumilio")
    try:
        yield connection
    finally:
        await connection.close()


SWEPT = """SELECT EXISTS (
    SELECT FROM finished_jobs WHERE kind = 'sweep_staging' AND created_at >= to_timestamp($1)
)"""
"""Whether the daemon that started then has looked at staging."""


async def settled(daemon: RunningDaemon, *, seconds: float = PATIENCE, hasten: bool = False) -> None:
    """Wait until no job is left, the sweep of this start included. ``hasten`` makes waiting jobs due now."""
    deadline = time.monotonic() + seconds
    async with rows_of(daemon) as rows:
        while True:
            if hasten:
                await rows.execute("UPDATE jobs SET run_at = now() WHERE state IN ('scheduled', 'retryable')")
            live = await rows.fetch("SELECT kind, state, attempt, errors FROM jobs WHERE state = ANY ($1)", LIVE)
            if not live and await rows.fetchval(SWEPT, psutil.Process(daemon.process.pid).create_time()):
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"jobs that do not end within {seconds:g} s: {[dict(row) for row in live][:10]}")
            await asyncio.sleep(0.05)


async def job_states(daemon: RunningDaemon) -> dict[str, int]:
    """How many uploads are in which state of their job."""
    async with rows_of(daemon) as rows:
        found = await rows.fetch("SELECT state, count(*) FROM all_jobs WHERE kind = 'process_asset' GROUP BY state")
    return dict(found)


async def send(daemon: RunningDaemon, files: Files, acknowledged: dict[str, bytes], *, at_once: int = 4) -> None:
    """Upload until everything is there or the daemon is gone; remember what it took responsibility for."""
    waiting = list(files.items())

    async def some(client: aiohttp.ClientSession) -> None:
        while waiting:
            name, data = waiting.pop()
            try:
                status, _ = await upload(client, name, data)
            except (aiohttp.ClientError, OSError):
                return
            if status == 503:
                return
            assert status in (200, 202), (name, status)
            acknowledged[name] = data

    async with daemon.session() as client, asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(some(client))


async def all_assets(client: aiohttp.ClientSession) -> list[dict[str, Any]]:
    """Every asset, whole: those that are listed, and their companions."""
    found: list[dict[str, Any]] = []

    async def add(asset_id: str) -> None:
        async with client.get(f"/api/v1/assets/{asset_id}") as response:
            found.append(await response.json())

    query = {"limit": "500"}
    while True:
        async with client.get("/api/v1/assets", params=query) as response:
            page = await response.json()
        for item in page["items"]:
            await add(item["id"])
            for companion in found[-1]["companions"]:
                await add(companion["id"])
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


async def assert_whole(daemon: RunningDaemon, files: Iterable[bytes], *, optional: Iterable[bytes] = ()) -> None:
    """One asset, one location and one file for each content, bit for bit; nothing left over, nothing left to do.

    ``optional`` are contents that may be there as well: sent, but nobody saw an answer.
    """
    wanted = {digest(data): data for data in files}
    allowed = wanted | {digest(data): data for data in optional}
    async with rows_of(daemon) as rows:
        assets = await rows.fetch("SELECT id, encode(content_hash, 'hex') AS hash, state FROM assets")
        places = await rows.fetch("SELECT asset_id, path, state FROM locations")
        jobs = await rows.fetch(
            "SELECT kind, state, errors, args FROM all_jobs WHERE state <> 'completed'"
            " AND NOT (kind = 'sweep_staging' AND state = 'discarded')"  # the next start makes another
        )
    assert not jobs, [dict(job) for job in jobs]
    hashes = sorted(row["hash"] for row in assets)
    assert len(set(hashes)) == len(hashes), "two assets with one content"
    assert set(wanted) <= set(hashes) <= set(allowed)
    assert {row["state"] for row in assets} <= {"ready"}
    by_asset = {row["id"]: row["hash"] for row in assets}
    assert sorted(by_asset) == sorted(row["asset_id"] for row in places), "not one location an asset"
    library = daemon.library
    for place in places:
        assert (library / place["path"]).read_bytes() == allowed[by_asset[place["asset_id"]]], place["path"]
    stored = {path.relative_to(library).as_posix() for path in (library / "inbox").rglob("*") if path.is_file()}
    assert stored == {place["path"] for place in places}, "files without rows"
    assert_tidy(daemon)
    async with daemon.session() as client:
        for asset_id, content_hash in by_asset.items():
            async with client.get(f"/api/v1/assets/{asset_id}/original") as response:
                assert response.status == 200
                assert await response.read() == allowed[content_hash]
            for size in ("small", "medium", "large"):
                async with client.get(f"/api/v1/assets/{asset_id}/thumbnail", params={"size": size}) as response:
                    assert response.status == 200


def assert_tidy(daemon: RunningDaemon) -> None:
    """Nothing waits in staging and no half-written file lies about."""
    private = daemon.library / ".lumilio"
    assert list((private / "staging/incoming").iterdir()) == []
    assert list((private / "staging/failed").iterdir()) == []
    assert [path.name for path in (private / "temp").iterdir() if path.name != "overwrite.lock"] == []
    assert [path.name for path in daemon.data_dir.iterdir() if path.name.startswith(".")] == []
    assert [path.name for path in (daemon.data_dir / "secrets").iterdir() if path.name.startswith(".")] == []


def descendants(daemon: RunningDaemon) -> list[psutil.Process]:
    """Every process that the daemon started, and that those started."""
    return psutil.Process(daemon.process.pid).children(recursive=True)


def decoders(daemon: RunningDaemon) -> list[psutil.Process]:
    """The children of the fork server."""
    found: list[psutil.Process] = []
    for server in psutil.Process(daemon.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # it may end between two looks
            if "forkserver" in " ".join(server.cmdline()):
                found += server.children()
    return found


@contextmanager
def decoding_held_up(daemon: RunningDaemon) -> Iterator[None]:
    """Nothing is decoded meanwhile: the decoders stand still, and so does the fork server that would make others."""
    held = [process for process in decoders(daemon)]
    held += {process.ppid(): psutil.Process(process.ppid()) for process in held}.values()
    for process in held:
        process.suspend()
    try:
        yield
    finally:
        for process in reversed(held):
            with suppress(psutil.NoSuchProcess):
                process.resume()


def exiftools(daemon: RunningDaemon) -> list[psutil.Process]:
    """The running ones."""
    found: list[psutil.Process] = []
    for process in psutil.Process(daemon.process.pid).children():
        with suppress(psutil.NoSuchProcess):
            if process.name() == "exiftool":
                found.append(process)
    return found


def survivors(processes: Sequence[psutil.Process], *, seconds: float = 10) -> list[psutil.Process]:
    """Those that do not end; a process that died and waits for init to take it away is over."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def spoken(daemon: RunningDaemon) -> str:
    """What the daemon said beside its structured log."""
    return "\n".join(line for line in daemon.log.read_text(encoding="utf-8").splitlines() if not line.startswith("{"))


def postmaster(daemon: RunningDaemon) -> int:
    """The embedded PostgreSQL's first process."""
    return int((daemon.data_dir / "postgres/data/postmaster.pid").read_text().split("\n", 1)[0])


def count_files(root: Path) -> int:
    """Files below a directory that changes meanwhile."""
    return sum(len(names) for _, _, names in os.walk(root))
