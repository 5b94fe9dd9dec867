"""A bound on failed logins, for an account and for an address, that costs a bounded amount of memory."""

from collections import OrderedDict, deque
from collections.abc import Callable

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

    def check(self, *keys: str) -> None:
        """Raises TooManyRequests while one of the keys has failed too often."""
        now = self._clock()
        for key in keys:
            times = self._failures.get(key)
            while times and times[0] <= now - WINDOW_SECONDS:
                times.popleft()
            if times and len(times) >= self._limit:
                wait = max(1, round(times[0] + WINDOW_SECONDS - now))
                raise TooManyRequests(f"too many failed logins; try again in {wait} s", details={"retry_after": wait})

    def record_failure(self, *keys: str) -> None:
        """A login failed for these keys."""
        for key in keys:
            times = self._failures.setdefault(key, deque(maxlen=self._limit))
            times.append(self._clock())
            self._failures.move_to_end(key)
        while len(self._failures) > MAX_KEYS:
            self._failures.popitem(last=False)
