"""What happens to every request: an id, the access decision, errors as problem documents, headers, metrics."""

import inspect
import re
import secrets
import time
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler

from lumilio import metrics
from lumilio.api.context import CALLER, REQUEST_ID, Access, context_of
from lumilio.api.schemas import ProblemDocument
from lumilio.errors import (
    ClientError,
    Forbidden,
    LumilioError,
    MediaError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RequestError,
    Unauthenticated,
)
from lumilio.log import bind_context, get_log
from lumilio.model import Role
from lumilio.tools.tokens import Caller

SECURITY_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CONTINUE = "100-continue"

_ROLES: Mapping[Access, frozenset[Role]] = {
    Access.GUEST: frozenset({Role.GUEST, Role.USER, Role.ADMIN}),
    Access.USER: frozenset({Role.USER, Role.ADMIN}),
    Access.ADMIN: frozenset({Role.ADMIN}),
}
_TOLD = (RequestError, MediaError, ClientError)
"""Errors whose message is about what the client sent. Messages of the others name the server's paths and addresses."""


def _detail(error: LumilioError) -> str:
    if isinstance(error, _TOLD) or type(error) is LumilioError:
        return str(error)
    meaning = (inspect.getdoc(type(error)) or error.code).split("\n\n")[0].replace("\n", " ")
    return f"{meaning} The log has the details."


def problem(error: LumilioError, request_id: str | None) -> ProblemDocument:
    """The problem document of an error."""
    listed = error.details.get("errors")
    return ProblemDocument(
        title=HTTPStatus(error.status).phrase,
        status=error.status,
        code=error.code,
        detail=_detail(error),
        request_id=request_id,
        errors=[str(item) for item in listed] if isinstance(listed, list) else None,
    )


def problem_response(error: LumilioError, request_id: str | None) -> web.Response:
    """An error as the client sees it."""
    headers = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="lumilio"'
    for detail, header in (("retry_after", "Retry-After"), ("allow", "Allow")):
        if detail in error.details:
            headers[header] = str(error.details[detail])
    return web.Response(
        text=problem(error, request_id).model_dump_json(exclude_none=True),
        status=error.status,
        content_type="application/problem+json",
        headers=headers,
    )


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: request id, duration, access log, security headers."""
    sent = request.headers.get("X-Request-ID", "")
    request[REQUEST_ID] = sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
    bind_context(request_id=request[REQUEST_ID])
    started = time.monotonic()
    resource = request.match_info.route.resource
    route = resource.canonical if resource else "none"
    response = await handler(request)
    seconds = time.monotonic() - started
    metrics.REQUESTS.labels(route, request.method, response.status).inc()
    metrics.REQUEST_SECONDS.labels(route, request.method).observe(seconds)
    get_log().debug(
        "request.answered",
        method=request.method,
        path=request.path,
        status=response.status,
        duration_ms=round(seconds * 1000, 1),
    )
    return response


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: streamed answers get these headers too, before they start."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "Lumilio"
    if REQUEST_ID in request:
        response.headers["X-Request-ID"] = request[REQUEST_ID]


@web.middleware
async def translate_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure leaves as a problem document; what is not expected is logged and says nothing."""
    request_id = request.get(REQUEST_ID)
    try:
        return await handler(request)
    except LumilioError as exc:
        if exc.status >= HTTPStatus.INTERNAL_SERVER_ERROR or not isinstance(exc, _TOLD):
            get_log().warning("request.failed", path=request.path, code=exc.code, error=exc)
        return problem_response(exc, request_id)
    except web.HTTPException as exc:
        if exc.status < HTTPStatus.BAD_REQUEST:
            raise
        return problem_response(_from_aiohttp(exc, request), request_id)
    except ConnectionResetError:  # nobody is left to answer; aiohttp would log a crash
        get_log().info("request.broken_off", path=request.path, method=request.method)
        return problem_response(RequestError("the connection broke off"), request_id)
    except Exception:  # noqa: BLE001 - the last fence before the client
        get_log().exception("request.crashed", path=request.path, method=request.method)
        return problem_response(LumilioError("an unexpected error; the log has the details"), request_id)


def _from_aiohttp(error: web.HTTPException, request: web.Request) -> LumilioError:
    match error.status:
        case HTTPStatus.NOT_FOUND:
            return NotFound(f"{request.path!r} does not exist")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = error.headers.get("Allow", "")
            return MethodNotAllowed(f"{request.method} is not possible here", details={"allow": allowed})
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return PayloadTooLarge("the body is too large")
        case _:
            return RequestError(error.reason)


def decide_access(access: Mapping[web.AbstractRoute, Access]) -> web.middleware:  # type: ignore[valid-type]
    """The one access decision: a route that is not in the table is open to nobody."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        route = request.match_info.route
        if request.match_info.http_exception is not None:
            raise request.match_info.http_exception
        needed = access.get(route)
        if needed is None:
            raise Forbidden("this route has no access decision")
        if needed is not Access.PUBLIC:
            caller = _caller(request)
            if caller.role not in _ROLES[needed]:
                raise Forbidden(f"the role {caller.role.value!r} may not do this")
            request[CALLER] = caller
            bind_context(user_id=caller.user_id)
        await _invite_body(request)
        return await handler(request)

    return middleware


async def check_expectation(request: web.Request) -> web.StreamResponse | None:
    """Called before the middlewares when a client asks leave to send its body: that waits for the access decision."""
    expected = request.headers.get("Expect", "")
    if expected.lower() == _CONTINUE:
        return None
    return problem_response(RequestError(f"the expectation {expected!r} is not understood"), None)


async def _invite_body(request: web.Request) -> None:
    if request.headers.get("Expect", "").lower() == _CONTINUE and request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


def _caller(request: web.Request) -> Caller:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("send an access token: Authorization: Bearer …")
    return context_of(request).signer.check(token.strip())
