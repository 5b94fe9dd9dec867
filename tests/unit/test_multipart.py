"""Multipart bodies from a peer that stalls, over a real connection."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from lumilio.api.multipart import chunks_of, file_name_of, parts_of
from lumilio.errors import RequestError

TIMEOUT = 0.2
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n"
PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="c.jpg"\r\n\r\n'


@pytest.fixture
async def address() -> AsyncIterator[tuple[str, int]]:
    """A server that answers with the name and size of the first part, or with the reason why there is none."""

    async def handler(request: web.Request) -> web.Response:
        try:
            async for part in parts_of(request, TIMEOUT):
                size = 0
                async for chunk in chunks_of(part, TIMEOUT):
                    size += len(chunk)
                return web.Response(text=f"{file_name_of(part)} {size}")
        except RequestError as exc:
            return web.Response(text=str(exc), status=exc.status)
        return web.Response(text="nothing")

    app = web.Application()
    app.router.add_post("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][0], runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize(
    "sent",
    [b"", b"--b\r\n", PART, PART + bytes(5000), PART + b"x\r\n--b"],
    ids=["nothing", "edge", "head", "data", "end"],
)
async def test_a_peer_that_stops_sending_is_told_so(address: tuple[str, int], sent: bytes) -> None:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(HEAD + sent)
    async with asyncio.timeout(10):
        assert b" 400 " in await reader.readline()
        assert b"nothing was received for 0.2 s; send it again" in await reader.read(4096)
    writer.transport.abort()
