"""The rows behind the API: what constraints promise, and what the typed functions make of them."""

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from lumilio.catalog import assets, facts, locations, problems, repositories, thumbnails, uploads, users
from lumilio.catalog.assets import NewAsset
from lumilio.catalog.repositories import RepositoryRow
from lumilio.db import Database, Tx
from lumilio.errors import DatabaseError
from lumilio.model import (
    AssetId,
    CaptureTime,
    CaptureTimeSource,
    Confidence,
    ContentHash,
    Facts,
    LocationState,
    MediaKind,
    MediaType,
    MotionVideo,
    Music,
    OffsetSource,
    PersonRegion,
    Place,
    PlacedFile,
    Playback,
    Problem,
    ProcessingState,
    RenderSource,
    Rendition,
    RepoPath,
    RepositoryId,
    Role,
    Streams,
    Thumbnail,
    UploadId,
    UserId,
    Whereabouts,
)

JPEG = MediaType(kind=MediaKind.PHOTO, format="jpeg", mime="image/jpeg")
LOCAL = datetime(2024, 5, 1, 12, 0, 0, 123456)  # noqa: DTZ001 - a wall clock
FACTS = Facts(
    media_type=JPEG,
    width=4000,
    height=3000,
    orientation=6,
    make="NIKON",
    model="Z 6",
    lens="50 mm",
    iso=100,
    f_number=1.8,
    exposure_time=0.004,
    focal_length=50.0,
    duration=None,
    capture_time=CaptureTime(
        local=LOCAL,
        utc_offset=timedelta(hours=-3.5),
        source=CaptureTimeSource.EXIF,
        offset_source=OffsetSource.STATED,
        confidence=Confidence.HIGH,
        zone="America/St_Johns",
    ),
    place=Place(latitude=-33.4, longitude=151.25, altitude=-12.5),
    whereabouts=Whereabouts(country_code="AU", country="Australia", region=None, city="Narara"),
    title="A title",
    description="Zwei\nZeilen",
    rating=-1,
    keywords=("Sommer", "Garten", "garten"),
    people=(PersonRegion(name="Ada", x=0.5, y=0.25, width=0.1, height=0.2),),
    content_identifier="8C0B-1",
    motion=MotionVideo(offset=2**33, bytes=2**32),
    exif={"EXIF:Make": "NIKON", "list": [1, "two", None]},
)


async def _user(tx: Tx, name: str = "somebody") -> UserId:
    return await users.add_user(tx, name, "hash", Role.USER)


def _asset(owner_id: UserId, content_hash: ContentHash | None = None) -> NewAsset:
    return NewAsset(
        owner_id=owner_id,
        content_hash=content_hash or ContentHash(uuid.uuid4().hex * 2),
        file_name="naïve\n📷.jpg",
        size=(1 << 40) + 1,
        media_type=JPEG,
        state=ProcessingState.STORED,
        facts=FACTS,
    )


async def _added(tx: Tx, asset: NewAsset) -> AssetId:
    asset_id = await assets.add_asset(tx, asset)
    assert asset_id is not None
    return asset_id


async def _repository(tx: Tx, owner_id: UserId) -> RepositoryId:
    repository_id = RepositoryId(uuid.uuid4())
    row = RepositoryRow(
        id=repository_id, owner_id=owner_id, name="Library", root=Path(f"/{repository_id}"), is_default=True
    )
    await repositories.add_repository(tx, row)
    return repository_id


def _file(path: str) -> PlacedFile:
    return PlacedFile(path=RepoPath(path), size=5, mtime_ns=-(2**62), device=2**40, inode=2**62)


async def test_an_asset_comes_back_as_it_went_in(tx: Tx) -> None:
    owner_id = await _user(tx)
    new = _asset(owner_id)
    asset_id = await _added(tx, new)
    found = await assets.get_asset(tx, asset_id, owner_id)
    assert found is not None
    assert found.facts == replace(FACTS, keywords=())
    assert [(tag["name"], tag["source"]) for tag in found.tags] == [("Garten", "file"), ("Sommer", "file")]
    assert (found.file_name, found.size, found.content_hash) == (new.file_name, new.size, new.content_hash)
    assert found.facts.capture_time.utc() == datetime(2024, 5, 1, 15, 30, 0, 123456, tzinfo=UTC)
    assert (found.thumbnails, found.albums, found.problems, found.companions, found.sidecars) == ([], [], [], [], [])


async def test_facts_read_anew_replace_the_old_ones_but_not_what_was_measured_or_set_by_a_person(tx: Tx) -> None:
    owner_id = await _user(tx)
    asset_id = await _added(tx, _asset(owner_id))
    source = await facts.get_for_facts(tx, asset_id)
    assert source is not None
    shifted = replace(FACTS.capture_time, local=LOCAL + timedelta(hours=1), source=CaptureTimeSource.USER)
    await facts.update_facts(tx, source, replace(FACTS, capture_time=shifted))
    plain = CaptureTime(local=LOCAL, utc_offset=None, source=CaptureTimeSource.FILE_NAME)
    anew = Facts(media_type=JPEG, width=1, height=1, keywords=("Garten", "Herbst"), capture_time=plain, exif={"a": 1})

    await facts.update_facts(tx, source, anew)

    found = await assets.get_asset(tx, asset_id, owner_id)
    assert found is not None
    assert (found.width, found.facts.make, found.facts.place, found.facts.exif) == (4000, None, None, {"a": 1})
    assert replace(found.facts.capture_time, zone=None) == replace(shifted, zone=None)
    assert [tag["name"] for tag in found.tags] == ["Garten", "Herbst"]
    await facts.update_facts(tx, source, anew, discard_edits=True)
    found = await assets.get_asset(tx, asset_id, owner_id)
    assert found is not None
    assert found.facts.capture_time == plain


async def test_a_tag_that_a_person_gave_survives_that_the_file_loses_it(tx: Tx) -> None:
    owner_id = await _user(tx)
    asset_id = await _added(tx, _asset(owner_id))
    source = await facts.get_for_facts(tx, asset_id)
    assert source is not None
    await tx.script("UPDATE asset_tags SET source = 'user'", what="tag by hand")
    await facts.update_facts(tx, source, replace(FACTS, keywords=()))
    found = await assets.get_asset(tx, asset_id, owner_id)
    assert found is not None
    assert {tag["source"] for tag in found.tags} == {"user"}
    assert len(found.tags) == 2


@pytest.mark.parametrize("perceptual_hash", [None, 0, 1, 2**63 - 1, 2**63, 2**64 - 1])
async def test_what_a_processor_made_comes_back_as_it_went_in(tx: Tx, perceptual_hash: int | None) -> None:
    owner_id = await _user(tx)
    asset_id = await _added(tx, _asset(owner_id))
    streams = Streams(
        container="mov", duration=2.5, video_codec="hevc", frame_rate=29.97, bit_rate=2**33, rotation=90, hdr=True,
        sample_rate=48000, channels=2, audio_codec="aac", playback=Playback.TRANSCODE,
    )  # fmt: skip
    rendition = Rendition(
        width=30, height=40, thumbnails=(), source=RenderSource.POSTER, perceptual_hash=perceptual_hash,
        thumbhash=b"\0\1", streams=streams, music=Music(title="x", year=1999),
    )  # fmt: skip

    await facts.set_rendition(tx, asset_id, rendition)

    found = await assets.get_asset(tx, asset_id, owner_id)
    assert found is not None
    assert (found.state, found.width, found.height) == (ProcessingState.READY, 30, 40)
    assert (found.streams, found.music, found.facts.duration) == (streams, rendition.music, 2.5)
    assert (found.perceptual_hash, found.thumbhash) == (perceptual_hash, b"\0\1")
    assert found.render_source is RenderSource.POSTER


async def test_the_same_bytes_are_one_asset_of_an_owner_and_another_of_somebody_else(tx: Tx) -> None:
    first, second = await _user(tx), await _user(tx, "another")
    content_hash = ContentHash("ab" * 32)
    mine = await _added(tx, _asset(first, content_hash))
    assert await assets.add_asset(tx, _asset(first, content_hash)) is None
    theirs = await _added(tx, _asset(second, content_hash))
    assert mine != theirs
    assert await assets.get_asset(tx, theirs, first) is None
    known = await assets.find_by_hash(tx, first, content_hash)
    assert known is not None
    assert (known.id, known.trashed) == (mine, False)
    (file,) = await assets.known_files(tx, second, [content_hash, ContentHash("cd" * 32), content_hash])
    assert (file.asset_id, file.content_hash) == (theirs, content_hash)


async def test_two_that_store_the_same_bytes_at_once_make_one_asset(database: Database) -> None:
    async with database.session() as session:
        owner_id = await _user(session)
    new = _asset(owner_id)

    async def store() -> AssetId | None:
        async with database.transaction() as transaction:
            return await assets.add_asset(transaction, new)

    stored = await asyncio.gather(*(store() for _ in range(8)))
    assert sum(asset_id is not None for asset_id in stored) == 1


async def test_trashing_is_for_the_owner_and_once(tx: Tx) -> None:
    owner_id, stranger = await _user(tx), await _user(tx, "stranger")
    asset_id = await _added(tx, _asset(owner_id))
    assert not await assets.set_trashed(tx, asset_id, stranger)
    assert not await assets.clear_trashed(tx, asset_id, owner_id)
    assert await assets.set_trashed(tx, asset_id, owner_id) == [asset_id]
    assert not await assets.set_trashed(tx, asset_id, owner_id)
    assert await assets.is_trashed(tx, asset_id)
    assert not await assets.clear_trashed(tx, asset_id, stranger)
    assert await assets.clear_trashed(tx, asset_id, owner_id) == [asset_id]
    assert not await assets.is_trashed(tx, asset_id)


async def test_a_step_has_one_problem_and_none_once_it_succeeds(tx: Tx) -> None:
    owner_id = await _user(tx)
    asset_id = await _added(tx, _asset(owner_id))
    for reason in ("first", "second"):
        await problems.record(tx, asset_id, Problem(code="media.damaged", step="render", reason=reason))
    await problems.record(tx, asset_id, Problem(code="tool.error", step="facts", reason="other"))
    found = await assets.get_asset(tx, asset_id, owner_id)
    assert found is not None
    assert [(problem.step, problem.reason) for problem in found.problems] == [("facts", "other"), ("render", "second")]
    await problems.clear(tx, asset_id, "render")
    found = await assets.get_asset(tx, asset_id, owner_id)
    assert found is not None
    assert [problem.step for problem in found.problems] == ["facts"]


async def test_a_path_belongs_to_one_asset_at_a_time(tx: Tx) -> None:
    owner_id = await _user(tx)
    repository_id = await _repository(tx, owner_id)
    first, second = await _added(tx, _asset(owner_id)), await _added(tx, _asset(owner_id))
    for _ in range(2):
        await locations.add_location(tx, first, repository_id, _file("inbox/a.jpg"))
    (place,) = await locations.locations_of(tx, first)
    assert (place.path, place.state, place.current_path) == ("inbox/a.jpg", LocationState.PRESENT, "inbox/a.jpg")
    await locations.add_location(tx, second, repository_id, _file("inbox/a.jpg"))
    assert await locations.locations_of(tx, first) == []
    (place,) = await locations.locations_of(tx, second)
    many = await locations.locations_of_many(tx, [first, second])
    assert many == {second: [place]}


async def test_a_location_goes_to_the_trash_and_back_once(tx: Tx) -> None:
    owner_id = await _user(tx)
    repository_id = await _repository(tx, owner_id)
    asset_id = await _added(tx, _asset(owner_id))
    await locations.add_location(tx, asset_id, repository_id, _file("inbox/a.jpg"))
    (place,) = await locations.locations_of(tx, asset_id)
    trashed = RepoPath(".lumilio/trash/x/inbox/a.jpg")
    for _ in range(2):
        await locations.mark_trashed(tx, place, trashed)
    (moved,) = await locations.locations_of(tx, asset_id)
    assert (moved.state, moved.current_path) == (LocationState.TRASHED, trashed)
    for _ in range(2):
        await locations.mark_restored(tx, moved, _file("inbox/a (1).jpg"))
    (back,) = await locations.locations_of(tx, asset_id)
    assert (back.state, back.current_path) == (LocationState.PRESENT, "inbox/a (1).jpg")


async def test_a_displaced_file_takes_its_asset_to_the_trash_unless_it_lies_elsewhere_too(tx: Tx) -> None:
    owner_id = await _user(tx)
    repository_id = await _repository(tx, owner_id)
    lonely, doubled = await _added(tx, _asset(owner_id)), await _added(tx, _asset(owner_id))
    await locations.add_location(tx, lonely, repository_id, _file("inbox/a.jpg"))
    await locations.add_location(tx, doubled, repository_id, _file("inbox/b.jpg"))
    await locations.add_location(tx, doubled, repository_id, _file("inbox/c.jpg"))
    newcomer = ContentHash("ef" * 32)
    for name in ("a", "b"):
        for _ in range(2):
            await locations.displace(tx, repository_id, RepoPath(f"inbox/{name}.jpg"), RepoPath(f"t/{name}"), newcomer)
    assert await assets.is_trashed(tx, lonely)
    assert not await assets.is_trashed(tx, doubled)


async def test_thumbnails_are_found_by_their_owner_only(tx: Tx) -> None:
    owner_id, stranger = await _user(tx), await _user(tx, "stranger")
    repository_id = await _repository(tx, owner_id)
    asset_id = await _added(tx, _asset(owner_id))
    for data in (b"first", b"second!"):
        made = [Thumbnail(size=size, width=size, height=1, data=data) for size in (150, 300)]
        await thumbnails.put_thumbnails(tx, asset_id, repository_id, made)
    found = await thumbnails.find_thumbnail(tx, asset_id, 150, owner_id)
    assert found is not None
    assert (found.repository_id, found.bytes) == (repository_id, 7)
    assert await thumbnails.find_thumbnail(tx, asset_id, 150, stranger) is None
    assert await thumbnails.find_thumbnail(tx, asset_id, 1024, owner_id) is None


async def test_account_names_differ_by_more_than_case(database: Database) -> None:
    async with database.session() as session:
        user_id = await _user(session, "Zoë")
        found = await users.find_login(session, "zoë")
        assert found is not None
        assert found[0].id == user_id
        with pytest.raises(DatabaseError, match="users_username_key"):
            await _user(session, "ZOë")
        assert await users.find_login(session, "") is None
        assert await users.find_login(session, "Zoë\0") is None
        assert await users.find_login(session, "Zo%") is None


async def test_a_family_of_refresh_tokens_is_revoked_together_and_expired_ones_are_forgotten(tx: Tx) -> None:
    user_id = await _user(tx)
    family, other = uuid.uuid4(), uuid.uuid4()
    later = datetime.now(UTC) + timedelta(hours=1)
    for token, family_id, expires_at in (
        ("one", family, later),
        ("two", family, later),
        ("three", other, later),
        ("old", other, later - timedelta(hours=2)),
    ):
        await users.store_refresh_token(tx, token, user_id, family_id, expires_at)
    await users.replace_refresh_token(tx, "one")
    one = await users.lock_refresh_token(tx, "one")
    assert one is not None
    assert (one.replaced, one.family_id, one.user_id) == (True, family, user_id)
    await users.revoke_family(tx, family)
    await users.forget_expired_tokens(tx)
    assert [token for token in ("one", "two", "three", "old") if await users.lock_refresh_token(tx, token)] == ["three"]


async def test_an_owner_has_one_default_repository(database: Database) -> None:
    async with database.session() as session:
        owner_id = await _user(session)
        repository_id = await _repository(session, owner_id)
        await repositories.move_repository(session, repository_id, Path("/moved"))
        (row,) = await repositories.list_repositories(session)
        assert (row.id, row.root, row.is_default) == (repository_id, Path("/moved"), True)
        with pytest.raises(DatabaseError, match="repositories_default_key"):
            await _repository(session, owner_id)


async def test_uploads_without_a_job_are_neither_live_nor_given_up(tx: Tx) -> None:
    assert await uploads.jobs_of(tx, [UploadId(uuid.uuid4())]) == (set(), set())
    assert await uploads.jobs_of(tx, []) == (set(), set())


async def test_bytes_in_the_trash_keep_their_row_when_a_newcomer_took_the_path_before_the_row_was_written(
    tx: Tx,
) -> None:
    owner_id = await _user(tx)
    repository_id = await _repository(tx, owner_id)
    first, second = (
        await _added(tx, _asset(owner_id, ContentHash("1" * 64))),
        await _added(tx, _asset(owner_id, ContentHash("2" * 64))),
    )
    await locations.add_location(tx, first, repository_id, _file("inbox/a.jpg"))
    (place,) = await locations.locations_of(tx, first)
    await locations.add_location(tx, second, repository_id, _file("inbox/a.jpg"))
    trashed = RepoPath(".lumilio/trash/x/inbox/a.jpg")
    await locations.mark_trashed(tx, place, trashed)
    (moved,) = await locations.locations_of(tx, first)
    assert (moved.state, moved.current_path) == (LocationState.TRASHED, trashed)
    (other,) = await locations.locations_of(tx, second)
    assert other.state is LocationState.PRESENT


async def test_a_restored_file_takes_its_path_from_the_row_of_one_that_vanished(tx: Tx) -> None:
    owner_id = await _user(tx)
    repository_id = await _repository(tx, owner_id)
    first, second = (
        await _added(tx, _asset(owner_id, ContentHash("1" * 64))),
        await _added(tx, _asset(owner_id, ContentHash("2" * 64))),
    )
    await locations.add_location(tx, first, repository_id, _file("inbox/a.jpg"))
    (place,) = await locations.locations_of(tx, first)
    await locations.mark_trashed(tx, place, RepoPath(".lumilio/trash/x/inbox/a.jpg"))
    await locations.add_location(tx, second, repository_id, _file("inbox/a.jpg"))
    (moved,) = await locations.locations_of(tx, first)
    await locations.mark_restored(tx, moved, _file("inbox/a.jpg"))
    (back,) = await locations.locations_of(tx, first)
    assert (back.state, back.path) == (LocationState.PRESENT, "inbox/a.jpg")
    assert await locations.locations_of(tx, second) == []
