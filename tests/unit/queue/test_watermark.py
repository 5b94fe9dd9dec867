"""Claims look behind what was claimed already, and now and then at everything."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lumilio.queue.policy import Priority
from lumilio.queue.watermark import FULL_LOOK_INTERVAL, Watermark

MORNING = datetime(2026, 1, 1, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Place:
    """A claimed job."""

    priority: int
    run_at: datetime
    id: int


def place(number: int, priority: Priority = Priority.NORMAL) -> Place:
    return Place(priority, MORNING + timedelta(seconds=number), number)


def test_the_first_look_is_at_everything() -> None:
    (priorities, run_ats, ids), full = Watermark().marks(0)
    assert full
    assert list(priorities) == list(Priority)
    assert set(run_ats) == {datetime(1, 1, 1, tzinfo=UTC)}
    assert set(ids) == {0}


def test_the_next_look_starts_behind_the_last_job_of_each_priority() -> None:
    watermark = Watermark()
    watermark.note([place(9, Priority.INTERACTIVE), place(3), place(4)], full=True, began=10, now=10)
    (priorities, run_ats, ids), full = watermark.marks(10.5)
    assert not full
    where = dict(zip(priorities, zip(run_ats, ids, strict=True), strict=True))
    assert where[Priority.INTERACTIVE] == (place(9).run_at, 9)
    assert where[Priority.NORMAL] == (place(4).run_at, 4)
    assert where[Priority.IDLE] == (datetime(1, 1, 1, tzinfo=UTC), 0)


def test_now_and_then_everything_is_looked_at() -> None:
    watermark = Watermark()
    watermark.note([place(1)], full=True, began=10, now=10)
    assert not watermark.marks(10 + FULL_LOOK_INTERVAL - 0.01)[1]
    assert watermark.marks(10 + FULL_LOOK_INTERVAL)[1]


def test_a_look_that_found_nothing_is_followed_by_one_at_everything_at_once() -> None:
    watermark = Watermark()
    watermark.note([place(1)], full=True, began=10, now=10)
    watermark.note([], full=False, began=10.1, now=10.1)
    assert watermark.marks(10.1)[1]


def test_a_look_at_everything_that_takes_long_is_rare() -> None:
    watermark = Watermark()
    watermark.note([], full=True, began=10, now=10.5)
    assert not watermark.marks(20)[1]
    assert watermark.marks(20.5)[1]


def test_a_straggler_that_was_found_before_the_mark_takes_the_mark_back() -> None:
    watermark = Watermark()
    watermark.note([place(9)], full=True, began=10, now=10)
    watermark.note([place(2)], full=True, began=11, now=11)
    (_, run_ats, _), _ = watermark.marks(11.1)
    assert place(2).run_at in run_ats


def test_after_a_look_at_everything_that_found_nothing_there_is_nothing_to_look_for() -> None:
    watermark = Watermark()
    assert not watermark.settled
    watermark.note([], full=True, began=10, now=10)
    assert watermark.settled
    watermark.note([place(1)], full=True, began=11, now=11)
    assert not watermark.settled
    watermark.note([], full=False, began=12, now=12)
    assert not watermark.settled
