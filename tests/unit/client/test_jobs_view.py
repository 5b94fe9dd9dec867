"""What the daemon's documents may look like, and what is refused as not understood."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lumilio.client.job_view import view_job, view_queue, view_workers
from lumilio.errors import ClientError

LEAST: dict[str, Any] = {"job_id": "12", "kind": "process_asset", "queue": "files", "state": "available"}


def test_a_job_needs_no_more_than_its_names_and_its_state() -> None:
    job = view_job(LEAST)
    assert (job.job_id, job.attempt, job.progress, job.run_at, job.errors) == ("12", 0, None, None, [])


def test_times_are_aware_whether_the_daemon_names_a_zone_or_not() -> None:
    for text in ("2026-07-01T12:00:00Z", "2026-07-01T14:00:00+02:00", "2026-07-01T12:00:00"):
        assert view_job(LEAST | {"run_at": text}).run_at == datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_errors_of_a_whole_job_win_over_the_last_one_of_a_listing() -> None:
    error = {"attempt": 1, "at": "2026-07-01T12:00:00Z", "code": "tool.error", "message": "no"}
    assert [each.attempt for each in view_job(LEAST | {"last_error": error}).errors] == [1]
    whole = LEAST | {"last_error": error, "errors": [error, error | {"attempt": 2}]}
    assert [each.attempt for each in view_job(whole).errors] == [1, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {"job_id": None},
        {"state": ""},
        {"run_at": "yesterday"},
        {"run_at": 12},
        {"attempt": "two"},
        {"progress": float("nan")},
        {"errors": "none"},
        {"errors": ["none"]},
    ],
    ids=str,
)
def test_a_job_that_is_not_understood_says_which_member(wrong: dict[str, Any]) -> None:
    with pytest.raises(
        ClientError, match=f"not understood .'{next(iter(wrong))}'.*use a lumilio of the daemon's version"
    ):
        view_job(LEAST | wrong)


def test_a_queue_needs_a_name_and_its_states() -> None:
    queue = view_queue({"name": "files", "states": {"running": {"jobs": 2, "oldest_seconds": None}, "odd": 3}})
    assert (queue.slots, queue.paused_at, queue.discarded) == (None, None, 0)
    assert {state: depth.jobs for state, depth in queue.depths.items()} == {"running": 2}
    wrong_ones: list[dict[str, object]] = [{"name": "files"}, {"states": {}}, {"name": "files", "states": []}]
    for wrong in wrong_ones:
        with pytest.raises(ClientError):
            view_queue(wrong)


def test_a_worker_without_a_name_is_known_by_its_id() -> None:
    (worker,) = view_workers({"workers": [{"worker_id": 7, "name": "", "seen_at": None}]})
    assert worker.name == "7"
    with pytest.raises(ClientError):
        view_workers({})
