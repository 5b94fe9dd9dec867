"""The queues of jobs: how full they are, who works on them, and holding them up."""

from collections.abc import Mapping
from datetime import datetime
from typing import get_args

from aiohttp import web
from pydantic import BaseModel

from lumilio.api.context import answer, context_of
from lumilio.api.job_documents import LiveState
from lumilio.db import Tx
from lumilio.errors import NotFound
from lumilio.queue import control
from lumilio.queue.policy import JobState
from lumilio.queue.worker import Worker


class StateDepth(BaseModel):
    """Jobs in a state, and for how long the oldest is due or runs; null when there is none."""

    jobs: int
    oldest_seconds: float | None


class QueueItem(BaseModel):
    """A queue. `slots` is how many of its jobs this process runs at once, null when it works on others; `discarded` and
    `cancelled` count the jobs that are still kept."""

    name: str
    paused_at: datetime | None
    slots: int | None
    states: dict[LiveState, StateDepth]
    discarded: int
    cancelled: int


class WorkerItem(BaseModel):
    """A process that works on queues; `seen_at` is its last sign of life, null where the database hides it."""

    worker_id: int
    name: str
    seen_at: datetime | None


class Queues(BaseModel):
    """All queues that somebody may work on, that hold jobs, or that are paused; and all workers that live."""

    items: list[QueueItem]
    workers: list[WorkerItem]


async def list_queues(request: web.Request) -> web.Response:
    """All queues and all workers."""
    context = context_of(request)
    async with context.library.db.session() as session:
        queues = await _queues(session, context.worker)
        workers = await control.workers(session)
    return answer(
        Queues(
            items=[queues[name] for name in sorted(queues)],
            workers=[WorkerItem(worker_id=each.worker_id, name=each.name, seen_at=each.seen_at) for each in workers],
        )
    )


async def pause_queue(request: web.Request) -> web.Response:
    """Let no worker begin jobs of a queue; what runs goes on. Nothing happens to one that is paused."""
    context = context_of(request)
    async with context.library.db.transaction() as tx:
        queue = _named(request, await _queues(tx, context.worker))
        await control.pause(tx, queue.name)
        paused = await control.paused_queues(tx)
    return answer(queue.model_copy(update={"paused_at": paused[queue.name]}))


async def resume_queue(request: web.Request) -> web.Response:
    """Let workers begin jobs of a queue again. Nothing happens to one that is not paused."""
    context = context_of(request)
    async with context.library.db.transaction() as tx:
        queue = _named(request, await _queues(tx, context.worker))
        await control.resume(tx, queue.name)
    context.library.wake_queue(queue.name)
    return answer(queue.model_copy(update={"paused_at": None}))


def _named(request: web.Request, queues: Mapping[str, QueueItem]) -> QueueItem:
    """Raises NotFound."""
    name = request.match_info["name"]
    if name not in queues:
        raise NotFound(f"no kind of job uses the queue {name!r}, and it holds no jobs")
    return queues[name]


async def _queues(tx: Tx, worker: Worker) -> Mapping[str, QueueItem]:
    paused = await control.paused_queues(tx)
    depths = await control.depths(tx)
    failures = await control.failures(tx)
    names = worker.queues | paused.keys() | {name for name, _ in depths} | {name for name, _ in failures}

    def depth(name: str, state: LiveState) -> StateDepth:
        found = depths.get((name, JobState(state)))
        if found is None:
            return StateDepth(jobs=0, oldest_seconds=None)
        return StateDepth(jobs=found.jobs, oldest_seconds=round(found.age, 3))

    return {
        name: QueueItem(
            name=name,
            paused_at=paused.get(name),
            slots=worker.slots.get(name),
            states={state: depth(name, state) for state in get_args(LiveState)},
            discarded=failures.get((name, JobState.DISCARDED), 0),
            cancelled=failures.get((name, JobState.CANCELLED), 0),
        )
        for name in names
    }
