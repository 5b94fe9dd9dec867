"""Passwords: argon2id at the parameters of RFC 9106's low-memory recommendation. Sole importer of argon2."""

import asyncio
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from lumilio.tools.threads import DaemonThreads

MAX_PASSWORD_BYTES = 1024
AT_ONCE = 2
"""Hashes computed at the same time: each takes 64 MiB while it runs."""


def new_password() -> str:
    """A password with 128 random bits."""
    return secrets.token_urlsafe(16)


class Passwords:
    """Hashes and checks passwords, a few at a time, in threads of their own: a login never waits for a disk."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._threads = DaemonThreads("passwords", AT_ONCE)
        self._nobodys_hash = ""

    async def hash(self, password: str) -> str:
        """The hash to store, with its salt and parameters."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether the password belongs to the stored hash; None takes just as long and is False."""
        if len(password.encode("utf-8", "surrogatepass")) > MAX_PASSWORD_BYTES:
            return False
        if not self._nobodys_hash:
            self._nobodys_hash = await self.hash(new_password())
        loop = asyncio.get_running_loop()
        matches = await loop.run_in_executor(self._threads, self._verify, password, stored or self._nobodys_hash)
        return matches and stored is not None

    def _verify(self, password: str, stored: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False
