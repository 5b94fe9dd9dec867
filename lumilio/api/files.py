"""Answers that are files, or parts of one: exactly the bytes that were named, whole or in ranges."""

import asyncio
import os
from collections.abc import Mapping
from typing import BinaryIO

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

CHUNK_BYTES = 1 << 18


class StoredFile(web.FileResponse):
    """aiohttp's file answer without two of its habits.

    It sends ``name.gz`` or ``name.br`` in place of ``name`` to clients that take compressed answers, which in a library
    is another asset; and it resumes a download under ``If-Range`` whatever the entity tag there says.

    The file is open already, so that nothing can take its place or move it away before it is sent.
    """

    def __init__(self, file: BinaryIO, headers: Mapping[str, str]) -> None:
        super().__init__(f"/proc/self/fd/{file.fileno()}", chunk_size=CHUNK_BYTES, headers=headers)
        self._file = file

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the head, and the file unless it is not wanted."""
        asked = CIMultiDict(request.headers)
        asked.popall(hdrs.ACCEPT_ENCODING, None)
        try:
            if hdrs.RANGE in asked and request.if_range is None and hdrs.IF_RANGE in asked:
                status = await asyncio.to_thread(os.fstat, self._file.fileno())
                if asked[hdrs.IF_RANGE] != f'"{status.st_mtime_ns:x}-{status.st_size:x}"':
                    asked.popall(hdrs.RANGE)
            return await super().prepare(request.clone(headers=asked))
        finally:
            self._file.close()


async def send_slice(
    request: web.Request, file: BinaryIO, offset: int, length: int, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Answer with ``length`` bytes of an open file from ``offset`` on, as if they were a file of their own.

    One range is honoured, several are answered with everything, as RFC 9110 allows. The file is closed.
    """
    try:
        first, last = _asked_for(request, length)
    except ValueError:
        file.close()
        return web.Response(status=416, headers={"Content-Range": f"bytes */{length}"})
    partial = (first, last) != (0, length)
    response = web.StreamResponse(status=206 if partial else 200, headers={**headers, "Accept-Ranges": "bytes"})
    response.content_length = last - first
    if partial:
        response.headers["Content-Range"] = f"bytes {first}-{last - 1}/{length}"
    try:
        await response.prepare(request)
        while first < last and request.method != "HEAD":
            chunk = await asyncio.to_thread(os.pread, file.fileno(), min(CHUNK_BYTES, last - first), offset + first)
            if not chunk:
                raise ConnectionResetError("the file has become shorter")
            await response.write(chunk)
            first += len(chunk)
    finally:
        file.close()
    return response


def _asked_for(request: web.Request, length: int) -> tuple[int, int]:
    """First byte and end of the range. Raises ValueError when there is nothing in it."""
    if "," in request.headers.get(hdrs.RANGE, ""):
        return 0, length
    first, last, _ = request.http_range.indices(length)
    if first >= last:
        raise ValueError("an empty range")
    return first, last
