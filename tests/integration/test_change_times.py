"""Shifting and reading again many capture times: every asset once, whatever interrupts the work."""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from lumilio.catalog import assets, companions, time_changes, users
from lumilio.catalog.assets import NewAsset
from lumilio.catalog.time_changes import Selection, TimeChange, TimeChangeId
from lumilio.db import Database, Tx
from lumilio.errors import JobDiscarded
from lumilio.jobs import change_times
from lumilio.jobs.change_times import Args, ChangeTimes
from lumilio.jobs.library import Library
from lumilio.model import (
    AssetId,
    CaptureTime,
    CaptureTimeSource,
    CompanionRole,
    ContentHash,
    Facts,
    JobId,
    MediaKind,
    MediaType,
    ProcessingState,
    Role,
    UserId,
)
from lumilio.queue.kinds import JobContext

JPEG = MediaType(kind=MediaKind.PHOTO, format="jpeg", mime="image/jpeg")
MP4 = MediaType(kind=MediaKind.VIDEO, format="mp4", mime="video/mp4")
NOON = datetime(2024, 5, 1, 12, 0, 0, 123456)  # noqa: DTZ001 - a wall clock
HOUR = timedelta(hours=1)
ALL = Selection()
Time = tuple[object, ...]


async def user(tx: Tx, name: str = "anna") -> UserId:
    return await users.add_user(tx, name, "hash", Role.USER)


async def asset(
    tx: Tx,
    owner_id: UserId,
    local: datetime = NOON,
    *,
    name: str = "photo.jpg",
    media_type: MediaType = JPEG,
    make: str | None = None,
    model: str | None = None,
    exif: dict[str, object] | None = None,
) -> AssetId:
    captured = CaptureTime(local=local, utc_offset=timedelta(hours=2), source=CaptureTimeSource.EXIF)
    new = NewAsset(
        owner_id=owner_id,
        content_hash=ContentHash(uuid.uuid4().hex * 2),
        file_name=name,
        size=5,
        media_type=media_type,
        state=ProcessingState.READY,
        facts=Facts(media_type=media_type, make=make, model=model, capture_time=captured, exif=exif or {}),
    )
    asset_id = await assets.add_asset(tx, new)
    assert asset_id is not None
    return asset_id


async def times(db: Database, *asset_ids: AssetId) -> Sequence[Time]:
    async with db.session() as session:
        found = await time_changes.captured(session, asset_ids)
    return [found[asset_id] for asset_id in asset_ids]


async def begun(
    db: Database, owner_id: UserId, shift: timedelta | None, selection: Selection = ALL, *, discard_edits: bool = False
) -> TimeChangeId:
    async with db.transaction() as tx:
        change, job = await change_times.begin(tx, owner_id, shift, selection, discard_edits=discard_edits)
    assert job.created
    return change.id


async def run(db: Database, change_id: TimeChangeId, told: list[float | None] | None = None) -> Any:
    """One attempt."""

    def report(_job_id: JobId, _attempt: int, fraction: float | None, _message: str | None) -> None:
        if told is not None:
            told.append(fraction)

    library = Library(db=db, repositories={}, wake_queue=lambda _queue: None)
    job = JobContext(job_id=JobId(1), attempt=1, max_attempts=3, owner_id=None, report=report)
    return await ChangeTimes(library=library).work(job, Args(change_id=change_id))


async def the(db: Database, owner_id: UserId, change_id: TimeChangeId) -> TimeChange:
    async with db.session() as session:
        (found,) = await time_changes.list_changes(session, owner_id, only=change_id, limit=1)
    return found


async def test_a_shift_moves_the_clock_and_nothing_else(database: Database) -> None:
    async with database.session() as session:
        owner_id = await user(session)
        asset_id = await asset(session, owner_id)
    shift = timedelta(days=-1, hours=2, seconds=3)
    change_id = await begun(database, owner_id, shift)
    assert (await the(database, owner_id, change_id)).ended_at is None
    assert await run(database, change_id) == {"changed": 1}
    assert await times(database, asset_id) == [(NOON + shift, 7200, "user")]
    change = await the(database, owner_id, change_id)
    assert (change.shift, change.changed, change.done_up_to) == (shift, 1, asset_id)
    assert change.ended_at is not None
    assert await run(database, change_id) == {"changed": 1}
    assert await times(database, asset_id) == [(NOON + shift, 7200, "user")]


async def test_shifting_back_restores_every_time(database: Database) -> None:
    async with database.session() as session:
        owner_id = await user(session)
        made = [await asset(session, owner_id, NOON + n * HOUR) for n in range(5)]
    window = Selection(captured_from=NOON, captured_to=NOON + 3 * HOUR)
    await run(database, await begun(database, owner_id, 2 * HOUR, window))
    assert [time[0] for time in await times(database, *made)] == [NOON + n * HOUR for n in (2, 3, 4, 3, 4)]
    named = Selection(ids=tuple(made[:3]))
    await run(database, await begun(database, owner_id, -2 * HOUR, named))
    assert [time[0] for time in await times(database, *made)] == [NOON + n * HOUR for n in range(5)]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, "abcd"),
        ({"captured_from": NOON}, "abcd"),
        ({"captured_from": NOON + HOUR}, "bcd"),
        ({"captured_to": NOON + HOUR}, "a"),
        ({"kind": MediaKind.VIDEO}, "d"),
        ({"make": "nikon"}, "b"),
        ({"make": "nikon*"}, "ab"),
        ({"make": "*", "model": "z ?"}, "a"),
        ({"file_name": "IMG_000?.JPG"}, "ac"),
        ({"file_name": "100%.jpg"}, "b"),
        ({"file_name": "*%*"}, "b"),
        ({"file_name": "img\\_0001.jpg"}, ""),
        ({"make": "nikon*", "captured_from": NOON + HOUR}, "b"),
    ],
)
async def test_a_selection_is_all_that_fits_everything(database: Database, wanted: dict[str, Any], found: str) -> None:
    async with database.session() as session:
        owner_id, stranger = await user(session), await user(session, "boris")
        made = {
            "a": await asset(session, owner_id, name="IMG_0001.jpg", make="NIKON CORPORATION", model="Z 6"),
            "b": await asset(session, owner_id, NOON + HOUR, name="100%.jpg", make="Nikon", model="Z 50"),
            "c": await asset(session, owner_id, NOON + 2 * HOUR, name="img_0002.jpg"),
            "d": await asset(session, owner_id, NOON + 3 * HOUR, name="imgx0001.jpg.mp4", media_type=MP4),
        }
        await asset(session, stranger, name="IMG_0001.jpg")
        trashed = await asset(session, owner_id)
        await assets.set_trashed(session, trashed, owner_id)
        selection = Selection(**wanted)
        assert await time_changes.count_selected(session, owner_id, selection) == len(found)
    change_id = await begun(database, owner_id, 100 * HOUR, selection)
    assert (await the(database, owner_id, change_id)).selection == selection
    assert await run(database, change_id) == {"changed": len(found)}
    shifted = {name for name, asset_id in made.items() if (await times(database, asset_id))[0][2] == "user"}
    assert shifted == set(found)


@pytest.mark.parametrize("which", ["primary", "raw", "film"])
async def test_naming_any_file_of_a_shot_means_the_whole_shot(database: Database, which: str) -> None:
    async with database.session() as session:
        owner_id, stranger = await user(session), await user(session, "boris")
        shot = {name: await asset(session, owner_id) for name in ("primary", "raw", "film")}
        other, theirs = await asset(session, owner_id), await asset(session, stranger)
        for name, role in (("raw", CompanionRole.RAW), ("film", CompanionRole.LIVE_VIDEO)):
            assert await companions.join(session, shot[name], shot["primary"], role)
    named = Selection(ids=(shot[which], theirs, AssetId(uuid.uuid4())))
    async with database.session() as session:
        assert await time_changes.count_selected(session, owner_id, named) == 3
    assert await run(database, await begun(database, owner_id, HOUR, named)) == {"changed": 3}
    shifted = [time[2] for time in await times(database, *shot.values(), other, theirs)]
    assert shifted == ["user", "user", "user", "exif", "exif"]


async def test_what_comes_after_the_change_is_none_of_its(database: Database) -> None:
    async with database.session() as session:
        owner_id = await user(session)
        before = await asset(session, owner_id)
    change_id = await begun(database, owner_id, HOUR)
    async with database.session() as session:
        after = await asset(session, owner_id)
    assert await run(database, change_id) == {"changed": 1}
    assert [time[2] for time in await times(database, before, after)] == ["user", "exif"]


async def test_a_time_that_would_leave_the_calendar_stays(database: Database) -> None:
    async with database.session() as session:
        owner_id = await user(session)
        early = await asset(session, owner_id, datetime(1, 6, 1))  # noqa: DTZ001 - a wall clock
        late = await asset(session, owner_id, datetime(9999, 6, 1))  # noqa: DTZ001 - a wall clock
        usual = await asset(session, owner_id)
    year = timedelta(days=365)
    assert await run(database, await begun(database, owner_id, -year)) == {"changed": 2}
    assert await run(database, await begun(database, owner_id, 2 * year)) == {"changed": 2}
    expected = [datetime(1, 6, 1) + 2 * year, datetime(9999, 6, 1) - year, NOON + year]  # noqa: DTZ001
    assert [time[0] for time in await times(database, early, late, usual)] == expected


MANY = """
INSERT INTO assets (
    owner_id, content_hash, file_name, size, kind, format, mime, state, captured_local, captured_source, exif
)
SELECT
    users.id, decode(lpad(to_hex(n), 64, '0'), 'hex'), 'photo.jpg', 1, 'photo', 'jpeg', 'image/jpeg', 'ready',
    '2024-05-01 12:00:00', 'exif', jsonb_build_object('ExifIFD:DateTimeOriginal', '2020:01:02 03:04:05')
FROM users, generate_series(1, {count}) AS n
"""
HOW_OFTEN = """
DO $$ BEGIN
    ASSERT (SELECT count(*) FROM assets WHERE captured_local = timestamp '2024-05-01 12:00:00' + interval '1 hour')
        = {count}, 'every asset is shifted once';
END $$
"""


class Interrupted(Exception):
    """What stops an attempt in the middle."""


class StoppingDatabase(Database):
    """Stops within the transaction of that number, before its commit or after it."""

    def __init__(self, inner: Database, *, at: int, committed: bool) -> None:
        self._inner = inner
        self._left = at
        self._committed = committed

    def transaction(self) -> Any:
        self._left -= 1
        return _Stopping(self._inner.transaction(), stop=self._left == 0, committed=self._committed)


class _Stopping:
    def __init__(self, inner: Any, *, stop: bool, committed: bool) -> None:
        self._inner = inner
        self._stop = stop
        self._committed = committed

    async def __aenter__(self) -> Tx:
        entered: Tx = await self._inner.__aenter__()
        return entered

    async def __aexit__(self, *exc: Any) -> None:
        if self._stop and not self._committed:
            stopped = Interrupted()
            await self._inner.__aexit__(Interrupted, stopped, None)
            raise stopped
        await self._inner.__aexit__(*exc)
        if self._stop:
            raise Interrupted


async def test_an_attempt_that_is_stopped_anywhere_loses_and_repeats_nothing(database: Database) -> None:
    async with database.session() as session:
        owner_id = await user(session)
        await session.script(MANY.format(count=2500), what="assets")
    change_id = await begun(database, owner_id, HOUR)
    came = []
    for at, committed in ((2, False), (2, True), (1, True), (2, False), (2, True)):
        with pytest.raises(Interrupted):
            await run(StoppingDatabase(database, at=at, committed=committed), change_id)
        came.append((await the(database, owner_id, change_id)).changed)
    assert came == [0, 1000, 1000, 1000, 2000]
    told: list[float | None] = []
    assert await run(database, change_id, told) == {"changed": 2500}
    assert told == [1.0]
    async with database.session() as session:
        await session.script(HOW_OFTEN.format(count=2500), what="how often")


async def test_two_attempts_at_once_shift_every_asset_once(database: Database) -> None:
    async with database.session() as session:
        owner_id = await user(session)
        await session.script(MANY.format(count=2500), what="assets")
    change_id = await begun(database, owner_id, HOUR)
    told: list[float | None] = []
    assert await asyncio.gather(*(run(database, change_id, told) for _ in range(3))) == [{"changed": 2500}] * 3
    async with database.session() as session:
        await session.script(HOW_OFTEN.format(count=2500), what="how often")
    assert (await the(database, owner_id, change_id)).changed == 2500


async def test_two_changes_of_the_same_assets_both_happen(database: Database) -> None:
    async with database.session() as session:
        owner_id = await user(session)
        await session.script(MANY.format(count=2200), what="assets")
    changes = [await begun(database, owner_id, hours * HOUR) for hours in (3, -2)]
    await asyncio.gather(*(run(database, change_id) for change_id in changes))
    async with database.session() as session:
        await session.script(HOW_OFTEN.format(count=2200), what="how often")


EXIF: dict[str, object] = {"ExifIFD:DateTimeOriginal": "2020:01:02 03:04:05", "ExifIFD:OffsetTimeOriginal": "+05:00"}
READ = (datetime(2020, 1, 2, 3, 4, 5), 18000, "exif_with_offset")  # noqa: DTZ001 - a wall clock


async def test_times_are_read_out_of_the_facts_again_but_not_those_that_people_set(database: Database) -> None:
    async with database.session() as session:
        owner_id = await user(session)
        wrong, edited = await asset(session, owner_id, exif=EXIF), await asset(session, owner_id, exif=EXIF)
    await run(database, await begun(database, owner_id, HOUR, Selection(ids=(edited,))))
    again = await begun(database, owner_id, None)
    assert await run(database, again) == {"changed": 1}
    assert await times(database, wrong, edited) == [READ, (NOON + HOUR, 7200, "user")]
    discarding = await begun(database, owner_id, None, discard_edits=True)
    assert (await the(database, owner_id, discarding)).discard_edits
    assert await run(database, discarding) == {"changed": 1}
    assert await times(database, wrong, edited) == [READ, READ]


async def test_reading_again_goes_on_where_it_was_stopped(database: Database) -> None:
    async with database.session() as session:
        owner_id = await user(session)
        await session.script(MANY.format(count=250), what="assets")
    change_id = await begun(database, owner_id, None)
    with pytest.raises(Interrupted):
        await run(StoppingDatabase(database, at=2, committed=True), change_id)
    assert (await the(database, owner_id, change_id)).changed == 100
    told: list[float | None] = []
    assert await run(database, change_id, told) == {"changed": 250}
    assert told == [pytest.approx(2 / 3), 1.0]


async def test_changes_are_listed_newest_first_to_their_owner(database: Database) -> None:
    async with database.session() as session:
        owner_id, stranger = await user(session), await user(session, "boris")
    made = [await begun(database, owner_id, n * HOUR) for n in range(1, 4)]
    made.sort(reverse=True)
    async with database.session() as session:
        page = await time_changes.list_changes(session, owner_id, limit=2)
        rest = await time_changes.list_changes(session, owner_id, before=page[-1].id, limit=2)
        assert [change.id for change in (*page, *rest)] == made
        assert await time_changes.list_changes(session, stranger, limit=2) == []
        assert await time_changes.list_changes(session, stranger, only=made[0], limit=2) == []


async def test_a_job_without_its_change_is_given_up(database: Database) -> None:
    with pytest.raises(JobDiscarded, match="does not exist any more"):
        await run(database, TimeChangeId(uuid.uuid4()))
