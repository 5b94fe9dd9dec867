"""Make an asset's files agree with its row: into the trash, or back out of it.

The API only changes ``trashed_at``; this flow moves files until they agree, however delete and restore interleave.
"""

from dataclasses import dataclass
from uuid import UUID

from pydantic import BaseModel

from lumilio.catalog import assets, locations
from lumilio.catalog.locations import Location
from lumilio.errors import OriginalMissing
from lumilio.jobs.library import Library, in_inbox, waiting_for_disk
from lumilio.log import get_log
from lumilio.model import AssetId, ContentHash, LocationId, LocationState, UserId
from lumilio.queue.kinds import JobContext
from lumilio.queue.store import JobSpec
from lumilio.storage import trash

KIND = "settle_trash"
QUEUE = "files"


class Args(BaseModel):
    """The asset that was trashed or restored."""

    asset_id: UUID


def spec(asset_id: AssetId, owner_id: UserId) -> JobSpec:
    """Not unique: a job that has looked already must not swallow a later change."""
    return JobSpec(kind=KIND, queue=QUEUE, args=Args(asset_id=asset_id), max_attempts=10, owner_id=owner_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettleTrash:
    """The job kind with what it uses."""

    library: Library

    async def work(self, _job: JobContext, args: Args) -> None:
        """Move files until they are where the row wants them. User space is never touched: there the row is enough."""
        asset_id = AssetId(args.asset_id)
        missing: set[LocationId] = set()
        while True:
            async with self.library.db.session() as session:
                asset = await assets.get_for_rendering(session, asset_id)
                wanted = LocationState.TRASHED if await assets.is_trashed(session, asset_id) else LocationState.PRESENT
                places = await locations.locations_of(session, asset_id)
            misplaced = [place for place in places if place.state is not wanted and in_inbox(place.path)]
            if asset is None or all(place.id in missing for place in misplaced):
                return
            for place in misplaced:
                try:
                    await self._move(place, asset.content_hash)
                except OriginalMissing as exc:
                    missing.add(place.id)
                    get_log().warning("original.missing", asset_id=asset_id, path=place.current_path, error=exc)

    async def _move(self, place: Location, content_hash: ContentHash) -> None:
        """Under the lock the row is read again: another job of this asset may have moved the file since."""
        async with waiting_for_disk(self.library, place.repository_id):
            repository = self.library.repository(place.repository_id)
            async with self.library.names_locked(repository):
                async with self.library.db.session() as session:
                    if place not in await locations.locations_of(session, place.asset_id):
                        return
                if place.state is LocationState.PRESENT:
                    trash_path = await trash.move_to_trash(repository, place.path, place.id)
                    async with self.library.db.transaction() as tx:
                        await locations.mark_trashed(tx, place, trash_path)
                else:
                    restored = await trash.restore(repository, place.current_path, content_hash=content_hash)
                    async with self.library.db.transaction() as tx:
                        await locations.mark_restored(tx, place, restored)
