"""What people are told of a job that was discarded or cancelled."""

from lumilio.errors import QueueError
from lumilio.model import Problem
from lumilio.queue.policy import CANCELLED, JobState
from lumilio.queue.store import Job, JobError

GIVEN_UP_STEP = "process"
"""The step that failed when a file's first processing was given up as a whole."""


def why_given_up(job: Job, step: str) -> Problem:
    """The last error of a job that ended without success, for the owner of its file."""
    last = job.errors[-1] if job.errors else None
    if job.state is JobState.CANCELLED and (last is None or last.code != CANCELLED):
        return Problem(code=CANCELLED, step=step, reason="cancelled before it ran; retry the job to process it")
    if last is None:
        return Problem(code=QueueError.code, step=step, reason="given up")
    return Problem(code=last.code, step=step, reason=reason_for_owner(last))


def reason_for_owner(error: JobError) -> str:
    """Why an attempt failed.

    Messages about storage and the database name the server's paths: those stay in the log, and in the job for
    administrators.
    """
    if error.code.split(".")[0] in {"media", "tool", "queue"}:
        return error.message
    return "the server could not store or process the file; its log has the details"
