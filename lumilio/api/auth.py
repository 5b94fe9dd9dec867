"""Logging in, and staying logged in."""

import uuid
from datetime import UTC, datetime, timedelta

from aiohttp import web

from lumilio.api.context import Context, answer, body_of, context_of
from lumilio.api.schemas import LoginBody, RefreshBody, Tokens
from lumilio.catalog import users
from lumilio.catalog.users import User
from lumilio.db import Tx
from lumilio.errors import CredentialsInvalid, Unauthenticated
from lumilio.log import get_log, printable
from lumilio.tools.tokens import Caller, new_refresh_token


async def login(request: web.Request) -> web.Response:
    """Exchange user name and password for tokens."""
    context = context_of(request)
    body = await body_of(request, LoginBody)
    keys = (f"account {body.username.casefold()}", f"address {request.remote}")
    began = context.throttle.begin(*keys)
    async with context.library.db.session() as session:
        found = await users.find_login(session, body.username)
    if not await context.passwords.matches(body.password, found[1] if found else None) or found is None:
        get_log().warning("login.refused", name=printable(body.username), client=request.remote)
        raise CredentialsInvalid("user name or password is wrong")
    context.throttle.succeed(began, *keys)
    async with context.library.db.transaction() as tx:
        await users.forget_expired_tokens(tx)
        tokens = await _issue(context, tx, found[0], uuid.uuid4())
    return answer(tokens)


async def refresh(request: web.Request) -> web.Response:
    """Exchange a refresh token for new tokens; using one twice ends that login."""
    context = context_of(request)
    body = await body_of(request, RefreshBody)
    async with context.library.db.transaction() as tx:
        token = await users.lock_refresh_token(tx, body.refresh_token)
        reused = token is not None and token.replaced
        tokens = None
        if token is not None and reused:
            await users.revoke_family(tx, token.family_id)
        elif token is not None and token.expires_at > datetime.now(UTC):
            user = await users.find_user(tx, token.user_id)
            if user is not None:
                await users.replace_refresh_token(tx, body.refresh_token)
                tokens = await _issue(context, tx, user, token.family_id)
    if reused:
        get_log().warning("refresh_token.reused", client=request.remote)
    if tokens is None:
        raise Unauthenticated("the refresh token is not valid; log in again")
    return answer(tokens)


async def _issue(context: Context, tx: Tx, user: User, family_id: uuid.UUID) -> Tokens:
    settings = context.config.auth
    lifetime = timedelta(minutes=settings.access_token_minutes)
    token = new_refresh_token()
    expires_at = datetime.now(UTC) + timedelta(days=settings.refresh_token_days)
    await users.store_refresh_token(tx, token, user.id, family_id, expires_at)
    return Tokens(
        access_token=context.signer.issue(Caller(user_id=user.id, role=user.role), lifetime),
        expires_in=int(lifetime.total_seconds()),
        refresh_token=token,
    )
