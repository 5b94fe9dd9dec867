"""Walk directories on the user's side: which files are worth sending, which are not, which cannot be read."""

import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import assert_never

from lumilio.client.sidecars import SIDECAR_EXTENSIONS, match_sidecars
from lumilio.errors import ClientError
from lumilio.log import printable
from lumilio.model import SidecarKind

_IGNORED = (
    ".*", "*.part", "*.tmp", "*.crdownload", "*.tacitpart", "@eadir", "#recycle", "$recycle.bin", "lost+found",
    "system volume information", "thumbs.db", "desktop.ini", "~*.tmp",
)  # fmt: skip
"""Case-folded patterns of what is not the user's photos: half-written files, thumbnails and bins of other systems,
everything hidden (which holds ``._*``, ``.~lock``, ``.DS_Store``, ``.stfolder``, ``.stversions`` and ``.Trash*``)."""

_IGNORE = re.compile("|".join(fnmatch.translate(pattern) for pattern in _IGNORED))
_NO_MEDIA = ".nomedia"
_NAMED_LINK = "a symbolic link, not followed; name the file it points to"
_NAMED_SPECIAL = "a pipe, socket or device, not a file that can be sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A file that describes another one."""

    path: str
    kind: SidecarKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file that should be in the library, with its size in bytes at the time it was found, and what describes it."""

    path: str
    size: int
    sidecars: tuple[Beside, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A file that is no photo, video or audio by its name."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A file or directory that the system does not let us read."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A symbolic link, which is not followed."""

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Special:
    """A pipe, a socket or a device."""

    path: str


Entry = Found | Skipped | Unreadable | Link | Special


def parse_roots(paths: Sequence[Path]) -> list[str]:
    """Absolute paths with symbolic links resolved, without those inside another one. Raises ClientError.

    A path that is itself a link stays one, unless it leads to a directory.
    """
    resolved: list[Path] = []
    for path in paths:
        try:
            resolved.append(_parse_root(path.expanduser()))
        except (OSError, RuntimeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            raise ClientError(f"{str(path)!r} cannot be imported: {reason}; check the path") from exc
    return [
        str(path)
        for position, path in enumerate(resolved)
        if path not in resolved[:position] and not any(other in path.parents for other in resolved)
    ]


def walk(roots: Iterable[str], extensions: frozenset[str] | None) -> Iterator[Entry]:
    """Everything below ``roots`` in the order of names, the files of a directory before its subdirectories.

    ``extensions`` are lower-case with a dot; None takes every file. Symbolic links are told and not followed; as roots,
    they and special files are ``Unreadable``. Hidden and ignored entries and directories with a ``.nomedia`` file are
    left out silently, unless named as a root, and so are sidecars that come with the files that they describe. Holds
    the names of one directory at a time. Blocking: for a thread.
    """
    beside = _Directory("", (), extensions)
    for root in roots:
        try:
            mode = os.stat(root, follow_symlinks=False).st_mode  # noqa: PTH116
        except OSError as exc:
            yield Unreadable(path=root, reason=exc.strerror or str(exc))
            continue
        if stat.S_ISDIR(mode):
            yield from _walk_directory(root, extensions)
            continue
        if not stat.S_ISREG(mode):
            yield Unreadable(path=root, reason=_NAMED_LINK if stat.S_ISLNK(mode) else _NAMED_SPECIAL)
            continue
        prefix, name = root[: -len(os.path.basename(root))], os.path.basename(root)  # noqa: PTH119
        if beside.prefix != prefix:
            beside = _Directory(prefix, _names_in(prefix), extensions)
        if not beside.is_sidecar(name):
            yield beside.found(name)


def shown(path: str) -> str:
    """A path fit for a terminal: undecodable bytes and control characters as escapes."""
    return printable(os.fsencode(path).decode("utf-8", "backslashreplace"))


def sent_name(path: str) -> str:
    """The file's own name as it is sent: valid UTF-8, control characters and undecodable bytes replaced."""
    name = os.fsencode(os.path.basename(path)).decode("utf-8", "replace")  # noqa: PTH119
    return "".join("_" if ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 else character for character in name)


def _parse_root(path: Path) -> Path:
    """Raises OSError and, for a loop of links, RuntimeError."""
    if path.is_symlink() and not path.is_dir():
        return path.parent.resolve(strict=True) / path.name
    return path.resolve(strict=True)


class _Kind(Enum):
    DIRECTORY = auto()
    FILE = auto()
    LINK = auto()
    SPECIAL = auto()


def _kind_of(entry: "os.DirEntry[str]") -> _Kind:
    if entry.is_symlink():
        return _Kind.LINK
    if entry.is_dir(follow_symlinks=False):
        return _Kind.DIRECTORY
    return _Kind.FILE if entry.is_file(follow_symlinks=False) else _Kind.SPECIAL


def _walk_directory(root: str, extensions: frozenset[str] | None) -> Iterator[Entry]:
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                kinds = {
                    entry.name: _kind_of(entry)
                    for entry in entries
                    if entry.name == _NO_MEDIA or not _IGNORE.match(entry.name.casefold())
                }
        except OSError as exc:
            yield Unreadable(path=directory, reason=exc.strerror or str(exc))
            continue
        no_media = kinds.pop(_NO_MEDIA, None)
        if directory != root and no_media is _Kind.FILE:
            continue
        prefix = directory if directory.endswith("/") else directory + "/"
        names = sorted(kinds)
        waiting.extend(prefix + name for name in reversed(names) if kinds[name] is _Kind.DIRECTORY)
        files = _Directory(prefix, [name for name in names if kinds[name] is _Kind.FILE], extensions)
        for name in names:
            match kinds[name]:
                case _Kind.DIRECTORY:
                    pass
                case _Kind.FILE:
                    if not files.is_sidecar(name):
                        yield files.found(name)
                case _Kind.LINK:
                    yield Link(path=prefix + name)
                case _Kind.SPECIAL:
                    yield Special(path=prefix + name)
                case kind:
                    assert_never(kind)


def _names_in(directory: str) -> list[str]:
    """The files beside a file that was named; what hinders here hinders the sidecars only."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False))
    except OSError:
        return []


class _Directory:
    """The files of one directory, and which of them describe others."""

    def __init__(self, prefix: str, names: Sequence[str], extensions: frozenset[str] | None) -> None:
        self.prefix = prefix
        self._extensions = extensions
        self._matches = match_sidecars([name for name in names if self._is_wanted(name)], names)
        self._sidecars = {sidecar for mine in self._matches.values() for sidecar in mine.values()}

    def _is_wanted(self, name: str) -> bool:
        extension = os.path.splitext(name)[1].lower()  # noqa: PTH122
        return extension not in SIDECAR_EXTENSIONS if self._extensions is None else extension in self._extensions

    def is_sidecar(self, name: str) -> bool:
        """Whether it describes another one of these files."""
        return name in self._sidecars

    def found(self, name: str) -> Entry:
        """A file with its sidecars, if it should be in the library."""
        path = self.prefix + name
        if self._extensions is not None and not self._is_wanted(name):
            return Skipped(path=path)
        try:
            status = os.stat(path, follow_symlinks=False)  # noqa: PTH116
        except OSError as exc:
            return Unreadable(path=path, reason=exc.strerror or str(exc))
        if not stat.S_ISREG(status.st_mode):
            return Link(path=path) if stat.S_ISLNK(status.st_mode) else Special(path=path)
        mine = self._matches.get(name, {})
        sidecars = tuple(Beside(path=self.prefix + sidecar, kind=kind) for kind, sidecar in mine.items())
        return Found(path=path, size=status.st_size, sidecars=sidecars)
