"""A real filesystem of a few megabytes for a daemon's repository: by root, or in namespaces of an ordinary user."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.running import RunningDaemon, running_daemon

FILLER = "filler.bin"
_WRAPPER = """#!/bin/sh
exec unshare --user --map-root-user --mount sh -c 'mount -t tmpfs -o size={bytes} none {at} &&
  exec unshare --user --map-user={uid} --map-group={gid} {python} "$@"' sh "$@"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallDisk:
    """The repository's filesystem, as the daemon sees it."""

    root: Path

    @property
    def free(self) -> int:
        """Bytes that can still be written."""
        status = os.statvfs(self.root)
        return status.f_bavail * status.f_frsize

    def fill(self, *, leave: int) -> None:
        """Take all space but ``leave`` bytes."""
        with (self.root / FILLER).open("ab") as file:
            os.posix_fallocate(file.fileno(), file.tell(), self.free - leave)

    def clear(self) -> None:
        """Give the space back."""
        (self.root / FILLER).unlink()


@contextmanager
def daemon_on_small_disk(
    directory: Path, patch: pytest.MonkeyPatch, *, mebibytes: int
) -> Iterator[tuple[RunningDaemon, SmallDisk]]:
    """A daemon whose default repository is a filesystem of its own."""
    library = directory / "data/library"
    library.mkdir(parents=True)
    size = mebibytes << 20
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0755", "none", str(library)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False).returncode == 0
    if not mounted:
        wrapper = directory / "python-on-small-disk"
        text = _WRAPPER.format(
            bytes=size, at=shlex.quote(str(library)), uid=os.geteuid(), gid=os.getegid(), python=sys.executable
        )
        wrapper.write_text(text)
        wrapper.chmod(0o700)
        patch.setattr(sys, "executable", str(wrapper))
    try:
        with running_daemon(directory) as daemon:
            yield daemon, SmallDisk(root=Path(f"/proc/{daemon.process.pid}/root{library}"))
    finally:
        if mounted:
            subprocess.run(["umount", str(library)], check=True)
