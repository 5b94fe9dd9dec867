"""What else is written when a job ends without success."""

from collections.abc import Awaitable, Callable

from lumilio.db import Tx
from lumilio.errors import DatabaseUnavailable
from lumilio.log import get_log
from lumilio.queue.store import Job

GivenUpHook = Callable[[Tx, Job], Awaitable[None]]
"""Called in the transaction that discards or cancels a job; what it raises undoes only its own writes."""

log = get_log()


async def call_given_up_hook(hook: GivenUpHook, tx: Tx, job: Job) -> None:
    """Let the hook write beside the ending. A defect in it must not keep the job running for ever."""
    try:
        async with tx.savepoint():
            await hook(tx, job)
    except DatabaseUnavailable:
        raise
    except Exception:
        log.exception("job.given_up_hook_failed", job_id=job.id, kind=job.kind)
