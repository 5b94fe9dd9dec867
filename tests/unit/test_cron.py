"""When a cron expression comes next, by the clock on the wall, also when that is changed."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumilio.cron import check_cron, next_run

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def berlin() -> Iterator[None]:
    """On 2026-03-29 the clock went from 2:00 to 3:00, on 2026-10-25 from 3:00 back to 2:00."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("30 3 * * *", "2026-01-10T12:00+01:00", "2026-01-11T03:30+01:00"),
        ("30 3 * * *", "2026-07-10T12:00+02:00", "2026-07-11T03:30+02:00"),
        ("17 * * * *", "2026-01-10T12:16:59+01:00", "2026-01-10T12:17+01:00"),
        ("17 * * * *", "2026-01-10T12:17+01:00", "2026-01-10T13:17+01:00"),
        ("30 2 * * *", "2026-03-29T01:00+01:00", "2026-03-29T03:30+02:00"),  # there is no 2:30
        ("30 2 * * *", "2026-10-25T01:00+02:00", "2026-10-25T02:30+02:00"),  # there are two
        ("30 2 * * *", "2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"),
        ("*/10 * * * *", "2026-10-25T02:55+01:00", "2026-10-25T03:00+01:00"),
        ("*/10 * * * *", "2026-10-25T02:15+01:00", "2026-10-25T02:20+01:00"),
        ("0 4 * * sun", "2026-11-25T12:00+01:00", "2026-11-29T04:00+01:00"),
    ],
)
def test_the_next_moment(expression: str, after: str, expected: str) -> None:
    assert next_run(expression, datetime.fromisoformat(after)) == datetime.fromisoformat(expected)


@given(st.integers(0, 366 * 86400).map(lambda second: NEW_YEAR + timedelta(seconds=second)), st.integers(0, 59))
def test_an_hourly_moment_comes_within_two_hours_and_never_before_its_time(after: datetime, minute: int) -> None:
    moment = next_run(f"{minute} * * * *", after)
    assert after < moment <= after + timedelta(hours=2)
    assert moment.astimezone().minute == minute


@pytest.mark.parametrize("expression", ["", "nonsense", "60 * * * *", "* * * *", "* * * * * *", "0 0 31 2 *"])
def test_what_is_no_expression_is_refused_with_an_example(expression: str) -> None:
    with pytest.raises(ValueError, match="'30 3 \\* \\* \\*'"):
        check_cron(expression)
