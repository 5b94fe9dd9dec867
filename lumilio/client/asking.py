"""How commands ask the daemon and read its answers: one exchange, members as what they are, every text printable."""

import asyncio
import json
import math
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from lumilio.client.access import Access, find_credentials
from lumilio.client.exchange import ConnectionLost
from lumilio.client.jobs_display import complain
from lumilio.client.library import not_understood
from lumilio.client.session import ANSWER_SECONDS, Session, away
from lumilio.log import printable

Document = Mapping[str, object]

_Result = TypeVar("_Result")


def converse(access: Access, work: Callable[[Session], Awaitable[_Result]], *, patience: float = 0.0) -> _Result:
    """Run a conversation with the daemon, which has to be there. Raises ClientError.

    ``patience`` seconds is how long requests that wait for it do so if it goes away, which is said on standard error.
    """
    found = find_credentials(access)

    async def run() -> _Result:
        async with Session(
            url=found.url, data=found.data, login=found.login, patience=patience, connections=2, notice=complain
        ) as session:
            return await work(session)

    return asyncio.run(run())


async def ask(
    session: Session,
    method: str,
    path: str,
    *,
    payload: Document | None = None,
    query: Sequence[tuple[str, str]] = (),
    seconds: float = ANSWER_SECONDS,
) -> Document:
    """What the daemon answers. Raises ClientError for a refusal and when it is away."""
    try:
        answer = await session.call(method, path, payload=payload, query=query, seconds=seconds)
    except ConnectionLost as exc:
        raise away(exc) from exc
    if answer.status >= 400:
        raise session.refusal(answer)
    return answer.body


def needed(document: Document, key: str) -> str:
    """A member that has to be there. Raises ClientError."""
    value = words(document, key)
    if not value:
        raise not_understood(key)
    return value


def words(document: Document, key: str) -> str:
    """A member as text that no terminal obeys; empty when it is absent or null."""
    value = document.get(key)
    return "" if value is None else printable(str(value))


def number(document: Document, key: str) -> float | None:
    """A number, or None when it is absent or null. Raises ClientError."""
    match document.get(key):
        case None:
            return None
        case int() | float() as value if math.isfinite(value):
            return float(value)
        case _:
            raise not_understood(key)


def count(document: Document, key: str) -> int:
    """A whole number; 0 when it is absent or null. Raises ClientError."""
    return round(number(document, key) or 0)


def moment(document: Document, key: str) -> datetime | None:
    """An aware time, or None when it is absent or null. Raises ClientError."""
    value = document.get(key)
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError as exc:
        raise not_understood(key) from exc
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def cursor(document: Document) -> str | None:
    """What asks for the next page, or None on the last one. Raises ClientError."""
    match document.get("next_cursor"):
        case None:
            return None
        case str(text) if text:
            return text
        case _:
            raise not_understood("next_cursor")


def write_json(document: Document) -> None:
    """Print one document for scripts, in ASCII."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
