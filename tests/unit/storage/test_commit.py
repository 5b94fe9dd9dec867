import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from lumilio.errors import PathInvalid, PathOccupied, RepositoryOffline, StagedFileMissing, StorageError
from lumilio.model import DuplicateNames, RepoPath
from lumilio.storage.commit import Committed, commit
from lumilio.storage.place import LINUX, NoReplace, rename_without_replacing
from lumilio.storage.repository import Repository
from lumilio.storage.staging import StagedFile, discard
from lumilio.storage.trash import trash_path

Stage = Callable[[bytes], Awaitable[StagedFile]]
WANTED = RepoPath("inbox/2024/05/IMG.jpg")


def unsupported(number: int) -> Callable[[Path, Path], None]:
    def call(source: Path, _target: Path) -> None:
        raise OSError(number, os.strerror(number), str(source))

    return call


NO_LINKS = NoReplace(link=unsupported(errno.EPERM))
NO_RENAME = NoReplace(rename=unsupported(errno.EINVAL))
NEITHER = NoReplace(link=unsupported(errno.EOPNOTSUPP), rename=unsupported(errno.ENOSYS))
FILESYSTEMS = pytest.mark.parametrize(
    "calls", [LINUX, NO_LINKS, NO_RENAME, NEITHER], ids=["linux", "no links", "no rename", "neither"]
)


async def settle(
    repository: Repository,
    staged: StagedFile,
    wanted: str = WANTED,
    *,
    policy: DuplicateNames = DuplicateNames.RENAME,
    modified_ns: int | None = None,
    calls: NoReplace = LINUX,
) -> Committed:
    return await commit(
        repository,
        staged.path,
        RepoPath(wanted),
        policy=policy,
        content_hash=staged.content_hash,
        modified_ns=modified_ns,
        calls=calls,
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def leftovers(repository: Repository) -> list[Path]:
    return [*repository.root.rglob("*lumilio-part"), *repository.temp.glob(".*")]


@FILESYSTEMS
async def test_a_commit_gives_the_bytes_their_name_and_leaves_them_staged(
    repository: Repository, stage: Stage, calls: NoReplace
) -> None:
    staged = await stage(b"photo")
    committed = await settle(repository, staged, modified_ns=1_234_567_890_123_456_789, calls=calls)
    target = repository.root / WANTED
    status = target.stat()
    assert target.read_bytes() == staged.path.read_bytes() == b"photo"
    assert committed == Committed(
        path=WANTED,
        size=5,
        mtime_ns=1_234_567_890_123_456_789,
        device=status.st_dev,
        inode=status.st_ino,
        displaced=None,
    )
    assert status.st_mtime_ns == 1_234_567_890_123_456_789
    assert leftovers(repository) == []
    await discard(staged)
    assert target.read_bytes() == b"photo"


@FILESYSTEMS
async def test_a_repeated_commit_finds_what_it_did(repository: Repository, stage: Stage, calls: NoReplace) -> None:
    await settle(repository, await stage(b"other"), calls=calls)
    staged = await stage(b"photo")
    first = await settle(repository, staged, calls=calls)
    assert first.path == "inbox/2024/05/IMG (1).jpg"
    assert await settle(repository, staged, calls=calls) == first
    assert contents((repository.root / WANTED).parent) == {"IMG.jpg": b"other", "IMG (1).jpg": b"photo"}


@pytest.mark.parametrize("policy", [DuplicateNames.RENAME, DuplicateNames.OVERWRITE])
async def test_without_hard_links_one_copy_is_made_whatever_is_taken_and_none_by_the_retry(
    repository: Repository, stage: Stage, policy: DuplicateNames
) -> None:
    copies: list[Path] = []

    def rename(source: Path, target: Path) -> None:
        copies.append(source)
        rename_without_replacing(source, target)

    calls = NoReplace(link=unsupported(errno.EPERM), rename=rename)
    for number in range(10):
        await settle(repository, await stage(f"taken {number}".encode()), calls=calls)
    copies.clear()
    staged = await stage(b"photo")
    committed = await settle(repository, staged, policy=policy, calls=calls)
    assert committed.path == "inbox/2024/05/IMG (10).jpg"
    assert len(copies) == 1
    assert await settle(repository, staged, policy=policy, calls=calls) == committed
    assert len(copies) == 1


async def test_a_staged_file_of_another_size_than_was_received_is_refused_untouched(
    repository: Repository, stage: Stage
) -> None:
    staged = await stage(b"photo")
    os.truncate(staged.path, 3)
    before = staged.path.stat()
    with pytest.raises(StorageError, match="3 bytes instead of 5") as caught:
        await commit(
            repository,
            staged.path,
            WANTED,
            policy=DuplicateNames.RENAME,
            content_hash=staged.content_hash,
            size=staged.size,
            modified_ns=1,
        )
    assert caught.value.details == {"expected_bytes": 5, "found_bytes": 3}
    assert staged.path.stat() == before
    assert list((repository.root / "inbox").iterdir()) == []


@FILESYSTEMS
@pytest.mark.parametrize("policy", DuplicateNames)
async def test_twenty_uploads_that_race_for_one_name_are_all_kept(
    repository: Repository, stage: Stage, calls: NoReplace, policy: DuplicateNames
) -> None:
    staged = [await stage(f"photo {number}".encode()) for number in range(20)]
    committed = await asyncio.gather(*(settle(repository, each, policy=policy, calls=calls) for each in staged))
    kept = {path.read_bytes() for path in repository.root.rglob("IMG*.jpg")}
    assert kept == {f"photo {number}".encode() for number in range(20)}
    assert len({each.path for each in committed}) == 20
    for each, upload in zip(committed, staged, strict=True):
        assert (repository.root / each.path).read_bytes() == upload.path.read_bytes()
    assert leftovers(repository) == []


async def test_the_uuid_policy_marks_the_second_file_with_its_upload(repository: Repository, stage: Stage) -> None:
    await settle(repository, await stage(b"first"), policy=DuplicateNames.UUID)
    second = await stage(b"second")
    committed = await settle(repository, second, policy=DuplicateNames.UUID)
    assert committed.path == f"inbox/2024/05/IMG {second.upload_id}.jpg"
    assert await settle(repository, second, policy=DuplicateNames.UUID) == committed


@FILESYSTEMS
async def test_overwriting_moves_the_old_file_to_the_trash_first(
    repository: Repository, stage: Stage, calls: NoReplace
) -> None:
    old = await stage(b"old")
    await settle(repository, old, calls=calls)
    await discard(old)
    staged = await stage(b"new")
    committed = await settle(repository, staged, policy=DuplicateNames.OVERWRITE, calls=calls)
    assert committed.path == WANTED
    assert (repository.root / WANTED).read_bytes() == b"new"
    assert committed.displaced is not None
    assert committed.displaced.path == WANTED
    assert committed.displaced.trashed == trash_path(staged.upload_id, WANTED)
    assert (repository.root / committed.displaced.trashed).read_bytes() == b"old"
    assert await settle(repository, staged, policy=DuplicateNames.OVERWRITE, calls=calls) == committed


async def test_a_crash_between_displacing_and_linking_is_reported_by_the_retry(
    repository: Repository, stage: Stage
) -> None:
    (repository.root / WANTED).parent.mkdir(parents=True)
    staged = await stage(b"new")
    trashed = repository.root / trash_path(staged.upload_id, WANTED)
    trashed.parent.mkdir(parents=True)
    trashed.write_bytes(b"old")
    committed = await settle(repository, staged, policy=DuplicateNames.OVERWRITE)
    assert committed.path == WANTED
    assert committed.displaced is not None
    assert (repository.root / committed.displaced.trashed).read_bytes() == b"old"


@FILESYSTEMS
async def test_a_file_whose_own_upload_is_not_finished_is_not_displaced(
    repository: Repository, stage: Stage, calls: NoReplace
) -> None:
    await settle(repository, await stage(b"no rows yet"), calls=calls)
    committed = await settle(repository, await stage(b"new"), policy=DuplicateNames.OVERWRITE, calls=calls)
    assert committed.path == "inbox/2024/05/IMG (1).jpg"
    assert committed.displaced is None
    assert (repository.root / WANTED).read_bytes() == b"no rows yet"


async def test_overwriting_displaces_neither_directories_nor_links(repository: Repository, stage: Stage) -> None:
    folder = (repository.root / WANTED).parent
    folder.mkdir(parents=True)
    (folder / "IMG.jpg").symlink_to("nowhere")
    (folder / "dir.jpg").mkdir()
    first = await settle(repository, await stage(b"1"), policy=DuplicateNames.OVERWRITE)
    second = await settle(repository, await stage(b"2"), "inbox/2024/05/dir.jpg", policy=DuplicateNames.OVERWRITE)
    assert (first.path, second.path) == ("inbox/2024/05/IMG (1).jpg", "inbox/2024/05/dir (1).jpg")
    assert (folder / "IMG.jpg").is_symlink()
    assert (folder / "dir.jpg").is_dir()


@FILESYSTEMS
@pytest.mark.parametrize("policy", DuplicateNames)
async def test_the_same_bytes_under_the_wanted_name_are_taken_as_the_location(
    repository: Repository, stage: Stage, calls: NoReplace, policy: DuplicateNames
) -> None:
    folder = (repository.root / WANTED).parent
    folder.mkdir(parents=True)
    (folder / "IMG.jpg").write_bytes(b"photo")
    committed = await settle(repository, await stage(b"photo"), policy=policy, calls=calls)
    assert committed.path == WANTED
    assert committed.displaced is None
    assert contents(folder) == {"IMG.jpg": b"photo"}


@FILESYSTEMS
@pytest.mark.parametrize("truncated", [b"", b"pho"])
async def test_a_file_that_holds_only_the_beginning_is_left_as_it_is(
    repository: Repository, stage: Stage, calls: NoReplace, truncated: bytes
) -> None:
    folder = (repository.root / WANTED).parent
    folder.mkdir(parents=True)
    (folder / "IMG.jpg").write_bytes(truncated)
    await settle(repository, await stage(b"photo"), calls=calls)
    assert contents(folder) == {"IMG.jpg": truncated, "IMG (1).jpg": b"photo"}


async def test_the_retry_finds_its_numbered_name_although_the_wanted_one_became_free(
    repository: Repository, stage: Stage
) -> None:
    blocker = await stage(b"blocker")
    await settle(repository, blocker)
    staged = await stage(b"photo")
    first = await settle(repository, staged)
    (repository.root / WANTED).unlink()
    assert await settle(repository, staged) == first
    assert contents((repository.root / WANTED).parent) == {"IMG (1).jpg": b"photo"}


async def test_names_that_differ_in_case_only_are_both_kept(repository: Repository, stage: Stage) -> None:
    await settle(repository, await stage(b"lower"), "inbox/img.jpg")
    await settle(repository, await stage(b"upper"), "inbox/IMG.JPG")
    files = {name.lower(): data for name, data in contents(repository.root / "inbox").items()}
    assert sorted(contents(repository.root / "inbox").values()) == [b"lower", b"upper"]
    assert files


async def test_names_of_255_bytes_collide_without_harm(repository: Repository, stage: Stage) -> None:
    wanted = "inbox/" + "ä" * 125 + ".jpeg"
    paths = [(await settle(repository, await stage(bytes([number])), wanted)).path for number in range(3)]
    assert len(set(paths)) == 3
    assert all(path.endswith(".jpeg") for path in paths)
    assert sorted(contents(repository.root / "inbox").values()) == [b"\0", b"\1", b"\2"]


@pytest.mark.parametrize(
    "name", ["-rf.jpg", "$(reboot).jpg", "a|", "日本 📷.jpg", "`x`;'\".jpg", "%s%n.jpg", ".hidden", "\u202egpj.exe"]
)
async def test_hostile_names_are_only_names(repository: Repository, stage: Stage, name: str) -> None:
    committed = await settle(repository, await stage(b"x"), f"inbox/{name}")
    assert committed.path == f"inbox/{name}"
    assert contents(repository.root / "inbox") == {name: b"x"}


async def test_a_folder_that_leads_out_of_the_repository_is_refused(
    repository: Repository, stage: Stage, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (repository.root / "inbox/2024").symlink_to(tmp_path / "outside")
    staged = await stage(b"photo")
    with pytest.raises(PathInvalid, match="leads out of the repository"):
        await settle(repository, staged)
    assert list((tmp_path / "outside").iterdir()) == []
    assert staged.path.read_bytes() == b"photo"


async def test_a_link_under_the_wanted_name_is_not_followed(
    repository: Repository, stage: Stage, tmp_path: Path
) -> None:
    (tmp_path / "victim").write_bytes(b"photo")
    (repository.root / "inbox/IMG.jpg").symlink_to(tmp_path / "victim")
    committed = await settle(repository, await stage(b"photo"), "inbox/IMG.jpg")
    assert committed.path == "inbox/IMG (1).jpg"


async def test_a_file_where_a_folder_should_be_is_named(repository: Repository, stage: Stage) -> None:
    (repository.root / "inbox/2024").write_bytes(b"a file")
    staged = await stage(b"photo")
    with pytest.raises(PathOccupied, match="2024' is not a directory"):
        await settle(repository, staged)
    assert staged.path.exists()
    assert (repository.root / "inbox/2024").read_bytes() == b"a file"


async def test_missing_staged_bytes_are_told_from_a_missing_disk(repository: Repository, stage: Stage) -> None:
    staged = await stage(b"photo")
    await discard(staged)
    with pytest.raises(StagedFileMissing):
        await settle(repository, staged)
    repository.root.rename(repository.root.with_name("unplugged"))
    with pytest.raises(RepositoryOffline):
        await settle(repository, staged)
    assert not repository.root.exists()


async def test_a_failing_commit_leaves_the_staged_file_and_no_part(repository: Repository, stage: Stage) -> None:
    staged = await stage(b"photo")
    broken = NoReplace(link=unsupported(errno.EPERM), rename=unsupported(errno.EIO))
    with pytest.raises(Exception, match="check the disk"):
        await settle(repository, staged, calls=broken)
    assert staged.path.read_bytes() == b"photo"
    assert leftovers(repository) == []
    assert list((repository.root / WANTED).parent.iterdir()) == []


async def test_an_upload_is_named_by_a_uuid(stage: Stage) -> None:
    staged = await stage(b"x")
    assert UUID(staged.path.name) == staged.upload_id
    assert uuid4() != staged.upload_id
