"""Make the derivatives of a stored asset: part of its first processing, and a job of its own when they are lost."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import BaseModel

from lumilio import metrics
from lumilio.catalog import assets, locations, thumbnails
from lumilio.catalog.assets import RenderingInput
from lumilio.db import Tx
from lumilio.errors import JobDiscarded, MediaError, ToolError
from lumilio.jobs.given_up import why_given_up
from lumilio.jobs.library import Library, waiting_for_disk
from lumilio.log import get_log
from lumilio.media import processor_for
from lumilio.model import AssetId, Problem, ProcessingState, Rendition, UserId
from lumilio.queue import store
from lumilio.queue.kinds import JobContext
from lumilio.queue.policy import Priority
from lumilio.queue.store import Job, JobSpec
from lumilio.storage import derivatives
from lumilio.storage.disk import run_blocking
from lumilio.storage.repository import Repository
from lumilio.tools.decoders import DecoderPool

KIND = "render_asset"
QUEUE = "process_asset"
STEP = "render"
LATER = timedelta(hours=1)
"""An outage that took three attempts in half a minute is over by then, or somebody knows of it."""


class Args(BaseModel):
    """The asset to render."""

    asset_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """Where rendering left an asset, and the problem that stands beside it."""

    state: ProcessingState
    problem: Problem | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """The decoder children and how long they may take, in seconds."""

    decoders: DecoderPool
    timeout: float


def spec(asset_id: AssetId, owner_id: UserId) -> JobSpec:
    """A job that makes the derivatives anew, once however often it is asked for."""
    args = Args(asset_id=asset_id)
    return JobSpec(kind=KIND, queue=QUEUE, args=args, key=str(asset_id), max_attempts=3, owner_id=owner_id)


def later(asset_id: AssetId, owner_id: UserId) -> JobSpec:
    """The same, when what kept a tool from working may be over: once, and then by hand (it is discarded)."""
    again = spec(asset_id, owner_id)
    return replace(again, priority=Priority.IDLE, run_at=datetime.now(UTC) + LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderAsset:
    """The job kind with what it uses."""

    library: Library
    renderer: Renderer

    async def work(self, _job: JobContext, args: Args) -> None:
        """Render one asset. A tool that fails to the last discards the job, so that it can be retried."""
        async with waiting_for_disk(self.library):
            await render(self.library, self.renderer, AssetId(args.asset_id))


async def show_given_up(tx: Tx, job: Job) -> None:
    """A job that was given up (it crashed its process, say) becomes a problem of its asset, and nobody asks again."""
    asset_id = AssetId(Args.model_validate(job.args).asset_id)
    if await assets.get_for_rendering(tx, asset_id) is not None:
        await assets.set_state(tx, asset_id, ProcessingState.PROBLEM)
        await assets.record_problem(tx, asset_id, why_given_up(job, STEP))


async def render(
    library: Library, renderer: Renderer, asset_id: AssetId, *, give_up: JobSpec | None = None
) -> Rendered:
    """Decode in a child, write thumbnails, record them.

    A decoder that fails raises ToolError; with ``give_up`` it becomes a problem instead, and that job tries later.
    Raises RepositoryOffline, OriginalMissing, DiskFull.
    """
    async with library.db.session() as session:
        asset = await assets.get_for_rendering(session, asset_id)
        places = await locations.locations_of(session, asset_id)
    if asset is None:
        raise JobDiscarded("the asset does not exist any more")
    processor = processor_for(asset.media_type)
    if processor is None:
        async with library.db.session() as session:
            await assets.set_state(session, asset_id, ProcessingState.UNSUPPORTED)
        return Rendered(state=ProcessingState.UNSUPPORTED)
    place = await library.present_location(tuple(places), asset.size)
    repository = library.repository(place.repository_id)
    path = await run_blocking(repository.resolve, place.current_path)
    try:
        rendition = await renderer.decoders.run(processor, path, timeout=renderer.timeout)
    except (MediaError, ToolError) as exc:
        if exc.retryable and give_up is None:
            raise
        problem = Problem(code=exc.code, step=STEP, reason=str(exc))
        return await _fail(library, asset_id, problem, give_up if exc.retryable else None)
    await _keep(library, repository, asset, rendition)
    return Rendered(state=ProcessingState.READY)


async def _keep(library: Library, repository: Repository, asset: RenderingInput, rendition: Rendition) -> None:
    await derivatives.write_thumbnails(repository, asset.content_hash, rendition.thumbnails)
    async with library.db.transaction() as tx:
        await thumbnails.put_thumbnails(tx, asset.id, repository.id, rendition.thumbnails)
        await assets.set_state(tx, asset.id, ProcessingState.READY, width=rendition.width, height=rendition.height)
        await assets.clear_problem(tx, asset.id, STEP)


async def _fail(library: Library, asset_id: AssetId, problem: Problem, again: JobSpec | None) -> Rendered:
    async with library.db.transaction() as tx:
        if again is not None:
            await store.enqueue(tx, again)
        await assets.set_state(tx, asset_id, ProcessingState.PROBLEM)
        await assets.record_problem(tx, asset_id, problem)
    metrics.PROBLEMS.labels(problem.code).inc()
    get_log().warning("asset.not_rendered", asset_id=asset_id, code=problem.code, reason=problem.reason)
    return Rendered(state=ProcessingState.PROBLEM, problem=problem)
