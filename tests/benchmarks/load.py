"""A small HTTP/1.1 load generator: keep-alive connections that send prepared requests and time the answers.

An ordinary client library costs as much CPU as the server under test; on two processors it would be the limit.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

_LENGTH = b"content-length:"
_HEAD_END = b"\r\n\r\n"


@dataclass(slots=True)
class Outcome:
    """Latencies in seconds, and how many answers had which status."""

    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    body_bytes: int = 0
    seconds: float = 0.0

    def report(self, expected: int) -> dict[str, Any]:
        """Requests a second and latencies in ms. Raises SystemExit when any answer had another status."""
        if set(self.statuses) != {expected}:
            raise SystemExit(f"statuses {self.statuses} instead of {expected} only")
        ordered = sorted(self.latencies)
        return {
            "requests": len(ordered),
            "requests_a_second": round(len(ordered) / self.seconds, 1),
            "p50_ms": round(_quantile(ordered, 0.50) * 1000, 2),
            "p99_ms": round(_quantile(ordered, 0.99) * 1000, 2),
            "mib_a_second": round(self.body_bytes / self.seconds / 2**20, 1),
        }


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[max(0, math.ceil(len(ordered) * share) - 1)]


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as an answer is whole."""

    def __init__(self, requests: Iterator[bytes], outcome: Outcome, deadline: float) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._outcome = outcome
        self._deadline = deadline
        self._head = b""
        self._left = -1
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            self._head += data
            end = self._head.find(_HEAD_END)
            if end < 0:
                return
            self._begin(self._head[:end], len(self._head) - end - len(_HEAD_END))
            self._head = b""
        else:
            self._left -= len(data)
        if self._left == 0:
            self._outcome.latencies.append(time.perf_counter() - self._sent)
            self._left = -1
            self._next()

    def _begin(self, head: bytes, body: int) -> None:
        status = int(head[9:12])
        self._outcome.statuses[status] = self._outcome.statuses.get(status, 0) + 1
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(_LENGTH))
        size = int(length[len(_LENGTH) :])
        self._outcome.body_bytes += size
        self._left = size - body

    def _next(self) -> None:
        request = next(self._requests, None) if time.perf_counter() < self._deadline else None
        if request is None:
            if not self.done.done():
                self.done.set_result(None)
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)


def put_load(host: str, port: int, requests: Iterator[bytes], *, connections: int, seconds: float) -> Outcome:
    """Send ``requests`` over so many connections until they or the time are over. Raises OSError for a lost one."""

    async def drive() -> Outcome:
        loop = asyncio.get_running_loop()
        outcome = Outcome()
        began = time.perf_counter()

        def connection() -> _Connection:
            return _Connection(requests, outcome, began + seconds)

        made = [await loop.create_connection(connection, host, port) for _ in range(connections)]
        async with asyncio.timeout(seconds + 60):
            await asyncio.gather(*(protocol.done for _, protocol in made))
        outcome.seconds = time.perf_counter() - began
        return outcome

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(drive())


def get(path: str, token: str | None = None) -> bytes:
    """A GET request as bytes."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()


def post_file(path: str, token: str, name: str, data: bytes) -> bytes:
    """A multipart upload of one file as bytes."""
    boundary = "lumilio-benchmark-boundary"
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    body = b"".join([part.encode(), data, f"\r\n--{boundary}--\r\n".encode()])
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: multipart/form-data; boundary={boundary}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
