"""Following Server-Sent Events: what a stream may contain, and what happens when it breaks."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from lumilio.client.events import Connected, Event, EventReader, follow_events
from lumilio.client.exchange import ConnectionLost
from lumilio.client.session import Session
from lumilio.errors import ClientError

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def reader(stream: bytes) -> Callable[[], Awaitable[bytes]]:
    lines = iter(stream.splitlines(keepends=True))

    async def read_line() -> bytes:
        try:
            return next(lines)
        except StopIteration as exc:
            raise ConnectionLost("over") from exc

    return read_line


async def events(stream: bytes) -> Sequence[tuple[str, str, str]]:
    """Name and data of each event, and where one would continue after it."""
    found: list[tuple[str, str, str]] = []
    read_line, made = reader(stream), EventReader()
    while True:
        try:
            event = await made.read(read_line)
        except ConnectionLost:
            return found
        found.append((event.name, event.data, made.event_id))


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"event: job\ndata: {}\nid: 7\n\n", [("job", "{}", "7")]),
        (b"data:1\n\ndata: 2\n\n", [("message", "1", ""), ("message", "2", "")]),
        (b": ping\n\n:\nevent: job\r\ndata: a\r\ndata:  b\r\n\r\n", [("job", "a\n b", "")]),
        (b"id: 7\n\nevent: job\n\nevent: job\nid: \x1b\n\n", [("job", "", "7"), ("job", "", "7")]),
        (b"id: 7\ndata: 1\n\ndata: 2\n\n", [("message", "1", "7"), ("message", "2", "7")]),
        (b"retry: 5\nlater: x\ndata\n\n", [("message", "", "")]),
        (b"event: job\ndata: half", []),
        (b"data: \xff\n\n", [("message", "\ufffd", "")]),
    ],
)
async def test_a_stream_is_read_as_the_standard_says(stream: bytes, expected: list[tuple[str, str, str]]) -> None:
    assert await events(stream) == expected


async def test_pings_add_up_to_nothing_and_an_endless_event_is_refused() -> None:
    assert await events(b": ping ping ping\n\n" * 100_000 + b"data: 1\n\n") == [("message", "1", "")]
    with pytest.raises(ClientError, match="an event of over"):
        await events(b"data: long\n" * 200_000)


@pytest.mark.parametrize("data", ["", "[]", "{", "1"])
def test_an_event_without_an_object_is_not_understood(data: str) -> None:
    with pytest.raises(ClientError, match="not understood"):
        Event(name="job", data=data).document()


@asynccontextmanager
async def peer(data: Path, answers: Sequence[Answer]) -> AsyncIterator[list[str]]:
    """A daemon that gives each connection the next answer; what came as Last-Event-ID."""
    left, asked = iter(answers), list[str]()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] != "Bearer good":
            return web.json_response({"code": "auth.unauthenticated"}, status=401)
        asked.append(request.headers.get("Last-Event-ID", ""))
        return await next(left)(request)

    app = web.Application()
    app.router.add_get("/api/v1/events", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    document = {"url": f"http://127.0.0.1:{runner.addresses[0][1]}", "token": "good"}
    (data / "daemon.json").write_text(json.dumps(document))
    try:
        yield asked
    finally:
        await runner.cleanup()


def sends(stream: bytes, *, cut: bool = False) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(stream)
        if cut:
            assert request.transport is not None
            request.transport.abort()
        return response

    return answer


def refuses(status: int) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"code": "odd", "detail": "not so"}, status=status)

    return answer


async def take(found: AsyncGenerator[Connected | Event, None], count: int) -> list[str]:
    async with asyncio.timeout(30), aclosing(found):
        taken = [await anext(found) for _ in range(count)]
    return [event.data if isinstance(event, Event) else "connected" for event in taken]


async def test_an_interrupted_stream_continues_after_the_last_event_that_came(tmp_path: Path) -> None:
    notices: list[str] = []
    answers = [
        sends(b"data: one\nid: 1\n\ndata: two\nid: 2\n\n: ping\nid: 3\n\ndata: half\nid: 4\n", cut=True),
        refuses(503),
        sends(b"data: three\nid: 5\n\n"),
    ]
    async with (
        peer(tmp_path, answers) as asked,
        Session(data=tmp_path, patience=20, notice=notices.append) as session,
    ):
        assert await take(follow_events(session), 5) == ["connected", "one", "two", "connected", "three"]
    assert asked == ["", "3", "3"]
    assert len(notices) == 2
    assert all(notice.endswith("; waiting") for notice in notices)


async def test_a_stream_that_the_daemon_ends_continues_without_a_word(tmp_path: Path) -> None:
    notices: list[str] = []
    answers = [sends(b"data: one\nid: 1\n\n"), sends(b"data: two\nid: 2\n\n")]
    async with peer(tmp_path, answers) as asked, Session(data=tmp_path, notice=notices.append) as session:
        assert await take(follow_events(session), 4) == ["connected", "one", "connected", "two"]
    assert (asked, notices) == (["", "1"], [])


async def test_a_token_that_has_expired_is_renewed(tmp_path: Path) -> None:
    async with peer(tmp_path, [sends(b"data: one\n\n")]):
        good = (tmp_path / "daemon.json").read_text()
        (tmp_path / "daemon.json").write_text(good.replace("good", "stale"))
        async with Session(data=tmp_path) as session:
            (tmp_path / "daemon.json").write_text(good)
            assert await take(follow_events(session), 2) == ["connected", "one"]


async def test_a_refusal_ends_it_at_once(tmp_path: Path) -> None:
    async with peer(tmp_path, [refuses(403)]), Session(data=tmp_path) as session:
        with pytest.raises(ClientError, match=r"refused: not so .odd."):
            await take(follow_events(session), 1)


async def test_the_first_connection_needs_a_daemon_and_later_ones_patience(tmp_path: Path) -> None:
    answers = [sends(b"data: one\n\n", cut=True)]
    async with peer(tmp_path, answers), Session(data=tmp_path, patience=0) as session:
        with pytest.raises(ClientError, match="gave up after 0 s"):
            await take(follow_events(session), 3)
    async with Session(data=tmp_path, patience=60) as session:
        with pytest.raises(ClientError, match="cannot be reached; start the daemon"):
            await take(follow_events(session), 1)
