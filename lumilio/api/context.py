"""What handlers may use, and how they read requests and write answers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ValidationError

from lumilio.api.throttle import LoginThrottle
from lumilio.config import Config
from lumilio.errors import MediaTypeUnsupported, NotFound, RequestError, Unauthenticated
from lumilio.jobs.library import Library
from lumilio.model import Role, UserId
from lumilio.queue.worker import Worker
from lumilio.tools.exiftool import ExifTool
from lumilio.tools.passwords import Passwords
from lumilio.tools.tokens import Caller, TokenSigner

MAX_FAULTS = 20
"""Faults of a body or query that are told."""
MAX_DIGITS = 18
"""Of a number that PostgreSQL takes as a bigint."""

Model = TypeVar("Model", bound=BaseModel)


class Access(StrEnum):
    """Who may call a route: everybody, every account, every account that may change things, administrators."""

    PUBLIC = "public"
    GUEST = "guest"
    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The parts of the daemon that the API reaches."""

    config: Config
    library: Library
    signer: TokenSigner
    passwords: Passwords
    throttle: LoginThrottle
    worker: Worker
    exiftool: ExifTool


CONTEXT = web.AppKey("context", Context)
CALLER = web.RequestKey("caller", Caller)
REQUEST_ID = web.RequestKey("request_id", str)


def context_of(request: web.Request) -> Context:
    """The application's context."""
    return request.app[CONTEXT]


def caller_of(request: web.Request) -> Caller:
    """Who sent the request. Raises Unauthenticated on a route that did not ask for it: absence means nobody."""
    caller: Caller | None = request.get(CALLER)
    if caller is None:
        raise Unauthenticated("send an access token: Authorization: Bearer …")
    return caller


async def body_of(request: web.Request, model: type[Model]) -> Model:
    """The JSON body, checked. Raises RequestError and MediaTypeUnsupported."""
    if request.content_type != "application/json":
        raise MediaTypeUnsupported(f"{request.content_type!r} instead of application/json")
    timeout = context_of(request).config.server.request_timeout_seconds
    try:
        async with asyncio.timeout(timeout):
            text = await request.read()
    except TimeoutError as exc:
        raise RequestError(f"nothing was received for {timeout} s; send it again") from exc
    except web.RequestPayloadError as exc:
        raise RequestError(f"the body is malformed: {str(exc)[:200]}") from exc
    return _checked(lambda: model.model_validate_json(text))


def query_of(request: web.Request, model: type[Model], *, lists: frozenset[str] = frozenset()) -> Model:
    """The query parameters, checked; those named in ``lists`` may come several times. Raises RequestError."""
    values: dict[str, Any] = {}
    for key in request.query:
        found = request.query.getall(key)
        if key not in lists and len(found) > 1:
            raise RequestError(f"query parameter {key!r} was sent {len(found)} times; send it once")
        values[key] = found if key in lists else found[0]
    return _checked(lambda: model.model_validate(values))


def _checked(parse: Callable[[], Model]) -> Model:
    try:
        return parse()
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False)
        faults = [
            f"{'.'.join(str(part) for part in error['loc'])[:80] or 'body'}: {error['msg']}"
            for error in errors[:MAX_FAULTS]
        ]
        if len(errors) > MAX_FAULTS:
            faults.append(f"and {len(errors) - MAX_FAULTS} more")
        raise RequestError("; ".join(faults), details={"errors": faults}) from exc


def id_of(request: web.Request, name: str) -> UUID:
    """An identifier in the path. Raises NotFound: what is no identifier names nothing."""
    try:
        return UUID(request.match_info[name])
    except ValueError as exc:
        raise NotFound(f"{request.match_info[name]!r} does not exist") from exc


def number_of(request: web.Request, name: str) -> int:
    """A number in the path. Raises NotFound: what is no number names nothing."""
    text = request.match_info[name]
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise NotFound(f"{text!r} does not exist")
    return int(text)


def scope_of(caller: Caller) -> UserId | None:
    """Whose jobs a caller sees and changes: None is everybody's, and those of nobody."""
    return None if caller.role is Role.ADMIN else caller.user_id


def answer(model: BaseModel, *, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(text=model.model_dump_json(), status=status, content_type="application/json")
