"""Rows of users and of their refresh tokens."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from lumilio.db import Row, Tx
from lumilio.model import Role, UserId


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An account that may log in."""

    id: UserId
    username: str
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshToken:
    """What is known of a refresh token; ``replaced`` means that it was used before."""

    user_id: UserId
    family_id: UUID
    expires_at: datetime
    replaced: bool


def _user(row: Row) -> User:
    return User(id=UserId(row["id"]), username=row["username"], role=Role(row["role"]))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def count_users(tx: Tx) -> int:
    """How many accounts there are, disabled ones too."""
    return int(await tx.value("users.count"))


async def add_user(tx: Tx, username: str, password_hash: str, role: Role) -> UserId:
    """Insert an account."""
    return UserId(await tx.value("users.insert", username, password_hash, role))


async def find_user(tx: Tx, user_id: UserId) -> User | None:
    """The enabled account of that id."""
    row = await tx.row("users.by_id", user_id)
    return _user(row) if row else None


async def find_login(tx: Tx, username: str) -> tuple[User, str] | None:
    """The enabled account of that name, whatever its case, and its password hash."""
    if "\0" in username:  # which text columns cannot hold
        return None
    row = await tx.row("users.by_username", username)
    return (_user(row), row["password_hash"]) if row else None


async def first_admin(tx: Tx) -> User | None:
    """The oldest enabled administrator."""
    row = await tx.row("users.first_admin")
    return _user(row) if row else None


async def store_refresh_token(tx: Tx, token: str, user_id: UserId, family_id: UUID, expires_at: datetime) -> None:
    """Remember the SHA-256 of a new refresh token."""
    await tx.execute("users.insert_refresh_token", _digest(token), user_id, family_id, expires_at)


async def lock_refresh_token(tx: Tx, token: str) -> RefreshToken | None:
    """Find a refresh token and lock its row until the transaction ends."""
    row = await tx.row("users.lock_refresh_token", _digest(token))
    if row is None:
        return None
    return RefreshToken(
        user_id=UserId(row["user_id"]),
        family_id=row["family_id"],
        expires_at=row["expires_at"],
        replaced=row["replaced_at"] is not None,
    )


async def replace_refresh_token(tx: Tx, token: str) -> None:
    """Mark a refresh token as used."""
    await tx.execute("users.replace_refresh_token", _digest(token))


async def revoke_family(tx: Tx, family_id: UUID) -> None:
    """Forget every refresh token that descends from one login."""
    await tx.execute("users.revoke_family", family_id)


async def forget_expired_tokens(tx: Tx) -> None:
    """Delete refresh tokens whose time is over."""
    await tx.execute("users.delete_expired_refresh_tokens")
