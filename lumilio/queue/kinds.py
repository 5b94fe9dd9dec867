"""Job kinds: what a job's name means in this program, and how its attempts are run."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel

from lumilio.errors import QueueError
from lumilio.model import JobId
from lumilio.queue.policy import DEFAULT_MAX_ATTEMPTS, Backoff, Priority
from lumilio.queue.store import JobSpec

Args = TypeVar("Args", bound=BaseModel)


Report = Callable[[JobId, int, float | None, str | None], None]
"""Takes what an attempt (job, number) says of its progress: a share from 0 to 1, and a message."""


@dataclass(slots=True, kw_only=True)
class JobContext:
    """What a work may know of its own job, and say of it."""

    job_id: JobId
    attempt: int
    max_attempts: int
    owner_id: UUID | None
    report: Report

    @property
    def last_attempt(self) -> bool:
        """Whether a failure now discards the job."""
        return self.attempt >= self.max_attempts

    def progress(self, fraction: float | None, message: str | None = None) -> None:
        """Say how far the work is, ``fraction`` from 0 to 1, as often as it likes: the last of each second is kept."""
        self.report(self.job_id, self.attempt, fraction, message)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind(Generic[Args]):
    """One kind of job. ``work`` may raise JobSnoozed, JobDiscarded and JobCancelled; else it is retried by its type.

    ``timeout`` is seconds for one attempt; ``memory_mb`` what an attempt may need, which counts towards the cap of the
    process. What ``work`` returns is kept as the job's result (JSON) until its retention is over.
    """

    name: str
    queue: str
    args: type[Args]
    work: Callable[[JobContext, Args], Awaitable[Mapping[str, object] | None]]
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    timeout: float = 300.0
    memory_mb: int = 0
    backoff: Backoff = field(default_factory=Backoff)

    def spec(
        self,
        args: Args,
        *,
        key: str | None = None,
        priority: Priority = Priority.NORMAL,
        run_at: datetime | None = None,
        owner_id: UUID | None = None,
    ) -> JobSpec:
        """A job of this kind, to be enqueued."""
        return JobSpec(
            kind=self.name,
            queue=self.queue,
            args=args,
            key=key,
            priority=priority,
            run_at=run_at,
            max_attempts=self.max_attempts,
            owner_id=owner_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """How one process works on the queues. ``slots`` maps each queue to how many of its jobs run here at once.

    All times are seconds. ``heartbeat`` is how often a worker shows life; one that is silent for ``rescue_after``, at
    least three heartbeats, loses its jobs to others. ``memory_mb`` caps what all jobs that run here declare together.
    ``give_back`` bounds the last write of a worker that is told to give up now.
    """

    slots: Mapping[str, int]
    poll: float = 2.0
    heartbeat: float = 5.0
    rescue_after: float = 60.0
    memory_mb: int = 1536
    keep_completed: float = 86400.0
    keep_failed: float = 30 * 86400.0
    notify_debounce: float = 0.05
    give_back: float = 5.0

    @property
    def silent_for(self) -> float:
        """When a session counts as frozen: two looks, a heartbeat apart, still end within the promised time."""
        return self.rescue_after - 2 * self.heartbeat

    def __post_init__(self) -> None:
        if self.rescue_after < 3 * self.heartbeat:
            raise ValueError(f"rescue_after {self.rescue_after} is under three heartbeats of {self.heartbeat} s")
        for queue, slots in self.slots.items():
            if slots < 1:
                raise ValueError(f"queue {queue!r} has {slots} slots; give it at least 1")


def check_table(kinds: Sequence[JobKind[Any]], queues: Collection[str], memory_mb: int) -> Mapping[str, JobKind[Any]]:
    """The table by name. Raises QueueError for one that is not sound; ``queues`` are all that somebody works on."""
    table: dict[str, JobKind[Any]] = {}
    for kind in kinds:
        if kind.name in table:
            raise QueueError(f"job kind {kind.name!r} is defined twice")
        if kind.queue not in queues:
            raise QueueError(f"job kind {kind.name!r} names the unknown queue {kind.queue!r}; known: {sorted(queues)}")
        if kind.max_attempts < 1 or kind.timeout <= 0:
            raise QueueError(f"job kind {kind.name!r} needs at least one attempt and a time-out over 0 s")
        if kind.memory_mb > memory_mb:
            raise QueueError(
                f"job kind {kind.name!r} may need {kind.memory_mb} MB and queue.memory_mb is {memory_mb}; raise it"
            )
        table[kind.name] = kind
    return table
