"""From staged bytes to a processed asset, stopped at every step and begun again, alone and beside its own twin."""

import asyncio
import io
import os
import random
import struct
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from PIL import Image

from lumilio import jobs
from lumilio.catalog import assets, locations, problems, repositories, thumbnails, users
from lumilio.catalog.repositories import RepositoryRow
from lumilio.db import Database, DatabaseAddress
from lumilio.errors import DecoderCrashed, JobDiscarded, JobSnoozed, StorageError
from lumilio.jobs import render_asset, settle_trash
from lumilio.jobs.accept_upload import accept_upload
from lumilio.jobs.process_asset import MAX_ATTEMPTS, TOOL_ATTEMPTS, Args, show_given_up, spec
from lumilio.jobs.settle_trash import SettleTrash
from lumilio.model import AssetId, ContentHash, ProcessingState, Role, UploadId
from lumilio.queue import control, store
from lumilio.queue.control import JobFilter, depths
from lumilio.queue.policy import JobState
from lumilio.storage import derivatives, staging
from lumilio.storage.creation import create_repository
from lumilio.storage.quarantine import quarantine
from tests.acceptance.evidence import noise_photo
from tests.integration.jobs_interrupted import Steps, Workshop, attempt

STEPS = (
    "session begins",
    "session ended",
    "facts are wanted",
    "facts are read",
    "transaction begins",  # the file has its name
    "inside the transaction",
    "transaction committed",
    "session begins",  # the staged file is gone
    "session ended",
    "session begins",  # nothing of the same shot is found
    "session ended",
    "a decoder is wanted",
    "a decoder is done",
    "transaction begins",  # the thumbnails are written
    "inside the transaction",
    "transaction committed",
)
"""Where an attempt can be stopped. What happens inside one file operation is proved with the storage layer."""
NUMBERED = list(enumerate(STEPS, start=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A staged file and the arguments of its job."""

    data: bytes
    args: Args


@pytest.fixture
async def workshop(database: Database, tmp_path: Path) -> AsyncIterator[Workshop]:
    repository = await create_repository(tmp_path / "library", name="Photos")
    async with database.transaction() as tx:
        owner_id = await users.add_user(tx, "anna", "-", Role.USER)
        row = RepositoryRow(id=repository.id, owner_id=owner_id, name="Photos", root=repository.root, is_default=True)
        await repositories.add_repository(tx, row)
    async with Workshop(database, repository, owner_id) as made:
        yield made


async def _chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _stage(workshop: Workshop, data: bytes | None = None, *, name: str = "photo.jpg") -> Upload:
    data = noise_photo(random.Random(uuid4().int), (64, 48)) if data is None else data
    staged = await staging.receive(
        workshop.repository, UploadId(uuid4()), _chunks(data), size_limit=None, reserve_bytes=0
    )
    assert await staging.acknowledge(workshop.repository, staged.upload_id)
    args = Args(
        upload_id=staged.upload_id,
        repository_id=workshop.repository.id,
        owner_id=workshop.owner_id,
        content_hash=staged.content_hash,
        file_name=name,
        size=staged.size,
    )
    return Upload(data=data, args=args)


async def _process(workshop: Workshop, upload: Upload, steps: Steps | None = None, *, number: int = 1) -> UUID:
    result = await workshop.job(steps or Steps()).work(attempt(number), upload.args)
    return UUID(str(result["asset_id"]))


async def _assert_whole(workshop: Workshop, *uploads: Upload) -> None:
    """One ready asset, one location and one file for each, with all thumbnails; nothing beside them."""
    root = workshop.repository.root
    paths = set()
    async with workshop.db.session() as session:
        for upload in uploads:
            known = await assets.find_by_hash(session, workshop.owner_id, ContentHash(upload.args.content_hash))
            assert known is not None
            assert known.state == "ready"
            (place,) = await locations.locations_of(session, known.id)
            assert (root / place.path).read_bytes() == upload.data
            paths.add(place.path)
            detail = await assets.get_asset(session, known.id, workshop.owner_id)
            assert detail is not None
            assert [thumbnail["size"] for thumbnail in detail.thumbnails] == [150, 300, 1024]
            assert detail.problems == []
    files = {path.relative_to(root).as_posix() for path in (root / "inbox").rglob("*") if path.is_file()}
    assert files == paths
    assert len(list((root / ".lumilio/assets/thumbnails").rglob("*.webp"))) == 3 * len(uploads)
    for folder in ("staging/incoming", "staging/failed", "temp"):
        assert list((root / ".lumilio" / folder).iterdir()) == []


async def test_an_upload_becomes_one_asset_in_these_steps(workshop: Workshop) -> None:
    upload, steps = await _stage(workshop), Steps()
    await _process(workshop, upload, steps)
    assert tuple(steps.reached) == STEPS
    await _assert_whole(workshop, upload)


@pytest.mark.parametrize(("step", "name"), NUMBERED)
async def test_an_attempt_that_failed_anywhere_is_healed_by_the_next(workshop: Workshop, step: int, name: str) -> None:
    async def fail() -> None:
        raise StorageError(f"stopped where {name}")

    upload = await _stage(workshop)
    with pytest.raises(StorageError, match="stopped"):
        await _process(workshop, upload, Steps(at=step, act=fail))
    await _process(workshop, upload, number=2)
    await _assert_whole(workshop, upload)


async def test_an_attempt_that_was_cancelled_anywhere_is_healed_by_the_next(workshop: Workshop) -> None:
    uploads = [await _stage(workshop, name=f"{name}.jpg") for _, name in NUMBERED]
    for (step, name), upload in zip(NUMBERED, uploads, strict=True):
        task: asyncio.Task[UUID]

        async def cancel() -> None:
            task.cancel()  # noqa: B023

        task = asyncio.create_task(_process(workshop, upload, Steps(at=step, act=cancel)), name=f"until {name}")
        await asyncio.wait([task])
        assert task.cancelled() or step == len(STEPS)
    for upload in uploads:
        await _process(workshop, upload)
    await _assert_whole(workshop, *uploads)


async def test_an_attempt_that_was_killed_anywhere_is_healed_by_the_next(
    workshop: Workshop, database_address: DatabaseAddress
) -> None:
    uploads = [await _stage(workshop, name=f"{name}.jpg") for _, name in NUMBERED]
    at = database_address
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.jobs_interrupted", str(at.host), str(at.user), str(at.database),
        str(workshop.repository.root), str(workshop.owner_id),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    lines = "".join(f"{upload.args.model_dump_json()}\n" for upload in uploads)
    async with asyncio.timeout(100):
        output, _ = await program.communicate(lines.encode())
    assert output.decode().split() == ["-9"] * len(STEPS)
    for upload in uploads:
        await _process(workshop, upload, number=2)
    await _assert_whole(workshop, *uploads)


@pytest.mark.parametrize(
    ("step", "name"), [(step, name) for step, name in NUMBERED if name != "inside the transaction"]
)
async def test_an_attempt_that_froze_and_wakes_after_its_successor_changes_nothing(
    workshop: Workshop, step: int, name: str
) -> None:
    frozen, thaw = asyncio.Event(), asyncio.Event()

    async def freeze() -> None:
        frozen.set()
        await thaw.wait()

    upload = await _stage(workshop)
    first = asyncio.create_task(_process(workshop, upload, Steps(at=step, act=freeze)), name=f"frozen where {name}")
    await asyncio.wait_for(frozen.wait(), 30)
    asset_id = await _process(workshop, upload, number=2)
    await _assert_whole(workshop, upload)
    thaw.set()
    assert await first == asset_id
    await _assert_whole(workshop, upload)


async def test_a_successor_that_is_overtaken_by_the_frozen_attempt_finds_its_asset(workshop: Workshop) -> None:
    """The rightful attempt is the slower one here: it must not give up because the staged file has gone."""
    for step in (2, 3, 4):
        frozen, thaw = asyncio.Event(), asyncio.Event()

        async def freeze() -> None:
            frozen.set()  # noqa: B023
            await thaw.wait()  # noqa: B023

        upload = await _stage(workshop, name=f"{step}.jpg")
        rightful = asyncio.create_task(_process(workshop, upload, Steps(at=step, act=freeze)), name="rightful")
        await asyncio.wait_for(frozen.wait(), 30)
        asset_id = await _process(workshop, upload)
        thaw.set()
        assert await rightful == asset_id


async def test_the_same_job_twice_at_once_makes_one_asset(workshop: Workshop) -> None:
    uploads = [await _stage(workshop, name=f"{number}.jpg") for number in range(6)]
    for upload in uploads:
        one, other = await asyncio.gather(_process(workshop, upload), _process(workshop, upload))
        assert one == other
    await _assert_whole(workshop, *uploads)


async def test_without_a_stated_time_every_attempt_goes_to_the_folder_of_the_first(workshop: Workshop) -> None:
    async def fail() -> None:
        raise StorageError("stopped")

    upload = await _stage(workshop)
    received = datetime(2019, 7, 31, 23, 59, 59, tzinfo=UTC).timestamp()
    os.utime(workshop.repository.incoming / str(upload.args.upload_id), (received, received))
    with pytest.raises(StorageError):
        await _process(workshop, upload, Steps(at=5, act=fail))
    asset_id = await _process(workshop, upload, number=2)
    async with workshop.db.session() as session:
        (place,) = await locations.locations_of(session, AssetId(asset_id))
    assert place.path.startswith("inbox/2019/")
    await _assert_whole(workshop, upload)


async def test_a_decoder_that_dies_again_and_again_leaves_a_problem_and_the_file(workshop: Workshop) -> None:
    async def crash() -> None:
        raise DecoderCrashed("the decoder died in 'render': signal 11 (SIGSEGV)")

    upload = await _stage(workshop)
    with pytest.raises(DecoderCrashed):
        await _process(workshop, upload, Steps(at="a decoder is wanted", act=crash))
    with pytest.raises(DecoderCrashed):
        await _process(workshop, upload, Steps(at="a decoder is wanted", act=crash), number=TOOL_ATTEMPTS - 1)
    asset_id = await _process(workshop, upload, Steps(at="a decoder is wanted", act=crash), number=TOOL_ATTEMPTS)
    async with workshop.db.session() as session:
        asset = await assets.get_asset(session, AssetId(asset_id), workshop.owner_id)
        (place,) = await locations.locations_of(session, AssetId(asset_id))
    assert asset is not None
    assert asset.state == "problem"
    assert [(problem.code, problem.step) for problem in asset.problems] == [("tool.decoder_crashed", "render")]
    async with workshop.db.session() as session:
        again = await store.live_job(session, render_asset.KIND, str(asset_id))
    assert again is not None
    assert (again.state, again.owner_id) == (JobState.SCHEDULED, workshop.owner_id)
    await workshop.rendering().work(attempt(), render_asset.Args.model_validate(again.args))
    async with workshop.db.session() as session:
        healed = await assets.get_asset(session, AssetId(asset_id), workshop.owner_id)
    assert healed is not None
    assert (healed.state, list(healed.problems)) == ("ready", [])
    assert (workshop.repository.root / place.path).read_bytes() == upload.data


async def test_a_staged_file_that_is_gone_for_good_discards_the_job(workshop: Workshop) -> None:
    upload = await _stage(workshop)
    await staging.discard_upload(workshop.repository, UploadId(upload.args.upload_id))
    with pytest.raises(JobDiscarded, match="upload it again"):
        await _process(workshop, upload)


async def test_what_is_no_media_is_set_aside_with_a_reason(workshop: Workshop) -> None:
    upload = await _stage(workshop, b"hello", name="notes.txt")
    with pytest.raises(JobDiscarded, match="neither photo, video nor audio"):
        await _process(workshop, upload)
    failed = workshop.repository.failed / str(upload.args.upload_id)
    assert failed.read_bytes() == b"hello"
    assert "notes.txt" in failed.with_suffix(".txt").read_text()


async def test_a_repository_that_is_away_makes_the_job_wait_and_loses_nothing(workshop: Workshop) -> None:
    upload = await _stage(workshop)
    root = workshop.repository.root
    away = root.rename(root.with_name("unplugged"))
    with pytest.raises(JobSnoozed, match="mount it again"):
        await _process(workshop, upload)
    away.rename(root)
    await _process(workshop, upload)
    await _assert_whole(workshop, upload)


async def _accept_again(workshop: Workshop, upload: Upload) -> tuple[Upload, UUID | None]:
    """Upload the same bytes once more; the asset that the answer names, when it is a duplicate."""
    staged = await staging.receive(
        workshop.repository, UploadId(uuid4()), _chunks(upload.data), size_limit=None, reserve_bytes=0
    )
    accepted = await accept_upload(
        workshop.library(), staged, owner_id=workshop.owner_id, file_name="photo.jpg", modified=None
    )
    args = upload.args.model_copy(update={"upload_id": staged.upload_id})
    return Upload(data=upload.data, args=args), accepted.asset_id


async def _path_of(workshop: Workshop, asset_id: UUID) -> Path:
    async with workshop.db.session() as session:
        (place,) = await locations.locations_of(session, AssetId(asset_id))
    return workshop.repository.root / place.current_path


async def test_the_same_bytes_again_are_a_duplicate(workshop: Workshop) -> None:
    upload = await _stage(workshop)
    asset_id = await _process(workshop, upload)
    _, duplicate_of = await _accept_again(workshop, upload)
    assert duplicate_of == asset_id
    await _assert_whole(workshop, upload)


async def test_the_same_bytes_again_repair_an_asset_whose_file_was_deleted(workshop: Workshop) -> None:
    upload = await _stage(workshop)
    asset_id = await _process(workshop, upload)
    (await _path_of(workshop, asset_id)).unlink()
    again, duplicate_of = await _accept_again(workshop, upload)
    assert duplicate_of is None
    assert await _process(workshop, again) == asset_id
    await _assert_whole(workshop, upload)


async def test_the_same_bytes_again_repair_an_asset_whose_file_was_cut_short(workshop: Workshop) -> None:
    upload = await _stage(workshop)
    asset_id = await _process(workshop, upload)
    damaged = await _path_of(workshop, asset_id)
    damaged.write_bytes(upload.data[:100])
    again, duplicate_of = await _accept_again(workshop, upload)
    assert duplicate_of is None
    assert await _process(workshop, again) == asset_id
    async with workshop.db.session() as session:
        places = await locations.locations_of(session, AssetId(asset_id))
    place = await workshop.library().present_location(places, len(upload.data))
    assert (workshop.repository.root / place.path).read_bytes() == upload.data
    assert damaged.read_bytes() == upload.data[:100], "nobody asked for the damaged file to be removed"


async def test_a_repair_makes_an_asset_ready_that_was_given_up(workshop: Workshop) -> None:
    upload = await _stage(workshop)
    asset_id = await _process(workshop, upload)
    (await _path_of(workshop, asset_id)).unlink()
    async with workshop.db.transaction() as tx:
        enqueued = await store.enqueue(tx, spec(upload.args))
        job = await store.get_job(tx, enqueued.job_id)
        assert job is not None
        assert job.state is JobState.AVAILABLE
        await assets.set_state(tx, AssetId(asset_id), ProcessingState.STORED)
        await show_given_up(tx, job)
        known = await assets.find_by_hash(tx, workshop.owner_id, ContentHash(upload.args.content_hash))
    assert known is not None
    assert known.state == "problem"
    async with workshop.db.transaction() as tx:
        await tx.script("DELETE FROM jobs", what="the job is over")
    again, _ = await _accept_again(workshop, upload)
    assert await _process(workshop, again) == asset_id
    await _assert_whole(workshop, upload)


async def test_what_repairs_a_trashed_asset_goes_to_the_trash(workshop: Workshop) -> None:
    upload = await _stage(workshop)
    asset_id = AssetId(await _process(workshop, upload))
    settling = SettleTrash(library=workshop.library())
    async with workshop.db.transaction() as tx:
        await assets.set_trashed(tx, asset_id, workshop.owner_id)
    await settling.work(attempt(), settle_trash.Args(asset_id=asset_id))
    (await _path_of(workshop, asset_id)).unlink()
    again, duplicate_of = await _accept_again(workshop, upload)
    assert duplicate_of is None
    assert await _process(workshop, again) == asset_id
    async with workshop.db.session() as session:
        found = await depths(session)
    assert found[settle_trash.QUEUE, JobState.AVAILABLE].jobs == 1
    await settling.work(attempt(), settle_trash.Args(asset_id=asset_id))
    root = workshop.repository.root
    assert [path for path in (root / "inbox").rglob("*") if path.is_file()] == []
    trashed = [path.read_bytes() for path in (root / ".lumilio/trash").rglob("*") if path.is_file()]
    assert trashed == [upload.data]


async def test_a_job_that_was_given_up_and_set_aside_stores_its_file_when_it_is_retried(workshop: Workshop) -> None:
    upload = await _stage(workshop)
    await quarantine(workshop.repository, UploadId(upload.args.upload_id), "its job was given up")
    await _process(workshop, upload, number=11)
    await _assert_whole(workshop, upload)


async def test_a_job_that_was_given_up_after_it_stored_its_file_renders_it_when_it_is_retried(
    workshop: Workshop,
) -> None:
    async def crash() -> None:
        raise DecoderCrashed("the decoder died")

    upload = await _stage(workshop)
    with pytest.raises(DecoderCrashed):
        await _process(workshop, upload, Steps(at="a decoder is wanted", act=crash))
    async with workshop.db.transaction() as tx:
        enqueued = await store.enqueue(tx, spec(upload.args))
        await control.cancel(tx, JobFilter(ids=(enqueued.job_id,)), on_given_up=show_given_up)
        known = await assets.find_by_hash(tx, workshop.owner_id, ContentHash(upload.args.content_hash))
        assert known is not None
        assert known.state == "problem"
        assert [problem.code for problem in await problems.of_asset(tx, known.id)] == ["queue.cancelled"]
    await _process(workshop, upload, number=11)
    await _assert_whole(workshop, upload)


async def test_a_rendering_that_is_given_up_becomes_a_problem_until_a_retry_makes_its_thumbnails(
    workshop: Workshop,
) -> None:
    upload = await _stage(workshop)
    asset_id = AssetId(await _process(workshop, upload))
    rendering = render_asset.spec(asset_id, workshop.owner_id)
    async with workshop.db.transaction() as tx:
        enqueued = await store.enqueue(tx, rendering)
        await control.cancel(tx, JobFilter(owner_id=workshop.owner_id), on_given_up=jobs.show_given_up)
        row = await thumbnails.find_thumbnail(tx, asset_id, 300, workshop.owner_id)
        assert row is not None
        assert row.state is ProcessingState.PROBLEM
        retried = await control.retry(tx, JobFilter(ids=(enqueued.job_id,)), attempts_of={})
        assert retried.revived
    await workshop.rendering().work(attempt(), render_asset.Args(asset_id=asset_id))
    await _assert_whole(workshop, upload)


async def test_a_tool_has_a_whole_round_of_tries_after_a_retry(workshop: Workshop) -> None:
    async def crash() -> None:
        raise DecoderCrashed("the decoder died")

    upload = await _stage(workshop)
    later = replace(attempt(MAX_ATTEMPTS + 1), max_attempts=2 * MAX_ATTEMPTS)
    with pytest.raises(DecoderCrashed):
        await workshop.job(Steps(at="a decoder is wanted", act=crash)).work(later, upload.args)


async def test_a_photo_that_cannot_be_decoded_shows_the_picture_that_it_carries(workshop: Workshop) -> None:
    upload = await _stage(workshop, _with_preview(), name="cut.jpg")
    asset_id = await _process(workshop, upload)
    async with workshop.db.session() as session:
        asset = await assets.get_asset(session, AssetId(asset_id), workshop.owner_id)
        row = await thumbnails.find_thumbnail(session, AssetId(asset_id), 150, workshop.owner_id)
    assert asset is not None
    assert (asset.state, asset.render_source) == ("problem", "embedded_preview")
    assert [problem.step for problem in asset.problems] == ["render"]
    assert asset.thumbhash is not None
    assert row is not None
    path = derivatives.thumbnail_path(workshop.repository, row.content_hash, 150)
    assert await derivatives.is_whole(path, row.bytes)


def _with_preview() -> bytes:
    """A JPEG whose own data is cut off, and whose EXIF has a thumbnail of 160 pixels."""
    small = io.BytesIO()
    Image.effect_mandelbrot((160, 120), (-2, -1.5, 1, 1.5), 50).convert("RGB").save(small, "JPEG")
    head = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HI", 0, 14)
    entries = [(0x0103, 3, 1, 6), (0x0201, 4, 1, 14 + 2 + 36 + 4), (0x0202, 4, 1, len(small.getvalue()))]
    ifd = struct.pack("<H", 3) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + struct.pack("<I", 0)
    block = head + ifd + small.getvalue()
    whole = io.BytesIO()
    Image.effect_mandelbrot((1600, 1200), (-2, -1.5, 1, 1.5), 50).convert("RGB").save(whole, "JPEG", exif=block)
    return whole.getvalue()[: len(block) + 3000]
