"""How a loop of the queue waits while the database is away."""

import random

from lumilio.errors import DatabaseUnavailable
from lumilio.log import get_log

_FIRST = 0.1
_LONGEST = 3.0
"""Seconds. Well under a heartbeat, so that a worker is back before another one takes it for dead."""

log = get_log()


class Outage:
    """Counts the failures of one loop in a row: says so once at warning, then at debug."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._failures = 0

    def begins(self, exc: DatabaseUnavailable) -> float:
        """Note a failure; returns how many seconds to wait before the next try."""
        self._failures += 1
        say = log.warning if self._failures == 1 else log.debug
        say("queue.database_away", name=self._name, error=str(exc))
        plain = min(_LONGEST, _FIRST * 2.0 ** min(self._failures - 1, 10))
        return plain * random.uniform(0.5, 1)  # noqa: S311 jitter

    def ends(self) -> None:
        """Note a success."""
        if self._failures:
            log.info("queue.database_back", name=self._name, attempt=self._failures)
        self._failures = 0
