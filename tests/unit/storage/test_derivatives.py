from datetime import UTC, datetime, timedelta

import pytest

from lumilio.errors import DiskFull, RepositoryOffline, ToolError
from lumilio.model import ContentHash, Thumbnail
from lumilio.storage.derivatives import (
    discard_target,
    is_whole,
    keep_target,
    new_target,
    thumbnail_path,
    web_version_path,
    write_thumbnails,
)
from lumilio.storage.repository import Repository
from lumilio.storage.staging import clear_temp

HASH = ContentHash("abcdef" + "0" * 58)


def thumbnail(size: int, data: bytes) -> Thumbnail:
    return Thumbnail(size=size, width=size, height=1, data=data)


async def test_thumbnails_are_named_by_content_hash_and_size(repository: Repository) -> None:
    await write_thumbnails(repository, HASH, [thumbnail(150, b"small"), thumbnail(1024, b"large")])
    small, large = (thumbnail_path(repository, HASH, size) for size in (150, 1024))
    assert small == repository.root / f".lumilio/assets/thumbnails/150/ab/cd/{HASH}.webp"
    assert small.read_bytes() == b"small"
    assert await is_whole(large, 5)
    assert list(repository.temp.iterdir()) == []


async def test_a_derivative_of_another_size_than_its_row_counts_as_missing(repository: Repository) -> None:
    path = thumbnail_path(repository, HASH, 150)
    assert not await is_whole(path, 5)
    for torn in (b"", b"longer than five"):
        await write_thumbnails(repository, HASH, [thumbnail(150, torn)])
        assert not await is_whole(path, 5)


async def test_a_reader_that_opened_the_old_thumbnail_keeps_it(repository: Repository) -> None:
    path = thumbnail_path(repository, HASH, 150)
    await write_thumbnails(repository, HASH, [thumbnail(150, b"old")])
    with path.open("rb") as reader:
        await write_thumbnails(repository, HASH, [thumbnail(150, b"new!")])
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new!"


async def test_nothing_is_written_under_an_empty_mount_point(repository: Repository) -> None:
    repository.root.rename(repository.root.with_name("unplugged"))
    repository.root.mkdir()
    with pytest.raises(RepositoryOffline):
        await write_thumbnails(repository, HASH, [thumbnail(150, b"x")])
    assert list(repository.root.iterdir()) == []


async def test_a_file_written_in_place_gets_its_name_when_it_is_whole(repository: Repository) -> None:
    target = await new_target(repository, room=1)
    target.write_bytes(b"a film")
    path = web_version_path(repository, HASH, "video/webm")
    assert await keep_target(repository, target, path) == 6
    assert path == repository.root / f".lumilio/assets/videos/ab/cd/{HASH}.webm"
    assert path.read_bytes() == b"a film"
    assert list(repository.temp.iterdir()) == []
    await discard_target(target)


async def test_what_a_kill_leaves_of_a_derivative_is_swept(repository: Repository) -> None:
    target = await new_target(repository, room=1)
    await clear_temp(repository, datetime.now(UTC) - timedelta(hours=1))
    assert target.exists()
    await clear_temp(repository, datetime.now(UTC) + timedelta(seconds=1))
    assert not target.exists()


async def test_nothing_is_begun_on_a_disk_that_has_no_room_for_it(repository: Repository) -> None:
    with pytest.raises(DiskFull, match="free some space"):
        await new_target(repository, room=1 << 60)
    assert list(repository.temp.iterdir()) == []


@pytest.mark.parametrize("size", ["/etc/x", "../../inbox", 151, True, -150])
def test_only_the_agreed_sizes_have_a_place(repository: Repository, size: object) -> None:
    with pytest.raises(ToolError):
        thumbnail_path(repository, HASH, size)  # type: ignore[arg-type]  # what a decoder that lies might send
    with pytest.raises(ToolError):
        web_version_path(repository, HASH, str(size))
