import asyncio
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from lumilio.errors import (
    PathInvalid,
    PathOccupied,
    RepositoryInvalid,
    RepositoryNested,
    RepositoryOffline,
    StorageError,
)
from lumilio.model import DuplicateNames, RepoPath, RepositoryId, StorageStrategy
from lumilio.storage.configuration import RepositoryConfig, encode_config, read_config
from lumilio.storage.creation import create_repository
from lumilio.storage.repository import (
    LAYOUT,
    SENTINEL,
    Repository,
    open_repository,
    repair_repository,
    validate_repository,
)


def tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


@pytest.fixture
def user_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "2019" / "rome").mkdir(parents=True)
    (folder / "2019" / "rome" / "a.jpg").write_bytes(b"a")
    (folder / "b.jpg").write_bytes(b"b")
    return folder


async def test_creation_makes_the_whole_layout_and_can_be_opened_again(tmp_path: Path) -> None:
    made = await create_repository(
        tmp_path / "new" / "photos",
        name="Fotos von Zoë",
        strategy=StorageStrategy.CAS,
        duplicate_names=DuplicateNames.UUID,
        ignore=("*.bak",),
        size_limit=10**9,
    )
    assert all((made.root / directory).is_dir() for directory in LAYOUT)
    assert await validate_repository(made.root) == []
    assert await open_repository(made.root) == made


async def test_creation_keeps_what_lies_in_the_folder(user_folder: Path) -> None:
    before = tree(user_folder)
    await create_repository(user_folder, name="Pictures")
    assert before <= tree(user_folder)
    assert (user_folder / "b.jpg").read_bytes() == b"b"


async def test_the_sentinel_is_readable_toml_with_the_settings(repository: Repository) -> None:
    document = tomllib.loads((repository.root / SENTINEL).read_text())
    assert document["id"] == str(repository.id)
    assert document["name"] == "Photos"
    assert document["strategy"] == "date"
    assert document["duplicate_names"] == "rename"
    assert document["created"].tzinfo is not None


async def test_a_second_creation_in_one_place_is_refused_and_changes_nothing(repository: Repository) -> None:
    before = tree(repository.root)
    with pytest.raises(PathOccupied, match="is a repository already"):
        await create_repository(repository.root, name="Again")
    assert tree(repository.root) == before
    assert read_config(repository.root / SENTINEL).id == repository.id


async def test_a_repository_below_another_is_refused(repository: Repository) -> None:
    with pytest.raises(RepositoryNested):
        await create_repository(repository.root / "2020" / "inner", name="Inner")
    assert not (repository.root / "2020").exists()


async def test_a_repository_above_another_is_refused(repository: Repository) -> None:
    before = tree(repository.root.parent)
    with pytest.raises(RepositoryNested, match="may not lie inside"):
        await create_repository(repository.root.parent, name="Outer")
    assert tree(repository.root.parent) == before


async def test_nesting_through_a_symbolic_link_is_refused(repository: Repository, tmp_path: Path) -> None:
    (repository.root / "user").mkdir()
    (tmp_path / "link").symlink_to(repository.root / "user")
    with pytest.raises(RepositoryNested):
        await create_repository(tmp_path / "link", name="Through a link")


async def test_a_neighbour_whose_name_begins_alike_is_not_nested(repository: Repository) -> None:
    neighbour = repository.root.with_name(repository.root.name + "2")
    assert (await create_repository(neighbour, name="Neighbour")).root == neighbour


async def test_links_to_other_repositories_and_link_loops_below_are_not_followed(
    repository: Repository, user_folder: Path
) -> None:
    (user_folder / "other").symlink_to(repository.root)
    (user_folder / "loop").symlink_to(user_folder)
    await create_repository(user_folder, name="Pictures")


@pytest.mark.parametrize("obstacle", [".lumilio/logs", "inbox", ".lumilio/assets/thumbnails"])
async def test_a_failed_creation_takes_away_only_what_it_made(user_folder: Path, obstacle: str) -> None:
    (user_folder / obstacle).parent.mkdir(parents=True, exist_ok=True)
    (user_folder / obstacle).write_text("a file where a directory should be")
    before = tree(user_folder)
    with pytest.raises(PathOccupied, match="is not a directory"):
        await create_repository(user_folder, name="Pictures")
    assert tree(user_folder) == before
    assert (user_folder / "2019/rome/a.jpg").read_bytes() == b"a"


async def test_an_inbox_that_is_a_symbolic_link_is_refused(user_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (user_folder / "inbox").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RepositoryInvalid, match="symbolic link"):
        await create_repository(user_folder, name="Pictures")
    assert not (user_folder / ".lumilio").exists()
    assert (user_folder / "inbox").is_symlink()


async def test_creation_in_a_place_that_cannot_be_written_leaves_nothing() -> None:
    with pytest.raises(StorageError):
        await create_repository(Path("/proc/lumilio"), name="Impossible")


@pytest.mark.parametrize("name", ["", "x" * 201, "\udcff"])
async def test_an_impossible_name_is_refused_before_anything_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(RepositoryInvalid, match="name"):
        await create_repository(tmp_path / "photos", name=name)
    assert not (tmp_path / "photos").exists()


async def test_two_creations_at_once_make_one_repository(tmp_path: Path) -> None:
    results = await asyncio.gather(
        *(create_repository(tmp_path / "photos", name=f"{number}") for number in range(8)), return_exceptions=True
    )
    made = [result for result in results if isinstance(result, Repository)]
    assert len(made) == 1
    assert all(isinstance(result, PathOccupied) for result in results if result is not made[0])
    assert await open_repository(tmp_path / "photos") == made[0]
    assert await validate_repository(tmp_path / "photos") == []


VALID = 'id = "{id}"\nname = "Photos"\ncreated = 2026-01-02T03:04:05Z\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (VALID + 'colour = "red"\n', "colour = 'red': unknown key; expected one of id, name, created"),
        (VALID + "size_limit = true\n", "size_limit = True: input should be a valid integer"),
        (VALID + "size_limit = 0\n", "size_limit = 0: input should be greater than 0"),
        (VALID + 'strategy = "dates"\n', "strategy = 'dates': input should be 'date', 'flat' or 'cas'"),
        (VALID + "ignore = [1]\n", r"ignore.0 = 1: input should be a valid string"),
        ('name = "Photos"\ncreated = 2026-01-02T03:04:05Z\n', "id: is missing"),
        (VALID.replace("05Z", "05"), "created = .*timezone"),
        ("id = ", "not a TOML document"),
        ("\0\0\0", "not a TOML document"),
        ("", "id: is missing"),
    ],
)
async def test_a_faulty_sentinel_is_refused_with_file_key_value_and_expectation(
    repository: Repository, text: str, expected: str
) -> None:
    sentinel = repository.root / SENTINEL
    sentinel.write_text(text.format(id=repository.id))
    with pytest.raises(RepositoryInvalid, match=expected) as caught:
        await open_repository(repository.root)
    assert str(sentinel) in str(caught.value)
    with pytest.raises(RepositoryOffline):
        repository.check_online()


def test_the_configuration_survives_being_written_and_read(tmp_path: Path) -> None:
    config = RepositoryConfig(
        id=RepositoryId(uuid4()),
        name='"quoted" \\ and\nbroken 写真',
        created=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        ignore=(),
        size_limit=1,
    )
    path = tmp_path / "repository.toml"
    path.write_bytes(encode_config(config))
    assert read_config(path) == config


async def test_a_repository_without_its_sentinel_is_offline_not_empty(repository: Repository) -> None:
    repository.check_online()
    repository.root.rename(repository.root.with_name("unplugged"))
    with pytest.raises(RepositoryOffline, match="mount it again"):
        repository.check_online()
    repository.root.mkdir()
    with pytest.raises(RepositoryOffline):
        repository.check_online()
    with pytest.raises(RepositoryOffline):
        await open_repository(repository.root)


async def test_another_disk_in_the_same_place_is_offline(repository: Repository) -> None:
    repository.root.rename(repository.root.with_name("unplugged"))
    await create_repository(repository.root, name="Another disk")
    with pytest.raises(RepositoryOffline, match="Photos"):
        repository.check_online()


async def test_validation_names_what_is_missing_and_repair_makes_it(repository: Repository) -> None:
    (repository.root / "inbox").rmdir()
    (repository.root / ".lumilio/staging/incoming").rmdir()
    (repository.root / ".lumilio/logs").rmdir()
    (repository.root / ".lumilio/logs").write_text("a file")
    (repository.root / "mine.jpg").write_bytes(b"mine")
    faults = {fault.path: fault.repairable for fault in await validate_repository(repository.root)}
    expected = {"inbox": True, ".lumilio/staging/incoming": True, ".lumilio/logs": False}
    assert faults == {repository.root / name: repairable for name, repairable in expected.items()}
    with pytest.raises(PathOccupied):
        await repair_repository(repository.root)
    assert (repository.root / ".lumilio/logs").read_text() == "a file"
    (repository.root / ".lumilio/logs").unlink()
    await repair_repository(repository.root)
    assert await validate_repository(repository.root) == []
    assert await repair_repository(repository.root) == []
    assert (repository.root / "mine.jpg").read_bytes() == b"mine"


async def test_repair_does_not_invent_an_identity(tmp_path: Path) -> None:
    with pytest.raises(RepositoryOffline):
        await repair_repository(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert [fault.repairable for fault in await validate_repository(tmp_path)] == [False]


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    yield folder


def test_paths_through_links_out_of_the_repository_are_refused(repository: Repository, outside: Path) -> None:
    (repository.root / "escape").symlink_to(outside)
    (repository.root / "file").symlink_to(outside / "secret")
    (repository.root / "dots").symlink_to("../outside")
    for path in ("escape/secret", "file", "dots/secret", "escape"):
        with pytest.raises(PathInvalid, match="leads out of the repository"):
            repository.resolve(RepoPath(path))
    with pytest.raises(PathInvalid, match="leads out of the repository"):
        repository.entry(RepoPath("escape/new.jpg"))
    assert repository.entry(RepoPath("file")) == repository.root / "file"


def test_links_inside_the_repository_are_followed(repository: Repository) -> None:
    (repository.root / "album").mkdir()
    (repository.root / "album" / "a.jpg").write_bytes(b"a")
    (repository.root / "link").symlink_to("album")
    assert repository.resolve(RepoPath("link/a.jpg")) == repository.root / "album/a.jpg"


@pytest.mark.parametrize("path", ["..", "../x", "a/../../x", "/etc/passwd", "a/../..", "x\0y/z"])
def test_hostile_paths_never_resolve_outside(repository: Repository, path: str) -> None:
    with pytest.raises(PathInvalid):
        repository.resolve(RepoPath(path))


def test_a_sibling_whose_name_begins_alike_is_outside(repository: Repository) -> None:
    sibling = repository.root.with_name(repository.root.name + "2")
    sibling.mkdir()
    (repository.root / "link").symlink_to(sibling)
    with pytest.raises(PathInvalid):
        repository.resolve(RepoPath("link"))


def test_a_link_loop_is_no_crash(repository: Repository) -> None:
    (repository.root / "loop").symlink_to("loop")
    try:
        resolved = repository.resolve(RepoPath("loop/a.jpg"))
    except PathInvalid:
        return
    assert resolved.is_relative_to(repository.root)
    assert not resolved.exists()
