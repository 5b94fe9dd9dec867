"""How long the loop that promotes due jobs may sleep."""

from datetime import UTC, datetime, timedelta

import pytest

from lumilio.db import Tx
from lumilio.queue.store import JobSpec, enqueue
from tests.integration.queue.work import QUEUE, Args


async def test_nothing_waits_means_no_next_moment(tx: Tx) -> None:
    assert await tx.value("jobs.seconds_to_next_due") is None


@pytest.mark.parametrize("seconds", [600, -600])
async def test_the_next_moment_is_that_of_the_first_job_that_waits(tx: Tx, seconds: int) -> None:
    later = datetime.now(UTC) + timedelta(seconds=900)
    for moment in (later, datetime.now(UTC) + timedelta(seconds=seconds)):
        await enqueue(tx, JobSpec(kind="task", queue=QUEUE, args=Args(n=1), run_at=moment))
    expected = 600 if seconds > 0 else 900  # what is due already was made available at once
    assert await tx.value("jobs.seconds_to_next_due") == pytest.approx(expected, abs=60)
