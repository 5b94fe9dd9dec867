"""Passwords: argon2id at the parameters of RFC 9106's low-memory recommendation. Sole importer of argon2."""

import asyncio
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

MAX_PASSWORD_BYTES = 1024
AT_ONCE = 2
"""Hashes computed at the same time: each takes 64 MiB while it runs."""


def new_password() -> str:
    """A password with 128 random bits."""
    return secrets.token_urlsafe(16)


class Passwords:
    """Hashes and checks passwords in threads, a few at a time."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._nobodys_hash = ""

    async def hash(self, password: str) -> str:
        """The hash to store, with its salt and parameters."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether the password belongs to the stored hash; None takes just as long and is False."""
        if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
            return False
        if not self._nobodys_hash:
            self._nobodys_hash = await self.hash(new_password())
        async with self._slots:
            matches = await asyncio.to_thread(self._verify, password, stored or self._nobodys_hash)
        return matches and stored is not None

    def _verify(self, password: str, stored: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False
