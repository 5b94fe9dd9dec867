"""What the first start makes: secrets, the first administrator, the default repository. Later starts find them."""

import asyncio
import os
import secrets
from contextlib import suppress
from pathlib import Path

from lumilio.catalog import repositories, users
from lumilio.catalog.repositories import RepositoryRow
from lumilio.catalog.users import User
from lumilio.db import Database
from lumilio.errors import ConfigError, LumilioError, PathOccupied, StorageError
from lumilio.jobs.library import OwnedRepository
from lumilio.log import get_log
from lumilio.model import RepositoryId, Role
from lumilio.storage.creation import create_repository
from lumilio.storage.repository import Repository, open_repository, repair_repository
from lumilio.tools.passwords import Passwords, new_password

PASSWORD_FILE = "initial-admin-password"  # noqa: S105
KEY_FILE = "secrets/token-key"
KEY_BYTES = 32
ADMIN_NAME = "admin"


def prepare_data_directory(directory: Path) -> None:
    """Make the data directory, and in it the one for secrets, for this user only. Raises ConfigError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "secrets").mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise ConfigError(
            f"data.directory {str(directory)!r} cannot be made: {exc.strerror}; choose another, or give it to this user"
        ) from exc
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise ConfigError(
            f"data.directory {str(directory)!r} belongs to another user; choose another, or give it to this user"
        )


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only this user may read, durably and in one step."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)


def token_key(directory: Path) -> bytes:
    """The key that signs access tokens, made at the first start. Raises ConfigError for a damaged one."""
    path = directory / KEY_FILE
    if not path.exists():
        write_private(path, secrets.token_bytes(KEY_BYTES))
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path}: not {KEY_BYTES} bytes; delete it, then everybody has to log in again")
    return key


async def ensure_admin(db: Database, directory: Path, passwords: Passwords) -> User:
    """The oldest administrator. Without any account one is made, its password written before its row."""
    async with db.session() as session:
        if await users.count_users(session) == 0:
            password = new_password()
            password_hash = await passwords.hash(password)
            await asyncio.to_thread(write_private, directory / PASSWORD_FILE, f"{password}\n".encode())
            await users.add_user(session, ADMIN_NAME, password_hash, Role.ADMIN)
            get_log().info("user.created", name=ADMIN_NAME, path=directory / PASSWORD_FILE)
        admin = await users.first_admin(session)
    if admin is None:
        raise ConfigError("no enabled administrator is left in the database; enable one")
    return admin


async def open_repositories(db: Database, admin: User, default_root: Path) -> dict[RepositoryId, OwnedRepository]:
    """Every known repository that is there; the default one is made when there is none at all."""
    async with db.session() as session:
        known = await repositories.list_repositories(session)
        if not known:
            repository = await _default_repository(default_root)
            row = RepositoryRow(
                id=repository.id,
                owner_id=admin.id,
                name=repository.config.name,
                root=repository.root,
                is_default=True,
            )
            await repositories.add_repository(session, row)
            known = [row]
    opened: dict[RepositoryId, OwnedRepository] = {}
    for row in known:
        try:
            opened[row.id] = await _open(row)
        except LumilioError as exc:
            get_log().warning("repository.offline", repository_id=row.id, path=row.root, reason=exc)
    return opened


async def attach_returned(db: Database, opened: dict[RepositoryId, OwnedRepository]) -> None:
    """Add to ``opened`` the repositories that were away when it was made and are there now. Raises DatabaseError."""
    async with db.session() as session:
        known = await repositories.list_repositories(session)
    for row in known:
        if row.id in opened:
            continue
        with suppress(StorageError):
            opened[row.id] = await _open(row)
            get_log().info("repository.attached", repository_id=row.id, path=row.root)


async def _default_repository(root: Path) -> Repository:
    try:
        repository = await create_repository(root, name="Library")
    except PathOccupied:
        return await open_repository(root)
    get_log().info("repository.created", repository_id=repository.id, path=repository.root)
    return repository


async def _open(row: RepositoryRow) -> OwnedRepository:
    await repair_repository(row.root)
    repository = await open_repository(row.root)
    if repository.id != row.id:
        raise StorageError(f"{str(row.root)!r} holds another repository, {repository.id}")
    return OwnedRepository(repository=repository, owner_id=row.owner_id, is_default=row.is_default)
