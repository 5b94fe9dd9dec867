import errno
import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from blake3 import blake3

from lumilio.errors import OriginalMissing, PathInvalid, RepositoryOffline
from lumilio.model import ContentHash, RepoPath
from lumilio.storage.place import LINUX, NoReplace
from lumilio.storage.repository import Repository
from lumilio.storage.trash import move_to_trash, original_path, restore, trash_path

PATH = RepoPath("2019/rome/a.jpg")


def unsupported(number: int) -> Callable[[Path, Path], None]:
    def call(source: Path, _target: Path) -> None:
        raise OSError(number, os.strerror(number), str(source))

    return call


NO_RENAME = NoReplace(rename=unsupported(errno.EINVAL))
NEITHER = NoReplace(link=unsupported(errno.EPERM), rename=unsupported(errno.EINVAL))
FILESYSTEMS = pytest.mark.parametrize("calls", [LINUX, NO_RENAME, NEITHER], ids=["linux", "no rename", "neither"])


def content_hash(data: bytes) -> ContentHash:
    return ContentHash(blake3(data).hexdigest())


@pytest.fixture
def original(repository: Repository) -> Path:
    path = repository.root / PATH
    path.parent.mkdir(parents=True)
    path.write_bytes(b"rome")
    os.utime(path, ns=(1, 1_000_000_000))
    return path


@FILESYSTEMS
async def test_a_file_goes_to_the_trash_and_back(repository: Repository, original: Path, calls: NoReplace) -> None:
    entry = uuid4()
    trashed = await move_to_trash(repository, PATH, entry, calls=calls)
    assert not original.exists()
    assert trashed == trash_path(entry, PATH)
    assert original_path(trashed) == PATH
    assert (repository.root / trashed).read_bytes() == b"rome"
    restored = await restore(repository, trashed, content_hash=content_hash(b"rome"), calls=calls)
    assert restored.path == PATH
    assert original.read_bytes() == b"rome"
    status = original.stat()
    assert (restored.size, restored.mtime_ns, restored.inode) == (4, 1_000_000_000, status.st_ino)
    assert list((repository.root / ".lumilio/trash").iterdir()) == []


@FILESYSTEMS
async def test_trashing_and_restoring_may_be_repeated(repository: Repository, original: Path, calls: NoReplace) -> None:
    entry = uuid4()
    first = await move_to_trash(repository, PATH, entry, calls=calls)
    assert await move_to_trash(repository, PATH, entry, calls=calls) == first
    back = await restore(repository, first, content_hash=content_hash(b"rome"), calls=calls)
    assert await restore(repository, first, content_hash=content_hash(b"rome"), calls=calls) == back
    assert original.read_bytes() == b"rome"


@FILESYSTEMS
async def test_restoring_never_replaces(repository: Repository, original: Path, calls: NoReplace) -> None:
    trashed = await move_to_trash(repository, PATH, uuid4(), calls=calls)
    original.write_bytes(b"new")
    restored = await restore(repository, trashed, content_hash=content_hash(b"rome"), calls=calls)
    assert restored.path == "2019/rome/a (1).jpg"
    assert original.read_bytes() == b"new"
    assert (repository.root / restored.path).read_bytes() == b"rome"
    again = await restore(repository, trashed, content_hash=content_hash(b"rome"), calls=calls)
    assert again == restored


async def test_restoring_makes_the_folder_anew(repository: Repository, original: Path) -> None:
    trashed = await move_to_trash(repository, PATH, uuid4())
    original.parent.rmdir()
    original.parent.parent.rmdir()
    assert (await restore(repository, trashed, content_hash=content_hash(b"rome"))).path == PATH


async def test_a_new_file_under_the_old_name_survives_the_retry_of_a_deletion(
    repository: Repository, original: Path
) -> None:
    entry = uuid4()
    trashed = await move_to_trash(repository, PATH, entry)
    original.write_bytes(b"new!")
    assert await move_to_trash(repository, PATH, entry) == trashed
    assert original.read_bytes() == b"new!"
    assert (repository.root / trashed).read_bytes() == b"rome"


async def test_a_deletion_cut_short_between_link_and_unlink_is_finished(repository: Repository, original: Path) -> None:
    entry = uuid4()
    target = repository.root / trash_path(entry, PATH)
    target.parent.mkdir(parents=True)
    target.hardlink_to(original)
    await move_to_trash(repository, PATH, entry)
    assert not original.exists()
    assert target.read_bytes() == b"rome"


async def test_a_restore_cut_short_between_link_and_unlink_is_finished(repository: Repository, original: Path) -> None:
    trashed = await move_to_trash(repository, PATH, uuid4())
    original.hardlink_to(repository.root / trashed)
    restored = await restore(repository, trashed, content_hash=content_hash(b"rome"))
    assert restored.path == PATH
    assert not (repository.root / trashed).exists()
    assert original.read_bytes() == b"rome"


async def test_what_is_gone_is_missing_and_what_is_unplugged_is_offline(repository: Repository) -> None:
    with pytest.raises(OriginalMissing):
        await move_to_trash(repository, PATH, uuid4())
    assert list((repository.root / ".lumilio/trash").iterdir()) == []
    with pytest.raises(OriginalMissing):
        await restore(repository, trash_path(uuid4(), PATH), content_hash=content_hash(b""))
    repository.root.rename(repository.root.with_name("unplugged"))
    with pytest.raises(RepositoryOffline):
        await move_to_trash(repository, PATH, uuid4())
    with pytest.raises(RepositoryOffline):
        await restore(repository, trash_path(uuid4(), PATH), content_hash=content_hash(b""))
    assert not repository.root.exists()


async def test_a_restored_file_that_was_displaced_before_it_was_recorded_is_found_in_the_trash(
    repository: Repository, original: Path
) -> None:
    trashed = await move_to_trash(repository, PATH, uuid4())
    await restore(repository, trashed, content_hash=content_hash(b"rome"))
    await move_to_trash(repository, PATH, uuid4())
    original.write_bytes(b"newcomer")
    stranger = repository.root / trash_path(uuid4(), PATH)
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"oslo")
    for _ in range(2):
        restored = await restore(repository, trashed, content_hash=content_hash(b"rome"))
        assert restored.path == "2019/rome/a (1).jpg"
        assert (repository.root / restored.path).read_bytes() == b"rome"
    assert original.read_bytes() == b"newcomer"
    assert stranger.read_bytes() == b"oslo"
    assert [path.name for path in (repository.root / ".lumilio/trash").iterdir()] == [stranger.parts[-4]]


@pytest.mark.parametrize(
    "path", ["2019/rome/a.jpg", ".lumilio/trash", ".lumilio/trash/x", ".lumilio/repository.toml", ".lumilio/trash2/x/y"]
)
async def test_only_the_trash_can_be_restored(repository: Repository, original: Path, path: str) -> None:
    with pytest.raises(PathInvalid, match="not in the trash"):
        await restore(repository, RepoPath(path), content_hash=content_hash(b"rome"))
    assert original.exists()
    repository.check_online()


@pytest.mark.parametrize("path", [".lumilio/repository.toml", "2019", "2019/rome"])
async def test_only_files_of_the_user_go_to_the_trash(repository: Repository, original: Path, path: str) -> None:
    with pytest.raises(PathInvalid):
        await move_to_trash(repository, RepoPath(path), uuid4())
    assert original.exists()
    repository.check_online()


async def test_a_link_goes_to_the_trash_itself(repository: Repository, original: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"outside")
    (repository.root / "link.jpg").symlink_to(tmp_path / "outside")
    trashed = await move_to_trash(repository, RepoPath("link.jpg"), uuid4())
    assert (repository.root / trashed).is_symlink()
    assert (tmp_path / "outside").read_bytes() == b"outside"
    assert original.exists()
