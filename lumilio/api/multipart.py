"""Multipart bodies as a stream of parts. What is malformed, cut off or silent is the sender's fault: a RequestError."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from lumilio.errors import MediaTypeUnsupported, RequestError

CHUNK_BYTES = 1 << 20
"""Bytes of a part held at a time."""

MAX_FIELD_BYTES = 1024
"""A field that is not a file is read to this length."""

_MALFORMED = (ValueError, RuntimeError, LookupError, AssertionError, HttpProcessingError, web.RequestPayloadError)
"""What aiohttp's reader raises for bytes that are no multipart body."""

_PLAIN = frozenset({"", "binary", "8bit", "7bit", "identity"})


async def parts_of(request: web.Request, timeout: float) -> AsyncGenerator[BodyPartReader, None]:
    """The parts, up to the closing boundary. Raises MediaTypeUnsupported and RequestError."""
    if request.content_type != "multipart/form-data":
        raise MediaTypeUnsupported(f"{request.content_type!r} instead of multipart/form-data")
    with _understood(timeout):
        reader = await request.multipart()
    while True:
        with _understood(timeout):
            async with asyncio.timeout(timeout):
                part = await reader.next()
        if part is None:
            return
        if isinstance(part, MultipartReader):
            raise RequestError("a multipart field inside a field is not understood")
        for header in ("Content-Encoding", "Content-Transfer-Encoding"):
            encoding = part.headers.get(header, "")
            if encoding.lower() not in _PLAIN:
                raise MediaTypeUnsupported(f"{header} {encoding!r} is not understood; send the bytes as they are")
        yield part


async def chunks_of(part: BodyPartReader, timeout: float) -> AsyncIterator[bytes]:
    """The bytes of a part; a client that is silent for ``timeout`` seconds is given up. Raises RequestError.

    A body that ends before the boundary after the part is cut off, however properly it was framed by a proxy.
    """
    while True:
        with _understood(timeout):
            async with asyncio.timeout(timeout):
                chunk = bytes(await part.read_chunk(CHUNK_BYTES))
        if not chunk:
            break
        yield chunk
    if not part.at_eof():
        raise RequestError("the multipart body ends in the middle of a part; send it again")


async def text_of(part: BodyPartReader, timeout: float) -> str:
    """A short field as text. Raises RequestError."""
    text = b""
    async for chunk in chunks_of(part, timeout):
        text += chunk
        if len(text) > MAX_FIELD_BYTES:
            raise RequestError(f"the field {part.name!r} is longer than {MAX_FIELD_BYTES} bytes")
    return text.decode("utf-8", "replace").strip()


def file_name_of(part: BodyPartReader) -> str:
    """The last component of the name that the client gave, free of what text columns cannot hold."""
    given = (part.filename or "").replace("\\", "/").encode("utf-8", "replace").decode("utf-8")
    return PurePosixPath(given.replace("\0", "")).name


@contextmanager
def _understood(timeout: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise RequestError(f"nothing was received for {timeout:g} s; send it again") from exc
    except _MALFORMED as exc:
        raise RequestError(f"the multipart body is malformed: {str(exc)[:200]}") from exc
