"""Job kinds: what a job's name means in this program, and how its attempts are run."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel

from lumilio.errors import QueueError
from lumilio.model import JobId
from lumilio.queue.policy import DEFAULT_MAX_ATTEMPTS, Backoff
from lumilio.queue.store import JobSpec

Args = TypeVar("Args", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """What a work may know of its own job."""

    job_id: JobId
    attempt: int
    max_attempts: int
    owner_id: UUID | None

    @property
    def last_attempt(self) -> bool:
        """Whether a failure now discards the job."""
        return self.attempt >= self.max_attempts


@dataclass(frozen=True, slots=True, kw_only=True)
class JobKind(Generic[Args]):
    """One kind of job. ``work`` may raise JobSnoozed and JobDiscarded; anything else is retried by its type.

    ``timeout`` is seconds for one attempt. What ``work`` returns is kept as the job's result (JSON) until its retention
    is over.
    """

    name: str
    queue: str
    args: type[Args]
    work: Callable[[JobContext, Args], Awaitable[Mapping[str, object] | None]]
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    timeout: float = 300.0
    backoff: Backoff = field(default_factory=Backoff)

    def spec(
        self,
        args: Args,
        *,
        key: str | None = None,
        priority: int = 0,
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


def check_table(kinds: Sequence[JobKind[Any]], queues: Collection[str]) -> Mapping[str, JobKind[Any]]:
    """The table by name. Raises QueueError for a kind that is defined twice, or whose queue has no slots."""
    table: dict[str, JobKind[Any]] = {}
    for kind in kinds:
        if kind.name in table:
            raise QueueError(f"job kind {kind.name!r} is defined twice")
        if kind.queue not in queues:
            raise QueueError(f"job kind {kind.name!r} names the unknown queue {kind.queue!r}; known: {sorted(queues)}")
        if kind.max_attempts < 1 or kind.timeout <= 0:
            raise QueueError(f"job kind {kind.name!r} needs at least one attempt and a time-out over 0 s")
        table[kind.name] = kind
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """How one process works on the queues. ``slots`` maps each queue to how many of its jobs run here at once.

    All times are seconds. ``rescue_after`` is at least three heartbeats: a job that shows no life for that long runs
    again elsewhere. ``give_back`` bounds the last write of a worker that is told to give up now.
    """

    slots: Mapping[str, int]
    poll: float = 2.0
    heartbeat: float = 10.0
    rescue_after: float = 60.0
    retention: float = 7 * 86400.0
    notify_debounce: float = 0.05
    give_back: float = 5.0

    def __post_init__(self) -> None:
        if self.rescue_after < 3 * self.heartbeat:
            raise ValueError(f"rescue_after {self.rescue_after} is under three heartbeats of {self.heartbeat} s")
        for queue, slots in self.slots.items():
            if slots < 1:
                raise ValueError(f"queue {queue!r} has {slots} slots; give it at least 1")
