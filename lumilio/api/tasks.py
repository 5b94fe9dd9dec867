"""What became of uploads."""

from typing import Annotated, assert_never

from aiohttp import web
from pydantic import Field

from lumilio.api.context import answer, caller_of, context_of, number_of, query_of
from lumilio.api.schemas import Body, ProblemItem, Task, Tasks, TaskState
from lumilio.errors import NotFound
from lumilio.jobs import process_asset
from lumilio.jobs.given_up import GIVEN_UP_STEP, why_given_up
from lumilio.model import JobId
from lumilio.queue import store
from lumilio.queue.policy import JobState
from lumilio.queue.store import Job
from lumilio.tools.tokens import Caller

TaskId = Annotated[str, Field(pattern=r"^[0-9]{1,18}$")]


class TasksQuery(Body):
    """Several `id` parameters."""

    id: Annotated[list[TaskId], Field(min_length=1, max_length=100)]


async def get_task(request: web.Request) -> web.Response:
    """One task of the caller."""
    task_id = number_of(request, "task_id")
    found = await _find(request, [task_id])
    if not found:
        raise NotFound(f"task {task_id} does not exist")
    return answer(found[0])


async def list_tasks(request: web.Request) -> web.Response:
    """Several tasks of the caller at once; ids that do not exist are left out."""
    query = query_of(request, TasksQuery, lists=frozenset({"id"}))
    return answer(Tasks(items=await _find(request, [int(task_id) for task_id in query.id])))


async def _find(request: web.Request, ids: list[int]) -> list[Task]:
    caller = caller_of(request)
    async with context_of(request).library.db.session() as session:
        jobs = await store.get_jobs(session, [JobId(task_id) for task_id in ids])
    found = [jobs[JobId(task_id)] for task_id in dict.fromkeys(ids) if task_id in jobs]
    return [task_of(job) for job in found if is_task_of(job, caller)]


def is_task_of(job: Job, caller: Caller) -> bool:
    """Whether the job processes an upload of the caller."""
    return job.owner_id == caller.user_id and job.kind == process_asset.KIND


def task_of(job: Job) -> Task:
    """What the job of an upload is to whoever sent it."""
    outcome = process_asset.Outcome.model_validate(job.result) if job.result else None
    problem = ProblemItem(**outcome.problem.model_dump()) if outcome and outcome.problem else None
    if job.state in {JobState.DISCARDED, JobState.CANCELLED}:
        last = why_given_up(job, GIVEN_UP_STEP)
        problem = ProblemItem(step=last.step, code=last.code, reason=last.reason)
    return Task(
        task_id=str(job.id),
        state=_state(job.state, failed=problem is not None),
        file_name=str(job.args.get("file_name", "")) or None,
        attempt=job.attempt,
        asset_id=outcome.asset_id if outcome else None,
        asset_state=outcome.asset_state.value if outcome else None,
        duplicate=outcome.duplicate if outcome else False,
        problem=problem,
        created_at=job.created_at,
        finished_at=job.finished_at,
    )


def _state(state: JobState, *, failed: bool) -> TaskState:
    match state:
        case JobState.AVAILABLE | JobState.SCHEDULED | JobState.RETRYABLE:
            return "queued"
        case JobState.RUNNING:
            return "running"
        case JobState.COMPLETED:
            return "failed" if failed else "completed"
        case JobState.DISCARDED | JobState.CANCELLED:
            return "failed"
        case _:
            assert_never(state)
