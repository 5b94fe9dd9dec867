"""``inbox/name``."""

from datetime import datetime

from lumilio.model import ContentHash, RepoPath
from lumilio.storage.names import clean_name


def flat(*, name: str, content_hash: ContentHash, captured: datetime) -> RepoPath:
    """Everything in one folder."""
    return RepoPath(f"inbox/{clean_name(name)}")
