"""Requests a second and latencies of thumbnails, listings of a large library and uploads, beside what limits them.

    python -m tests.benchmarks.api

Prints JSON. ``daemon_cpu_ms`` is CPU of the daemon a request: the load generator shares the processors, and on a
small machine the rate is that of both together.
"""

import argparse
import asyncio
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import aiohttp

from lumilio.db import Database, DatabaseAddress, open_database
from tests.benchmarks.load import Outcome, get, post_file, put_load
from tests.benchmarks.measuring import cpu_seconds, machine, wait_until_idle
from tests.benchmarks.photos import camera_jpegs, make_distinct
from tests.running import RunningDaemon, running_daemon

UPLOAD_BYTES = 5_000_000
PHOTOS = 37
MANY_ASSETS = """
    INSERT INTO assets (owner_id, content_hash, file_name, size, kind, format, mime, state, width, height, make, model,
                        captured_local, captured_source, exif)
    SELECT id, sha256(n::text::bytea), 'IMG_' || n || '.JPG', 3000000 + n, 'photo', 'jpeg', 'image/jpeg', 'ready',
           4000, 3000, 'Maker', 'Model', timestamp '2000-01-01' + n * interval '37 minutes', 'exif',
           jsonb_build_object('IFD0:Make', 'Maker', 'ExifIFD:ISO', n % 6400)
    FROM users, generate_series(1, {count}) AS n WHERE role = 'admin';
    ANALYZE assets
"""
NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 256; }}
http {{ access_log off; sendfile on; keepalive_requests 1000000; client_body_temp_path {folder}/b;
  proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port}; root {root}; }} }}
"""


def main() -> None:
    """Measure as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=int, default=100_000, help="rows to list from")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each load lasts")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--uploads", type=int, default=100, help="files of 5 MB")
    parser.add_argument("--scratch", type=Path, help="where to write; a filesystem like that of a real library")
    parser.add_argument(
        "--wait-idle", type=float, default=0, metavar="SECONDS", help="how long an idle machine is waited for"
    )
    args = parser.parse_args()
    idle = wait_until_idle(args.wait_idle)
    with tempfile.TemporaryDirectory(prefix="lumilio-bench-", dir=args.scratch) as name:
        scratch = Path(name)
        make_distinct(camera_jpegs((8.0, 27.0)), PHOTOS, scratch / "photos")
        with running_daemon(scratch / "daemon") as daemon:
            imported = daemon.run_cli("import", str(scratch / "photos"), "--json")
            if imported.returncode:
                raise SystemExit(imported.stdout[-2000:] + imported.stderr)
            report = {"machine": machine(), "idle": idle, **_Bench(daemon, scratch, args).run()}
    json.dump(report, sys.stdout, indent=2)
    print()


class _Bench:
    """One daemon with some photos, and the loads that it is put under."""

    def __init__(self, daemon: RunningDaemon, scratch: Path, args: argparse.Namespace) -> None:
        self._daemon = daemon
        self._scratch = scratch
        self._args = args
        self._token = daemon.token
        parts = urlsplit(daemon.url)
        self._host, self._port = str(parts.hostname), int(parts.port or 0)

    def run(self) -> dict[str, Any]:
        """Everything, one after the other."""
        ids = [item["id"] for item in self._json("/api/v1/assets?limit=500")["items"]]
        report = {
            f"thumbnail_{size}": self._gets([f"/api/v1/assets/{each}/thumbnail?size={size}" for each in ids])
            for size in ("small", "large")
        }
        report |= self._nginx()
        asyncio.run(self._with_database(self._fill))
        first = "/api/v1/assets?limit=100"
        report["list_first_page"] = self._gets([first])
        report["list_page_in_the_middle"] = self._gets([f"{first}&cursor={quote(self._middle())}"])
        report["asset_with_facts"] = self._gets([f"/api/v1/assets/{each}" for each in ids])
        report["limit_same_query_in_postgresql"] = asyncio.run(self._with_database(self._query_rate))
        report["upload_5_mb"] = self._uploads()
        report["limit_write_and_fsync_5_mb"] = _disk_rate(self._scratch, self._args.uploads)
        return report

    def _json(self, path: str) -> dict[str, Any]:
        async def fetch() -> dict[str, Any]:
            async with self._daemon.session() as client, client.get(path) as response:
                document: dict[str, Any] = await response.json()
                return document

        return asyncio.run(fetch())

    def _gets(self, paths: list[str]) -> dict[str, Any]:
        requests = cycle([get(path, self._token) for path in paths])
        return self._loaded(requests, connections=self._args.connections, expected=200)

    def _loaded(self, requests: Iterator[bytes], *, connections: int, expected: int) -> dict[str, Any]:
        before = cpu_seconds(self._daemon.process.pid)
        outcome = put_load(self._host, self._port, requests, connections=connections, seconds=self._args.seconds)
        after = cpu_seconds(self._daemon.process.pid)
        count = len(outcome.latencies)
        return {
            **outcome.report(expected),
            "daemon_cpu_ms": round((after["daemon"] - before["daemon"]) / count * 1000, 3),
            "postgresql_cpu_ms": round((after["postgresql"] - before["postgresql"]) / count * 1000, 3),
        }

    def _middle(self) -> str:
        """The cursor of a page half-way down."""
        cursor = ""
        for _ in range(self._args.assets // 2 // 500):
            at = f"&cursor={quote(cursor)}" if cursor else ""
            cursor = self._json(f"/api/v1/assets?limit=500{at}")["next_cursor"]
        return cursor

    def _uploads(self) -> dict[str, Any]:
        """Films that are stored and not decoded, so that it is the way in that is measured."""
        head = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41"
        size = UPLOAD_BYTES - len(head) - 8
        filler = (size + 8).to_bytes(4, "big") + b"mdat" + os.urandom(size - 16)
        films = (head + filler + secrets.token_bytes(16) for _ in range(self._args.uploads))
        requests = (
            post_file("/api/v1/assets", self._token, f"film-{number}.mp4", film) for number, film in enumerate(films)
        )
        return self._loaded(requests, connections=4, expected=202) | {"uploads_at_once": 4}

    def _nginx(self) -> dict[str, Any]:
        """The same thumbnails as plain files, if nginx is installed."""
        if shutil.which("nginx") is None:
            return {}
        root = self._daemon.library / ".lumilio/assets/thumbnails"
        paths = [f"/{path.relative_to(root)}" for path in root.glob("1024/**/*.webp")]
        with _nginx_serving(root, self._scratch) as port:
            outcome = put_load(
                "127.0.0.1", port, cycle([get(path) for path in paths]),
                connections=self._args.connections, seconds=self._args.seconds,
            )  # fmt: skip
        return {"limit_nginx_same_files": outcome.report(200)}

    async def _with_database(self, use: Callable[[Database], Any]) -> Any:
        socket = self._daemon.data_dir / "postgres/run"
        address = DatabaseAddress(host=str(socket), user="lumilio", database="lumilio")
        async with open_database(address, pool_size=1, command_timeout=300) as db:
            return await use(db)

    async def _fill(self, db: Database) -> None:
        async with db.session() as session:
            await session.script(MANY_ASSETS.format(count=self._args.assets), what="filling the library")

    async def _query_rate(self, db: Database) -> dict[str, Any]:
        """The rows of the first page, asked for one page after the other over one connection."""
        outcome = Outcome()
        async with db.session() as session:
            owner = (await session.rows("users.first_admin"))[0]["id"]
            newest, last = datetime.max, UUID(int=2**128 - 1)  # noqa: DTZ901 - infinity to asyncpg
            began = time.perf_counter()
            while (now := time.perf_counter()) < began + self._args.seconds:
                await session.rows("assets.page_captured_desc", owner, None, newest, last, 101)
                outcome.latencies.append(time.perf_counter() - now)
        outcome.seconds, outcome.statuses = time.perf_counter() - began, {200: 1}
        return outcome.report(200)


@contextmanager
def _nginx_serving(root: Path, folder: Path) -> Iterator[int]:
    port = 18420
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, port=port, root=root))
    process = subprocess.Popen(["nginx", "-c", str(configuration)], stderr=subprocess.DEVNULL)
    try:
        asyncio.run(_listening(port))
        yield port
    finally:
        process.terminate()
        process.wait(10)


async def _listening(port: int) -> None:
    async with asyncio.timeout(10), aiohttp.ClientSession() as client:
        while True:
            try:
                async with client.get(f"http://127.0.0.1:{port}/"):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


def _disk_rate(folder: Path, count: int) -> dict[str, Any]:
    """Files of 5 MB written and synced with their directory, one after the other."""
    outcome = Outcome(statuses={200: count})
    data = os.urandom(UPLOAD_BYTES)
    target = folder / "limit"
    target.mkdir()
    directory = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    began = time.perf_counter()
    for number in range(count):
        now = time.perf_counter()
        with (target / str(number)).open("wb", buffering=0) as file:
            file.write(data)
            os.fsync(file.fileno())
        os.fsync(directory)
        outcome.latencies.append(time.perf_counter() - now)
    outcome.seconds = time.perf_counter() - began
    os.close(directory)
    return outcome.report(200)


if __name__ == "__main__":
    main()
