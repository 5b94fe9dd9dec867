"""What runs now of one queue in this process: attempts that begin, may be interrupted one by one, and end."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import Any

from lumilio.log import get_log
from lumilio.model import JobId
from lumilio.queue import policy
from lumilio.queue.claims import ClaimedJob, Ended
from lumilio.queue.executor import Observers, execute, observers_of
from lumilio.queue.kinds import JobKind, Report
from lumilio.queue.memory import MemoryBudget
from lumilio.queue.policy import Ending, JobState

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
    begun: bool = False
    interruption: Interruption | None = None
    waits_for_memory: bool = False


class Attempts:
    """``completed`` and ``ended`` (otherwise) gather what is to be reported; ``wake`` is called when there is more."""

    def __init__(
        self,
        *,
        table: Mapping[str, JobKind[Any]],
        memory: MemoryBudget,
        report: Report,
        wake: Callable[[], None],
    ) -> None:
        self.completed: list[Ended] = []
        self.ended: list[Ended] = []
        self._table = table
        self._memory = memory
        self._report = report
        self._wake = wake
        self._running: dict[AttemptKey, _Attempt] = {}
        self._observers: dict[str, Observers] = {name: observers_of(name) for name in table}

    def __len__(self) -> int:
        return len(self._running)

    @property
    def keys(self) -> Collection[AttemptKey]:
        """What runs."""
        return self._running.keys()

    def start(self, group: asyncio.TaskGroup, job: ClaimedJob) -> None:
        """Begin."""
        attempt = _Attempt(job)
        self._running[(job.id, job.attempt)] = attempt
        attempt.task = group.create_task(self._see_through(attempt))

    def interrupt(self, key: AttemptKey, why: Interruption) -> bool:
        """Stop one attempt; False when it does not run here, or is being stopped already.

        One that has not begun is not cancelled, else nobody would notice its end: it ends when its turn comes.
        """
        attempt = self._running.get(key)
        if attempt is None or attempt.task is None or attempt.interruption is not None:
            return False
        attempt.interruption = why
        if attempt.begun:
            attempt.task.cancel()
        return True

    def give_back_waiting(self) -> None:
        """Stop what has not begun, because it waits for memory."""
        for key in [key for key, attempt in self._running.items() if attempt.waits_for_memory]:
            self.interrupt(key, Interruption.GIVEN_BACK)

    def forget(self) -> None:
        """Nobody reports any of these any more."""
        self._running.clear()
        self.completed.clear()
        self.ended.clear()

    async def _see_through(self, attempt: _Attempt) -> None:
        job = attempt.job
        attempt.begun = True
        ending: Ending | None
        if attempt.interruption is not None:
            ending = attempt.interruption.value
        else:
            try:
                ending = await self._run(attempt)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if attempt.interruption is None or task is None or task.uncancel() > 0:
                    raise
                ending = attempt.interruption.value
                log.info("job.interrupted", state=attempt.interruption.name.lower())
        del self._running[(job.id, job.attempt)]
        if ending is not None:
            (self.completed if ending.state is JobState.COMPLETED else self.ended).append(Ended(job, ending))
        self._wake()

    async def _run(self, attempt: _Attempt) -> Ending:
        job = attempt.job
        kind = self._table.get(job.kind)
        observers = self._observers.get(job.kind) or observers_of(None)
        needed = 0 if kind is None else kind.memory_mb
        attempt.waits_for_memory = needed > 0
        async with self._memory.reserve(needed) if needed else nullcontext():
            attempt.waits_for_memory = False
            return await execute(job, kind, observers, self._report)
