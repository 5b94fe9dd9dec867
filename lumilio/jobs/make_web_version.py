"""Make what browsers play where they cannot play the original: another container, or other codecs.

Idle work of its own queue, because it takes from seconds to hours: a recording that somebody wants to watch now is
moved to the front. The original is never touched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from pydantic import BaseModel

from lumilio.catalog import assets, locations, problems, web_versions
from lumilio.catalog.assets import RenderingInput
from lumilio.db import Tx
from lumilio.errors import DiskFull, JobDiscarded, JobSnoozed, MediaError, ToolError
from lumilio.jobs.given_up import why_given_up
from lumilio.jobs.library import Library, waiting_for_disk
from lumilio.log import get_log
from lumilio.media.web_version import WebVersion, WebWish, make_web_version
from lumilio.model import AssetId, Playback, Problem, UserId
from lumilio.queue.kinds import JobContext
from lumilio.queue.policy import Priority
from lumilio.queue.store import Job, JobSpec
from lumilio.storage import derivatives
from lumilio.storage.disk import run_blocking
from lumilio.storage.repository import Repository
from lumilio.tools.decoders import DecoderPool

KIND = "make_web_version"
QUEUE = "web_versions"
NOW_QUEUE = "web_versions_now"
"""For those that somebody waits for: a film of three hours that nobody waits for must not be in their way."""
STEP = "web_version"
MAX_ATTEMPTS = 3
DISK_FULL_DELAY = timedelta(hours=1)
LONGEST = 24 * 3600.0
"""Seconds for one recording: three hours of film on a processor that needs eight times as long."""


class Args(BaseModel):
    """The recording, or the photo whose motion video is meant."""

    asset_id: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """The encoder children, the encoder that they use and how many threads each has. ``reserve_bytes`` stay free on
    the disk that they write to."""

    children: DecoderPool
    encoder: str
    threads: int
    reserve_bytes: int


def spec(asset_id: AssetId, owner_id: UserId, *, urgent: bool = False) -> JobSpec:
    """A job that makes the web version, once however often it is asked for."""
    return JobSpec(
        kind=KIND,
        queue=NOW_QUEUE if urgent else QUEUE,
        args=Args(asset_id=asset_id),
        key=str(asset_id),
        max_attempts=MAX_ATTEMPTS,
        owner_id=owner_id,
        priority=Priority.INTERACTIVE if urgent else Priority.IDLE,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeWebVersion:
    """The job kind with what it uses."""

    library: Library
    encoder: Encoder

    async def work(self, job: JobContext, args: Args) -> Mapping[str, object]:
        """Make and record one web version, with progress; cancelling kills the encoder and leaves nothing.

        A full disk is asked again after an hour, not sooner: each time costs the encoding up to there.
        """
        async with waiting_for_disk(self.library):
            try:
                return await self._make(job, AssetId(args.asset_id))
            except DiskFull as exc:
                raise JobSnoozed(DISK_FULL_DELAY, str(exc)) from exc

    async def _make(self, job: JobContext, asset_id: AssetId) -> Mapping[str, object]:
        async with self.library.db.session() as session:
            asset = await assets.get_for_rendering(session, asset_id)
            places = await locations.locations_of(session, asset_id)
        if asset is None:
            raise JobDiscarded("the asset does not exist any more")
        wish = self._wish(asset)
        if wish is None or await self._is_made(asset):
            async with self.library.db.session() as session:
                await problems.clear(session, asset_id, STEP)
            return {"needed": False}
        place = await self.library.present_location(tuple(places), asset.size)
        repository = self.library.repository(place.repository_id)
        path = await run_blocking(repository.resolve, place.current_path)
        length = asset.motion.bytes if asset.motion else asset.size
        target = await derivatives.new_target(repository, room=length + self.encoder.reserve_bytes)
        try:
            made = await self._encode(job, path, target, wish)
            await self._keep(asset, repository, target, made)
        except (MediaError, ToolError) as exc:
            if exc.retryable and not job.last_attempt:
                raise
            await self._fail(asset_id, exc)
            raise JobDiscarded(str(exc)) from exc
        finally:
            await derivatives.discard_target(target)
        return {"needed": True, "made_by": made.made_by, "encoder": made.encoder}

    async def _is_made(self, asset: RenderingInput) -> bool:
        """Whether a whole web version is there: an asset that is rendered anew does not need another one."""
        async with self.library.db.session() as session:
            row = await web_versions.find_web_version(session, asset.id)
        if row is None:
            return False
        repository = self.library.repository(row.repository_id)
        await run_blocking(repository.check_online)
        path = derivatives.web_version_path(repository, asset.content_hash, row.mime)
        return await derivatives.is_whole(path, row.bytes)

    def _wish(self, asset: RenderingInput) -> WebWish | None:
        """None where a browser plays what is there."""
        if asset.playback is None or asset.playback is Playback.DIRECT:
            return None
        return WebWish(
            playback=asset.playback,
            encoder=self.encoder.encoder,
            threads=self.encoder.threads,
            window=(asset.motion.offset, asset.motion.bytes) if asset.motion else None,
        )

    async def _encode(self, job: JobContext, path: Path, target: Path, wish: WebWish) -> WebVersion:
        return await self.encoder.children.run(
            make_web_version, path, target, wish, timeout=LONGEST, target=target, on_progress=job.progress
        )

    async def _keep(self, asset: RenderingInput, repository: Repository, target: Path, made: WebVersion) -> None:
        path = derivatives.web_version_path(repository, asset.content_hash, made.mime)
        length = await derivatives.keep_target(repository, target, path)
        async with self.library.db.transaction() as tx:
            await web_versions.put_web_version(
                tx,
                asset.id,
                repository.id,
                mime=made.mime,
                made_by=made.made_by,
                encoder=made.encoder,
                size=(made.width, made.height),
                length=length,
            )
            await problems.clear(tx, asset.id, STEP)

    async def _fail(self, asset_id: AssetId, error: MediaError | ToolError) -> None:
        """Show why, and that there is none: an earlier one is lost, else nobody had come here."""
        problem = Problem(code=error.code, step=STEP, reason=str(error), tool="ffmpeg")
        async with self.library.db.transaction() as tx:
            await web_versions.forget_web_version(tx, asset_id)
            await problems.record(tx, asset_id, self.library.with_version(problem))
        get_log().warning("asset.not_playable", asset_id=asset_id, code=error.code, reason=error)


async def show_given_up(tx: Tx, job: Job) -> None:
    """A job that was given up otherwise than by its own word (cancelled, crashed) becomes a problem of its asset."""
    asset_id = AssetId(Args.model_validate(job.args).asset_id)
    if await assets.get_for_rendering(tx, asset_id) is not None:
        known = {problem.step for problem in await problems.of_asset(tx, asset_id)}
        if STEP not in known:
            await problems.record(tx, asset_id, replace(why_given_up(job, STEP), tool="ffmpeg"), attempts=job.attempt)
