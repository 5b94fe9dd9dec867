"""The table of job kinds is checked before anything runs."""

import pytest
from pydantic import BaseModel

from lumilio.errors import QueueError
from lumilio.queue.kinds import JobContext, JobKind, QueueSettings, check_table
from lumilio.queue.policy import Priority


class Nothing(BaseModel):
    """No arguments."""


async def _work(_context: JobContext, _args: Nothing) -> None:
    return


def kind(
    name: str, *, queue: str = "photos", max_attempts: int = 3, timeout: float = 1, memory_mb: int = 0
) -> JobKind[Nothing]:
    return JobKind(
        name=name,
        queue=queue,
        args=Nothing,
        work=_work,
        max_attempts=max_attempts,
        timeout=timeout,
        memory_mb=memory_mb,
    )


def test_a_sound_table_is_known_by_name() -> None:
    one, other = kind("one"), kind("other")
    assert check_table([one, other], {"photos"}, 1000) == {"one": one, "other": other}


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ([kind("one"), kind("one")], "'one' is defined twice"),
        ([kind("one", queue="videos")], r"unknown queue 'videos'; known: \['photos'\]"),
        ([kind("one", max_attempts=0)], "at least one attempt"),
        ([kind("one", timeout=0)], "time-out over 0 s"),
        ([kind("one", memory_mb=1001)], "may need 1001 MB and queue.memory_mb is 1000"),
    ],
)
def test_a_faulty_table_is_refused(kinds: list[JobKind[Nothing]], told: str) -> None:
    with pytest.raises(QueueError, match=told):
        check_table(kinds, {"photos"}, 1000)


def test_a_kind_passes_its_queue_and_attempts_on_to_its_jobs() -> None:
    spec = kind("one", max_attempts=7).spec(Nothing(), key="k", priority=Priority.BACKGROUND)
    assert (spec.kind, spec.queue, spec.max_attempts, spec.key, spec.priority) == ("one", "photos", 7, "k", 2)


def test_a_rescue_that_would_outrun_heartbeats_is_refused() -> None:
    with pytest.raises(ValueError, match="three heartbeats"):
        QueueSettings(slots={"photos": 1}, heartbeat=10, rescue_after=29)


def test_a_queue_without_slots_is_refused() -> None:
    with pytest.raises(ValueError, match="'photos' has 0 slots"):
        QueueSettings(slots={"photos": 0})
