import asyncio
import os
import shutil
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from blake3 import blake3

from lumilio.errors import DiskFull, PathOccupied, PayloadTooLarge, RepositoryOffline, StorageError
from lumilio.model import UploadId
from lumilio.storage.disk import run_blocking
from lumilio.storage.hashing import digest
from lumilio.storage.repository import Repository
from lumilio.storage.staging import (
    StagedFile,
    acknowledge,
    clear_temp,
    discard,
    discard_part,
    discard_upload,
    list_staged,
    receive,
    staged_path,
)

Stage = Callable[[bytes], Awaitable[StagedFile]]
MIB = 1024 * 1024


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def new_upload() -> UploadId:
    return UploadId(uuid4())


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [b""],
        [b"x"],
        [b"small"] * 1000,
        [os.urandom(MIB)] * 3 + [b"rest"],
        [os.urandom(5 * MIB + 7)],
        [os.urandom(MIB - 1), b"xy"],
    ],
    ids=["nothing", "empty chunk", "byte", "small chunks", "whole batches", "huge chunk", "over the edge"],
)
async def test_received_bytes_are_staged_whole_with_their_hash(repository: Repository, chunks: list[bytes]) -> None:
    upload_id = new_upload()
    staged = await receive(repository, upload_id, stream(*chunks), size_limit=None, reserve_bytes=0)
    data = b"".join(chunks)
    assert staged.path.name == f"{upload_id}.part"
    for _ in range(2):
        assert await acknowledge(repository, upload_id)
    path = staged_path(repository, upload_id)
    assert [entry.path for entry in await list_staged(repository)] == [path]
    assert path.read_bytes() == data
    assert staged.size == len(data)
    assert staged.content_hash == blake3(data).hexdigest() == digest(path)
    assert staged.repository_id == repository.id


async def test_a_file_of_exactly_the_limit_is_taken_and_one_byte_more_is_not(repository: Repository) -> None:
    await receive(repository, new_upload(), stream(b"x" * 10), size_limit=10, reserve_bytes=0)
    rejected = new_upload()
    with pytest.raises(PayloadTooLarge, match="limit of 10 bytes"):
        await receive(repository, rejected, stream(b"x" * 10, b"x"), size_limit=10, reserve_bytes=0)
    assert not staged_path(repository, rejected).exists()


async def test_a_limit_hit_after_megabytes_leaves_nothing(repository: Repository) -> None:
    with pytest.raises(PayloadTooLarge):
        chunks = stream(*[b"x" * MIB] * 5)
        await receive(repository, new_upload(), chunks, size_limit=4 * MIB, reserve_bytes=0)
    assert list(repository.incoming.iterdir()) == []


async def test_the_reserve_stays_free(repository: Repository) -> None:
    reserve = shutil.disk_usage(repository.root).free * 2
    with pytest.raises(DiskFull, match="must stay free"):
        await receive(repository, new_upload(), stream(b"x"), size_limit=None, reserve_bytes=reserve)
    assert list(repository.incoming.iterdir()) == []


async def test_a_client_that_goes_away_leaves_nothing(repository: Repository) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 2 * MIB
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await receive(repository, new_upload(), broken(), size_limit=None, reserve_bytes=0)
    assert list(repository.incoming.iterdir()) == []


async def test_a_cancelled_upload_leaves_nothing(repository: Repository) -> None:
    arrived = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 2 * MIB
        arrived.set()
        await asyncio.Event().wait()

    upload = asyncio.create_task(receive(repository, new_upload(), endless(), size_limit=None, reserve_bytes=0))
    await arrived.wait()
    [part] = await list_staged(repository)
    assert not part.whole
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    assert list(repository.incoming.iterdir()) == []


async def test_uploads_cancelled_at_any_moment_leave_nothing_or_a_whole_file(repository: Repository) -> None:
    data = os.urandom(MIB)
    for turns in range(12):
        upload_id = new_upload()
        chunks = stream(data, data, data)
        upload = asyncio.create_task(receive(repository, upload_id, chunks, size_limit=None, reserve_bytes=0))
        for _ in range(turns):
            await asyncio.sleep(0)
        upload.cancel()
        await asyncio.wait({upload})
        if upload.cancelled():
            assert await list_staged(repository) == []
        else:
            assert upload.result().path.read_bytes() == data * 3
            await discard(upload.result())


async def test_an_upload_id_in_use_is_refused_and_its_file_kept(repository: Repository, stage: Stage) -> None:
    first = await stage(b"first")
    with pytest.raises(PathOccupied):
        await receive(repository, first.upload_id, stream(b"second"), size_limit=None, reserve_bytes=0)
    assert first.path.read_bytes() == b"first"


async def test_an_upload_id_that_is_being_received_is_refused_and_the_first_arrives(repository: Repository) -> None:
    upload_id, begun, finish = new_upload(), asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 2 * MIB
        begun.set()
        await finish.wait()

    first = asyncio.create_task(receive(repository, upload_id, slow(), size_limit=None, reserve_bytes=0))
    await begun.wait()
    with pytest.raises(PathOccupied):
        await receive(repository, upload_id, stream(b"second"), size_limit=None, reserve_bytes=0)
    finish.set()
    assert (await first).path.read_bytes() == b"x" * 2 * MIB
    assert len(list(repository.incoming.iterdir())) == 1


@pytest.mark.parametrize("repeats", [(2, 300_000), (32 * MIB, 1)], ids=["many small chunks", "a huge chunk"])
async def test_memory_is_bounded_by_the_batch_however_the_bytes_are_cut(
    repository: Repository, repeats: tuple[int, int]
) -> None:
    size, count = repeats

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield bytes(size)

    tracemalloc.start()
    try:
        await receive(repository, new_upload(), pieces(), size_limit=None, reserve_bytes=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size + 3 * MIB


async def test_nothing_is_received_into_a_repository_that_is_offline(repository: Repository) -> None:
    repository.root.rename(repository.root.with_name("unplugged"))
    repository.incoming.mkdir(parents=True)
    with pytest.raises(RepositoryOffline):
        await receive(repository, new_upload(), stream(b"x"), size_limit=None, reserve_bytes=0)
    assert list(repository.incoming.iterdir()) == []


async def test_discarding_twice_is_no_error(repository: Repository, stage: Stage) -> None:
    staged = await stage(b"x")
    await discard(staged)
    await discard_upload(repository, staged.upload_id)
    assert not staged.path.exists()


async def test_nothing_can_be_acknowledged_that_is_not_there(repository: Repository) -> None:
    assert not await acknowledge(repository, new_upload())


async def test_the_listing_tells_whole_files_from_parts_and_when_they_last_changed(
    repository: Repository, stage: Stage
) -> None:
    staged, broken = await stage(b"123"), new_upload()
    os.utime(staged.path, (0, 0))
    part = repository.incoming / f"{broken}.part"
    part.write_bytes(b"12")
    listed = {entry.upload_id: entry for entry in await list_staged(repository)}
    assert {key: (entry.path, entry.whole, entry.size) for key, entry in listed.items()} == {
        staged.upload_id: (staged.path, True, 3),
        broken: (part, False, 2),
    }
    assert all(abs(datetime.now(UTC) - entry.changed) < timedelta(minutes=5) for entry in listed.values())


@pytest.mark.parametrize("name", ["notes.txt", "{upload}.txt", "{upload}.part.part", "{hex}", "{{{upload}}}", ".part"])
async def test_the_listing_leaves_out_names_that_no_upload_has(repository: Repository, name: str) -> None:
    upload_id = new_upload()
    (repository.incoming / name.format(upload=upload_id, hex=upload_id.hex)).write_bytes(b"x")
    (repository.incoming / str(new_upload())).mkdir()
    (repository.incoming / str(new_upload())).symlink_to(repository.root)
    assert await list_staged(repository) == []


async def test_discarding_a_part_never_takes_the_file_that_it_became(repository: Repository, stage: Stage) -> None:
    staged, broken = await stage(b"whole"), new_upload()
    (repository.incoming / f"{broken}.part").write_bytes(b"half")
    for upload_id in (staged.upload_id, broken, broken):
        await discard_part(repository, upload_id)
    assert [path.name for path in repository.incoming.iterdir()] == [str(staged.upload_id)]


async def test_a_part_that_was_taken_away_under_an_upload_fails_it(repository: Repository) -> None:
    upload_id = new_upload()

    async def robbed() -> AsyncIterator[bytes]:
        yield b"x" * 2 * MIB
        await discard_part(repository, upload_id)

    with pytest.raises(StorageError):
        await receive(repository, upload_id, robbed(), size_limit=None, reserve_bytes=0)
    assert list(repository.incoming.iterdir()) == []


async def test_clearing_temp_takes_old_half_written_files_and_nothing_else(repository: Repository) -> None:
    (repository.temp / f".{uuid4()}.tmp").write_bytes(b"half")
    (repository.temp / f".{uuid4()}.lumilio-part").write_bytes(b"half")
    (repository.temp / "overwrite.lock").touch()
    (repository.temp / ".folder").mkdir()
    await clear_temp(repository, datetime.now(UTC) - timedelta(minutes=5))
    assert len(list(repository.temp.iterdir())) == 4
    await clear_temp(repository, datetime.now(UTC) + timedelta(minutes=5))
    assert {path.name for path in repository.temp.iterdir()} == {"overwrite.lock", ".folder"}


async def test_temp_of_a_repository_that_is_offline_is_left_alone(repository: Repository) -> None:
    (repository.temp / ".x.tmp").write_bytes(b"half")
    (repository.root / ".lumilio/repository.toml").unlink()
    with pytest.raises(RepositoryOffline):
        await clear_temp(repository, datetime.now(UTC) + timedelta(minutes=5))
    assert (repository.temp / ".x.tmp").exists()


async def test_a_cancelled_caller_hears_of_it_only_when_its_thread_is_done(tmp_path: Path) -> None:
    import threading

    started, release = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(started.set)
        assert release.wait(60)
        (tmp_path / "done").touch()

    task = asyncio.create_task(run_blocking(work))
    await started.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=0.05)
    task.cancel()
    await asyncio.wait({task}, timeout=0.05)
    assert not task.done()
    release.set()
    await asyncio.wait({task})
    assert task.cancelled()
    assert (tmp_path / "done").exists()
