"""The flow of a received file: known, on its way already, or a new job. Called by every way in."""

from dataclasses import dataclass
from datetime import datetime

from lumilio.catalog import assets, locations
from lumilio.errors import LumilioError, RepositoryOffline, StagedFileMissing
from lumilio.jobs import process_asset
from lumilio.jobs.library import Library
from lumilio.log import get_log
from lumilio.model import AssetId, JobId, RepositoryId, UploadId, UserId
from lumilio.queue import store
from lumilio.storage import staging
from lumilio.storage.disk import run_blocking
from lumilio.storage.staging import StagedFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Exactly one of the two is set: the job that processes the file, or the asset that has these bytes already."""

    job_id: JobId | None = None
    asset_id: AssetId | None = None
    trashed: bool = False


async def accept_upload(
    library: Library,
    staged: StagedFile,
    *,
    owner_id: UserId,
    file_name: str,
    modified: datetime | None,
) -> Accepted:
    """Take responsibility for a staged, fsynced file: on return its job is committed, or its bytes are known.

    A failure before that removes the staged file again: its sender was told nothing.
    """
    try:
        duplicate = await _intact_duplicate(library, staged, owner_id)
        args = process_asset.Args(
            upload_id=staged.upload_id,
            repository_id=staged.repository_id,
            owner_id=owner_id,
            content_hash=staged.content_hash,
            file_name=file_name,
            size=staged.size,
            modified=modified,
        )
    except LumilioError:
        await staging.discard(staged)
        raise
    if duplicate is not None:
        await staging.discard(staged)
        return Accepted(asset_id=duplicate.id, trashed=duplicate.trashed)
    async with library.db.transaction() as tx:
        enqueued = await store.enqueue(tx, process_asset.spec(args))
    if not enqueued.created:
        if await _has_its_bytes(library, enqueued.job_id, staged.size):
            await staging.discard(staged)
            return Accepted(job_id=enqueued.job_id)
        async with library.db.transaction() as tx:
            enqueued = await store.enqueue(tx, process_asset.spec(args, alone=True))
    library.wake_queue(process_asset.QUEUE)
    named = await staging.acknowledge(library.repository(staged.repository_id), staged.upload_id)
    if not named and await _intact_duplicate(library, staged, owner_id) is None:
        raise StagedFileMissing("the file went away before its job was known; send it again")
    get_log().debug("upload.accepted", job_id=enqueued.job_id, upload_id=staged.upload_id, size=staged.size)
    return Accepted(job_id=enqueued.job_id)


async def _has_its_bytes(library: Library, job_id: JobId, size: int) -> bool:
    """Whether the job that works on the same bytes has them at hand: only then a second copy may go."""
    async with library.db.session() as session:
        job = await store.get_job(session, job_id)
    if job is None:
        return False
    args = process_asset.Args.model_validate(job.args)

    try:
        repository = library.repository(RepositoryId(args.repository_id))
        return await run_blocking(staging.holds_upload, repository, UploadId(args.upload_id), size)
    except (RepositoryOffline, OSError):
        return False


async def _intact_duplicate(library: Library, staged: StagedFile, owner_id: UserId) -> assets.KnownAsset | None:
    """The asset with these bytes, provided that they are really there: otherwise the upload repairs it."""
    async with library.db.session() as session:
        known = await assets.find_by_hash(session, owner_id, staged.content_hash)
        if known is None:
            return None
        places = await locations.locations_of(session, known.id)
    lost = await library.lost_locations(places, staged.size, staged.content_hash)
    if len(lost) < len(places):
        return known
    get_log().warning("original.missing", asset_id=known.id)
    return None
