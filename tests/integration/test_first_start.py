"""What the first start makes, what later starts find, and that a start cut short is no first one lost."""

import stat
from pathlib import Path

import pytest

from lumilio import first_start
from lumilio.catalog import repositories, users
from lumilio.db import Database
from lumilio.errors import ConfigError
from lumilio.first_start import (
    attach_returned,
    ensure_admin,
    open_repositories,
    prepare_data_directory,
    token_key,
    write_private,
)
from lumilio.model import Role
from lumilio.tools.passwords import Passwords


def test_secrets_are_for_their_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "deep/data"
    prepare_data_directory(directory)
    key = token_key(directory)
    assert len(key) == 32
    assert token_key(directory) == key
    assert stat.S_IMODE((directory / "secrets").stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "secrets/token-key").stat().st_mode) == 0o600
    assert [path.name for path in (directory / "secrets").iterdir()] == ["token-key"]


def test_a_damaged_key_is_told_and_not_replaced(tmp_path: Path) -> None:
    prepare_data_directory(tmp_path)
    (tmp_path / "secrets/token-key").write_bytes(b"short")
    with pytest.raises(ConfigError, match="delete it, then everybody has to log in again"):
        token_key(tmp_path)
    assert (tmp_path / "secrets/token-key").read_bytes() == b"short"


def test_a_private_file_is_replaced_in_one_step_and_leaves_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, b"one")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    with pytest.raises(IsADirectoryError):
        (tmp_path / "folder/inside").mkdir(parents=True)
        write_private(tmp_path / "folder", b"three")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "secret"]


def test_a_data_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be made"):
        prepare_data_directory(tmp_path / "file/data")


async def test_the_first_administrator_is_made_once(database: Database, tmp_path: Path) -> None:
    passwords = Passwords()
    admin = await ensure_admin(database, tmp_path, passwords)
    file = tmp_path / first_start.PASSWORD_FILE
    password = file.read_text(encoding="utf-8").strip()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    async with database.session() as session:
        found = await users.find_login(session, "ADMIN")
    assert found is not None
    assert (found[0], found[0].role) == (admin, Role.ADMIN)
    assert await passwords.matches(password, found[1])
    file.unlink()
    assert await ensure_admin(database, tmp_path, passwords) == admin
    assert not file.exists()


async def test_a_password_written_before_a_crash_is_replaced_by_that_of_the_account(
    database: Database, tmp_path: Path
) -> None:
    write_private(tmp_path / first_start.PASSWORD_FILE, b"of a start that was cut short\n")
    passwords = Passwords()
    await ensure_admin(database, tmp_path, passwords)
    async with database.session() as session:
        found = await users.find_login(session, "admin")
    assert found is not None
    written = (tmp_path / first_start.PASSWORD_FILE).read_text(encoding="utf-8").strip()
    assert await passwords.matches(written, found[1])


async def test_without_an_enabled_administrator_the_start_is_refused(database: Database, tmp_path: Path) -> None:
    passwords = Passwords()
    await ensure_admin(database, tmp_path, passwords)
    async with database.session() as session:
        await session.script("UPDATE users SET disabled_at = now()", what="disable")
    with pytest.raises(ConfigError, match="no enabled administrator"):
        await ensure_admin(database, tmp_path, passwords)


async def test_the_default_repository_is_made_once_and_found_again(database: Database, tmp_path: Path) -> None:
    admin = await ensure_admin(database, tmp_path, Passwords())
    root = tmp_path / "library"
    first = await open_repositories(database, admin, root)
    (owned,) = first.values()
    assert (owned.is_default, owned.owner_id, owned.repository.root) == (True, admin.id, root)
    again = await open_repositories(database, admin, tmp_path / "configured elsewhere since")
    assert list(again) == list(first)
    assert not (tmp_path / "configured elsewhere since").exists()


async def test_a_repository_made_before_a_crash_is_taken_over(database: Database, tmp_path: Path) -> None:
    admin = await ensure_admin(database, tmp_path, Passwords())
    (made,) = await open_repositories(database, admin, tmp_path / "library")
    async with database.session() as session:
        await session.script("DELETE FROM repositories", what="as if the row was never written")
    assert list(await open_repositories(database, admin, tmp_path / "library")) == [made]


async def test_lost_directories_of_a_repository_are_made_again(database: Database, tmp_path: Path) -> None:
    admin = await ensure_admin(database, tmp_path, Passwords())
    (owned,) = (await open_repositories(database, admin, tmp_path / "library")).values()
    owned.repository.temp.rmdir()
    await open_repositories(database, admin, tmp_path / "library")
    assert owned.repository.temp.is_dir()


async def test_a_repository_that_is_away_is_attached_when_it_returns(database: Database, tmp_path: Path) -> None:
    admin = await ensure_admin(database, tmp_path, Passwords())
    root, away = tmp_path / "library", tmp_path / "away"
    (repository_id,) = await open_repositories(database, admin, root)
    root.rename(away)
    opened = await open_repositories(database, admin, root)
    assert opened == {}
    assert not root.exists()
    await attach_returned(database, opened)
    assert opened == {}
    away.rename(root)
    await attach_returned(database, opened)
    assert list(opened) == [repository_id]
    assert opened[repository_id].is_default


async def test_another_repository_in_the_place_of_a_known_one_is_not_taken_for_it(
    database: Database, tmp_path: Path
) -> None:
    admin = await ensure_admin(database, tmp_path, Passwords())
    root = tmp_path / "library"
    await open_repositories(database, admin, root)
    root.rename(tmp_path / "the known one")
    async with database.session() as session:
        (row,) = await repositories.list_repositories(session)
        await session.script("DELETE FROM repositories", what="forget it")
        await open_repositories(database, admin, root)
        await session.script("DELETE FROM repositories", what="forget the other")
        await repositories.add_repository(session, row)
    opened = await open_repositories(database, admin, root)
    await attach_returned(database, opened)
    assert opened == {}
