"""The queue on PostgreSQL does what a plain model of it does, whatever is asked of it in whatever order."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from lumilio.db import Database, open_database
from lumilio.model import JobId
from lumilio.queue import claims, control
from lumilio.queue.claims import ClaimedJob, Ended
from lumilio.queue.control import JobFilter
from lumilio.queue.policy import Ending, JobState, Priority
from lumilio.queue.rescue import rescue
from lumilio.queue.store import JobSpec, enqueue, get_jobs
from tests.database import TestCluster
from tests.integration.queue.work import QUEUE, Args, claim, complete, ignore

WORKERS = st.integers(1, 2)
PICK = st.integers(0, 1 << 16)
FAR = timedelta(days=1)
FINAL = {JobState.COMPLETED, JobState.CANCELLED, JobState.DISCARDED}
WAITING = {JobState.AVAILABLE, JobState.SCHEDULED, JobState.RETRYABLE}


@dataclass
class Model:
    """What is known of one job; ``turn`` orders jobs of one priority, ``far`` ones are not due for a day."""

    id: JobId
    key: str | None
    priority: Priority
    max_attempts: int
    turn: int
    state: JobState = JobState.AVAILABLE
    attempt: int = 0
    worker: int | None = None
    cancel: bool = False
    far: bool = False

    def stop_running(self, state: JobState) -> None:
        self.state, self.worker, self.cancel = state, None, False


class QueueMachine(RuleBasedStateMachine):
    """Each rule does a thing to the database and to the model, and compares the answers."""

    def __init__(self, runner: asyncio.Runner, db: Database) -> None:
        super().__init__()
        self.runner = runner
        self.db = db
        self.jobs: dict[JobId, Model] = {}
        self.claims: list[tuple[int, ClaimedJob]] = []
        self.paused = False
        self.turns = 0
        self.runner.run(self._clear())

    async def _clear(self) -> None:
        async with self.db.session() as session:
            await session.script("TRUNCATE jobs, finished_jobs, job_queues", what="begin anew")

    def _turn(self) -> int:
        self.turns += 1
        return self.turns

    def _pick(self, number: int, states: set[JobState]) -> Model | None:
        fitting = [job for job in self.jobs.values() if job.state in states]
        return fitting[number % len(fitting)] if fitting else None

    @rule(
        key=st.sampled_from([None, "a"]),
        priority=st.sampled_from(Priority),
        max_attempts=st.integers(1, 4),
        far=st.booleans(),
    )
    def enqueue(self, key: str | None, priority: Priority, max_attempts: int, far: bool) -> None:
        spec = JobSpec(
            kind="task",
            queue=QUEUE,
            args=Args(),
            key=key,
            priority=priority,
            max_attempts=max_attempts,
            run_at=datetime.now(UTC) + FAR if far else None,
        )

        async def act() -> tuple[JobId, bool]:
            async with self.db.transaction() as tx:
                answer = await enqueue(tx, spec)
            return answer.job_id, answer.created

        job_id, created = self.runner.run(act())
        twin = next((job for job in self.jobs.values() if key and job.key == key and job.state not in FINAL), None)
        assert created == (twin is None)
        if twin is not None:
            assert job_id == twin.id
            return
        self.jobs[job_id] = Model(job_id, key, priority, max_attempts, self._turn(), far=far)
        if far:
            self.jobs[job_id].state = JobState.SCHEDULED

    @rule(worker=WORKERS, slots=st.integers(1, 4))
    def claim(self, worker: int, slots: int) -> None:
        async def act() -> Sequence[ClaimedJob]:
            async with self.db.session() as session:
                return await claim(session, worker_id=worker, slots=slots)

        claimed = self.runner.run(act())
        waiting = sorted(
            (job for job in self.jobs.values() if job.state is JobState.AVAILABLE),
            key=lambda job: (job.priority, job.turn),
        )
        expected = [] if self.paused else waiting[:slots]
        assert [job.id for job in claimed] == [job.id for job in expected]
        for job, known in zip(claimed, expected, strict=True):
            known.state, known.worker, known.attempt = JobState.RUNNING, worker, known.attempt + 1
            assert job.attempt == known.attempt
            self.claims.append((worker, job))

    @precondition(lambda self: self.claims)
    @rule(
        number=PICK,
        outcome=st.sampled_from([JobState.COMPLETED, JobState.RETRYABLE, JobState.SCHEDULED, JobState.DISCARDED]),
    )
    def report(self, number: int, outcome: JobState) -> None:
        """Of any claim there ever was: late ones must change nothing."""
        recent = self.claims[-6:]
        worker, job = recent[number % len(recent)]
        known = self.jobs[job.id]
        snoozed = outcome is JobState.SCHEDULED
        end = Ended(
            job,
            Ending(
                state=outcome,
                counted=not snoozed,
                delay=0.0 if outcome in WAITING else None,
                code=None if snoozed or outcome is JobState.COMPLETED else "tool.error",
                message="it failed",
            ),
        )

        async def act() -> bool:
            async with self.db.session() as session:
                if outcome is JobState.COMPLETED:
                    return job.id in await complete(session, worker_id=worker, ended=[end])
                return job.id in await claims.settle(session, worker_id=worker, ended=[end])

        mine = (known.state, known.worker, known.attempt) == (JobState.RUNNING, worker, job.attempt)
        assert self.runner.run(act()) == mine
        if not mine:
            return
        if known.cancel and outcome in WAITING:
            outcome = JobState.CANCELLED
        elif outcome is JobState.RETRYABLE and known.attempt >= known.max_attempts:
            outcome = JobState.DISCARDED
        known.stop_running(outcome)
        if snoozed:
            known.attempt -= 1
        if outcome in WAITING:
            known.turn = self._turn()

    @rule(worker=WORKERS, keep=PICK)
    def release(self, worker: int, keep: int) -> None:
        running = [job for job in self.jobs.values() if job.state is JobState.RUNNING and job.worker == worker]
        held = running[: keep % (len(running) + 1)]

        async def act() -> set[JobId]:
            async with self.db.session() as session:
                mine = await claims.mine(session, worker_id=worker, queue=QUEUE)
                unheld = mine.keys() - {(job.id, job.attempt) for job in held}
                answer = await claims.release(session, worker_id=worker, attempts=unheld)
            return set(answer)

        gone = running[len(held) :]
        assert self.runner.run(act()) == {job.id for job in gone}
        for job in gone:
            job.attempt -= 1
            job.stop_running(JobState.CANCELLED if job.cancel else JobState.AVAILABLE)

    @rule(worker=WORKERS)
    def rescue(self, worker: int) -> None:
        """No process holds the lock of these workers, so all are dead."""

        async def act() -> set[JobId]:
            async with self.db.transaction() as tx:
                return {job.id for job in await rescue(tx, lost=[worker], silent_for=0)}

        lost = [job for job in self.jobs.values() if job.state is JobState.RUNNING and job.worker == worker]
        assert self.runner.run(act()) == {job.id for job in lost}
        for job in lost:
            left = job.attempt < job.max_attempts
            waiting = JobState.AVAILABLE if left else JobState.DISCARDED
            job.stop_running(JobState.CANCELLED if job.cancel else waiting)

    @rule()
    def promote(self) -> None:
        async def act() -> None:
            async with self.db.session() as session:
                await session.rows("jobs.promote", 1000)

        self.runner.run(act())
        for job in self.jobs.values():
            if job.state in {JobState.SCHEDULED, JobState.RETRYABLE} and not job.far:
                job.state = JobState.AVAILABLE

    @rule(number=PICK)
    def cancel(self, number: int) -> None:
        job = self._pick(number, WAITING | {JobState.RUNNING})
        wanted = JobFilter(ids=(job.id,)) if job else JobFilter()

        async def act() -> control.Cancelled:
            async with self.db.transaction() as tx:
                return await control.cancel(tx, wanted, on_given_up=ignore)

        answer = self.runner.run(act())
        assert [*answer.over, *answer.running] == ([job.id] if job else [])
        if job is None:
            return
        if job.state is JobState.RUNNING:
            assert answer.running
            job.cancel = True
        else:
            job.state = JobState.CANCELLED

    @rule(number=PICK, attempts=st.integers(1, 3))
    def retry(self, number: int, attempts: int) -> None:
        job = self._pick(number, FINAL)
        if job is None:
            return

        async def act() -> control.Retried:
            async with self.db.transaction() as tx:
                return await control.retry(tx, JobFilter(ids=(job.id,)), attempts_of={"task": attempts})

        answer = self.runner.run(act())
        twin = any(
            other.key == job.key and other.state not in FINAL for other in self.jobs.values() if job.key is not None
        )
        if job.state is JobState.COMPLETED or twin:
            assert answer.revived == []
            return
        assert answer.revived == [job.id]
        job.state, job.turn, job.far = JobState.AVAILABLE, self._turn(), False
        job.max_attempts = job.attempt + attempts

    @rule(paused=st.booleans())
    def pause_or_resume(self, paused: bool) -> None:
        async def act() -> bool:
            async with self.db.session() as session:
                return await (control.pause if paused else control.resume)(session, QUEUE)

        assert self.runner.run(act()) == (paused != self.paused)
        self.paused = paused

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        async def look() -> dict[JobId, tuple[JobState, int, int, bool]]:
            async with self.db.session() as session:
                found = await get_jobs(session, list(self.jobs))
                listed = await control.list_jobs(session, JobFilter(), before=None, limit=500)
            assert sorted(job.id for job in listed) == sorted(found), "a job in both tables, or in none"
            return {job.id: (job.state, job.attempt, job.max_attempts, job.cancel_requested) for job in found.values()}

        assert self.runner.run(look()) == {
            job.id: (job.state, job.attempt, job.max_attempts, job.cancel) for job in self.jobs.values()
        }


def test_any_sequence_of_events_leaves_rows_as_a_plain_model_says(cluster: TestCluster) -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def begin() -> Database:
            address = await stack.enter_async_context(cluster.clone())
            return await stack.enter_async_context(open_database(address, pool_size=1))

        db = runner.run(begin())
        try:
            run_state_machine_as_test(
                lambda: QueueMachine(runner, db),  # type: ignore[arg-type]
                settings=settings(
                    max_examples=150,
                    stateful_step_count=40,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            runner.run(stack.aclose())
