"""Callers of every kind: accounts put straight into a daemon's database, and tokens signed with its own key."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp

from lumilio.catalog import users
from lumilio.db import Database, DatabaseAddress, open_database
from lumilio.model import Role, UserId
from lumilio.tools.passwords import Passwords
from lumilio.tools.tokens import Caller, TokenSigner
from tests.running import RunningDaemon

HOUR = timedelta(hours=1)


@asynccontextmanager
async def database_of(daemon: RunningDaemon) -> AsyncIterator[Database]:
    """The daemon's own database."""
    socket = (daemon.data_dir / "postgres/run").resolve()
    address = DatabaseAddress(host=str(socket), user="lumilio", database="lumilio")
    async with open_database(address, pool_size=2) as opened:
        yield opened


async def add_account(daemon: RunningDaemon, role: Role, password: str | None = None) -> tuple[UserId, str]:
    """A new account: its id and its name. Without a password nobody can log in as it."""
    name = f"{role.value}-{uuid.uuid4().hex[:12]}"
    password_hash = await Passwords().hash(password) if password is not None else "none"
    async with database_of(daemon) as database, database.session() as session:
        return await users.add_user(session, name, password_hash, role), name


async def admin_id(daemon: RunningDaemon) -> UserId:
    """Who the first start made."""
    async with database_of(daemon) as database, database.session() as session:
        admin = await users.first_admin(session)
    assert admin is not None
    return admin.id


def token_of(daemon: RunningDaemon, user_id: UserId, role: Role, lifetime: timedelta = HOUR) -> str:
    """An access token as the daemon itself would issue it."""
    key = (daemon.data_dir / "secrets/token-key").read_bytes()
    return TokenSigner(key).issue(Caller(user_id=user_id, role=role), lifetime)


def session_of(daemon: RunningDaemon, token: str | None) -> aiohttp.ClientSession:
    """An HTTP client with that token, or with none."""
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    return aiohttp.ClientSession(daemon.url, headers=headers)
