"""Walk directories on the user's side: which files are worth sending, which are not, which cannot be read."""

import fnmatch
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lumilio.errors import ClientError
from lumilio.log import printable

_IGNORED = (
    ".*", "*.part", "*.tmp", "*.crdownload", "*.tacitpart", "@eadir", "#recycle", "$recycle.bin", "lost+found",
    "system volume information", "thumbs.db", "desktop.ini", "~*.tmp",
)  # fmt: skip
"""Case-folded patterns of what is not the user's photos: half-written files, thumbnails and bins of other systems,
everything hidden (which holds ``._*``, ``.~lock``, ``.DS_Store``, ``.stfolder``, ``.stversions`` and ``.Trash*``)."""

_IGNORE = re.compile("|".join(fnmatch.translate(pattern) for pattern in _IGNORED))
_NO_MEDIA = ".nomedia"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file that should be in the library, with its size in bytes at the time it was found."""

    path: str
    size: int


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
    entries and directories with a ``.nomedia`` file are left out silently, unless named as a root. Holds the names of
    one directory at a time. Blocking: for a thread.
    """
    for root in roots:
        try:
            is_directory = stat.S_ISDIR(os.stat(root).st_mode)  # noqa: PTH116
        except OSError as exc:
            yield Unreadable(path=root, reason=exc.strerror or str(exc))
        else:
            yield from _walk_directory(root, extensions) if is_directory else (_found(root, extensions),)


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
        for name, is_directory in names:
            if not is_directory and name != _NO_MEDIA:
                yield _found(prefix + name, extensions)


def _found(path: str, extensions: frozenset[str] | None) -> Entry:
    if extensions is not None and os.path.splitext(path)[1].lower() not in extensions:  # noqa: PTH122
        return Skipped(path=path)
    try:
        status = os.stat(path, follow_symlinks=False)  # noqa: PTH116
    except OSError as exc:
        return Unreadable(path=path, reason=exc.strerror or str(exc))
    if not stat.S_ISREG(status.st_mode):
        return Skipped(path=path)
    return Found(path=path, size=status.st_size)
