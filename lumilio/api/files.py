"""Answers that are files: exactly the bytes that were named, whole or in ranges."""

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
