"""The files that describe an asset: in, out as they came, and away."""

import asyncio
from typing import Annotated
from urllib.parse import quote

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import Field

from lumilio.api.asset_documents import asset_document
from lumilio.api.assets import asset_of
from lumilio.api.context import answer, caller_of, context_of, query_of
from lumilio.api.schemas import Body
from lumilio.catalog import sidecars
from lumilio.catalog.sidecars import CONTENT_BYTES, SidecarFile
from lumilio.errors import NotFound, PayloadTooLarge, RequestError
from lumilio.jobs.apply_sidecar import apply_sidecar, drop_sidecar
from lumilio.model import SidecarKind

_HEADERS = {"Cache-Control": "private, no-cache", "Content-Security-Policy": "default-src 'none'; sandbox"}


class SidecarQuery(Body):
    """What the file is called on the sender's side."""

    file_name: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^/\x00-\x1f\x7f]+$")]


async def put_sidecar(request: web.Request) -> web.Response:
    """Keep an XMP file or a Google Takeout JSON with an asset, in place of the one of its kind, and read its facts.

    The body is the file. 201 when it was taken, 200 when the asset has this very one already.
    """
    kind, asset = _kind_of(request), await asset_of(request)
    file = SidecarFile(file_name=query_of(request, SidecarQuery).file_name, content=await _body_of(request))
    context = context_of(request)
    taken = await apply_sidecar(context.library, context.exiftool, caller_of(request).user_id, asset.id, kind, file)
    return answer(asset_document(await asset_of(request)), status=201 if taken else 200)


async def get_sidecar(request: web.Request) -> web.Response:
    """A sidecar, bit for bit."""
    kind, asset = _kind_of(request), await asset_of(request)
    async with context_of(request).library.db.session() as session:
        found = await sidecars.find_sidecar(session, asset.id, kind, caller_of(request).user_id)
    if found is None:
        raise NotFound(f"asset {str(asset.id)!r} has no {kind.value} sidecar")
    named = f"attachment; filename*=UTF-8''{quote(found.file_name, safe='')}"
    return web.Response(
        body=found.content, content_type="application/octet-stream", headers={**_HEADERS, "Content-Disposition": named}
    )


async def delete_sidecar(request: web.Request) -> web.Response:
    """Forget a sidecar; the facts are again those of the file and its other sidecar."""
    kind, asset = _kind_of(request), await asset_of(request)
    await drop_sidecar(context_of(request).library, caller_of(request).user_id, asset.id, kind)
    return web.Response(status=204)


def _kind_of(request: web.Request) -> SidecarKind:
    try:
        return SidecarKind(request.match_info["kind"])
    except ValueError as exc:
        kinds = " and ".join(repr(kind.value) for kind in SidecarKind)
        raise NotFound(f"there are no {request.match_info['kind']!r} sidecars, but {kinds}") from exc


async def _body_of(request: web.Request) -> bytes:
    """The whole body, which has a limit of its own. Raises PayloadTooLarge, RequestError."""
    timeout = context_of(request).config.server.request_timeout_seconds
    received = bytearray()
    try:
        while True:
            async with asyncio.timeout(timeout):
                chunk = await request.content.readany()
            if not chunk:
                return bytes(received)
            received += chunk
            if len(received) > CONTENT_BYTES:
                raise PayloadTooLarge(f"a sidecar has at most {CONTENT_BYTES >> 20} MiB")
    except TimeoutError as exc:
        raise RequestError(f"nothing was received for {timeout} s; send it again") from exc
    except (web.RequestPayloadError, HttpProcessingError) as exc:
        raise RequestError(f"the body is malformed: {str(exc)[:200]}") from exc
