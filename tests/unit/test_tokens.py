"""Access tokens and passwords: what is signed by this installation holds, and nothing else does."""

import itertools
import uuid
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from lumilio.errors import Unauthenticated
from lumilio.model import Role, UserId
from lumilio.tools.passwords import MAX_PASSWORD_BYTES, Passwords, new_password
from lumilio.tools.tokens import Caller, TokenSigner, new_refresh_token

KEY = bytes(range(32))
CALLER = Caller(user_id=UserId(uuid.UUID(int=7)), role=Role.USER)
MINUTE = timedelta(minutes=1)


def _claims(**changed: object) -> dict[str, object]:
    now = datetime.now(UTC)
    claims = {"aud": "lumilio", "sub": str(CALLER.user_id), "role": "user", "iat": now, "exp": now + MINUTE}
    return {key: value for key, value in (claims | changed).items() if value is not None}


def test_a_token_speaks_for_the_caller_it_was_issued_to() -> None:
    signer = TokenSigner(KEY)
    assert signer.check(signer.issue(CALLER, MINUTE)) == CALLER


def test_an_expired_token_is_refused_with_the_way_out() -> None:
    signer = TokenSigner(KEY)
    with pytest.raises(Unauthenticated, match="expired"):
        signer.check(signer.issue(CALLER, -MINUTE))


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "another"},
        {"aud": None},
        {"sub": None},
        {"sub": "no uuid"},
        {"role": None},
        {"role": "emperor"},
        {"exp": None},
        {"iat": None},
        {"iat": datetime.now(UTC) + timedelta(hours=1)},
    ],
    ids=itertools.count(),
)
def test_a_signed_token_with_wrong_claims_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(Unauthenticated):
        TokenSigner(KEY).check(jwt.encode(_claims(**changed), KEY, algorithm="HS256"))


@pytest.mark.parametrize("token", ["", "a.b.c", "null", "\ud800", "🂡", "a" * 10_000, "Bearer x", " "])
def test_garbage_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        TokenSigner(KEY).check(token)


def test_a_token_of_another_key_or_without_a_signature_is_refused() -> None:
    for forged in (
        jwt.encode(_claims(), bytes(32), algorithm="HS256"),
        jwt.encode(_claims(), None, algorithm="none"),
        jwt.encode(_claims(), KEY * 2, algorithm="HS512"),
    ):
        with pytest.raises(Unauthenticated):
            TokenSigner(KEY).check(forged)


def test_secrets_are_long_and_never_the_same() -> None:
    for make in (new_refresh_token, new_password):
        made = {make() for _ in range(100)}
        assert len(made) == 100
        assert min(map(len, made)) >= 22


async def test_a_password_matches_its_own_hash_only() -> None:
    passwords = Passwords()
    stored = await passwords.hash("correct horse ẞ \0 battery")
    assert stored.startswith("$argon2id$")
    assert await passwords.matches("correct horse ẞ \0 battery", stored)
    assert not await passwords.matches("correct horse", stored)
    assert not await passwords.matches("correct horse ẞ \0 battery", None)
    assert not await passwords.matches("correct horse ẞ \0 battery", "no hash")


async def test_a_long_password_counts_to_its_last_byte_and_an_endless_one_is_not_computed() -> None:
    passwords = Passwords()
    longest = "x" * MAX_PASSWORD_BYTES
    stored = await passwords.hash(longest)
    assert await passwords.matches(longest, stored)
    assert not await passwords.matches(longest[:-1] + "y", stored)
    assert not await passwords.matches(longest + "x", stored)
    assert not await passwords.matches("\ud800", stored)
