"""The flow of a received file: known, on its way already, or a new job. Called by every way in."""

from dataclasses import dataclass
from datetime import datetime

from lumilio.catalog import assets, locations
from lumilio.errors import OriginalMissing
from lumilio.jobs import process_asset
from lumilio.jobs.library import Library
from lumilio.log import get_log
from lumilio.model import AssetId, JobId, UserId
from lumilio.queue import store
from lumilio.storage import staging
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
    """Take responsibility for a staged, fsynced file: on return its job is committed, or its bytes are known."""
    duplicate = await _intact_duplicate(library, staged, owner_id)
    if duplicate is not None:
        await staging.discard(staged)
        return Accepted(asset_id=duplicate.id, trashed=duplicate.trashed)
    args = process_asset.Args(
        upload_id=staged.upload_id,
        repository_id=staged.repository_id,
        owner_id=owner_id,
        content_hash=staged.content_hash,
        file_name=file_name,
        size=staged.size,
        modified=modified,
    )
    async with library.db.transaction() as tx:
        enqueued = await store.enqueue(tx, process_asset.spec(args))
    if enqueued.created:
        library.wake_queue(process_asset.QUEUE)
    else:
        await staging.discard(staged)
    get_log().debug("upload.accepted", job_id=enqueued.job_id, upload_id=staged.upload_id, size=staged.size)
    return Accepted(job_id=enqueued.job_id)


async def _intact_duplicate(library: Library, staged: StagedFile, owner_id: UserId) -> assets.KnownAsset | None:
    """The asset with these bytes, provided that they are really there: otherwise the upload repairs it."""
    async with library.db.session() as session:
        known = await assets.find_by_hash(session, owner_id, staged.content_hash)
        if known is None:
            return None
        places = await locations.locations_of(session, known.id)
    try:
        await library.present_location(tuple(places), staged.size)
    except OriginalMissing:
        get_log().warning("original.missing", asset_id=known.id)
        return None
    return known
