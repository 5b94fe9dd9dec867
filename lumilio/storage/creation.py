"""Making a repository out of a directory, without ever harming what lies in it."""

import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from lumilio.errors import PathOccupied, RepositoryInvalid, RepositoryNested
from lumilio.model import DuplicateNames, RepositoryId, StorageStrategy
from lumilio.storage.configuration import RepositoryConfig, encode_config
from lumilio.storage.disk import fsync_directory, make_directories, remove_empty, run_blocking, storage_errors
from lumilio.storage.ignore import DEFAULT_IGNORE, IgnoreRules
from lumilio.storage.place import place
from lumilio.storage.repository import (
    LAYOUT,
    SENTINEL,
    Repository,
    enclosing_repository,
    make_layout_directory,
)

_SEARCH_ENTRIES = 5_000_000
"""Directory entries that the search for repositories below a new one reads, at about a million in two seconds."""


async def create_repository(
    root: Path,
    *,
    name: str,
    strategy: StorageStrategy = StorageStrategy.DATE,
    duplicate_names: DuplicateNames = DuplicateNames.RENAME,
    ignore: tuple[str, ...] = DEFAULT_IGNORE,
    size_limit: int | None = None,
) -> Repository:
    """Make a directory, which may be missing or full of files, a repository with a new identity.

    The sentinel comes last: until it is there, nothing takes the directory for a repository. When anything fails, the
    files and empty directories that this very call created are taken away again, one by one, and nothing else.

    Raises PathOccupied when it is a repository already, RepositoryNested when one lies above or below it,
    RepositoryInvalid for settings or a layout that cannot be, StorageError when the disk refuses.
    """
    config = RepositoryConfig(
        id=RepositoryId(uuid4()),
        name=name,
        created=datetime.now(UTC).replace(microsecond=0),
        strategy=strategy,
        duplicate_names=duplicate_names,
        ignore=ignore,
        size_limit=size_limit,
    )
    return await run_blocking(_create, root, config)


def _create(root: Path, config: RepositoryConfig) -> Repository:
    document = encode_config(config)
    root = root.resolve()
    if os.path.lexists(root / SENTINEL):
        raise PathOccupied(f"{str(root)!r} is a repository already; open it instead")
    refuse_nesting(root, config.ignore)
    created: list[Path] = []
    try:
        with storage_errors("creating a repository in", root):
            created += make_directories(root)
            for directory in LAYOUT:
                created += make_layout_directory(root, directory)
            _write_sentinel(root, document)
    except BaseException:
        if not os.path.lexists(root / SENTINEL):
            remove_empty(created)
        raise
    return Repository(id=config.id, root=root, config=config)


def _write_sentinel(root: Path, document: bytes) -> None:
    """Put the sentinel in place without replacing one that another process put there in the meantime."""
    sentinel = root / SENTINEL
    temporary = sentinel.with_name(f".{uuid4()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(document)
            file.flush()
            os.fsync(file.fileno())
        place(temporary, sentinel, scratch=sentinel.parent)
    except FileExistsError as exc:
        raise PathOccupied(f"{str(root)!r} has just become a repository; open it instead") from exc
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    try:
        fsync_directory(sentinel.parent)
    except BaseException:
        sentinel.unlink()
        raise


def refuse_nesting(root: Path, ignore: Iterable[str]) -> None:
    """Raises RepositoryNested when a repository lies above or below a resolved directory; blocks.

    Downwards it skips what the repository would ignore, what it may not read, and symbolic links. Raises
    RepositoryInvalid for a tree too large to be sure.
    """
    outer = enclosing_repository(root)
    if outer is not None:
        raise RepositoryNested(f"{str(root)!r} lies inside repository {str(outer)!r}; choose another directory")
    rules = IgnoreRules(ignore)
    pending = [root]
    seen = 0
    while pending:
        directory = pending.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    seen += 1
                    if not entry.is_dir(follow_symlinks=False):
                        continue
                    path = Path(entry.path)
                    if os.path.lexists(path / SENTINEL):
                        raise RepositoryNested(f"{str(path)!r} is a repository; it may not lie inside {str(root)!r}")
                    if not rules.ignores_name(entry.name):
                        pending.append(path)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        if seen > _SEARCH_ENTRIES:
            message = f"{str(root)!r} holds more than {_SEARCH_ENTRIES} files; choose a directory further down"
            raise RepositoryInvalid(message)
