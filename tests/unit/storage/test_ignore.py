import pytest

from lumilio.model import RepoPath
from lumilio.storage.ignore import DEFAULT_IGNORE, IgnoreRules


@pytest.mark.parametrize(
    "path",
    [
        "a/.DS_Store",
        "a/._IMG.jpg",
        "@eaDir/IMG.jpg/SYNOPHOTO.jpg",
        "x/film.mp4.part",
        "lost+found/1",
        ".Trash-1000/files/a.jpg",
        ".lumilio/repository.toml",
        "inbox/.1234.lumilio-part",
    ],
)
def test_droppings_of_other_programs_are_ignored(path: str) -> None:
    assert IgnoreRules(DEFAULT_IGNORE).ignores(RepoPath(path))


@pytest.mark.parametrize("path", ["inbox/2024/05/a.jpg", "a/partly.jpg", "Trash/a.jpg", "a/.hidden.jpg", "a/b.tmp.jpg"])
def test_photos_are_not(path: str) -> None:
    assert not IgnoreRules(DEFAULT_IGNORE).ignores(RepoPath(path))


def test_a_pattern_with_a_slash_fits_the_path_and_all_below() -> None:
    rules = IgnoreRules(("raw/exports", "*/cache/*"))
    assert rules.ignores(RepoPath("raw/exports/a/b.jpg"))
    assert rules.ignores(RepoPath("a/cache/b.jpg"))
    assert not rules.ignores(RepoPath("x/raw/exports/b.jpg"))
    assert not rules.ignores(RepoPath("exports/b.jpg"))


def test_own_files_are_ignored_even_when_nothing_is_configured() -> None:
    assert IgnoreRules(()).ignores(RepoPath(".lumilio/trash/x"))
    assert not IgnoreRules(()).ignores(RepoPath("a/.DS_Store"))
