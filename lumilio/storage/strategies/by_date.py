"""``inbox/YYYY/MM/name`` by capture time."""

from datetime import datetime

from lumilio.model import ContentHash, RepoPath
from lumilio.storage.names import clean_name


def by_date(*, name: str, content_hash: ContentHash, captured: datetime) -> RepoPath:
    """A folder a month, which is how most people look for photos in a file manager."""
    return RepoPath(f"inbox/{captured.year:04d}/{captured.month:02d}/{clean_name(name)}")
