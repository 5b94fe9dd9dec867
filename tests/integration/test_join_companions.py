"""Which files are of one shot, and what becomes of them in listings and in the trash."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from lumilio.catalog import assets, locations, repositories, users
from lumilio.catalog.assets import NewAsset, SortKey, SortOrder
from lumilio.catalog.repositories import RepositoryRow
from lumilio.db import Tx, named_queries
from lumilio.jobs import join_companions
from lumilio.media.formats import FORMATS
from lumilio.model import (
    AssetId,
    CaptureTime,
    CaptureTimeSource,
    ContentHash,
    Facts,
    PlacedFile,
    ProcessingState,
    RepoPath,
    RepositoryId,
    Role,
    UserId,
)

NOON = datetime(2024, 5, 1, 12, 0, 0)  # noqa: DTZ001 - a wall clock
EXIF = CaptureTimeSource.EXIF


@dataclass(frozen=True, slots=True, kw_only=True)
class Shots:
    """An owner with a repository, into whose rows files are put."""

    tx: Tx
    owner_id: UserId
    repository_id: RepositoryId

    async def add(
        self,
        path: str,
        form: str,
        *,
        local: datetime = NOON,
        offset: timedelta | None = None,
        source: CaptureTimeSource = EXIF,
        identifier: str | None = None,
        duration: float | None = None,
        model: str | None = "X-T5",
    ) -> AssetId:
        captured = CaptureTime(local=local, utc_offset=offset, source=source)
        facts = Facts(
            media_type=FORMATS[form],
            capture_time=captured,
            model=model,
            duration=duration,
            content_identifier=identifier,
            exif={},
        )
        new = NewAsset(
            owner_id=self.owner_id,
            content_hash=ContentHash(uuid.uuid4().hex * 2),
            file_name=Path(path).name,
            size=1,
            media_type=FORMATS[form],
            state=ProcessingState.STORED,
            facts=facts,
        )
        asset_id = await assets.add_asset(self.tx, new)
        assert asset_id is not None
        placed = PlacedFile(path=RepoPath(path), size=1, mtime_ns=0, device=1, inode=1)
        await locations.add_location(self.tx, asset_id, self.repository_id, placed)
        await join_companions.join(self.tx, asset_id)
        return asset_id

    async def primary_of(self, asset_id: AssetId) -> tuple[AssetId | None, str | None]:
        found = await assets.get_asset(self.tx, asset_id, self.owner_id)
        assert found is not None
        return found.primary_id, found.companion_role

    async def listed(self) -> set[AssetId]:
        page = await assets.list_assets(
            self.tx, self.owner_id, kind=None, sort=SortKey.CAPTURED, order=SortOrder.DESC, after=None, limit=100
        )
        return {asset.id for asset in page.items}


@pytest.fixture
async def shots(tx: Tx) -> Shots:
    owner_id = await users.add_user(tx, "somebody", "hash", Role.USER)
    repository_id = RepositoryId(uuid.uuid4())
    row = RepositoryRow(id=repository_id, owner_id=owner_id, name="x", root=Path("/x"), is_default=True)
    await repositories.add_repository(tx, row)
    return Shots(tx=tx, owner_id=owner_id, repository_id=repository_id)


@pytest.mark.parametrize("raw_first", [True, False])
async def test_raw_and_jpeg_of_one_shot_are_one_item_whichever_comes_first(shots: Shots, raw_first: bool) -> None:
    files = [("album/IMG_1.CR3", "cr3"), ("album/img_1.jpg", "jpeg")]
    added = {form: await shots.add(path, form) for path, form in (files if raw_first else files[::-1])}

    assert await shots.primary_of(added["cr3"]) == (added["jpeg"], "raw")
    assert await shots.primary_of(added["jpeg"]) == (None, None)
    assert await shots.listed() == {added["jpeg"]}
    shown = await assets.get_asset(shots.tx, added["jpeg"], shots.owner_id)
    assert shown is not None
    assert [companion["file_name"] for companion in shown.companions] == ["IMG_1.CR3"]


async def test_a_live_photo_is_told_by_its_identifier_whatever_its_files_are_called(shots: Shots) -> None:
    still = await shots.add("a/IMG_1.HEIC", "heic", identifier="AB-1")
    film = await shots.add("b/renamed.MOV", "mov", identifier="AB-1", duration=40, local=NOON + timedelta(days=900))

    assert await shots.primary_of(film) == (still, "live_video")
    assert await shots.listed() == {still}


async def test_files_with_other_identifiers_are_not_one_whatever_their_names_say(shots: Shots) -> None:
    still = await shots.add("a/IMG_1.HEIC", "heic", identifier="AB-1")
    film = await shots.add("a/IMG_1.MOV", "mov", identifier="CD-2", duration=2.5)

    assert await shots.listed() == {still, film}


async def test_without_identifiers_a_short_film_of_the_same_name_folder_and_time_is_the_live_half(shots: Shots) -> None:
    still = await shots.add("a/IMG_1.jpg", "jpeg", offset=timedelta(hours=2))
    utc = NOON - timedelta(hours=2, seconds=1.5)
    film = await shots.add(
        "a/IMG_1.mov", "mov", duration=2.9, local=utc, offset=timedelta(0), source=CaptureTimeSource.QUICKTIME
    )

    assert await shots.primary_of(film) == (still, "live_video")


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("b/IMG_1.mov", {}),
        ("a/IMG_2.mov", {}),
        ("a/IMG_1.mov", {"duration": 60.0}),
        ("a/IMG_1.mov", {"duration": None}),
        ("a/IMG_1.mov", {"local": NOON + timedelta(minutes=5)}),
        ("a/IMG_1.mov", {"source": CaptureTimeSource.MODIFIED}),
    ],
    ids=["other folder", "other name", "long", "length unknown", "later", "time of the file only"],
)
async def test_a_film_that_only_resembles_a_live_half_stays_by_itself(
    shots: Shots, path: str, more: dict[str, object]
) -> None:
    still = await shots.add("a/IMG_1.jpg", "jpeg")
    film = await shots.add(path, "mov", **{"duration": 2.9, **more})  # type: ignore[arg-type]

    assert await shots.listed() == {still, film}


async def test_the_counter_of_a_camera_that_came_round_joins_nothing(shots: Shots) -> None:
    picture = await shots.add("a/DSC_0001.JPG", "jpeg")
    raw = await shots.add("a/DSC_0001.NEF", "nef", local=NOON + timedelta(days=400))
    other_camera = await shots.add("a/DSC_0001.ARW", "arw", model="ILCE-7")

    assert await shots.listed() == {picture, raw, other_camera}


async def test_folders_that_lumilio_chose_do_not_keep_a_pair_apart(shots: Shots) -> None:
    picture = await shots.add("inbox/2024/2024-04/P1.JPG", "jpeg")
    raw = await shots.add("inbox/2024/2024-05/P1 (1).RW2", "rw2")
    assert await shots.listed() == {picture, raw}

    same_name = await shots.add("inbox/2024/2024-05/P1.RW2", "rw2")
    assert await shots.primary_of(same_name) == (picture, "raw")


async def test_nobody_else_s_file_is_joined(shots: Shots) -> None:
    stranger = await users.add_user(shots.tx, "stranger", "hash", Role.USER)
    theirs = Shots(tx=shots.tx, owner_id=stranger, repository_id=shots.repository_id)
    picture = await theirs.add("a/IMG_1.JPG", "jpeg", identifier="AB-1")
    film = await shots.add("a/IMG_1.MOV", "mov", identifier="AB-1", duration=2.0)

    assert await shots.listed() == {film}
    assert await theirs.listed() == {picture}


async def test_companions_go_into_the_trash_with_their_primary_and_come_back_with_it(shots: Shots) -> None:
    picture = await shots.add("a/IMG_1.JPG", "jpeg")
    raw = await shots.add("a/IMG_1.CR2", "cr2")

    assert set(await assets.set_trashed(shots.tx, picture, shots.owner_id)) == {picture, raw}
    assert await shots.listed() == set()
    assert set(await assets.clear_trashed(shots.tx, picture, shots.owner_id)) == {picture, raw}
    assert await shots.listed() == {picture}


async def test_a_companion_that_is_trashed_or_comes_back_alone_is_one_no_more(shots: Shots) -> None:
    picture = await shots.add("a/IMG_1.JPG", "jpeg")
    raw = await shots.add("a/IMG_1.CR2", "cr2")

    assert await assets.set_trashed(shots.tx, raw, shots.owner_id) == [raw]
    assert await shots.primary_of(raw) == (None, None)
    assert await assets.clear_trashed(shots.tx, raw, shots.owner_id) == [raw]
    await join_companions.join(shots.tx, raw)
    assert await shots.primary_of(raw) == (picture, "raw")

    await assets.set_trashed(shots.tx, picture, shots.owner_id)
    assert await assets.clear_trashed(shots.tx, raw, shots.owner_id) == [raw]
    assert await shots.listed() == {raw}
    assert await assets.clear_trashed(shots.tx, picture, shots.owner_id) == [picture]
    assert await shots.listed() == {raw, picture}


async def test_one_of_very_many_with_the_same_name_still_finds_its_own(shots: Shots) -> None:
    for number in range(60):
        await shots.add(f"{number}/image.jpg", "jpeg", local=NOON + timedelta(minutes=number))
    raw = await shots.add("59/image.dng", "dng", local=NOON + timedelta(minutes=59))

    assert (await shots.primary_of(raw))[1] == "raw"


async def test_what_is_in_the_trash_is_not_joined_to_what_is_not(shots: Shots) -> None:
    picture = await shots.add("a/IMG_1.JPG", "jpeg")
    await assets.set_trashed(shots.tx, picture, shots.owner_id)
    raw = await shots.add("a/IMG_1.CR2", "cr2")

    assert await shots.listed() == {raw}


async def test_a_third_file_of_the_shot_hangs_on_the_same_primary(shots: Shots) -> None:
    heic = await shots.add("a/IMG_1.HEIC", "heic", identifier="AB-1")
    film = await shots.add("a/IMG_1.MOV", "mov", identifier="AB-1", duration=2.0)
    raw = await shots.add("a/IMG_1.DNG", "dng")
    again = await shots.primary_of(film)
    await join_companions.join(shots.tx, heic)

    assert await shots.primary_of(film) == again == (heic, "live_video")
    assert await shots.primary_of(raw) == (heic, "raw")
    assert await shots.listed() == {heic}


async def test_days_and_instants_of_a_listing_are_those_of_the_place_and_of_the_world(shots: Shots) -> None:
    tokyo = timedelta(hours=9)
    early = await shots.add("a/1.jpg", "jpeg", local=datetime(2024, 5, 2, 1, 0), offset=tokyo)  # noqa: DTZ001
    unknown = await shots.add("a/2.jpg", "jpeg", local=datetime(2024, 5, 1, 23, 0))  # noqa: DTZ001

    async def found(period: assets.Period) -> set[AssetId]:
        page = await assets.list_assets(
            shots.tx, shots.owner_id, kind=None, sort=SortKey.ADDED, order=SortOrder.ASC, after=None, limit=9,
            period=period,
        )  # fmt: skip
        return {asset.id for asset in page.items}

    second = datetime(2024, 5, 2)  # noqa: DTZ001
    assert await found(assets.Period(local_from=second)) == {early}
    assert await found(assets.Period(local_to=second)) == {unknown}
    moment = datetime(2024, 5, 1, 16, 0, tzinfo=UTC)
    assert await found(assets.Period(after=moment)) == {early}
    assert await found(assets.Period(before=moment.astimezone(timezone(tokyo)))) == set()


async def test_candidates_are_found_by_index_among_many(shots: Shots) -> None:
    picture = await shots.add("a/IMG_1.JPG", "jpeg", identifier="AB-1")
    await shots.tx.script(
        """INSERT INTO assets (owner_id, content_hash, file_name, size, kind, format, mime, state, captured_local,
                captured_source, content_identifier)
            SELECT owner_id, sha256(n::text::bytea), 'F' || n || '.jpg', 1, 'photo', 'jpeg', 'image/jpeg',
                'ready', timestamp '2020-01-01' + n * interval '1 minute', 'exif', CASE WHEN n % 3 = 0 THEN 'C' || n END
            FROM assets, generate_series(1, 30000) AS n;
            ANALYZE assets""",
        what="fill",
    )
    query = named_queries()["companions.candidates"].replace("$1", f"'{picture}'")
    plan = await shots.tx._connection.fetch(f"EXPLAIN {query}")
    text = "\n".join(line[0] for line in plan)
    assert "assets_stem_idx" in text, text
    assert "assets_content_identifier_idx" in text, text
    assert "Seq Scan on assets" not in text, text
