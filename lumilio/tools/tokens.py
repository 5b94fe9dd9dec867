"""Access tokens: signed statements of who calls, valid for minutes. Sole importer of PyJWT."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

import jwt

from lumilio.errors import Unauthenticated
from lumilio.model import Role, UserId

_ALGORITHM = "HS256"
_AUDIENCE = "lumilio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request; ``expires_at`` is when the token that says so ends, None for a caller without one."""

    user_id: UserId
    role: Role
    expires_at: datetime | None = field(default=None, compare=False)


def new_refresh_token() -> str:
    """An opaque token with 256 random bits."""
    return secrets.token_urlsafe(32)


class TokenSigner:
    """Makes and checks access tokens with the installation's own key (32 random bytes)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, caller: Caller, lifetime: timedelta) -> str:
        """A token that is valid for ``lifetime`` from now."""
        now = datetime.now(UTC)
        claims = {
            "aud": _AUDIENCE,
            "sub": str(caller.user_id),
            "role": str(caller.role),
            "iat": now,
            "exp": now + lifetime,
        }
        return jwt.encode(claims, self._key, algorithm=_ALGORITHM)

    def check(self, token: str) -> Caller:
        """Who the token speaks for. Raises Unauthenticated."""
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                audience=_AUDIENCE,
                options={"require": ["aud", "sub", "exp", "iat", "role"]},
            )
            expires_at = datetime.fromtimestamp(int(claims["exp"]), UTC)
            return Caller(user_id=UserId(UUID(claims["sub"])), role=Role(claims["role"]), expires_at=expires_at)
        except jwt.ExpiredSignatureError as exc:
            raise Unauthenticated("the access token has expired; log in again or use the refresh token") from exc
        except (jwt.InvalidTokenError, ValueError, OverflowError) as exc:
            raise Unauthenticated("the access token is not valid; log in again") from exc
