"""A repository: its place on disk, its layout, and whether it is there at all.

``.lumilio/`` belongs to Lumilio, ``inbox/`` is filled by it, everything else is user space that it only follows.
The configuration file is the sentinel as well: a root without it is offline, not empty.
"""

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lumilio.errors import PathInvalid, RepositoryInvalid, RepositoryNested, RepositoryOffline, StorageError
from lumilio.model import THUMBNAIL_SIZES, RepoPath, RepositoryId
from lumilio.storage.configuration import RepositoryConfig, read_config
from lumilio.storage.disk import PRIVATE, make_directories, run_blocking, storage_errors

SENTINEL = f"{PRIVATE}/repository.toml"
INBOX = "inbox"

LAYOUT = (
    f"{PRIVATE}/staging/incoming",
    f"{PRIVATE}/staging/failed",
    f"{PRIVATE}/temp",
    f"{PRIVATE}/trash",
    *(f"{PRIVATE}/assets/thumbnails/{size}" for size in THUMBNAIL_SIZES),
    f"{PRIVATE}/assets/videos",
    f"{PRIVATE}/assets/audios",
    f"{PRIVATE}/logs",
    INBOX,
)
"""The directories that every repository has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """An opened repository; ``root`` is absolute and free of symbolic links. Its methods block: use them in threads."""

    id: RepositoryId
    root: Path
    config: RepositoryConfig

    @property
    def incoming(self) -> Path:
        """Where received bytes wait for their commit."""
        return self.root / PRIVATE / "staging/incoming"

    @property
    def failed(self) -> Path:
        """Where received bytes lie that could not be committed."""
        return self.root / PRIVATE / "staging/failed"

    @property
    def temp(self) -> Path:
        """Where files are written before they are renamed into place; what lies here after a crash is worthless."""
        return self.root / PRIVATE / "temp"

    def resolve(self, path: RepoPath) -> Path:
        """The file behind a path, symbolic links followed. Raises PathInvalid when that leaves the repository."""
        return self._inside(path, self.root / path)

    def entry(self, path: RepoPath) -> Path:
        """The directory entry that a path names, itself not followed: what is created, moved or removed.

        Raises PathInvalid when its directory lies outside the repository.
        """
        relative = PurePosixPath(path)
        if relative.name in {"", ".."}:
            raise PathInvalid(f"{path!r} names no entry of a repository")
        return self._inside(path, self.root / relative.parent) / relative.name

    def check_online(self) -> None:
        """Raises RepositoryOffline unless the sentinel of this very repository lies at its root."""
        sentinel = self.root / SENTINEL
        way_out = "connect its disk or mount it again"
        try:
            found = read_config(sentinel).id
        except FileNotFoundError as exc:
            raise RepositoryOffline(f"repository {self.config.name!r} has no {str(sentinel)!r}; {way_out}") from exc
        except StorageError as exc:
            raise RepositoryOffline(f"repository {self.config.name!r} is not readable: {exc}") from exc
        if found != self.id:
            message = f"{str(self.root)!r} holds repository {found}, not {self.id} {self.config.name!r}; {way_out}"
            raise RepositoryOffline(message)

    def _inside(self, path: RepoPath, candidate: Path) -> Path:
        try:
            resolved = candidate.resolve()
        except (OSError, RuntimeError, ValueError) as exc:
            raise PathInvalid(f"{path!r} cannot be followed: {exc}") from exc
        if not resolved.is_relative_to(self.root):
            raise PathInvalid(f"{path!r} leads out of the repository to {str(resolved)!r}; remove the link")
        return resolved


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutFault:
    """Something wrong with a repository's directories; ``repairable`` by ``repair_repository``."""

    path: Path
    reason: str
    repairable: bool


async def open_repository(root: Path) -> Repository:
    """Open the repository that lies at ``root``.

    Raises RepositoryOffline without a sentinel, RepositoryInvalid for a faulty one, RepositoryNested inside another.
    """
    return await run_blocking(_open, root)


async def validate_repository(root: Path) -> list[LayoutFault]:
    """What is wrong with the repository at ``root``: the sentinel first, then the layout. Changes nothing."""
    return await run_blocking(_validate, root)


async def repair_repository(root: Path) -> list[Path]:
    """Create the missing directories of the layout and return them; touches nothing else.

    Raises as ``open_repository`` does: a lost sentinel is not invented anew, because that would change the identity.
    """
    return await run_blocking(_repair, root)


def enclosing_repository(root: Path) -> Path | None:
    """The root of the repository that a resolved path lies in, itself not counted; blocks."""
    return next((parent for parent in root.parents if os.path.lexists(parent / SENTINEL)), None)


def _open(root: Path) -> Repository:
    root = root.resolve()
    sentinel = root / SENTINEL
    try:
        config = read_config(sentinel)
    except FileNotFoundError as exc:
        message = f"{str(root)!r} has no {SENTINEL}; connect its disk, or create a repository there"
        raise RepositoryOffline(message) from exc
    outer = enclosing_repository(root)
    if outer is not None:
        raise RepositoryNested(f"{str(root)!r} lies inside repository {str(outer)!r}; move one of them")
    return Repository(id=config.id, root=root, config=config)


def _validate(root: Path) -> list[LayoutFault]:
    try:
        repository = _open(root)
    except StorageError as exc:
        return [LayoutFault(path=root / SENTINEL, reason=str(exc), repairable=False)]
    faults = []
    for name in LAYOUT:
        path = repository.root / name
        if path.is_symlink() or (os.path.lexists(path) and not path.is_dir()):
            faults.append(LayoutFault(path=path, reason="not a directory; move it away", repairable=False))
        elif not path.exists():
            faults.append(LayoutFault(path=path, reason="missing", repairable=True))
        elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            reason = "not readable and writable for this user; mend its owner or mode"
            faults.append(LayoutFault(path=path, reason=reason, repairable=False))
    return faults


def _repair(root: Path) -> list[Path]:
    repository = _open(root)
    created: list[Path] = []
    for name in LAYOUT:
        with storage_errors("creating", repository.root / name):
            created += make_layout_directory(repository.root, name)
    return created


def make_layout_directory(root: Path, name: str) -> list[Path]:
    """Create one directory of the layout and return what was missing of it; blocks.

    Raises RepositoryInvalid for a symbolic link, which would take the files out of the repository.
    """
    path = root
    for part in PurePosixPath(name).parts:
        path /= part
        if path.is_symlink():
            raise RepositoryInvalid(f"{str(path)!r} is a symbolic link; put a directory in its place")
    return make_directories(path)
