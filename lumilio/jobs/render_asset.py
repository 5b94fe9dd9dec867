"""Make the derivatives of a stored asset: part of its first processing, and a job of its own when they are lost."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel

from lumilio import metrics
from lumilio.catalog import assets, facts, locations, problems, thumbnails
from lumilio.catalog.assets import RenderingInput
from lumilio.db import Tx
from lumilio.errors import (
    JobDiscarded,
    JobSnoozed,
    MediaDamaged,
    MediaError,
    MediaUnsupported,
    OriginalMissing,
    ToolError,
    ToolMissing,
)
from lumilio.jobs import join_companions, make_web_version
from lumilio.jobs.given_up import GIVEN_UP_STEP, why_given_up
from lumilio.jobs.library import Library, waiting_for_disk
from lumilio.jobs.read_facts import FACTS_STEP, READING_STEPS, FileReading, look, read_file
from lumilio.log import get_log
from lumilio.media import TOOLS, processor_for
from lumilio.media.facts import facts_from_exif
from lumilio.media.formats import RAW_FORMATS
from lumilio.media.motion_film import probe_motion
from lumilio.media.placeholder import render_placeholder
from lumilio.media.raw import develop_raw_full
from lumilio.model import AssetId, MediaKind, Playback, Problem, ProcessingState, Rendition, UserId
from lumilio.queue import store
from lumilio.queue.kinds import JobContext
from lumilio.queue.policy import Priority
from lumilio.queue.store import Job, JobSpec
from lumilio.storage import derivatives
from lumilio.storage.disk import run_blocking
from lumilio.storage.repository import Repository
from lumilio.tools.decoders import DecoderPool
from lumilio.tools.exiftool import ExifTool

KIND = "render_asset"
QUEUE = "process_asset"
STEP = "render"
LATER = timedelta(hours=1)
"""An outage that took three attempts in half a minute is over by then, or somebody knows of it."""
TOOL_MISSING_DELAY = timedelta(minutes=5)


class Args(BaseModel):
    """The asset to render. ``facts``: read what it is and says again before; ``full``: develop a RAW in full size
    although it carries a picture."""

    asset_id: UUID
    facts: bool = False
    full: bool = False


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


def spec(asset_id: AssetId, owner_id: UserId, *, facts: bool = False, full: bool = False) -> JobSpec:
    """A job that makes the derivatives anew, once however often it is asked for; ``facts`` and ``full`` as in Args."""
    args = Args(asset_id=asset_id, facts=facts, full=full)
    key = ":".join([str(asset_id), *(["facts"] if facts else []), *(["full"] if full else [])])
    return JobSpec(kind=KIND, queue=QUEUE, args=args, key=key, max_attempts=3, owner_id=owner_id)


def later(asset_id: AssetId, owner_id: UserId, *, facts: bool = False) -> JobSpec:
    """The same, when what kept a tool from working may be over: once, and then by hand (it is discarded)."""
    again = spec(asset_id, owner_id, facts=facts)
    return replace(again, priority=Priority.IDLE, run_at=datetime.now(UTC) + LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderAsset:
    """The job kind with what it uses."""

    library: Library
    exiftool: ExifTool
    renderer: Renderer

    async def work(self, job: JobContext, args: Args) -> None:
        """Render one asset. A tool that fails to the last discards the job, so that it can be retried."""
        async with waiting_for_disk(self.library):
            if args.facts:
                await self._read_again(job, AssetId(args.asset_id))
            await render(self.library, self.renderer, AssetId(args.asset_id), full=args.full)

    async def _read_again(self, job: JobContext, asset_id: AssetId) -> None:
        """Detect and read the facts as at the first time; the file stays where its first capture time put it."""
        asset, repository, place = await _original(self.library, asset_id)
        path = await run_blocking(repository.resolve, place.current_path)
        try:
            opening = await look(path)
            reading = await read_file(
                self.exiftool, path, opening, name=asset.file_name, modified=opening.modified, last_try=job.last_attempt
            )
        except ToolMissing as exc:
            raise JobSnoozed(TOOL_MISSING_DELAY, f"waiting for exiftool: {exc}") from exc
        except FileNotFoundError as exc:
            raise OriginalMissing("the file went away while it was read") from exc
        except MediaUnsupported:
            return
        found = {problem.step: problem for problem in reading.problems}
        async with self.library.db.transaction() as tx:
            await facts.set_media_type(tx, asset_id, reading.media_type)
            if FACTS_STEP not in found:
                await self._update(tx, asset_id, reading)
            for step in READING_STEPS:
                if step in found:
                    await problems.record(tx, asset_id, self.library.with_version(found[step]))
                else:
                    await problems.clear(tx, asset_id, step)

    async def _update(self, tx: Tx, asset_id: AssetId, reading: FileReading) -> None:
        """Merge what exiftool says now with the sidecars that there are now, under the lock on the row."""
        known = await facts.get_for_facts(tx, asset_id)
        if known is None:
            raise JobDiscarded("the asset does not exist any more")
        merged = facts_from_exif(
            reading.facts.exif,
            reading.media_type,
            name=known.file_name,
            modified=known.modified,
            sidecars=known.sidecars,
        )
        await facts.update_facts(tx, known, replace(merged, motion=reading.facts.motion))


async def show_given_up(tx: Tx, job: Job) -> None:
    """A job that was given up (it crashed its process, say) becomes a problem of its asset, and nobody asks again.

    What was only to be made better is as good as before.
    """
    args = Args.model_validate(job.args)
    asset_id = AssetId(args.asset_id)
    if not args.full and await assets.get_for_rendering(tx, asset_id) is not None:
        await assets.set_state(tx, asset_id, ProcessingState.PROBLEM)
        await problems.record(tx, asset_id, why_given_up(job, STEP), attempts=job.attempt)


async def render(
    library: Library,
    renderer: Renderer,
    asset_id: AssetId,
    *,
    give_up: JobSpec | None = None,
    full: bool = False,
    attempts: int = 1,
) -> Rendered:
    """Decode in a child, write thumbnails, record them, join what is of the same shot, and order a web version.

    A decoder that fails raises ToolError; with ``give_up`` it becomes a problem instead, and that job tries later. What
    a file that cannot be decoded carries of a picture is shown beside its problem. ``full`` as in Args; when that
    fails, what is there stays. Raises RepositoryOffline, OriginalMissing, DiskFull.
    """
    asset, repository, place = await _original(library, asset_id)
    await join_companions.join_committed(library, asset_id)
    processor = processor_for(asset.media_type)
    if processor is None:
        async with library.db.session() as session:
            await assets.set_state(session, asset_id, ProcessingState.UNSUPPORTED)
        return Rendered(state=ProcessingState.UNSUPPORTED)
    path = await run_blocking(repository.resolve, place.current_path)
    develop = full and asset.media_type.format in RAW_FORMATS
    try:
        chosen = develop_raw_full if develop else processor
        rendition = await renderer.decoders.run(chosen, path, timeout=renderer.timeout)
        rendition = await _with_motion(renderer, path, asset, rendition)
    except (MediaError, ToolError) as exc:
        if develop:
            raise JobDiscarded(str(exc)) from exc
        if exc.retryable and give_up is None:
            raise
        problem = Problem(code=exc.code, step=STEP, reason=str(exc), tool=TOOLS[processor])
        await _show_placeholder(library, renderer, repository, asset, path)
        return await _fail(library, asset_id, problem, give_up if exc.retryable else None, attempts=attempts)
    if rendition.damage is None:
        shown = Rendered(state=ProcessingState.READY)
    else:
        damage = Problem(code=MediaDamaged.code, step=STEP, reason=rendition.damage, tool=TOOLS[processor])
        shown = Rendered(state=ProcessingState.PROBLEM, problem=damage)
    await _keep(library, repository, asset, rendition, shown)
    return shown


async def _show_placeholder(
    library: Library, renderer: Renderer, repository: Repository, asset: RenderingInput, path: Path
) -> None:
    """The small picture within a photo that cannot be decoded, if there is one; RAW has looked for it already."""
    if asset.media_type.kind is not MediaKind.PHOTO or asset.media_type.format in RAW_FORMATS:
        return
    try:
        rendition = await renderer.decoders.run(render_placeholder, path, timeout=renderer.timeout)
    except (MediaError, ToolError) as exc:
        get_log().debug("asset.without_placeholder", asset_id=asset.id, reason=exc)
        return
    if rendition is not None:
        await derivatives.write_thumbnails(repository, asset.content_hash, rendition.thumbnails)
        async with library.db.transaction() as tx:
            await thumbnails.put_thumbnails(tx, asset.id, repository.id, rendition.thumbnails)
            await facts.set_rendition(tx, asset.id, rendition, state=ProcessingState.PROBLEM)


async def _with_motion(renderer: Renderer, path: Path, asset: RenderingInput, rendition: Rendition) -> Rendition:
    """A photo with the streams of the film that it carries; a film that cannot be read takes nothing from the photo."""
    if asset.motion is None:
        return rendition
    try:
        streams = await renderer.decoders.run(probe_motion, path, asset.motion, timeout=renderer.timeout)
    except MediaError as exc:
        get_log().info("asset.motion_unreadable", asset_id=asset.id, reason=exc)
        return rendition
    return replace(rendition, streams=streams)


async def _original(library: Library, asset_id: AssetId) -> tuple[RenderingInput, Repository, locations.Location]:
    """The asset and where its bytes are. Raises JobDiscarded, RepositoryOffline and OriginalMissing."""
    async with library.db.session() as session:
        asset = await assets.get_for_rendering(session, asset_id)
        places = await locations.locations_of(session, asset_id)
    if asset is None:
        raise JobDiscarded("the asset does not exist any more")
    place = await library.present_location(tuple(places), asset.size)
    return asset, library.repository(place.repository_id), place


async def _keep(
    library: Library, repository: Repository, asset: RenderingInput, rendition: Rendition, shown: Rendered
) -> None:
    await derivatives.write_thumbnails(repository, asset.content_hash, rendition.thumbnails)
    needs_web_version = rendition.streams is not None and rendition.streams.playback is not Playback.DIRECT
    async with library.db.transaction() as tx:
        await thumbnails.put_thumbnails(tx, asset.id, repository.id, rendition.thumbnails)
        await facts.set_rendition(tx, asset.id, rendition, state=shown.state)
        await problems.clear(tx, asset.id, GIVEN_UP_STEP)
        if shown.problem is None:
            await problems.clear(tx, asset.id, STEP)
        else:
            await problems.record(tx, asset.id, library.with_version(shown.problem))
        if needs_web_version:
            await store.enqueue(tx, make_web_version.spec(asset.id, asset.owner_id))


async def _fail(
    library: Library, asset_id: AssetId, problem: Problem, again: JobSpec | None, *, attempts: int
) -> Rendered:
    async with library.db.transaction() as tx:
        if again is not None:
            await store.enqueue(tx, again)
        await assets.set_state(tx, asset_id, ProcessingState.PROBLEM)
        await problems.record(tx, asset_id, library.with_version(problem), attempts=attempts)
    metrics.PROBLEMS.labels(problem.code).inc()
    get_log().warning("asset.not_rendered", asset_id=asset_id, code=problem.code, reason=problem.reason)
    return Rendered(state=ProcessingState.PROBLEM, problem=problem)
