"""What plays: the original where a browser can, else its web version, or the film within a motion photo."""

from aiohttp import web

from lumilio.api.asset_documents import playback_item
from lumilio.api.assets import CACHE_ORIGINAL, asset_of, open_original, open_whole
from lumilio.api.context import Context, caller_of, context_of
from lumilio.api.files import StoredFile, send_slice
from lumilio.catalog import web_versions
from lumilio.catalog.assets import AssetDetail
from lumilio.errors import NotFound, NotReady
from lumilio.jobs import make_web_version
from lumilio.model import AssetId, JobId, UserId
from lumilio.queue import control, store
from lumilio.queue.policy import Priority
from lumilio.storage import derivatives
from lumilio.storage.disk import run_blocking

_POLICY = {"Cache-Control": CACHE_ORIGINAL, "Content-Security-Policy": "default-src 'none'; sandbox"}
MOTION_MIME = "video/mp4"
RETRY_AFTER = 2
"""Seconds: a remux is there by then, a transcode of some length not; its job tells."""


async def get_playback(request: web.Request) -> web.StreamResponse:
    """What a browser can play, with ranges. A web version that is not there yet is made first: 503 until then, with the
    job that makes it. Of a Live Photo another file plays: a redirection."""
    asset = await asset_of(request)
    context = context_of(request)
    found = playback_item(asset)
    if found is None:
        raise NotFound(f"asset {str(asset.id)!r} has nothing to play")
    if found.asset_id != asset.id:
        return web.Response(status=302, headers={"Location": found.url, "Cache-Control": CACHE_ORIGINAL})
    match found.source:
        case "original":
            file = await open_original(context.library, asset)
            return StoredFile(file, {**_POLICY, "Content-Type": found.mime})
        case "embedded":
            return await _send_motion(request, asset)
    if found.state == "failed":
        raise NotFound(f"asset {str(asset.id)!r} could not be made playable; see its problems, and retry them")
    return await _send_web_version(request, asset)


async def _send_motion(request: web.Request, asset: AssetDetail) -> web.StreamResponse:
    motion = asset.facts.motion
    if motion is None:
        raise NotFound(f"asset {str(asset.id)!r} has nothing to play")
    file = await open_original(context_of(request).library, asset)
    return await send_slice(request, file, motion.offset, motion.bytes, {**_POLICY, "Content-Type": MOTION_MIME})


async def _send_web_version(request: web.Request, asset: AssetDetail) -> web.StreamResponse:
    context = context_of(request)
    async with context.library.db.session() as session:
        row = await web_versions.find_web_version(session, asset.id)
    if row is not None:
        repository = context.library.repository(row.repository_id)
        path = derivatives.web_version_path(repository, asset.content_hash, row.mime)
        file = await run_blocking(open_whole, path, row.bytes)
        if file is not None:
            return StoredFile(file, {**_POLICY, "Content-Type": row.mime})
        await run_blocking(repository.check_online)
    (await open_original(context.library, asset)).close()
    job_id = await _order(context, asset.id, caller_of(request).user_id)
    raise NotReady(
        f"what plays asset {str(asset.id)!r} is being made; job {job_id} tells how far it is",
        details={"job_id": str(job_id), "retry_after": RETRY_AFTER},
    )


async def _order(context: Context, asset_id: AssetId, owner_id: UserId) -> JobId:
    """Have it made before everything that nobody waits for."""
    spec = make_web_version.spec(asset_id, owner_id, urgent=True)
    async with context.library.db.transaction() as tx:
        enqueued = await store.enqueue(tx, spec)
        await control.hurry(tx, spec.kind, spec.key or "", Priority.INTERACTIVE, spec.queue)
    context.library.wake_queue(spec.queue)
    return enqueued.job_id
