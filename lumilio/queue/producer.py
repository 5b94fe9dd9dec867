"""The pool of slots of one queue: claims up to its free slots, has the jobs run, reports how they ended."""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lumilio import metrics
from lumilio.db import Database, Tx
from lumilio.errors import DatabaseUnavailable
from lumilio.log import bind_context, get_log
from lumilio.model import JobId
from lumilio.queue import claims
from lumilio.queue.attempts import AttemptKey, Attempts, Interruption
from lumilio.queue.claims import ClaimedJob, Ended
from lumilio.queue.given_up import GivenUpHook, call_given_up_hook
from lumilio.queue.kinds import JobKind, QueueSettings, Report
from lumilio.queue.memory import MemoryBudget
from lumilio.queue.outage import Outage
from lumilio.queue.policy import JobState
from lumilio.queue.store import get_jobs
from lumilio.queue.watermark import Watermark

SLOTS_FOR_TWO_LANES = 16

log = get_log()


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
    """One queue of one worker. Its lanes share the slots; each has a connection and one statement under way at a time.

    While that one is, other jobs end and share the next one: the batch grows with the load by itself. A queue of many
    slots has a second lane, which keeps the database at work while this process runs jobs, as long as more jobs wait
    than the first lane takes.
    """

    def __init__(self, *, queue: str, workplace: Workplace) -> None:
        self.name = f"producer {queue}"
        self.queue = queue
        self._at = workplace
        self._slots = workplace.settings.slots[queue]
        self._attempts = Attempts(
            table=workplace.table, memory=workplace.memory, report=workplace.report, wake=self.wake
        )
        self._attentions = [asyncio.Event() for _ in range(2 if self._slots >= SLOTS_FOR_TWO_LANES else 1)]
        self._reporting: set[AttemptKey] = set()
        self._asked_for = 0
        self._under_way = 0
        self._claims_uncertain = False
        self._more_wait = False
        self._watermark = Watermark()
        self._claim_seconds = metrics.CLAIM_SECONDS.labels(queue=queue).observe
        self._running = metrics.JOBS_RUNNING.labels(queue=queue).set

    def wake(self) -> None:
        """Look for jobs now."""
        for attention in self._attentions:
            attention.set()

    @property
    def attempts(self) -> Collection[AttemptKey]:
        """What runs here now."""
        return self._attempts.keys

    def interrupt(self, key: AttemptKey, why: Interruption) -> bool:
        """Stop one attempt; False when it does not run here."""
        return self._attempts.interrupt(key, why)

    @property
    def held(self) -> set[AttemptKey]:
        """The attempts that this producer answers for: running, or ended and not yet reported."""
        return {*self._attempts.keys, *_keys(self._attempts.completed), *_keys(self._attempts.ended), *self._reporting}

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until ``stopping``, then claim no more and let the running jobs finish.

        Cancellation gives up at once: interrupted jobs go back to *available* with their attempt restored.
        """
        bind_context(queue=self.queue)
        try:
            async with asyncio.TaskGroup() as group:
                forwarding = group.create_task(self._forward(stopping), name=f"{self.name} stopping")
                async with asyncio.TaskGroup() as lanes:
                    for number in range(len(self._attentions)):
                        lanes.create_task(self._lane(number, group, stopping), name=f"{self.name} lane {number}")
                forwarding.cancel()
        finally:
            if self.held or self._claims_uncertain or self._under_way:
                giving_back = asyncio.create_task(self._give_back(), name=f"{self.name} giving back")
                await asyncio.shield(giving_back)

    async def _forward(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self._attempts.give_back_waiting()
        self.wake()

    async def _lane(self, number: int, group: asyncio.TaskGroup, stopping: asyncio.Event) -> None:
        outage = Outage(f"{self.name} lane {number}")
        while True:
            try:
                async with self._at.db.busy_session(f"lumilio {self.queue}") as session:
                    while True:
                        self._attentions[number].clear()
                        looked = await self._turn(number, session, group, stopping)
                        outage.ends()
                        if stopping.is_set() and not self.held and not self._under_way:
                            break
                        if not self._attentions[number].is_set():
                            await self._wait_for_attention(number, look_again=looked)
                    self.wake()  # the other lane may wait for this one's end
                    return
            except DatabaseUnavailable as exc:
                await asyncio.sleep(outage.begins(exc))

    async def _turn(self, number: int, session: Tx, group: asyncio.TaskGroup, stopping: asyncio.Event) -> bool:
        """Report and claim once; returns whether this lane looked for jobs."""
        if number == 0 and self._attempts.ended:
            await self._settle()
        if self._claims_uncertain:
            if self._under_way:
                return False
            async with self._at.db.transaction() as tx:
                await self._give_up_unheld(tx)
            self._claims_uncertain = False
        free = self._slots - len(self._attempts) - self._asked_for
        if stopping.is_set() or not self._at.may_claim() or (number > 0 and not self._more_wait):
            free = 0
        elif len(self._attentions) > 1:
            free = min(free, self._slots // 2)
        if free > 0 or (number == 0 and self._attempts.completed):
            for job in await self._exchange(session, max(free, 0)):
                self._attempts.start(group, job)
        self._running(len(self._attempts))
        return free > 0

    async def _wait_for_attention(self, number: int, *, look_again: bool) -> None:
        pause = self._at.settings.poll * random.uniform(0.75, 1.25)  # noqa: S311 jitter
        if look_again and len(self._attempts) < self._slots and not self._watermark.settled:
            pause = min(pause, max(0.0, self._watermark.next_full_look - time.monotonic()))
        try:
            async with asyncio.timeout(pause):
                await self._attentions[number].wait()
        except TimeoutError:
            return

    async def _exchange(self, session: Tx, slots: int) -> Sequence[ClaimedJob]:
        """Report what is completed and claim; when nothing was found behind the marks, look at everything."""
        claimed, full = await self._exchange_once(session, slots)
        if slots and not claimed and not full and time.monotonic() >= self._watermark.next_full_look:
            claimed, _ = await self._exchange_once(session, slots)
        self._more_wait = 0 < slots == len(claimed)
        if self._more_wait:
            self.wake()
        return claimed

    async def _exchange_once(self, session: Tx, slots: int) -> tuple[Sequence[ClaimedJob], bool]:
        reported = self._attempts.completed[:]
        self._attempts.completed.clear()
        reporting = _keys(reported)
        self._reporting |= reporting
        self._asked_for += slots
        self._under_way += 1
        began = time.monotonic()
        marks, full = self._watermark.marks(began)
        try:
            answer = await claims.exchange(
                session, worker_id=self._at.worker_id, queue=self.queue, completed=reported, slots=slots, marks=marks
            )
        except BaseException:
            self._claims_uncertain = True
            self._attempts.completed[:0] = reported
            raise
        finally:
            self._under_way -= 1
            self._asked_for -= slots
            self._reporting -= reporting
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
        reported = self._attempts.ended[:]
        async with self._at.db.transaction() as tx:
            await self._settle_in(tx, reported)
        del self._attempts.ended[: len(reported)]

    async def _settle_in(self, tx: Tx, reported: Sequence[Ended]) -> None:
        states = await claims.settle(tx, worker_id=self._at.worker_id, ended=reported)
        await self._tell_given_up(tx, states)
        for end in reported:
            if end.job.id not in states:
                _log_superseded(end)

    async def _give_up_unheld(self, tx: Tx) -> int:
        """Give back what is this worker's according to the rows only. Returns how many jobs that were."""
        mine = await claims.mine(tx, worker_id=self._at.worker_id, queue=self.queue)
        return await self._release(tx, mine.keys() - self.held)

    async def release_strays(self, strays: Collection[AttemptKey]) -> None:
        """Give back attempts that this worker has according to the rows, and nobody here knows of."""
        async with self._at.db.transaction() as tx:
            count = await self._release(tx, strays)
        if count:
            log.warning("job.stray_given_back", queue=self.queue, count=count)
            self.wake()

    async def _release(self, tx: Tx, attempts: Collection[AttemptKey]) -> int:
        states = await claims.release(tx, worker_id=self._at.worker_id, attempts=attempts)
        await self._tell_given_up(tx, states)
        return len(states)

    async def _tell_given_up(self, tx: Tx, states: Mapping[JobId, JobState]) -> None:
        given_up = [job_id for job_id, state in states.items() if state.final]
        if given_up:
            for job in (await get_jobs(tx, given_up)).values():
                await call_given_up_hook(self._at.on_given_up, tx, job)

    async def _give_back(self) -> None:
        try:
            async with asyncio.timeout(self._at.settings.give_back), self._at.db.transaction() as tx:
                await claims.exchange(
                    tx,
                    worker_id=self._at.worker_id,
                    queue=self.queue,
                    completed=self._attempts.completed,
                    slots=0,
                    marks=((), (), ()),
                )
                await self._settle_in(tx, self._attempts.ended)
                self._attempts.forget()
                count = await self._give_up_unheld(tx)
            log.info("queue.jobs_given_back", queue=self.queue, count=count)
        except (DatabaseUnavailable, TimeoutError) as exc:
            log.warning("queue.jobs_left_behind", queue=self.queue, count=len(self.held), error=str(exc))
            self._attempts.forget()
        self._running(0)


def _keys(ended: Sequence[Ended]) -> set[AttemptKey]:
    return {(end.job.id, end.job.attempt) for end in ended}


def _log_superseded(end: Ended) -> None:
    log.warning(
        "job.ending_superseded", job_id=end.job.id, kind=end.job.kind, attempt=end.job.attempt, state=end.ending.state
    )
