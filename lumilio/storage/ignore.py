"""Which files and directories of a repository Lumilio never looks at."""

import re
from collections.abc import Iterable
from fnmatch import translate
from pathlib import PurePosixPath

from lumilio.model import RepoPath

PART_SUFFIX = ".lumilio-part"
"""Ends the names of Lumilio's own unfinished copies."""

DEFAULT_IGNORE = (
    "*.part",
    "*.tmp",
    "*.tacitpart",
    "*.crdownload",
    ".~lock*",
    "._*",
    ".DS_Store",
    "Thumbs.db",
    "desktop.ini",
    "@eaDir",
    "#recycle",
    ".stfolder",
    ".stversions",
    ".Trash*",
    "lost+found",
)
"""Halves of downloads and the droppings of file managers, NAS systems and synchronisers."""

_ALWAYS = (f"*{PART_SUFFIX}", ".lumilio")


class IgnoreRules:
    """Shell patterns, case-sensitive. One without a slash fits any component, one with a slash the whole path.

    What lies below an ignored directory is ignored. ``*`` in a pattern with a slash also crosses slashes.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        names = [translate(pattern) for pattern in (*patterns, *_ALWAYS) if "/" not in pattern]
        paths = [translate(pattern.strip("/")) for pattern in patterns if "/" in pattern]
        self._name = re.compile("|".join(names))
        self._path = re.compile("|".join(paths)) if paths else None

    def ignores_name(self, name: str) -> bool:
        """Whether a file or directory is left alone for its name, wherever it lies."""
        return self._name.match(name) is not None

    def ignores(self, path: RepoPath) -> bool:
        """Whether the path, or a directory above it, is left alone."""
        parts = PurePosixPath(path).parts
        if any(self.ignores_name(part) for part in parts):
            return True
        if self._path is None:
            return False
        return any(self._path.match("/".join(parts[: count + 1])) for count in range(len(parts)))
