"""Logging in and staying logged in: the same answer for every wrong guess, and tokens that are good once."""

import asyncio
import statistics
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from lumilio.catalog import users
from lumilio.model import Role
from tests.acceptance.callers import add_account, admin_id, database_of, session_of
from tests.running import RunningDaemon, running_daemon


@pytest.fixture(scope="module")
def patient_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon that takes many wrong guesses."""
    config = "[auth]\nlogin_attempts_per_minute = 1000\naccess_token_minutes = 7"
    with running_daemon(tmp_path_factory.mktemp("patient"), more_config=config) as daemon:
        yield daemon


async def _login(daemon: RunningDaemon, username: str, password: str) -> tuple[int, dict[str, Any]]:
    async with session_of(daemon, None) as client:
        return await _post(client, "login", {"username": username, "password": password})


async def _refresh(daemon: RunningDaemon, token: str) -> tuple[int, dict[str, Any]]:
    async with session_of(daemon, None) as client:
        return await _post(client, "refresh", {"refresh_token": token})


async def _post(client: aiohttp.ClientSession, name: str, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
    async with client.post(f"/api/v1/auth/{name}", json=body) as response:
        return response.status, await response.json(content_type=None)


async def test_a_login_yields_tokens_that_work(patient_daemon: RunningDaemon) -> None:
    status, tokens = await _login(patient_daemon, "Admin", patient_daemon.admin_password)
    assert (status, tokens["token_type"], tokens["expires_in"]) == (200, "Bearer", 420)
    async with (
        session_of(patient_daemon, tokens["access_token"]) as client,
        client.get("/api/v1/assets") as response,
    ):
        assert response.status == 200


async def test_tokens_of_one_kind_are_not_taken_for_the_other(patient_daemon: RunningDaemon) -> None:
    _, tokens = await _login(patient_daemon, "admin", patient_daemon.admin_password)
    async with (
        session_of(patient_daemon, tokens["refresh_token"]) as client,
        client.get("/api/v1/assets") as response,
    ):
        assert response.status == 401
    assert (await _refresh(patient_daemon, tokens["access_token"][:256]))[0] == 401


async def test_whatever_is_wrong_the_answer_is_the_same(patient_daemon: RunningDaemon) -> None:
    refusals = []
    for username, password in (
        ("admin", "wrong"),
        ("nobody", "wrong"),
        ("nobody", patient_daemon.admin_password),
        ("admin\0", patient_daemon.admin_password),
        ("admin ", patient_daemon.admin_password),
        ("admin' OR '1'='1", "x"),
        ("admin", patient_daemon.admin_password + "\0"),
        ("admin", "é" * 1000),
    ):
        status, problem = await _login(patient_daemon, username, password)
        refusals.append((status, {key: value for key, value in problem.items() if key != "request_id"}))
    assert refusals[0][0] == 401
    assert refusals[0][1]["code"] == "auth.credentials_invalid"
    assert all(refusal == refusals[0] for refusal in refusals)


async def test_an_unknown_name_takes_as_long_as_a_wrong_password(patient_daemon: RunningDaemon) -> None:
    seconds: dict[str, list[float]] = {"admin": [], "nobody": []}
    await _login(patient_daemon, "nobody", "warm up")
    for _ in range(7):
        for name, measured in seconds.items():
            began = time.monotonic()
            await _login(patient_daemon, name, "wrong")
            measured.append(time.monotonic() - began)
    known, unknown = (statistics.median(measured) for measured in seconds.values())
    assert 0.4 < unknown / known < 2.5, seconds


async def test_a_password_is_compared_to_its_last_byte(patient_daemon: RunningDaemon) -> None:
    password = "p" * 1024
    _, name = await add_account(patient_daemon, Role.USER, password)
    assert (await _login(patient_daemon, name, password))[0] == 200
    assert (await _login(patient_daemon, name, password[:-1] + "q"))[0] == 401
    assert (await _login(patient_daemon, name, password[:-1]))[0] == 401
    assert (await _login(patient_daemon, name, password + "p"))[0] == 400


async def test_a_refresh_token_is_good_once_and_its_reuse_ends_the_login(patient_daemon: RunningDaemon) -> None:
    _, first = await _login(patient_daemon, "admin", patient_daemon.admin_password)
    _, bystander = await _login(patient_daemon, "admin", patient_daemon.admin_password)
    status, second = await _refresh(patient_daemon, first["refresh_token"])
    assert status == 200
    assert second["refresh_token"] != first["refresh_token"]
    status, third = await _refresh(patient_daemon, second["refresh_token"])
    assert status == 200
    status, problem = await _refresh(patient_daemon, first["refresh_token"])
    assert (status, problem["code"]) == (401, "auth.unauthenticated")
    assert (await _refresh(patient_daemon, third["refresh_token"]))[0] == 401
    assert (await _refresh(patient_daemon, bystander["refresh_token"]))[0] == 200


async def test_of_two_refreshes_at_once_one_wins(patient_daemon: RunningDaemon) -> None:
    _, tokens = await _login(patient_daemon, "admin", patient_daemon.admin_password)
    answers = await asyncio.gather(*(_refresh(patient_daemon, tokens["refresh_token"]) for _ in range(4)))
    assert sorted(status for status, _ in answers) == [200, 401, 401, 401]


async def test_an_expired_refresh_token_and_one_of_a_disabled_account_are_refused(
    patient_daemon: RunningDaemon,
) -> None:
    owner = await admin_id(patient_daemon)
    disabled, name = await add_account(patient_daemon, Role.USER, "secret")
    async with database_of(patient_daemon) as database, database.session() as session:
        now = datetime.now(UTC)
        await users.store_refresh_token(session, "expired", owner, uuid.uuid4(), now - timedelta(seconds=1))
        await users.store_refresh_token(session, "disabled", disabled, uuid.uuid4(), now + timedelta(hours=1))
        await session.script(f"UPDATE users SET disabled_at = now() WHERE id = '{disabled}'", what="disable")  # noqa: S608
    assert (await _refresh(patient_daemon, "expired"))[0] == 401
    assert (await _refresh(patient_daemon, "disabled"))[0] == 401
    assert (await _login(patient_daemon, name, "secret"))[0] == 401


async def test_refresh_tokens_and_passwords_are_stored_as_hashes_only(patient_daemon: RunningDaemon) -> None:
    _, tokens = await _login(patient_daemon, "admin", patient_daemon.admin_password)
    async with database_of(patient_daemon) as database, database.session() as session:
        found = await users.find_login(session, "admin")
        locked = await users.lock_refresh_token(session, tokens["refresh_token"])
    assert found is not None
    assert found[1].startswith("$argon2id$")
    assert locked is not None
    log = patient_daemon.log.read_text(encoding="utf-8")
    assert tokens["refresh_token"] not in log
    assert patient_daemon.admin_password not in log


async def test_guesses_are_throttled_for_an_account_and_an_address_even_when_sent_at_once(tmp_path: Any) -> None:
    with running_daemon(tmp_path / "daemon", more_config="[auth]\nlogin_attempts_per_minute = 4") as daemon:
        for _ in range(6):
            assert (await _login(daemon, "admin", daemon.admin_password))[0] == 200
        answers = await asyncio.gather(*(_login(daemon, "nobody", f"guess {number}") for number in range(20)))
        assert sorted(status for status, _ in answers) == [401] * 4 + [429] * 16
        async with (
            session_of(daemon, None) as client,
            client.post("/api/v1/auth/login", json={"username": "other", "password": "x"}) as response,
        ):
            assert response.status == 429
            assert 1 <= int(response.headers["Retry-After"]) <= 60
            assert (await response.json(content_type=None))["code"] == "request.too_many"
        refused = [event for event in daemon.log_events() if event["event"] == "login.refused"]
        assert len(refused) == 4
        assert all("guess" not in str(event) for event in refused)
