"""What comes of one request: an answer, a lost connection, or being asked to wait."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lumilio.errors import ClientError
from lumilio.log import printable

ASKED_TO_WAIT = frozenset({429, 502, 503, 504, 507})
"""Answers that mean "not now": the daemon's own, and those of a proxy in front of one that restarts."""

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 10.0

Notice = Callable[[str], None]


class ConnectionLost(Exception):
    """No answer came: the request may or may not have been done. Never leaves this package."""


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
