"""Follow what happens at the daemon: Server-Sent Events (WHATWG HTML, 9.2), continued after every interruption."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from lumilio.client.exchange import ConnectionLost, Patience, StreamEnded
from lumilio.client.library import not_understood
from lumilio.client.session import Session, away
from lumilio.errors import ClientError

SILENCE_SECONDS = 60.0
"""Without even a comment for so long the connection counts as lost; the daemon sends one every few seconds."""

_LARGEST_EVENT = 1 << 20
_PAUSE_AFTER_END = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The stream begins, or continues after it broke."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something happened: ``data`` is JSON text."""

    name: str
    data: str

    def document(self) -> Mapping[str, object]:
        """``data`` as an object. Raises ClientError."""
        try:
            document = json.loads(self.data)
        except ValueError as exc:
            raise not_understood(self.name) from exc
        if not isinstance(document, dict):
            raise not_understood(self.name)
        return document


async def follow_events(session: Session) -> AsyncGenerator[Connected | Event, None]:
    """All events from now on, without an end.

    The session's patience is for each interruption anew; the first connection has none. Raises ClientError.
    """
    patience: Patience | None = None
    reader = EventReader()
    while True:
        headers = {"Accept": "text/event-stream"}
        if reader.event_id:
            headers["Last-Event-ID"] = reader.event_id
        try:
            async with session.stream("/events", headers=headers, silence=SILENCE_SECONDS) as read_line:
                patience = session.patience()
                yield Connected(url=session.url)
                while True:
                    yield await reader.read(read_line)
        except StreamEnded:
            await asyncio.sleep(_PAUSE_AFTER_END)
        except ConnectionLost as exc:
            if patience is None:
                raise away(exc) from exc
            await patience.wait(str(exc))


class EventReader:
    """Makes events of lines, and remembers in ``event_id`` where to continue."""

    def __init__(self) -> None:
        self.event_id = ""

    async def read(self, read_line: Callable[[], Awaitable[bytes]]) -> Event:
        """The next event. Raises ClientError, and what ``read_line`` raises."""
        name, size, event_id = "", 0, self.event_id
        data: list[str] = []
        while True:
            line = (await read_line()).rstrip(b"\r\n").decode("utf-8", "replace")
            if not line:
                self.event_id = event_id
                if name or data:
                    return Event(name=name or "message", data="\n".join(data))
                size = 0
            size += len(line)
            if size > _LARGEST_EVENT:
                raise ClientError(f"the daemon sends an event of over {_LARGEST_EVENT} bytes; use one of its version")
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match field:
                case "event":
                    name = value
                case "data":
                    data.append(value)
                case "id" if value.isascii() and value.isprintable():
                    event_id = value
                case _:  # a comment, or what a later version adds
                    pass
