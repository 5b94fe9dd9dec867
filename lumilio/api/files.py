"""Answers that are files: exactly the bytes that were named, whole or in ranges."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from multidict import CIMultiDict

CHUNK_BYTES = 1 << 18


class StoredFile(web.FileResponse):
    """aiohttp's file answer without two of its habits.

    It sends ``name.gz`` or ``name.br`` in place of ``name`` to clients that take compressed answers, which in a library
    is another asset; and it resumes a download under ``If-Range`` whatever the entity tag there says.
    """

    def __init__(self, path: Path, headers: Mapping[str, str]) -> None:
        super().__init__(path, chunk_size=CHUNK_BYTES, headers=headers)
        self._file = path

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send the head, and the file unless it is not wanted."""
        asked = CIMultiDict(request.headers)
        asked.popall(hdrs.ACCEPT_ENCODING, None)
        if hdrs.RANGE in asked and request.if_range is None and hdrs.IF_RANGE in asked:
            is_current = asked[hdrs.IF_RANGE] == await asyncio.to_thread(self._entity_tag)
            if not is_current:
                asked.popall(hdrs.RANGE)
        return await super().prepare(request.clone(headers=asked))

    def _entity_tag(self) -> str | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
