"""Walk directories on the user's side: which files are worth sending, which are not, which cannot be read."""

import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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


Entry = Found | Skipped | Unreadable


def parse_roots(paths: Sequence[Path]) -> list[str]:
    """Absolute paths with symbolic links resolved, without those inside another one. Raises ClientError."""
    resolved: list[Path] = []
    for path in paths:
        try:
            resolved.append(path.expanduser().resolve(strict=True))
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

    ``extensions`` are lower-case with a dot; None takes every file. Symbolic links are not followed; hidden and ignored
    entries and directories with a ``.nomedia`` file are left out silently, unless named as a root, and so are sidecars
    that come with the files that they describe. Holds the names of one directory at a time. Blocking: for a thread.
    """
    beside = _Directory("", (), extensions)
    for root in roots:
        try:
            is_directory = stat.S_ISDIR(os.stat(root).st_mode)  # noqa: PTH116
        except OSError as exc:
            yield Unreadable(path=root, reason=exc.strerror or str(exc))
            continue
        if is_directory:
            yield from _walk_directory(root, extensions)
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


def _walk_directory(root: str, extensions: frozenset[str] | None) -> Iterator[Entry]:
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                names = sorted(
                    (entry.name, entry.is_dir(follow_symlinks=False))
                    for entry in entries
                    if not entry.is_symlink() and (entry.name == _NO_MEDIA or not _IGNORE.match(entry.name.casefold()))
                )
        except OSError as exc:
            yield Unreadable(path=directory, reason=exc.strerror or str(exc))
            continue
        if directory != root and (_NO_MEDIA, False) in names:
            continue
        prefix = directory if directory.endswith("/") else directory + "/"
        waiting.extend(prefix + name for name, is_directory in reversed(names) if is_directory)
        own = [name for name, is_directory in names if not is_directory and name != _NO_MEDIA]
        files = _Directory(prefix, own, extensions)
        yield from (files.found(name) for name in own if not files.is_sidecar(name))


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
            return Skipped(path=path)
        mine = self._matches.get(name, {})
        sidecars = tuple(Beside(path=self.prefix + sidecar, kind=kind) for kind, sidecar in mine.items())
        return Found(path=path, size=status.st_size, sidecars=sidecars)
