"""A bound on failed logins, for an account and for an address, that costs a bounded amount of memory."""

from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress

from lumilio.errors import TooManyRequests

WINDOW_SECONDS = 60.0
MAX_KEYS = 10_000
"""Keys remembered; beyond, the one that failed longest ago is forgotten."""


class LoginThrottle:
    """Sliding window of failures for each key. ``clock`` is monotonic, in seconds."""

    def __init__(self, failures_per_minute: int, clock: Callable[[], float]) -> None:
        self._limit = failures_per_minute
        self._clock = clock
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def begin(self, *keys: str) -> float:
        """Count an attempt as failed until ``succeed``, so that guesses sent at once are no way round.

        Returns what ``succeed`` wants. Raises TooManyRequests while one of the keys has failed too often.
        """
        now = self._clock()
        for key in keys:
            times = self._failures.get(key)
            while times and times[0] <= now - WINDOW_SECONDS:
                times.popleft()
            if times and len(times) >= self._limit:
                wait = max(1, round(times[0] + WINDOW_SECONDS - now))
                raise TooManyRequests(f"too many failed logins; try again in {wait} s", details={"retry_after": wait})
        for key in keys:
            self._failures.setdefault(key, deque(maxlen=self._limit)).append(now)
            self._failures.move_to_end(key)
        while len(self._failures) > MAX_KEYS:
            self._failures.popitem(last=False)
        return now

    def succeed(self, began: float, *keys: str) -> None:
        """The attempt that began then was no failure."""
        for key in keys:
            times = self._failures.get(key)
            if times is None:
                continue
            with suppress(ValueError):
                times.remove(began)
            if not times:
                del self._failures[key]
