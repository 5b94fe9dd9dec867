"""How far the claims of one queue have come, so that none reads the index entries of jobs that ran long ago.

A snapshot that stays open (a backup) keeps those entries, and reading over 100,000 of them makes a claim four times
slower. What becomes available before a mark (given back, committed late) is found by a look at everything: now and
then, and when nothing was found.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from lumilio.queue.policy import Priority

Marks = tuple[Sequence[int], Sequence[datetime], Sequence[int]]
"""For each priority the place in claim order, ``run_at`` and id, behind which a claim looks."""

FULL_LOOK_INTERVAL = 1.0
"""Seconds between two looks at everything while jobs are found."""
_SHARE = 20.0
"""A look at everything rests for so many times what it took: it never costs more than a twentieth of the time."""

_START = (datetime(1, 1, 1, tzinfo=UTC), 0)
_EVERYTHING: Marks = (tuple(Priority), (_START[0],) * len(Priority), (_START[1],) * len(Priority))


class Position(Protocol):
    """What of a claimed job tells its place."""

    @property
    def priority(self) -> int: ...
    @property
    def run_at(self) -> datetime: ...
    @property
    def id(self) -> int: ...


class Watermark:
    """``now`` is always monotonic seconds."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[datetime, int]] = dict.fromkeys(Priority, _START)
        self._looked = float("-inf")
        self._rest = 0.0
        self._found = False
        self._settled = False

    def marks(self, now: float) -> tuple[Marks, bool]:
        """Where the next look starts, and whether it is one at everything."""
        if now >= self.next_full_look:
            return _EVERYTHING, True
        places = self._places.values()
        return (tuple(self._places), [place[0] for place in places], [place[1] for place in places]), False

    @property
    def next_full_look(self) -> float:
        """When the next look at everything is due; at once when the last look found nothing."""
        return self._looked + max(self._rest, FULL_LOOK_INTERVAL if self._found else 0.0)

    @property
    def settled(self) -> bool:
        """Whether the last look was one at everything and found nothing: until somebody says so there is nothing."""
        return self._settled

    def note(self, claimed: Sequence[Position], *, full: bool, began: float, now: float) -> None:
        """A look ended; ``claimed`` is in claim order."""
        for job in claimed:
            self._places[job.priority] = (job.run_at, job.id)
        self._found = bool(claimed)
        self._settled = full and not claimed
        if full:
            self._looked, self._rest = now, _SHARE * (now - began)
