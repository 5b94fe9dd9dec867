"""A small HTTP peer that speaks the daemon's routes and can misbehave in the ways that a network and a disk do."""

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import BodyPartReader, web
from blake3 import blake3

Misdeed = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


@dataclass
class Peer:
    """What arrived, and what to do wrong next: one entry of ``misdeeds`` is used up by each upload."""

    data: Path
    url: str = ""
    token: str = "first"
    stored: dict[str, bytes] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    repositories: list[str] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    sidecars: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    misdeeds: deque[Misdeed] = field(default_factory=deque)
    problems: dict[str, dict[str, str]] = field(default_factory=dict)
    asset_states: dict[str, str] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    at_once: int = 0
    most_at_once: int = 0
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/api/v1/auth/login", self.log_in)
        app.router.add_post("/api/v1/assets/check", self.check)
        app.router.add_post("/api/v1/assets", self.receive)
        app.router.add_get("/api/v1/tasks", self.tasks)
        app.router.add_put("/api/v1/assets/{asset_id}/sidecars/{kind}", self.attach)
        self.runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", port)
        await site.start()
        self.url = site.name if port else f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        self.write_file()

    def write_file(self) -> None:
        (self.data / "daemon.json").write_text(json.dumps({"url": self.url, "token": self.token, "pid": 1}))

    @property
    def port(self) -> int:
        assert self.runner is not None
        return int(self.runner.addresses[0][1])

    async def stop(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    async def log_in(self, request: web.Request) -> web.Response:
        self.requests["login"] += 1
        if await request.json() != {"username": "anna", "password": "secret"}:
            return problem(401, "auth.credentials_invalid", "user name and password do not belong together")
        return web.json_response({"access_token": self.token, "token_type": "Bearer", "expires_in": 900})

    async def check(self, request: web.Request) -> web.Response:
        self.requests["check"] += 1
        if not self.authenticated(request):
            return problem(401, "auth.unauthenticated", "the token has expired")
        results = [
            {
                "content_hash": digest,
                "status": ("processing" if self.states.get(digest) == "running" else "known")
                if digest in self.stored
                else "unknown",
                "asset_id": f"asset-{digest}" if digest in self.stored and digest not in self.states else None,
                "task_id": f"task-{digest}" if digest in self.stored else None,
            }
            for digest in (await request.json())["hashes"]
        ]
        return web.json_response({"results": results})

    async def receive(self, request: web.Request) -> web.StreamResponse:
        self.requests["upload"] += 1
        if not self.authenticated(request):
            return problem(401, "auth.unauthenticated", "the token has expired")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.misdeeds and (answer := await self.misdeeds.popleft()(request)) is not None:
                return answer
            return await self.store(request)
        finally:
            self.at_once -= 1

    async def store(self, request: web.Request) -> web.Response:
        content = b""
        async for part in await request.multipart():
            assert isinstance(part, BodyPartReader)
            if part.name == "repository_id":
                assert not content
                self.repositories.append(await part.text())
            else:
                content = bytes(await part.read())
                self.names.append(part.filename or "")
        digest = blake3(content).hexdigest()
        if digest != request.headers["X-Content-Hash"]:
            return problem(400, "request.hash_mismatch", "the bytes differ from the digest")
        self.headers.append(dict(request.headers))
        if digest in self.stored:
            return web.json_response({"status": "duplicate", "asset_id": f"asset-{digest}", "task_id": None})
        self.stored[digest] = content
        self.arrived.set()
        task = {"task_id": f"task-{digest}", "status": "processing", "size": len(content), "content_hash": digest}
        return web.json_response(task, status=202)

    async def attach(self, request: web.Request) -> web.Response:
        self.requests["sidecar"] += 1
        if not self.authenticated(request):
            return problem(401, "auth.unauthenticated", "the token has expired")
        content = await request.read()
        if b"unreadable" in content:
            return problem(422, "media.damaged", "it is not XMP")
        asset, sidecar = request.match_info["asset_id"], (request.query["file_name"], content)
        assert asset.removeprefix("asset-") in self.stored
        known = self.sidecars.get((asset, request.match_info["kind"])) == sidecar
        self.sidecars[asset, request.match_info["kind"]] = sidecar
        return web.json_response({"id": asset}, status=200 if known else 201)

    async def tasks(self, request: web.Request) -> web.Response:
        self.requests["tasks"] += 1
        if not self.authenticated(request):
            return problem(401, "auth.unauthenticated", "the token has expired")
        items = []
        for task_id in request.query.getall("id"):
            digest = task_id.removeprefix("task-")
            if digest in self.stored:
                items.append(
                    {
                        "task_id": task_id,
                        "state": self.states.get(digest, "completed"),
                        "asset_id": None if self.states.get(digest) == "failed" else f"asset-{digest}",
                        "asset_state": self.asset_states.get(digest, "ready"),
                        "problem": self.problems.get(digest),
                    }
                )
        return web.json_response({"items": items})

    def authenticated(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self.token}"


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"code": code, "title": "refused", "detail": detail, "status": status}
    return web.json_response(body, status=status, headers=headers, content_type="application/problem+json")


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    data = tmp_path / "data"
    data.mkdir()
    made = Peer(data=data)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    made = tmp_path / "photos"
    made.mkdir()
    return made
