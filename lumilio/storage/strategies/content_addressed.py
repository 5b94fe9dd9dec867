"""``inbox/aa/bb/cc/<hash>.ext``."""

from datetime import datetime

from lumilio.model import ContentHash, RepoPath
from lumilio.storage.names import hash_name


def content_addressed(*, name: str, content_hash: ContentHash, captured: datetime) -> RepoPath:
    """Names that never collide, over 16.7 million folders; the name a client gave lives in the database only."""
    first, second, third = content_hash[:2], content_hash[2:4], content_hash[4:6]
    return RepoPath(f"inbox/{first}/{second}/{third}/{hash_name(content_hash, name)}")
