"""The pool of slots of one queue: claims up to its free slots, runs the jobs, reports how they ended."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from lumilio import metrics
from lumilio.db import Database, Tx
from lumilio.errors import DatabaseUnavailable
from lumilio.log import bind_context, get_log
from lumilio.model import JobId
from lumilio.queue import claims
from lumilio.queue.claims import ClaimedJob, Ended
from lumilio.queue.executor import execute
from lumilio.queue.kinds import JobKind, QueueSettings
from lumilio.queue.outage import Outage
from lumilio.queue.policy import Ending, JobState
from lumilio.queue.store import Job, get_job

DiscardHook = Callable[[Tx, Job], Awaitable[None]]
"""Called in the transaction that discards a job; what it raises undoes only its own writes."""

log = get_log()


async def call_discard_hook(hook: DiscardHook, tx: Tx, job: Job) -> None:
    """Let the hook write beside the discard. A defect in it must not keep the job running for ever."""
    try:
        async with tx.savepoint():
            await hook(tx, job)
    except DatabaseUnavailable:
        raise
    except Exception:
        log.exception("job.discard_hook_failed", job_id=job.id, kind=job.kind)


class Producer:
    """One queue of one worker. At most one statement of it is under way at a time.

    While that one is, other jobs end and share the next one: the batch grows with the load by itself.
    """

    def __init__(
        self,
        *,
        db: Database,
        queue: str,
        worker_id: int,
        table: Mapping[str, JobKind[Any]],
        settings: QueueSettings,
        on_discarded: DiscardHook,
    ) -> None:
        self.name = f"producer {queue}"
        self._db = db
        self._queue = queue
        self._worker_id = worker_id
        self._table = table
        self._settings = settings
        self._on_discarded = on_discarded
        self._slots = settings.slots[queue]
        self._active: set[JobId] = set()
        self._ended: list[Ended] = []
        self._attention = asyncio.Event()
        self._claims_uncertain = False
        self._outage = Outage(self.name)

    def wake(self) -> None:
        """Look for jobs now."""
        self._attention.set()

    @property
    def held(self) -> Sequence[JobId]:
        """The jobs that this producer answers for: running, or ended and not yet reported."""
        return [*self._active, *(end.job.id for end in self._ended)]

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
            if self._active or self._ended or self._claims_uncertain:
                settling = asyncio.create_task(self._settle(), name=f"{self.name} settle")
                await asyncio.shield(settling)

    async def _forward(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self.wake()

    async def _feed(self, group: asyncio.TaskGroup, stopping: asyncio.Event) -> None:
        while True:
            self._attention.clear()
            free = 0 if stopping.is_set() else self._slots - len(self._active)
            if free or self._ended:
                try:
                    claimed = await self._exchange(free)
                    self._outage.ends()
                except DatabaseUnavailable as exc:
                    await asyncio.sleep(self._outage.begins(exc))
                    continue
                for job in claimed:
                    self._active.add(job.id)
                    group.create_task(self._attempt(job), name=f"{job.kind} {job.id}")
            self._show_running()
            if stopping.is_set() and not self.held:
                return
            await self._wait_for_attention()

    async def _wait_for_attention(self) -> None:
        poll = self._settings.poll * random.uniform(0.75, 1.25)  # noqa: S311 jitter
        try:
            async with asyncio.timeout(poll):
                await self._attention.wait()
        except TimeoutError:
            return

    async def _exchange(self, slots: int) -> Sequence[ClaimedJob]:
        reported = list(self._ended)
        async with self._db.session() as session:
            if self._claims_uncertain:
                await claims.release(session, worker_id=self._worker_id, queue=self._queue, held=self.held)
            self._claims_uncertain = True
            answer = await claims.exchange(
                session, worker_id=self._worker_id, queue=self._queue, ended=reported, slots=slots
            )
            self._claims_uncertain = False
        del self._ended[: len(reported)]
        for end in reported:
            if end.job.id not in answer.acknowledged:
                _log_superseded(end)
        return answer.claimed

    async def _attempt(self, job: ClaimedJob) -> None:
        ending = await execute(job, self._table)
        if ending.state is JobState.DISCARDED:
            await self._discard(job, ending)
        else:
            self._ended.append(Ended(job=job, ending=ending))
        self._active.discard(job.id)
        self.wake()

    async def _discard(self, job: ClaimedJob, ending: Ending) -> None:
        outage = Outage(f"discard of job {job.id}")
        end = Ended(job=job, ending=ending)
        while True:
            try:
                async with self._db.transaction() as tx:
                    answer = await claims.exchange(
                        tx, worker_id=self._worker_id, queue=self._queue, ended=[end], slots=0
                    )
                    discarded = await get_job(tx, job.id) if answer.acknowledged else None
                    if discarded is None:
                        _log_superseded(end)
                    else:
                        await call_discard_hook(self._on_discarded, tx, discarded)
                return
            except DatabaseUnavailable as exc:
                await asyncio.sleep(outage.begins(exc))

    async def _settle(self) -> None:
        try:
            async with asyncio.timeout(self._settings.give_back), self._db.transaction() as tx:
                await claims.exchange(tx, worker_id=self._worker_id, queue=self._queue, ended=self._ended, slots=0)
                count = await claims.release(tx, worker_id=self._worker_id, queue=self._queue, held=[])
            log.info("queue.jobs_given_back", queue=self._queue, count=count)
        except (DatabaseUnavailable, TimeoutError) as exc:
            log.warning("queue.jobs_left_behind", queue=self._queue, count=len(self.held), error=str(exc))
        self._active.clear()
        self._ended.clear()
        self._show_running()

    def _show_running(self) -> None:
        metrics.JOBS_RUNNING.labels(queue=self._queue).set(len(self._active))


def _log_superseded(end: Ended) -> None:
    log.warning(
        "job.ending_superseded", job_id=end.job.id, kind=end.job.kind, attempt=end.job.attempt, state=end.ending.state
    )
