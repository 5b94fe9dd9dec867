"""The pool of slots of one queue: claims up to its free slots, runs the jobs, reports how they ended."""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import Any

from lumilio import metrics
from lumilio.db import Database, Tx
from lumilio.errors import DatabaseUnavailable
from lumilio.log import bind_context, get_log
from lumilio.model import JobId
from lumilio.queue import claims, policy
from lumilio.queue.claims import ClaimedJob, Ended
from lumilio.queue.executor import Observers, execute, observers_of
from lumilio.queue.given_up import GivenUpHook, call_given_up_hook
from lumilio.queue.kinds import JobKind, QueueSettings, Report
from lumilio.queue.memory import MemoryBudget
from lumilio.queue.outage import Outage
from lumilio.queue.policy import Ending, JobState
from lumilio.queue.store import get_jobs
from lumilio.queue.watermark import Watermark

AttemptKey = tuple[JobId, int]
"""A job and the number of its attempt."""

log = get_log()


class Interruption(Enum):
    """Why one attempt is stopped while the others go on; the value is how it ends, None for: without a word."""

    CANCELLED = policy.cancelled("cancelled while it ran")
    GIVEN_BACK = policy.INTERRUPTED
    SUPERSEDED = None


@dataclass(slots=True)
class _Attempt:
    job: ClaimedJob
    task: "asyncio.Task[None] | None" = None
    interruption: Interruption | None = None
    waits_for_memory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """What all producers of one worker share. ``may_claim``: others can see that this worker lives."""

    db: Database
    worker_id: int
    table: Mapping[str, JobKind[Any]]
    settings: QueueSettings
    memory: MemoryBudget
    report: Report
    on_given_up: GivenUpHook
    may_claim: Callable[[], bool]


class Producer:
    """One queue of one worker. At most one statement of it is under way at a time.

    While that one is, other jobs end and share the next one: the batch grows with the load by itself.
    """

    def __init__(self, *, queue: str, workplace: Workplace) -> None:
        self.name = f"producer {queue}"
        self._queue = queue
        self._at = workplace
        self._slots = workplace.settings.slots[queue]
        self._active: dict[AttemptKey, _Attempt] = {}
        self._completed: list[Ended] = []
        self._ended: list[Ended] = []
        self._attention = asyncio.Event()
        self._claims_uncertain = False
        self._outage = Outage(self.name)
        self._watermark = Watermark()
        self._observers: dict[str, Observers] = {name: observers_of(name) for name in workplace.table}
        self._claim_seconds = metrics.CLAIM_SECONDS.labels(queue=queue).observe
        self._running = metrics.JOBS_RUNNING.labels(queue=queue).set

    def wake(self) -> None:
        """Look for jobs now."""
        self._attention.set()

    @property
    def attempts(self) -> Collection[AttemptKey]:
        """What runs here now."""
        return self._active.keys()

    @property
    def _held(self) -> Sequence[JobId]:
        """The jobs that this producer answers for: running, or ended and not yet reported."""
        ended = (end.job.id for end in [*self._completed, *self._ended])
        return [*(job_id for job_id, _ in self._active), *ended]

    def interrupt(self, key: AttemptKey, why: Interruption) -> bool:
        """Stop one attempt; False when it does not run here."""
        attempt = self._active.get(key)
        if attempt is None or attempt.task is None:
            return False
        if attempt.interruption is None:
            attempt.interruption = why
            attempt.task.cancel()
        return True

    def cancel(self, job_ids: Collection[JobId]) -> None:
        """Stop what runs of these jobs, because somebody cancelled them."""
        for key in [key for key in self._active if key[0] in job_ids]:
            self.interrupt(key, Interruption.CANCELLED)

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping``, then claim no more and let the running jobs finish.

        Cancellation gives up at once: interrupted jobs go back to *available* with their attempt restored.
        """
        bind_context(queue=self._queue)
        try:
            async with asyncio.TaskGroup() as group:
                forwarding = group.create_task(self._forward(stopping), name=f"{self.name} stopping")
                await self._feed(group, stopping)
                forwarding.cancel()
        finally:
            if self._active or self._completed or self._ended or self._claims_uncertain:
                giving_back = asyncio.create_task(self._give_back(), name=f"{self.name} giving back")
                await asyncio.shield(giving_back)

    async def _forward(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        for key in [key for key, attempt in self._active.items() if attempt.waits_for_memory]:
            self.interrupt(key, Interruption.GIVEN_BACK)
        self.wake()

    async def _feed(self, group: asyncio.TaskGroup, stopping: asyncio.Event) -> None:
        while True:
            self._attention.clear()
            free = self._slots - len(self._active) if self._at.may_claim() and not stopping.is_set() else 0
            try:
                if self._ended:
                    await self._settle()
                if free or self._completed:
                    for job in await self._exchange(free):
                        self._start(group, job)
                self._outage.ends()
            except DatabaseUnavailable as exc:
                await asyncio.sleep(self._outage.begins(exc))
                continue
            self._running(len(self._active))
            if stopping.is_set() and not self._held:
                return
            if not self._attention.is_set():
                await self._wait_for_attention()

    def _start(self, group: asyncio.TaskGroup, job: ClaimedJob) -> None:
        attempt = _Attempt(job)
        self._active[(job.id, job.attempt)] = attempt
        attempt.task = group.create_task(self._attempt(attempt))

    async def _wait_for_attention(self) -> None:
        pause = self._at.settings.poll * random.uniform(0.75, 1.25)  # noqa: S311 jitter
        if len(self._active) < self._slots:
            pause = min(pause, max(0.0, self._watermark.next_full_look - time.monotonic()) or pause)
        try:
            async with asyncio.timeout(pause):
                await self._attention.wait()
        except TimeoutError:
            return

    async def _exchange(self, slots: int) -> Sequence[ClaimedJob]:
        """Report what is completed and claim; when nothing was found behind the marks, look at everything."""
        claimed, full = await self._exchange_once(slots)
        if slots and not claimed and not full and time.monotonic() >= self._watermark.next_full_look:
            claimed, _ = await self._exchange_once(slots)
        return claimed

    async def _exchange_once(self, slots: int) -> tuple[Sequence[ClaimedJob], bool]:
        if self._claims_uncertain:
            async with self._at.db.transaction() as tx:
                await self._release(tx, self._held)
        reported = self._completed[:]
        began = time.monotonic()
        marks, full = self._watermark.marks(began)
        async with self._at.db.session() as session:
            self._claims_uncertain = True
            answer = await claims.exchange(
                session,
                worker_id=self._at.worker_id,
                queue=self._queue,
                completed=reported,
                slots=slots,
                marks=marks,
            )
            self._claims_uncertain = False
        del self._completed[: len(reported)]
        if len(answer.acknowledged) != len(reported):
            for end in reported:
                if end.job.id not in answer.acknowledged:
                    _log_superseded(end)
        if slots:
            now = time.monotonic()
            self._claim_seconds(now - began)
            self._watermark.note(answer.claimed, full=full, began=began, now=now)
        return answer.claimed, full

    async def _settle(self) -> None:
        reported = self._ended[:]
        async with self._at.db.transaction() as tx:
            await self._settle_in(tx, reported)
        del self._ended[: len(reported)]

    async def _settle_in(self, tx: Tx, reported: Sequence[Ended]) -> None:
        states = await claims.settle(tx, worker_id=self._at.worker_id, ended=reported)
        await self._tell_given_up(tx, states)
        for end in reported:
            if end.job.id not in states:
                _log_superseded(end)

    async def _release(self, tx: Tx, held: Sequence[JobId]) -> int:
        states = await claims.release(tx, worker_id=self._at.worker_id, queue=self._queue, held=held)
        await self._tell_given_up(tx, states)
        return len(states)

    async def _tell_given_up(self, tx: Tx, states: Mapping[JobId, JobState]) -> None:
        given_up = [job_id for job_id, state in states.items() if state.final]
        if given_up:
            for job in (await get_jobs(tx, given_up)).values():
                await call_given_up_hook(self._at.on_given_up, tx, job)

    async def _attempt(self, attempt: _Attempt) -> None:
        job = attempt.job
        try:
            ending: Ending | None = await self._run(attempt)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if attempt.interruption is None or task is None or task.uncancel() > 0:
                raise
            ending = attempt.interruption.value
            log.info("job.interrupted", state=attempt.interruption.name.lower())
        del self._active[(job.id, job.attempt)]
        if ending is None:
            pass
        elif ending.state is JobState.COMPLETED:
            self._completed.append(Ended(job, ending))
        else:
            self._ended.append(Ended(job, ending))
        self.wake()

    async def _run(self, attempt: _Attempt) -> Ending:
        job = attempt.job
        kind = self._at.table.get(job.kind)
        observers = self._observers.get(job.kind) or observers_of(None)
        needed = 0 if kind is None else kind.memory_mb
        attempt.waits_for_memory = needed > 0
        async with self._at.memory.reserve(needed) if needed else nullcontext():
            attempt.waits_for_memory = False
            return await execute(job, kind, observers, self._at.report)

    async def _give_back(self) -> None:
        try:
            async with asyncio.timeout(self._at.settings.give_back), self._at.db.transaction() as tx:
                await claims.exchange(
                    tx,
                    worker_id=self._at.worker_id,
                    queue=self._queue,
                    completed=self._completed,
                    slots=0,
                    marks=((), (), ()),
                )
                await self._settle_in(tx, self._ended)
                count = await self._release(tx, held=[])
            log.info("queue.jobs_given_back", queue=self._queue, count=count)
        except (DatabaseUnavailable, TimeoutError) as exc:
            log.warning("queue.jobs_left_behind", queue=self._queue, count=len(self._held), error=str(exc))
        self._active.clear()
        self._completed.clear()
        self._ended.clear()
        self._running(0)


def _log_superseded(end: Ended) -> None:
    log.warning(
        "job.ending_superseded", job_id=end.job.id, kind=end.job.kind, attempt=end.job.attempt, state=end.ending.state
    )
