"""HTTP by hand, for requests that no proper client would send."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.running import RunningDaemon

BOUNDARY = b"frontier"
SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self) -> dict[str, Any]:
        """The body as a problem document."""
        assert self.headers["content-type"].startswith("application/problem+json"), (self.headers, self.body)
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        return document


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Write and flush."""
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, *, with_body: bool = True) -> RawAnswer:
        """The next response."""
        async with asyncio.timeout(SECONDS):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {}
            for line in head[1:-2]:
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            size = int(headers.get("content-length", "0")) if with_body else 0
            body = await self._reader.readexactly(size)
        return RawAnswer(status=int(head[0].split(" ")[1]), headers=headers, body=body)

    async def ended(self) -> bool:
        """Whether the other side closes now."""
        async with asyncio.timeout(SECONDS):
            return await self._reader.read() == b""

    async def abort(self) -> None:
        """Cut the connection as a crash of the client would."""
        self._writer.transport.abort()


async def connect(daemon: RunningDaemon) -> RawClient:
    """A connection to the daemon."""
    url = urlsplit(daemon.url)
    return RawClient(*await asyncio.open_connection(url.hostname, url.port))


def head_of(daemon: RunningDaemon, method: str, path: str, *lines: str) -> bytes:
    """A request's head with the administrator's token."""
    first = [f"{method} {path} HTTP/1.1", "Host: lumilio", f"Authorization: Bearer {daemon.token}"]
    return ("\r\n".join([*first, *lines]) + "\r\n\r\n").encode()


def part_of(data: bytes, *, name: str = "file", file_name: str | None = "raw.jpg", more: bytes = b"") -> bytes:
    """One part with the boundary before it and none after it."""
    told = b'; filename="%s"' % file_name.encode() if file_name is not None else b""
    head = b'Content-Disposition: form-data; name="%s"%s\r\n%s' % (name.encode(), told, more)
    return b"--%s\r\n%s\r\n%s\r\n" % (BOUNDARY, head, data)


CLOSING = b"--%s--\r\n" % BOUNDARY


async def post(daemon: RunningDaemon, path: str, body: bytes, *lines: str) -> RawAnswer:
    """One multipart request on a connection of its own; ``body`` is sent as it is, its length told truly."""
    client = await connect(daemon)
    content_type = f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}"
    await client.send(head_of(daemon, "POST", path, content_type, f"Content-Length: {len(body)}", *lines) + body)
    answer = await client.answer()
    await client.abort()
    return answer
