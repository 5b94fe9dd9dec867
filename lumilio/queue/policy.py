"""What becomes of a job when an attempt ends: pure decisions, no clock and no database."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import assert_never

from lumilio.errors import JobCancelled, JobDiscarded, JobSnoozed, LumilioError
from lumilio.log import printable

DEFAULT_MAX_ATTEMPTS = 5
WORKER_DIED = "queue.worker_died"
"""Error code of an attempt whose process died or froze."""
DISCARDED = "queue.discarded"
"""Error code of a discard that no LumilioError caused."""
CANCELLED = "queue.cancelled"
"""Error code of an attempt that ended because somebody, or the work itself, cancelled the job."""

_MESSAGE_CHARACTERS = 2000


class Priority(IntEnum):
    """Which of the waiting jobs of a queue runs first: somebody waits for it, the rule, later will do, nobody waits.

    Few and fixed, because a claim remembers for each how far it has come.
    """

    INTERACTIVE = 0
    NORMAL = 1
    BACKGROUND = 2
    IDLE = 3


class JobState(StrEnum):
    """Where a job stands; the words of ``jobs.state`` and ``finished_jobs.state``."""

    AVAILABLE = "available"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    RETRYABLE = "retryable"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DISCARDED = "discarded"

    @property
    def final(self) -> bool:
        """Whether the job is over."""
        match self:
            case JobState.AVAILABLE | JobState.SCHEDULED | JobState.RUNNING | JobState.RETRYABLE:
                return False
            case JobState.COMPLETED | JobState.CANCELLED | JobState.DISCARDED:
                return True
            case _:
                assert_never(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential waiting between attempts, in seconds; ``jitter`` is the share by which a wait may differ."""

    first: float = 5.0
    factor: float = 4.0
    longest: float = 3600.0
    jitter: float = 0.2

    def delay(self, attempt: int, chance: float) -> float:
        """Seconds to wait after failed attempt ``attempt`` (from 1); ``chance`` is uniform in [0, 1)."""
        exponent = min(attempt - 1, 50)  # a float overflows long after any wait has reached its limit
        plain = min(self.longest, self.first * self.factor**exponent)
        return plain * (1 + self.jitter * (2 * chance - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an attempt ended and what its job becomes.

    ``delay`` is seconds from now to the next claim; ``counted`` False gives the attempt back; ``code`` and ``message``
    are recorded as an error of the attempt; ``result`` is JSON text.
    """

    state: JobState
    delay: float | None = None
    counted: bool = True
    code: str | None = None
    message: str | None = None
    result: str | None = None


_COMPLETED = Ending(state=JobState.COMPLETED)
INTERRUPTED = Ending(state=JobState.AVAILABLE, counted=False)
"""The attempt goes back as if it had not been claimed."""


def completed(result: Mapping[str, object] | None) -> Ending:
    """The work succeeded. Raises TypeError or ValueError for a result that JSON cannot carry."""
    return _COMPLETED if result is None else Ending(state=JobState.COMPLETED, result=_storable_json(result))


def cancelled(reason: str) -> Ending:
    """Somebody wanted the job no more."""
    return Ending(state=JobState.CANCELLED, code=CANCELLED, message=_storable_message(JobCancelled(reason)))


def failed(exc: BaseException, *, attempt: int, max_attempts: int, backoff: Backoff, chance: float) -> Ending:
    """What the exception of attempt ``attempt`` means for its job."""
    exc = _innermost(exc)
    match exc:
        case JobSnoozed():
            return Ending(state=JobState.SCHEDULED, delay=max(exc.delay.total_seconds(), 0), counted=False)
        case JobCancelled():
            return cancelled(str(exc))
        case JobDiscarded():
            cause = exc.__cause__
            code = cause.code if isinstance(cause, LumilioError) else DISCARDED
            return Ending(state=JobState.DISCARDED, code=code, message=_storable_message(exc))
        case LumilioError():
            code, retry = exc.code, exc.retryable
        case asyncio.CancelledError():  # something inside the work was cancelled, not the job
            code, retry = LumilioError.code, True
        case _:
            code, retry = LumilioError.code, True
    message = _storable_message(exc)
    if not retry or attempt >= max_attempts:
        return Ending(state=JobState.DISCARDED, code=code, message=message)
    delay = backoff.delay(attempt, chance)
    return Ending(state=JobState.RETRYABLE, delay=delay, code=code, message=message)


def _innermost(exc: BaseException) -> BaseException:
    while isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    return exc


def _storable_message(exc: BaseException) -> str:
    text = str(exc) if isinstance(exc, LumilioError | JobDiscarded | JobCancelled) else f"{type(exc).__name__}: {exc}"
    return printable(text)[:_MESSAGE_CHARACTERS].encode(errors="replace").decode()


def _storable_json(value: object) -> str:
    # PostgreSQL's jsonb knows neither NUL nor lone surrogates, and one such row would fail a whole batch.
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str)
    return _without_nul(text).encode(errors="replace").decode()


def _without_nul(text: str) -> str:
    if "\\u0000" not in text:
        return text
    return json.dumps(_replaced(json.loads(text)), ensure_ascii=False)


def _replaced(value: object) -> object:
    match value:
        case str():
            return value.replace("\0", "\ufffd")
        case list():
            return [_replaced(item) for item in value]
        case dict():
            return {str(key).replace("\0", "\ufffd"): _replaced(item) for key, item in value.items()}
        case _:
            return value
