"""The content hash: BLAKE3 of a file's bytes."""

from pathlib import Path
from stat import S_ISREG

from blake3 import blake3

from lumilio.model import ContentHash

_READ_BYTES = 1024 * 1024
_HEAD_BYTES = 64 * 1024


def digest(path: Path) -> ContentHash:
    """Hash a file; blocks. Read, not mapped: a file that shrinks under a mapping kills the process with SIGBUS."""
    hasher = blake3()
    with path.open("rb", buffering=0) as file:
        while block := file.read(_READ_BYTES):
            hasher.update(block)
    return ContentHash(hasher.hexdigest())


def is_file_of(path: Path, size: int, content_hash: ContentHash) -> bool:
    """Whether ``path`` is a regular file, no link, of exactly these bytes; blocks, reads only equal sizes."""
    try:
        status = path.lstat()
        return S_ISREG(status.st_mode) and status.st_size == size and digest(path) == content_hash
    except (FileNotFoundError, PermissionError):
        return False


def begins_alike(first: Path, second: Path) -> bool:
    """Whether two files share their first 64 KiB; blocks. A cheap no, where equal sizes alone say little."""
    try:
        with first.open("rb", buffering=0) as one, second.open("rb", buffering=0) as other:
            return one.read(_HEAD_BYTES) == other.read(_HEAD_BYTES)
    except (FileNotFoundError, PermissionError):
        return False
