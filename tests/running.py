"""A daemon as a process of its own, as its users run it, for tests that speak HTTP to it."""

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

ADMIN_PASSWORD_FILE = "initial-admin-password"
START_SECONDS = 90.0
STOP_SECONDS = 60.0
CONFIG = """
[server]
host = "127.0.0.1"
port = 0
[data]
directory = "{data}"
[ingest]
reserve_mb = 0
{more}
"""


@dataclass(kw_only=True)
class RunningDaemon:
    """A daemon process and what a client needs to reach it."""

    process: "subprocess.Popen[bytes]"
    data_dir: Path
    config: Path
    log: Path
    url: str
    extra_environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def library(self) -> Path:
        """The default repository."""
        return self.data_dir / "library"

    @property
    def admin_password(self) -> str:
        """What the first start wrote down."""
        return (self.data_dir / ADMIN_PASSWORD_FILE).read_text(encoding="utf-8").strip()

    @property
    def token(self) -> str:
        """The local administrator's access token."""
        return str(json.loads((self.data_dir / "daemon.json").read_text(encoding="utf-8"))["token"])

    def run_cli(self, *args: str, timeout: float = 120) -> "subprocess.CompletedProcess[str]":
        """A command of ``lumilio``, with LUMILIO_DATA pointing here."""
        return subprocess.run(
            [sys.executable, "-m", "lumilio.cli", *args],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**os.environ, "LUMILIO_DATA": str(self.data_dir)},
            check=False,
        )

    def log_events(self) -> list[dict[str, Any]]:
        """What the daemon logged so far."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def session(self) -> aiohttp.ClientSession:
        """An HTTP client that is logged in as the local administrator."""
        return aiohttp.ClientSession(self.url, headers={"Authorization": f"Bearer {self.token}"})


@contextmanager
def running_daemon(directory: Path, *, more_config: str = "") -> Iterator[RunningDaemon]:
    """Start ``lumilio serve`` on ``directory``, wait until it is ready, and stop it in the end if it still runs."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "lumilio.toml"
    config.write_text(CONFIG.format(data=directory / "data", more=more_config), encoding="utf-8")
    log = directory / "daemon.log"
    document = directory / "data" / "daemon.json"
    document.unlink(missing_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lumilio.cli", "serve", "--config", str(config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        _wait(lambda: document.exists() or process.poll() is not None, START_SECONDS, log)
        if process.poll() is not None:
            raise AssertionError(f"the daemon ended with {process.returncode}:\n{log.read_text()[-4000:]}")
        url = str(json.loads(document.read_text(encoding="utf-8"))["url"])
        yield RunningDaemon(process=process, data_dir=directory / "data", config=config, log=log, url=url)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(done: Callable[[], bool], seconds: float, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s; the daemon's log ends with:\n{log.read_text()[-4000:]}")
        time.sleep(0.05)


async def upload(
    client: aiohttp.ClientSession, name: str, data: bytes, *, headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """POST one file; the status and the body."""
    form = aiohttp.FormData()
    form.add_field("file", io.BytesIO(data), filename=name)
    async with client.post("/api/v1/assets", data=form, headers=headers) as response:
        return response.status, await response.json(content_type=None)


async def finished(client: aiohttp.ClientSession, task_id: str, *, seconds: float = 60) -> dict[str, Any]:
    """The task once it is over."""
    async with asyncio.timeout(seconds):
        while True:
            async with client.get(f"/api/v1/tasks/{task_id}") as response:
                task: dict[str, Any] = await response.json()
            if task["state"] in {"completed", "failed"}:
                return task
            await asyncio.sleep(0.05)
