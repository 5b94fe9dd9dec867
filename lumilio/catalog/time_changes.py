"""Bulk changes of capture times: which assets, by how much, and how far each change came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NewType
from uuid import UUID

from lumilio.db import Row, Tx
from lumilio.model import AssetId, MediaKind, UserId

TimeChangeId = NewType("TimeChangeId", UUID)

_LIKE = str.maketrans({"\\": r"\\", "%": r"\%", "_": r"\_", "*": "%", "?": "_"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which assets outside the trash: all that fit everything that is given; None: any.

    ``ids`` stands for all files of the same shots, whichever of them it names. The times are wall clocks, naive,
    ``captured_to`` not included.
    In ``make``, ``model`` and ``file_name``, ``*`` and ``?`` stand for any characters and any one; case is ignored.
    """

    ids: tuple[AssetId, ...] | None = None
    captured_from: datetime | None = None
    captured_to: datetime | None = None
    kind: MediaKind | None = None
    make: str | None = None
    model: str | None = None
    file_name: str | None = None

    def arguments(self) -> tuple[object, ...]:
        """As the queries take them."""
        patterns = (None if text is None else text.translate(_LIKE) for text in (self.make, self.model, self.file_name))
        return self.ids, self.captured_from, self.captured_to, self.kind, *patterns

    def document(self) -> dict[str, object]:
        """As JSON; what is not given is left out."""
        members = {
            "ids": None if self.ids is None else [str(asset_id) for asset_id in self.ids],
            "captured_from": self.captured_from.isoformat() if self.captured_from else None,
            "captured_to": self.captured_to.isoformat() if self.captured_to else None,
            "kind": self.kind.value if self.kind else None,
            "make": self.make,
            "model": self.model,
            "file_name": self.file_name,
        }
        return {key: value for key, value in members.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeChange:
    """One change. ``shift`` None: the times are read out of the facts again, also those that people set when
    ``discard_edits``.

    Assets up to ``done_up_to`` are done, and ``changed`` of them had another time before; ``ended_at`` is None until
    all are.
    """

    id: TimeChangeId
    owner_id: UserId
    shift: timedelta | None
    discard_edits: bool
    selection: Selection
    done_up_to: AssetId | None
    changed: int
    created_at: datetime
    ended_at: datetime | None


async def add(
    tx: Tx, owner_id: UserId, shift: timedelta | None, selection: Selection, *, discard_edits: bool = False
) -> TimeChange:
    """A change that is to be done; ``shift`` is whole seconds."""
    seconds = None if shift is None else shift // timedelta(seconds=1)
    document = {**selection.document(), "discard_edits": discard_edits}
    (row,) = await tx.rows("time_changes.add", owner_id, seconds, document)
    return _change(row)


async def list_changes(
    tx: Tx, owner_id: UserId, *, only: TimeChangeId | None = None, before: TimeChangeId | None = None, limit: int
) -> Sequence[TimeChange]:
    """The owner's changes, the newest first: one alone, or those that are older than ``before``."""
    return [_change(row) for row in await tx.rows("time_changes.page", owner_id, only, before, limit)]


async def lock(tx: Tx, change_id: TimeChangeId) -> TimeChange | None:
    """The change, for this transaction alone: two attempts at it never do the same assets."""
    row = await tx.row("time_changes.lock", change_id)
    return None if row is None else _change(row)


async def count_selected(tx: Tx, owner_id: UserId, selection: Selection) -> int:
    """How many assets fit now."""
    return int(await tx.value("time_changes.count", owner_id, UUID(int=0), None, *selection.arguments()))


async def count_left(tx: Tx, change: TimeChange) -> int:
    """How many assets a change has still to visit."""
    return int(await tx.value("time_changes.count", *_where(change)))


async def next_assets(tx: Tx, change: TimeChange, limit: int) -> Sequence[AssetId]:
    """The next assets that a change visits, in its order, locked. What came after the change is none of its."""
    return [AssetId(row["id"]) for row in await tx.rows("time_changes.next_ids", *_where(change), limit)]


async def shift_times(tx: Tx, asset_ids: Sequence[AssetId], shift: timedelta) -> int:
    """Move the wall clocks by whole seconds, as a person's word; the distance from UTC stays. How many moved.

    Those that would leave the years 1 to 9999 stay where they are.
    """
    return await tx.execute("time_changes.shift", asset_ids, shift // timedelta(seconds=1))


async def captured(tx: Tx, asset_ids: Sequence[AssetId]) -> Mapping[AssetId, tuple[object, ...]]:
    """What tells one capture time from another, by asset."""
    rows = await tx.rows("time_changes.captured", asset_ids)
    return {AssetId(row["id"]): (row["captured_local"], row["captured_offset"], row["captured_source"]) for row in rows}


async def advance(tx: Tx, change_id: TimeChangeId, done_up_to: AssetId, changed: int) -> None:
    """Assets up to this one are done, ``changed`` more of them changed."""
    await tx.execute("time_changes.advance", change_id, done_up_to, changed)


async def finish(tx: Tx, change_id: TimeChangeId) -> None:
    """All assets are done."""
    await tx.execute("time_changes.finish", change_id)


def _where(change: TimeChange) -> tuple[object, ...]:
    return change.owner_id, change.done_up_to or UUID(int=0), change.created_at, *change.selection.arguments()


def _change(row: Row) -> TimeChange:
    document: Mapping[str, Any] = row["selection"]
    return TimeChange(
        id=TimeChangeId(row["id"]),
        owner_id=UserId(row["owner_id"]),
        shift=None if row["seconds"] is None else timedelta(seconds=row["seconds"]),
        discard_edits=bool(document.get("discard_edits")),
        selection=_selection(document),
        done_up_to=None if row["done_up_to"] is None else AssetId(row["done_up_to"]),
        changed=row["changed"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
    )


def _selection(document: Mapping[str, Any]) -> Selection:
    ids, first, last = document.get("ids"), document.get("captured_from"), document.get("captured_to")
    return Selection(
        ids=None if ids is None else tuple(AssetId(UUID(asset_id)) for asset_id in ids),
        captured_from=None if first is None else datetime.fromisoformat(first),
        captured_to=None if last is None else datetime.fromisoformat(last),
        kind=MediaKind(document["kind"]) if document.get("kind") else None,
        make=document.get("make"),
        model=document.get("model"),
        file_name=document.get("file_name"),
    )
