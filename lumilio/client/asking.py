"""How commands ask the daemon: one conversation, one exchange after the other."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from lumilio.client.access import Access, Credentials, find_credentials
from lumilio.client.exchange import Answer, ConnectionLost, Notice
from lumilio.client.jobs_display import complain
from lumilio.client.members import Document
from lumilio.client.session import ANSWER_SECONDS, Session, away

_Result = TypeVar("_Result")


def converse(access: Access, work: Callable[[Session], Awaitable[_Result]], *, patience: float = 0.0) -> _Result:
    """Find the daemon, which has to be there, and run a conversation with it, as ``speak`` does. Raises ClientError."""
    return speak(find_credentials(access), work, patience=patience)


def speak(
    found: Credentials,
    work: Callable[[Session], Awaitable[_Result]],
    *,
    patience: float = 0.0,
    notice: Notice = complain,
) -> _Result:
    """Run a conversation with the daemon that was found. Raises ClientError.

    ``patience`` seconds is how long requests that wait for it do so if it goes away; ``notice`` is told of that.
    """

    async def run() -> _Result:
        async with Session(
            url=found.url, data=found.data, login=found.login, patience=patience, connections=2, notice=notice
        ) as session:
            return await work(session)

    return asyncio.run(run())


@contextmanager
def reaching() -> Iterator[None]:
    """For one exchange: a daemon that is away is a ClientError that says so."""
    try:
        yield
    except ConnectionLost as exc:
        raise away(exc) from exc


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
    with reaching():
        answer = await session.call(method, path, payload=payload, query=query, seconds=seconds)
    return accepted(session, answer)


def accepted(session: Session, answer: Answer) -> Document:
    """What an answer says that is no refusal. Raises ClientError."""
    if answer.status >= 400:
        raise session.refusal(answer)
    return answer.body


def write_json(document: Document) -> None:
    """Print one document for scripts, in ASCII."""
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
