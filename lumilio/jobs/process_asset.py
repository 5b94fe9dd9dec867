"""From staged bytes to a processed asset: the story of every incoming file, top to bottom.

Each step may be repeated after a crash: the staged file stays until the asset's row is committed, and a target that an
earlier attempt linked is recognised.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from lumilio import metrics
from lumilio.catalog import assets, locations, problems
from lumilio.catalog.assets import KnownAsset, NewAsset
from lumilio.catalog.locations import Location
from lumilio.db import Tx
from lumilio.errors import (
    DatabaseUnavailable,
    JobDiscarded,
    JobSnoozed,
    MediaUnsupported,
    StagedFileMissing,
    ToolError,
    ToolMissing,
)
from lumilio.jobs import render_asset, settle_trash
from lumilio.jobs.given_up import GIVEN_UP_STEP, why_given_up
from lumilio.jobs.library import Library, waiting_for_disk
from lumilio.jobs.read_facts import FACTS_STEP, READING_STEPS, FileReading, look, read_file
from lumilio.jobs.render_asset import TOOL_MISSING_DELAY, Renderer, render
from lumilio.log import bind_context, get_log
from lumilio.model import (
    AssetId,
    ContentHash,
    DuplicateNames,
    Problem,
    ProcessingState,
    RepositoryId,
    UploadId,
    UserId,
)
from lumilio.queue import store
from lumilio.queue.kinds import JobContext
from lumilio.queue.store import Job, JobSpec
from lumilio.storage import commit, quarantine, staging
from lumilio.storage.commit import Committed
from lumilio.storage.disk import run_blocking
from lumilio.storage.repository import Repository
from lumilio.storage.strategies import STRATEGIES
from lumilio.tools.exiftool import ExifTool

KIND = "process_asset"
QUEUE = "process_asset"
MAX_ATTEMPTS = 10
"""Some four hours of a failing disk or database, or ten crashes in a row: none of that is the file's fault."""
TOOL_ATTEMPTS = 3
"""After so many attempts a tool that fails on the file is believed, and the failure shown as a problem."""


class Args(BaseModel):
    """What the job row carries; the bytes wait in staging under ``upload_id``."""

    upload_id: UUID
    repository_id: UUID
    owner_id: UUID
    content_hash: str
    file_name: str
    size: int
    modified: AwareDatetime | None = None


class StepProblem(BaseModel):
    """A step that failed although the asset is stored."""

    step: str
    code: str
    reason: str


class Outcome(BaseModel):
    """The job's result: what clients learn from its task."""

    asset_id: UUID
    asset_state: ProcessingState
    duplicate: bool = False
    problem: StepProblem | None = None


def key(owner_id: UserId, content_hash: ContentHash) -> str:
    """What makes the job of an upload unique while it is not final."""
    return f"{owner_id}:{content_hash}"


def spec(args: Args, *, alone: bool = False) -> JobSpec:
    """The job of an upload: one at a time for the same bytes of one owner.

    ``alone``: another job for them lives, but has lost its own copy; this one is unique by its upload.
    """
    unique = key(UserId(args.owner_id), ContentHash(args.content_hash))
    return JobSpec(
        kind=KIND,
        queue=QUEUE,
        args=args,
        key=f"{unique}:{args.upload_id}" if alone else unique,
        max_attempts=MAX_ATTEMPTS,
        owner_id=UserId(args.owner_id),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessAsset:
    """The job kind with what it uses."""

    library: Library
    exiftool: ExifTool
    renderer: Renderer

    async def work(self, job: JobContext, args: Args) -> Mapping[str, object]:
        """Store, then render. Waits (snoozes) for a disk that is offline or full and for a missing tool."""
        bind_context(upload_id=args.upload_id)
        async with waiting_for_disk(self.library, RepositoryId(args.repository_id)):
            outcome = await self._process(job, args)
        return outcome.model_dump(mode="json")

    async def _process(self, job: JobContext, args: Args) -> Outcome:
        repository = self.library.repository(RepositoryId(args.repository_id))
        if not await staging.acknowledge(repository, UploadId(args.upload_id)):
            await quarantine.take_back(
                repository, UploadId(args.upload_id), content_hash=ContentHash(args.content_hash), size=args.size
            )
        stored, lost = await self._stored(args)
        problem: Problem | None = None
        if stored is None:
            try:
                asset_id, problem = await self._store(job, args, repository, lost)
            except StagedFileMissing as exc:
                stored, _ = await self._stored(args)  # a frozen attempt that came back to life may have been quicker
                if stored is None:
                    raise JobDiscarded(str(exc)) from exc
        if stored is not None:
            asset_id = stored.id
        await staging.discard_upload(repository, UploadId(args.upload_id))
        if stored is not None and stored.state is ProcessingState.PROBLEM:  # given up before; somebody retries
            async with self.library.db.session() as session:
                await problems.clear(session, asset_id, GIVEN_UP_STEP)
        elif stored is not None and stored.state is not ProcessingState.STORED:
            return Outcome(asset_id=asset_id, asset_state=stored.state, duplicate=True)
        later = render_asset.later(asset_id, UserId(args.owner_id)) if _is_last_for_tools(job) else None
        rendered = await render(self.library, self.renderer, asset_id, give_up=later, attempts=job.attempt)
        if stored is not None:  # an earlier attempt stored it, and may have met a problem
            async with self.library.db.session() as session:
                problem = next(iter(await problems.of_asset(session, asset_id)), None)
        shown = rendered.problem or problem
        return Outcome(
            asset_id=asset_id,
            asset_state=rendered.state,
            problem=StepProblem(step=shown.step, code=shown.code, reason=shown.reason) if shown else None,
        )

    async def _stored(self, args: Args) -> tuple[KnownAsset | None, Sequence[Location]]:
        """The asset with these bytes, if they are there, and its locations that have lost them.

        An asset whose locations are all lost counts as not stored: storing it again repairs it.
        """
        content_hash = ContentHash(args.content_hash)
        async with self.library.db.session() as session:
            known = await assets.find_by_hash(session, UserId(args.owner_id), content_hash)
            places = await locations.locations_of(session, known.id) if known is not None else ()
        lost = await self.library.lost_locations(places, args.size, content_hash)
        return (known if len(lost) < len(places) else None), lost

    async def _store(
        self, job: JobContext, args: Args, repository: Repository, lost: Sequence[Location]
    ) -> tuple[AssetId, Problem | None]:
        reading = await self._read_facts(job, args, repository)
        captured = reading.facts.capture_time
        content_hash = ContentHash(args.content_hash)
        asset = NewAsset(
            owner_id=UserId(args.owner_id),
            content_hash=content_hash,
            file_name=args.file_name,
            size=args.size,
            media_type=reading.media_type,
            state=ProcessingState.STORED,
            facts=reading.facts,
        )
        policy = repository.config.duplicate_names
        wanted = STRATEGIES[repository.config.strategy](
            name=args.file_name, content_hash=content_hash, captured=captured.local
        )
        async with AsyncExitStack() as stack:
            if policy is DuplicateNames.OVERWRITE:
                await stack.enter_async_context(self.library.names_locked(repository))
            committed = await commit.commit(
                repository,
                staging.staged_path(repository, UploadId(args.upload_id)),
                wanted,
                policy=policy,
                content_hash=content_hash,
                size=args.size,
                modified_ns=_nanoseconds(args.modified) if args.modified else None,
            )
            asset_id = await self._record(asset, repository, committed, lost, reading.problems)
        return asset_id, next(iter(reading.problems), None)

    async def _record(
        self,
        asset: NewAsset,
        repository: Repository,
        committed: Committed,
        lost: Sequence[Location],
        found: Sequence[Problem],
    ) -> AssetId:
        """One transaction: the asset, unless it is known, its location, and what made room for it.

        A file that lies at a lost location with other bytes by now stays where it is: somebody may have edited it.
        """
        async with self.library.db.transaction() as tx:
            if committed.displaced is not None:
                moved = committed.displaced
                await locations.displace(tx, repository.id, moved.path, moved.trashed, asset.content_hash)
            for place in lost:
                await locations.forget(tx, place)
            asset_id = await assets.add_asset(tx, asset)
            if asset_id is None:
                known = await assets.find_by_hash(tx, asset.owner_id, asset.content_hash)
                if known is None:
                    raise DatabaseUnavailable("an asset with these bytes went away in the meantime; try again")
                asset_id = known.id
                for step in (GIVEN_UP_STEP, *READING_STEPS):
                    await problems.clear(tx, asset_id, step)
                if known.trashed:  # what repairs an asset in the trash belongs there too
                    await store.enqueue(tx, settle_trash.spec(asset_id, asset.owner_id))
            else:
                metrics.ASSETS_COMMITTED.labels(asset.media_type.kind).inc()
            await locations.add_location(tx, asset_id, repository.id, committed)
            for problem in found:
                await problems.record(tx, asset_id, self.library.with_version(problem))
                if problem.step == FACTS_STEP and problem.code.startswith("tool."):
                    await store.enqueue(tx, render_asset.later(asset_id, asset.owner_id, facts=True))
        get_log().debug("asset.committed", asset_id=asset_id, path=committed.path)
        return asset_id

    async def _read_facts(self, job: JobContext, args: Args, repository: Repository) -> FileReading:
        """What the staged file is and says. A file that exiftool cannot read is kept without facts, with a problem."""
        staged = staging.staged_path(repository, UploadId(args.upload_id))
        try:
            opening = await look(staged)
        except FileNotFoundError as exc:
            await run_blocking(repository.check_online)
            raise StagedFileMissing("the staged file is gone; upload it again") from exc
        if opening.size != args.size:
            reason = f"the staged file has {opening.size} bytes instead of {args.size}"
            await quarantine.quarantine(repository, UploadId(args.upload_id), reason)
            raise JobDiscarded(f"{reason}; it lies in .lumilio/staging/failed; upload it again")
        modified = args.modified or opening.modified
        last = _is_last_for_tools(job) and await run_blocking(staged.exists)
        try:
            return await read_file(
                self.exiftool, staged, opening, name=args.file_name, modified=modified, last_try=last
            )
        except ToolMissing as exc:
            raise JobSnoozed(TOOL_MISSING_DELAY, f"waiting for exiftool: {exc}") from exc
        except MediaUnsupported as exc:
            await quarantine.quarantine(repository, UploadId(args.upload_id), str(exc))
            raise JobDiscarded(f"{exc}; it lies in .lumilio/staging/failed") from exc
        except (ToolError, FileNotFoundError) as exc:
            if not await run_blocking(staged.exists):
                await run_blocking(repository.check_online)
                raise StagedFileMissing("the staged file went away while it was read; upload it again") from exc
            raise


def _is_last_for_tools(job: JobContext) -> bool:
    """A retried job has a whole round of attempts more, and so have its tools."""
    earlier = job.max_attempts - MAX_ATTEMPTS
    return job.attempt - earlier >= TOOL_ATTEMPTS


def _nanoseconds(moment: datetime) -> int:
    """Since 1970; in integers, since a float of this size has lost what is under a microsecond and more."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000


async def show_given_up(tx: Tx, job: Job) -> None:
    """A job that was given up, and whose asset is stored, becomes a problem beside that asset.

    Without an asset the staged bytes stay, for the sweep to set aside; the task tells why.
    """
    args = Args.model_validate(job.args)
    known = await assets.find_by_hash(tx, UserId(args.owner_id), ContentHash(args.content_hash))
    if known is None or known.state is not ProcessingState.STORED:
        return
    await assets.set_state(tx, known.id, ProcessingState.PROBLEM)
    await problems.record(tx, known.id, why_given_up(job, GIVEN_UP_STEP), attempts=job.attempt)
