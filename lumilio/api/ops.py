"""Health, metrics and the API's own documentation."""

import asyncio
import shutil
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from aiohttp import web

from lumilio import __version__, metrics
from lumilio.api.context import Context, answer, context_of
from lumilio.api.middleware import problem
from lumilio.api.schemas import Health, HealthCheck
from lumilio.catalog import repositories
from lumilio.errors import LumilioError, NotFound
from lumilio.migrate import pending_migrations
from lumilio.queue import control
from lumilio.queue.maintenance import show_depths
from lumilio.storage.repository import Repository
from lumilio.tools.exiftool import INSTALL

CHECK_TIMEOUT = 10.0
MIB = 1 << 20
DOCS_FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_DOCS_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Lumilio API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css"><link rel="icon" href="/docs/favicon-32x32.png"></head>
<body><div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body>
</html>
"""
_DOCS_SCRIPT = 'SwaggerUIBundle({url: "/api/v1/openapi.json", dom_id: "#swagger-ui", deepLinking: true});\n'
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; frame-ancestors 'none'"
)


async def live(_request: web.Request) -> web.Response:
    """The event loop turns."""
    return answer(Health(ok=True, version=__version__))


class Readiness:
    """One look at everything at a time, shared by all who ask meanwhile: anybody may ask, as often as they like."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._look: asyncio.Task[Health] | None = None

    async def health(self) -> Health:
        """What is found now."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._find(), name="readiness")
        return await asyncio.shield(self._look)

    async def _find(self) -> Health:
        context = self._context
        checks = await asyncio.gather(
            _database(context), _migrations(context), _queue(context), _disks(context), _tools()
        )
        return Health(ok=all(check.ok for check in checks), version=__version__, checks=list(checks))


READINESS = web.AppKey("readiness", Readiness)


async def ready(request: web.Request) -> web.Response:
    """Everything that serving needs was tried just now; 503 when something is not as it should be."""
    health = await request.app[READINESS].health()
    return answer(health, status=200 if health.ok else 503)


async def _database(context: Context) -> HealthCheck:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            version = await context.library.db.value("schema.server_version")
    except (LumilioError, TimeoutError) as exc:
        return HealthCheck(name="database", ok=False, detail=_fault(exc))
    number = int(version)
    return HealthCheck(name="database", ok=True, detail=f"PostgreSQL {number // 10000}.{number % 10000}")


async def _migrations(context: Context) -> HealthCheck:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            pending = await pending_migrations(context.library.db)
    except (LumilioError, TimeoutError) as exc:
        return HealthCheck(name="migrations", ok=False, detail=_fault(exc))
    detail = f"{len(pending)} migrations are pending; run: lumilio migrate" if pending else "up to date"
    return HealthCheck(name="migrations", ok=not pending, detail=detail)


def _fault(error: LumilioError | TimeoutError) -> str:
    return problem(error, None).detail if isinstance(error, LumilioError) else f"no answer in {CHECK_TIMEOUT:g} s"


async def _queue(context: Context) -> HealthCheck:
    worker = context.worker
    if not worker.alive:
        return HealthCheck(name="queue", ok=False, detail="the queue's listener is not connected")
    return HealthCheck(name="queue", ok=True, detail="working, and leading" if worker.leading else "working")


async def _tools() -> HealthCheck:
    found = await asyncio.to_thread(shutil.which, "exiftool") is not None
    detail = "exiftool is installed" if found else f"exiftool is missing, uploads wait for it; install it: {INSTALL}"
    return HealthCheck(name="tools", ok=found, detail=detail)


async def _disks(context: Context) -> HealthCheck:
    """Names repositories and never paths: everybody may ask."""
    attached = [owned.repository for owned in context.library.repositories.values()]
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            fault = await _unattached(context) or await asyncio.to_thread(
                _first_fault, attached, context.config.ingest.reserve_mb
            )
    except TimeoutError:
        fault = f"a repository did not answer in {CHECK_TIMEOUT:g} s"
    return HealthCheck(name="disk", ok=fault is None, detail=fault or f"{len(attached)} repositories online")


async def _unattached(context: Context) -> str | None:
    try:
        async with context.library.db.session() as session:
            known = await repositories.list_repositories(session)
    except LumilioError:  # which the database's own check tells
        return None
    for row in known:
        if row.id not in context.library.repositories:
            return f"repository {row.name!r} is offline since the start; connect its disk or mount it again"
    return None


def _first_fault(attached: Sequence[Repository], reserve_mb: int) -> str | None:
    for repository in attached:
        name = repository.config.name
        try:
            repository.check_online()
            free = shutil.disk_usage(repository.root).free
        except (LumilioError, OSError):
            return f"repository {name!r} is offline; connect its disk or mount it again"
        if free < reserve_mb * MIB:
            return (
                f"the disk of repository {name!r} has {free // MIB} MiB free and ingest.reserve_mb is {reserve_mb}; "
                "uploads are refused"
            )
    return None


async def expose_metrics(request: web.Request) -> web.Response:
    """Prometheus text format."""
    async with context_of(request).library.db.session() as session:
        show_depths(await control.depths(session))
    return web.Response(body=metrics.exposition(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def docs_page(_request: web.Request) -> web.Response:
    """A browsable view of the OpenAPI document."""
    return web.Response(text=_DOCS_PAGE, content_type="text/html", headers={"Content-Security-Policy": _DOCS_POLICY})


async def docs_file(request: web.Request) -> web.Response:
    """The parts of that view."""
    name = request.match_info["name"]
    if name == "start.js":
        return web.Response(text=_DOCS_SCRIPT, content_type="text/javascript")
    if name not in DOCS_FILES:
        raise NotFound(f"{name!r} does not exist")
    body = await asyncio.to_thread(_docs_bytes, name)
    return web.Response(body=body, content_type=DOCS_FILES[name], headers={"Cache-Control": "public, max-age=86400"})


def _docs_bytes(name: str) -> bytes:
    with resources.as_file(resources.files("swagger_ui") / "static" / name) as path:
        return Path(path).read_bytes()
