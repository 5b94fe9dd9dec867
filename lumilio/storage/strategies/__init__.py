"""How the files of an inbox are named; a new strategy is one file and one line here."""

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from lumilio.model import ContentHash, RepoPath, StorageStrategy
from lumilio.storage.strategies.by_date import by_date
from lumilio.storage.strategies.content_addressed import content_addressed
from lumilio.storage.strategies.flat import flat


class Strategy(Protocol):
    """A pure function: the same arguments give the same path on every machine."""

    def __call__(self, *, name: str, content_hash: ContentHash, captured: datetime) -> RepoPath:
        """The path that a file wants: ``name`` as its client sent it, ``captured`` on the local wall clock.

        Given the last component of its answer as ``name``, it answers the same again.
        """
        ...


STRATEGIES: Mapping[StorageStrategy, Strategy] = {
    StorageStrategy.DATE: by_date,
    StorageStrategy.FLAT: flat,
    StorageStrategy.CAS: content_addressed,
}
