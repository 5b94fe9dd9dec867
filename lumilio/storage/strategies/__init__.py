"""How the files of an inbox are named; a new strategy is one file and one line here."""

from collections.abc import Callable, Mapping
from datetime import datetime

from lumilio.model import ContentHash, RepoPath, StorageStrategy
from lumilio.storage.strategies.by_date import by_date
from lumilio.storage.strategies.content_addressed import content_addressed
from lumilio.storage.strategies.flat import flat

Strategy = Callable[[str, ContentHash, datetime], RepoPath]
"""Original name as the client sent it, content hash, capture time on the local wall clock → wanted path.

Pure: the same arguments give the same path on every machine, and the last component of a path gives that path again.
"""

STRATEGIES: Mapping[StorageStrategy, Strategy] = {
    StorageStrategy.DATE: by_date,
    StorageStrategy.FLAT: flat,
    StorageStrategy.CAS: content_addressed,
}
