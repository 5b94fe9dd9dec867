"""The server log of the embedded cluster: bounded on disk, and quoted in errors."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_LIMIT = 4 << 20
"""Bytes kept in the log, and again in its older part."""
_TAIL_BYTES = 8192
_TAIL_LINES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLog:
    """The log file; errors quote only what this run wrote, from byte ``start``."""

    path: Path
    start: int = 0

    @contextmanager
    def appending(self) -> Iterator[int]:
        """A descriptor for the server's standard output and error."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def size(self) -> int:
        """Bytes in the whole file, 0 when there is none."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def bound(self) -> None:
        """Move a log over the limit to ``.1``. The server appends to the same file, so it need not reopen it.

        Lines written between the copy and the truncation are lost, which a log of last resort can bear.
        """
        size = self.size()
        if size <= _LIMIT:
            return
        with self.path.open("r+b") as file:
            file.seek(size - _LIMIT)
            self.path.with_name(f"{self.path.name}.1").write_bytes(file.read(_LIMIT))
            file.truncate(0)

    def tail(self) -> str:
        """The last lines as the end of an error message, or where they would be."""
        try:
            with self.path.open("rb") as file:
                size = self.size()
                file.seek(max(size - _TAIL_BYTES, self.start if self.start <= size else 0))
                return last_words(file.read()) or f"; its log {str(self.path)!r} says nothing"
        except OSError as exc:
            return f"; its log {str(self.path)!r} cannot be read: {exc.strerror}"


def last_words(output: bytes) -> str:
    """The last lines of a program's output as the end of an error message; empty when there are none."""
    lines = output.decode("utf-8", "replace").strip().splitlines()[-_TAIL_LINES:]
    return "".join(["; its last words:", *(f"\n  {line}" for line in lines)]) if lines else ""
