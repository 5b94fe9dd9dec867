"""Shift many capture times, or read them out of the facts again, in batches that a crash neither loses nor repeats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from pydantic import BaseModel

from lumilio.catalog import time_changes
from lumilio.catalog.time_changes import Selection, TimeChange, TimeChangeId
from lumilio.db import Tx
from lumilio.errors import JobDiscarded
from lumilio.jobs.derive_facts import derive
from lumilio.jobs.library import Library
from lumilio.model import AssetId, UserId
from lumilio.queue import store
from lumilio.queue.kinds import JobContext
from lumilio.queue.store import Enqueued, JobSpec

KIND = "change_times"
QUEUE = "times"
"""Of its own: a million assets take hours, which nobody's deleting may wait for."""
MAX_ATTEMPTS = 10
LONGEST = 4 * 3600.0
"""Seconds for one attempt: a million assets whose facts are derived at 100 a second, with room."""
SHIFT_BATCH = 1000
DERIVE_BATCH = 100
"""Assets of one transaction: half a second's work, so that a cancellation need not wait and nobody waits for locks."""


class Args(BaseModel):
    """The change; what it does and how far it came is in its row."""

    change_id: UUID


def spec(change_id: TimeChangeId, owner_id: UserId) -> JobSpec:
    """The one job of a change."""
    args = Args(change_id=change_id)
    return JobSpec(kind=KIND, queue=QUEUE, args=args, key=str(change_id), max_attempts=MAX_ATTEMPTS, owner_id=owner_id)


async def begin(
    tx: Tx, owner_id: UserId, shift: timedelta | None, selection: Selection, *, discard_edits: bool
) -> tuple[TimeChange, Enqueued]:
    """Add a change with its job; announce the queue after the commit."""
    change = await time_changes.add(tx, owner_id, shift, selection, discard_edits=discard_edits)
    return change, await store.enqueue(tx, spec(change.id, owner_id))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeTimes:
    """The job kind with what it uses."""

    library: Library

    async def work(self, job: JobContext, args: Args) -> Mapping[str, object]:
        """Go on where the last attempt stopped. Each batch is a transaction that keeps how far the change came."""
        change_id = TimeChangeId(args.change_id)
        async with self.library.db.transaction() as tx:
            change = await _lock(tx, change_id)
            left = 0 if change.ended_at else await time_changes.count_left(tx, change)
        done = 0
        while change.ended_at is None:
            async with self.library.db.transaction() as tx:
                change = await _lock(tx, change_id)
                if change.ended_at is not None:
                    break
                visited = await _do_batch(tx, change)
                change = await _lock(tx, change_id)
            done += visited
            job.progress(min(1.0, done / max(left, 1)), f"{done} of {max(left, done)} assets")
        return {"changed": change.changed}


async def _lock(tx: Tx, change_id: TimeChangeId) -> TimeChange:
    change = await time_changes.lock(tx, change_id)
    if change is None:
        raise JobDiscarded("the change of times does not exist any more")
    return change


async def _do_batch(tx: Tx, change: TimeChange) -> int:
    """How many assets were visited."""
    limit = DERIVE_BATCH if change.shift is None else SHIFT_BATCH
    batch = await time_changes.next_assets(tx, change, limit)
    if batch:
        if change.shift is None:
            changed = await _derive(tx, batch, discard_edits=change.discard_edits)
        else:
            changed = await time_changes.shift_times(tx, batch, change.shift)
        await time_changes.advance(tx, change.id, batch[-1], changed)
    if len(batch) < limit:
        await time_changes.finish(tx, change.id)
    return len(batch)


async def _derive(tx: Tx, batch: Sequence[AssetId], *, discard_edits: bool) -> int:
    before = await time_changes.captured(tx, batch)
    for asset_id in batch:
        await derive(tx, asset_id, discard_edits=discard_edits)
    after = await time_changes.captured(tx, batch)
    return sum(after[asset_id] != before[asset_id] for asset_id in batch)
