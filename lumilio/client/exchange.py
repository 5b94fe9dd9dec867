"""What comes of one request: an answer, a lost connection, or being asked to wait."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import aiohttp
from aiohttp.http_exceptions import LineTooLong

from lumilio.client.discovery import Address
from lumilio.errors import ClientError
from lumilio.log import printable

ASKED_TO_WAIT = frozenset({429, 502, 503, 504, 507})
"""Answers that mean "not now": the daemon's own, and those of a proxy in front of one that restarts."""

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 10.0

Notice = Callable[[str], None]

_Result = TypeVar("_Result")


class ConnectionLost(Exception):
    """No answer came: the request may or may not have been done. Never leaves this package."""


class StreamEnded(ConnectionLost):
    """The daemon ended an answer without an end, as it does when a token expires: connect again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the daemon answered; ``retry_after`` in seconds."""

    status: int
    body: Mapping[str, object]
    retry_after: float | None = None

    @property
    def code(self) -> str:
        """The stable code of a problem, else ``http.<status>``."""
        return str(self.body.get("code") or f"http.{self.status}")

    @property
    def reason(self) -> str:
        """What the daemon says about a refusal, fit for a terminal."""
        text = self.body.get("detail") or self.body.get("title") or f"the daemon answered HTTP {self.status}"
        return printable(str(text))


class Patience:
    """How long one request goes on trying: ``seconds`` from its first failure, with growing pauses."""

    def __init__(self, seconds: float, notice: Notice) -> None:
        self._seconds = seconds
        self._notice = notice
        self._until: float | None = None
        self._pause = _FIRST_PAUSE

    async def wait(self, reason: str, retry_after: float | None = None) -> None:
        """Pause before the next try. Raises ClientError when the pause would end after the patience."""
        now = asyncio.get_running_loop().time()
        if self._until is None:
            self._until = now + self._seconds
        pause = self._pause if retry_after is None else max(retry_after, _FIRST_PAUSE)
        if now + pause > self._until:
            raise ClientError(f"{reason}; gave up after {self._seconds:g} s (--patience)")
        self._notice(f"{reason}; waiting")
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        await asyncio.sleep(pause)


def waiting_reason(answer: Answer) -> str:
    """Why a daemon asks to wait, as a person would say it."""
    match answer.status:
        case 507:
            return "the server's disk is full"
        case 429:
            return "the daemon asks for fewer requests"
        case _:
            return f"the daemon is not ready ({answer.reason})"


async def translated(exchange: Callable[[Address], Awaitable[_Result]], address: Address) -> _Result:
    """Run one exchange. Raises ConnectionLost when no answer came, ClientError when none will come."""
    try:
        return await exchange(address)
    except (aiohttp.ClientConnectorCertificateError, aiohttp.InvalidURL) as exc:
        raise ClientError(f"{address.url} cannot be used: {exc}") from exc
    except TimeoutError as exc:
        raise ConnectionLost(f"the daemon at {address.url} does not answer") from exc
    except aiohttp.ClientConnectorError as exc:
        raise ConnectionLost(f"the daemon at {address.url} cannot be reached") from exc
    except (aiohttp.ClientError, OSError) as exc:
        raise ConnectionLost(f"the connection to {address.url} broke") from exc
    except LineTooLong as exc:
        raise ClientError(f"the daemon at {address.url} sends endless lines") from exc


async def read_answer(response: aiohttp.ClientResponse) -> Answer:
    """Read the whole answer.

    The status counts even when the rest is cut off: an early refusal may end the connection.
    """
    body: object = None
    with contextlib.suppress(aiohttp.ClientError, ConnectionError, ValueError):
        body = json.loads(await response.read())
    if response.status < 300 and not isinstance(body, dict):
        raise aiohttp.ClientPayloadError("the answer is cut off or no JSON object")
    retry_after = None
    with contextlib.suppress(ValueError, KeyError):
        retry_after = max(0.0, float(response.headers["Retry-After"]))
    return Answer(status=response.status, body=body if isinstance(body, dict) else {}, retry_after=retry_after)
