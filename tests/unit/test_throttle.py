"""Failed logins are bounded for an account and for an address, in a window that slides."""

import pytest

from lumilio.api.throttle import MAX_KEYS, WINDOW_SECONDS, LoginThrottle
from lumilio.errors import TooManyRequests


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_limit_of_failures_is_reached_and_passes_with_time() -> None:
    clock = Clock()
    throttle = LoginThrottle(3, clock)
    for _ in range(3):
        throttle.begin("account a")
        clock.now += 10
    with pytest.raises(TooManyRequests) as refused:
        throttle.begin("account a")
    assert refused.value.details == {"retry_after": WINDOW_SECONDS - 30}
    clock.now += WINDOW_SECONDS - 30
    throttle.begin("account a")
    with pytest.raises(TooManyRequests):
        throttle.begin("account a")


def test_any_of_the_keys_is_enough_to_refuse_and_a_refusal_counts_for_none() -> None:
    throttle = LoginThrottle(1, Clock())
    throttle.begin("account a", "address x")
    with pytest.raises(TooManyRequests):
        throttle.begin("account b", "address x")
    throttle.begin("account b", "address y")


def test_attempts_that_run_at_once_are_counted_before_they_end() -> None:
    throttle = LoginThrottle(2, Clock())
    throttle.begin("account a")
    throttle.begin("account a")
    with pytest.raises(TooManyRequests):
        throttle.begin("account a")


def test_a_success_does_not_count() -> None:
    clock = Clock()
    throttle = LoginThrottle(2, clock)
    for _ in range(10):
        throttle.succeed(throttle.begin("account a", "address x"), "account a", "address x")
        clock.now += 1
    throttle.begin("account a", "address x")


def test_memory_is_bounded_by_forgetting_who_failed_longest_ago() -> None:
    throttle = LoginThrottle(1, Clock())
    for number in range(MAX_KEYS + 1):
        throttle.begin(f"account {number}")
    throttle.begin("account 0")
    with pytest.raises(TooManyRequests):
        throttle.begin(f"account {MAX_KEYS}")
