"""Which files of a user's directories an import takes."""

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumilio.client.tree import (
    Beside,
    Entry,
    Found,
    Link,
    Skipped,
    Special,
    Unreadable,
    parse_roots,
    sent_name,
    shown,
    walk,
)
from lumilio.errors import ClientError
from lumilio.model import SidecarKind

JPEG = frozenset({".jpg"})


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))


def found(root: Path, extensions: frozenset[str] | None = JPEG) -> list[str]:
    return [os.path.relpath(entry.path, root) for entry in entries(root, extensions) if isinstance(entry, Found)]


def entries(root: Path, extensions: frozenset[str] | None = JPEG) -> list[Entry]:
    return list(walk([str(root)], extensions))


def test_files_come_in_the_order_of_names_and_before_subdirectories(tmp_path: Path) -> None:
    make(tmp_path, "b/2.jpg", "b/1.jpg", "z.jpg", "a/x/3.jpg", "a/9.jpg")
    assert found(tmp_path) == ["z.jpg", "a/9.jpg", "a/x/3.jpg", "b/1.jpg", "b/2.jpg"]


def test_extensions_compare_without_case_and_the_rest_is_told_as_skipped(tmp_path: Path) -> None:
    make(tmp_path, "a.JPG", "b.txt", "jpg")
    assert found(tmp_path) == ["a.JPG"]
    assert [Path(entry.path).name for entry in entries(tmp_path) if isinstance(entry, Skipped)] == ["b.txt", "jpg"]
    assert found(tmp_path, None) == ["a.JPG", "b.txt", "jpg"]


@pytest.mark.parametrize(
    "name",
    [
        ".hidden/a.jpg",
        "._a.jpg",
        ".DS_Store",
        "Thumbs.db",
        "@eaDir/a.jpg",
        "#recycle/a.jpg",
        "$RECYCLE.BIN/a.jpg",
        "lost+found/a.jpg",
        ".stfolder/a.jpg",
        ".stversions/a.jpg",
        ".Trash-1000/a.jpg",
        ".~lock.a.jpg",
        "a.jpg.part",
        "a.tmp",
        "a.tacitpart",
    ],
)
def test_what_belongs_to_other_programs_is_left_out_even_when_everything_is_asked_for(
    tmp_path: Path, name: str
) -> None:
    make(tmp_path, name, "kept.jpg")
    assert [Path(entry.path).name for entry in entries(tmp_path, None)] == ["kept.jpg"]


def test_a_tree_with_a_nomedia_file_is_left_out_unless_it_was_named(tmp_path: Path) -> None:
    make(tmp_path, "covers/.nomedia", "covers/a.jpg", "covers/deep/b.jpg", "kept.jpg")
    assert found(tmp_path) == ["kept.jpg"]
    assert found(tmp_path / "covers") == ["a.jpg", "deep/b.jpg"]


@pytest.mark.parametrize("extensions", [JPEG, None])
def test_symbolic_links_are_told_and_not_followed(tmp_path: Path, extensions: frozenset[str] | None) -> None:
    make(tmp_path, "real/a.jpg")
    for name, target in {"loop": "..", "link.jpg": "a.jpg", "gone.txt": "nowhere", ".hidden.jpg": "a.jpg"}.items():
        (tmp_path / "real" / name).symlink_to(target)
    told = [(type(entry), Path(entry.path).name) for entry in entries(tmp_path, extensions)]
    assert told == [(Found, "a.jpg"), (Link, "gone.txt"), (Link, "link.jpg"), (Link, "loop")]


@pytest.mark.parametrize("extensions", [JPEG, None])
def test_pipes_and_sockets_are_told_as_special_whatever_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extensions: frozenset[str] | None
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.jpg")
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("socket")
        assert [type(entry) for entry in entries(tmp_path, extensions)] == [Special] * 3


@pytest.mark.parametrize("target", ["a.jpg", "nowhere", "link.jpg"])
def test_a_link_that_is_named_is_told_to_be_one(tmp_path: Path, target: str) -> None:
    make(tmp_path, "a.jpg")
    link = tmp_path / "link.jpg"
    link.symlink_to(target)
    reason = "a symbolic link, not followed; name the file it points to"
    assert list(walk(parse_roots([link]), JPEG)) == [Unreadable(path=str(link), reason=reason)]


@pytest.mark.parametrize("extensions", [JPEG, None])
def test_a_pipe_that_is_named_is_told_to_be_one(tmp_path: Path, extensions: frozenset[str] | None) -> None:
    os.mkfifo(tmp_path / "pipe")
    (entry,) = walk(parse_roots([tmp_path / "pipe"]), extensions)
    assert entry == Unreadable(
        path=str(tmp_path / "pipe"), reason="a pipe, socket or device, not a file that can be sent"
    )


def test_a_pipe_called_nomedia_hides_nothing(tmp_path: Path) -> None:
    make(tmp_path, "sub/a.jpg")
    os.mkfifo(tmp_path / "sub" / ".nomedia")
    assert found(tmp_path) == ["sub/a.jpg"]


def test_a_directory_that_cannot_be_read_is_told_and_the_walk_goes_on(tmp_path: Path) -> None:
    make(tmp_path, "a/1.jpg", "b/2.jpg")
    walking = walk([str(tmp_path / "a"), str(tmp_path / "gone"), str(tmp_path / "b")], JPEG)
    assert [type(entry) for entry in walking] == [Found, Unreadable, Found]


def test_a_subdirectory_that_vanishes_is_told_with_the_systems_reason(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg", "sub/2.jpg")
    walking = walk([str(tmp_path)], JPEG)
    next(walking)
    (tmp_path / "sub" / "2.jpg").unlink()
    (tmp_path / "sub").rmdir()
    (entry,) = walking
    assert isinstance(entry, Unreadable)
    assert entry.reason == "No such file or directory"


def test_roots_inside_other_roots_are_walked_once(tmp_path: Path) -> None:
    make(tmp_path, "a/b/1.jpg", "ab/2.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    roots = parse_roots([tmp_path / "a" / "b", tmp_path / "a", tmp_path / "ab", tmp_path / "link", tmp_path / "ab"])
    assert roots == [str(tmp_path / "a"), str(tmp_path / "ab")]


def test_a_root_that_does_not_exist_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match=r"nowhere' cannot be imported: No such file"):
        parse_roots([tmp_path / "nowhere"])


def test_a_file_may_be_a_root_even_a_hidden_one(tmp_path: Path) -> None:
    make(tmp_path, ".secret.jpg")
    assert [entry.path for entry in walk(parse_roots([tmp_path / ".secret.jpg"]), JPEG)] == [
        str(tmp_path / ".secret.jpg")
    ]


def test_sidecars_come_with_their_files_and_are_no_entries_of_their_own(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "a.xmp", "a.jpg.json", "b.jpg", "alone.xmp", "sub/a.jpg")
    (tmp_path / "b.xmp").symlink_to(tmp_path / "a.xmp")
    beside = (
        Beside(path=str(tmp_path / "a.xmp"), kind=SidecarKind.XMP),
        Beside(path=str(tmp_path / "a.jpg.json"), kind=SidecarKind.TAKEOUT),
    )
    for extensions in (JPEG, None):
        told = {entry.path: entry for entry in entries(tmp_path, extensions)}
        names = ["a.jpg", "alone.xmp", "b.jpg", "b.xmp", "sub/a.jpg"]
        assert [os.path.relpath(path, tmp_path) for path in told] == names
        assert isinstance(told[str(tmp_path / "b.xmp")], Link)
        assert [entry.sidecars for entry in told.values() if isinstance(entry, Found) and entry.sidecars] == [beside]


def test_a_file_that_is_named_alone_brings_its_sidecars(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "a.xmp", "b.jpg")
    (entry,) = walk(parse_roots([tmp_path / "a.jpg", tmp_path / "a.xmp"]), JPEG)
    assert isinstance(entry, Found)
    assert [Path(beside.path).name for beside in entry.sidecars] == ["a.xmp"]


@given(st.binary(min_size=1, max_size=60).filter(lambda name: b"/" not in name and b"\0" not in name))
def test_every_name_that_a_filesystem_allows_can_be_shown_and_sent(name: bytes) -> None:
    path = os.fsdecode(b"/photos/" + name)
    for text in (shown(path), sent_name(path)):
        assert text.encode()
        assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text)
