"""Which files belong together, by their names alone."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumilio.client.sidecars import match_sidecars
from lumilio.model import SidecarKind

LONG = "a photo whose title is as long as titles can be, and longer"
"""59 characters: Google leaves 47 of a file's stem and 46 of the name of its JSON."""


def takeout(media: str, *names: str) -> str | None:
    return match_sidecars([media], [media, *names]).get(media, {}).get(SidecarKind.TAKEOUT)


def xmp(media: str, *names: str) -> str | None:
    return match_sidecars([media], [media, *names]).get(media, {}).get(SidecarKind.XMP)


@pytest.mark.parametrize(
    ("media", "sidecar"),
    [
        ("x.jpg", "x.xmp"),
        ("x.jpg", "x.jpg.xmp"),
        ("X.JPG", "x.XMP"),
        ("x.NEF", "X.nef.Xmp"),
        ("a.b.jpg", "a.b.xmp"),
        ("x(1).jpg", "x(1).xmp"),
    ],
)
def test_xmp_files_by_the_name_or_the_stem_of_their_photo(media: str, sidecar: str) -> None:
    assert xmp(media, sidecar) == sidecar


@pytest.mark.parametrize(
    ("media", "sidecar"),
    [("x.jpg", "xy.xmp"), ("x.jpg", "x.png.xmp"), ("x1.jpg", "x.xmp"), ("x.jpg", ".xmp"), ("x(1).jpg", "x.xmp")],
)
def test_xmp_files_of_others_are_left_alone(media: str, sidecar: str) -> None:
    assert xmp(media, sidecar) is None


def test_an_xmp_file_of_a_stem_belongs_to_all_files_with_it_but_to_those_with_their_own() -> None:
    found = match_sidecars(["x.jpg", "x.nef", "x.mov"], ["x.jpg", "x.nef", "x.mov", "x.xmp", "x.nef.xmp"])
    assert {name: mine[SidecarKind.XMP] for name, mine in found.items()} == {
        "x.jpg": "x.xmp",
        "x.nef": "x.nef.xmp",
        "x.mov": "x.xmp",
    }


@pytest.mark.parametrize(
    ("media", "sidecar"),
    [
        ("x.jpg", "x.jpg.json"),
        ("x.jpg", "x.jpg.supplemental-metadata.json"),
        ("x.jpg", "x.jpg.supplemental-me.json"),
        ("x.jpg", "x.jpg.suppl.json"),
        ("x.jpg", "x.jpg.s.json"),
        ("X.JPG", "x.jpg.JSON"),
        ("x.jpg", "x.json"),
        ("x(1).jpg", "x.jpg(1).json"),
        ("x(1).jpg", "x(1).jpg.json"),
        ("x(12).jpg", "x.jpg.supplemental-metadata(12).json"),
        ("x(2).jpg", "x.jpg.suppl(2).json"),
        ("x-edited.jpg", "x.jpg.json"),
        ("x-edited.jpg", "x.jpg.supplemental-metadata.json"),
        ("x-edited(1).jpg", "x.jpg(1).json"),
        ("x(1)-edited.jpg", "x.jpg(1).json"),
        ("x-bearbeitet.jpg", "x.jpg.json"),
        ("x-modifié.jpg", "x.jpg.json"),
        (unicodedata.normalize("NFD", "x-modifié.jpg"), "x.jpg.json"),
        ("é.jpg", unicodedata.normalize("NFD", "é.jpg.json")),
        ("x.mp4", "x.heic.json"),
        ("x.MOV", "x.JPG.supplemental-metadata.json"),
        ("x(1).mp4", "x.heic(1).json"),
        (f"{LONG[:47]}.jpg", f"{LONG[:46]}.json"),
        (f"{LONG[:42]}.jpg", f"{LONG[:42]}.jpg.json"),
        (f"{LONG[:43]}.jpg", f"{LONG[:43]}.jp.json"),
        (f"{LONG[:40]}.jpg", f"{LONG[:40]}.jpg.s.json"),
        (f"{LONG[:47]}(1).jpg", f"{LONG[:46]}(1).json"),
        ("original_1d4caa6f-16c6-4c3d-901b-9387de10e528_P.jpg", "original_1d4caa6f-16c6-4c3d-901b-9387de10e528_.json"),
        ("🏔" * 23 + ".jpg", "🏔" * 23 + ".json"),
    ],
)
def test_takeout_files_by_the_names_that_google_gives(media: str, sidecar: str) -> None:
    assert takeout(media, sidecar) == sidecar


@pytest.mark.parametrize(
    ("media", "sidecar"),
    [
        ("x.jpg", "y.jpg.json"),
        ("x.jpg", "x.jp.json"),
        ("xy.jpg", "x.json"),
        ("x.jpg", "metadata.json"),
        ("x.jpg", "x.jpg(1).json"),
        ("x(1).jpg", "x.jpg.json"),
        ("x(1).jpg", "x.jpg(2).json"),
        ("x.jpg", "x.heic.json"),
        ("-edited.jpg", ".jpg.json"),
        (f"{LONG[:47]}.jpg", f"{LONG[:44]}.json"),
        ("x.jpg", "x.jpg.supplemental-metadatas.json"),
        ("x.jpg", ".json"),
    ],
)
def test_takeout_files_of_others_are_left_alone(media: str, sidecar: str) -> None:
    assert takeout(media, sidecar) is None


def test_what_is_a_files_own_comes_before_what_it_shares() -> None:
    assert takeout("x-edited.jpg", "x.jpg.json", "x-edited.jpg.json") == "x-edited.jpg.json"
    assert takeout("x.mp4", "x.heic.json", "x.mp4.json") == "x.mp4.json"
    assert takeout("x(1).jpg", "x.jpg(1).json", "x(1).jpg.json") == "x(1).jpg.json"
    assert takeout("x.jpg", "x.jpg.suppl.json", "x.jpg.json") == "x.jpg.json"


def test_duplicates_of_one_title_keep_apart() -> None:
    media = ["x.jpg", "x(1).jpg", "x(2).jpg", "x-edited.jpg", "x-edited(1).jpg"]
    names = [*media, "x.jpg.json", "x.jpg(1).json", "x.jpg.supplemental-metadata(2).json"]
    found = {name: mine[SidecarKind.TAKEOUT] for name, mine in match_sidecars(media, names).items()}
    assert found == {
        "x.jpg": "x.jpg.json",
        "x(1).jpg": "x.jpg(1).json",
        "x(2).jpg": "x.jpg.supplemental-metadata(2).json",
        "x-edited.jpg": "x.jpg.json",
        "x-edited(1).jpg": "x.jpg(1).json",
    }


@given(st.lists(st.binary(min_size=1, max_size=60).filter(lambda name: not {0, 47} & set(name)), max_size=20))
def test_whatever_files_are_called_only_sidecars_are_matched(raw: list[bytes]) -> None:
    names = [os.fsdecode(name + ending) for name in raw for ending in (b"", b".xmp", b".json", b".jpg", b".jpg.json")]
    media = [name for name in names if name.endswith(".jpg")]
    for name, mine in match_sidecars(media, names).items():
        assert name in media
        assert set(mine.values()) <= {each for each in names if each.lower().endswith((".xmp", ".json"))}
        assert mine[SidecarKind.TAKEOUT]
