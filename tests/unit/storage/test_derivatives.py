import pytest

from lumilio.errors import RepositoryOffline
from lumilio.model import ContentHash, Thumbnail
from lumilio.storage.derivatives import (
    is_whole,
    thumbnail_path,
    write_thumbnails,
)
from lumilio.storage.repository import Repository

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
