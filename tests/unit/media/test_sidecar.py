"""Sidecars: what Takeout's JSON may be, and whose word counts."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumilio.errors import MediaDamaged
from lumilio.media.facts import facts_from_exif
from lumilio.media.formats import FORMATS
from lumilio.media.sidecar import read_takeout
from lumilio.model import CaptureTimeSource, Facts, Place, Sidecar, SidecarKind

MODIFIED = datetime(2026, 1, 1, tzinfo=UTC)
TAKEOUT = {
    "title": "IMG_0001.jpg",
    "description": "At the sea\nin June",
    "imageViews": "3",
    "creationTime": {"timestamp": "1594000000", "formatted": "6 Jul 2020, 01:46:40 UTC"},
    "photoTakenTime": {"timestamp": "1593597600", "formatted": "1 Jul 2020, 10:00:00 UTC"},
    "geoData": {"latitude": 41.9, "longitude": 12.49, "altitude": 0.0, "latitudeSpan": 0.0, "longitudeSpan": 0.0},
    "geoDataExif": {"latitude": 45.0, "longitude": 9.0, "altitude": 12.0},
    "people": [{"name": "Ada"}, {"name": "Bob"}],
    "favorited": True,
    "url": "https://photos.google.com/photo/x",
}
EMBEDDED: dict[str, object] = {
    "IFD0:ImageDescription": "from the file",
    "XMP-dc:Title": "File",
    "XMP-dc:Subject": ["file"],
    "XMP-xmp:Rating": 2,
    "Composite:GPSLatitude": 48.85,
    "Composite:GPSLongitude": 2.35,
    "Composite:GPSAltitude": 35.5,
}
CORRECTED: dict[str, object] = {
    "XMP-dc:Title": "Sidecar",
    "XMP-dc:Description": "from the sidecar",
    "XMP-dc:Subject": ["sidecar"],
    "XMP-xmp:Rating": 0,
    "XMP-exif:GPSLatitude": -33.86,
    "XMP-exif:GPSLongitude": 151.21,
    "Composite:GPSAltitude": -4,
}


def told(tags: dict[str, object], *sidecars: Sidecar) -> Facts:
    return facts_from_exif(tags, FORMATS["jpeg"], name="a.jpg", modified=MODIFIED, sidecars=sidecars)


def takeout(**changed: object) -> Sidecar:
    return Sidecar(kind=SidecarKind.TAKEOUT, tags=read_takeout(json.dumps(TAKEOUT | changed).encode()))


XMP = Sidecar(kind=SidecarKind.XMP, tags=CORRECTED)


def test_the_members_are_kept_as_they_are() -> None:
    assert read_takeout(json.dumps(TAKEOUT).encode()) == TAKEOUT
    assert read_takeout(b"\xef\xbb\xbf" + json.dumps(TAKEOUT).encode()) == TAKEOUT


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not readable as JSON"),
        (b"{", "not readable as JSON"),
        (b"\xff\xfe\xfd", "not readable as JSON"),
        (b"[" * 500_000, "not readable as JSON"),
        (b'{"photoTakenTime":' + b"[" * 40 + b"]" * 40 + b"}", "nested deeper"),
        (b"[]", "has none of"),
        (b"7", "has none of"),
        (b'{"title": "Trip", "access": "protected"}', "has none of"),
        (b" " * (1 << 20) + b"{}", "over 1048576"),
    ],
)
def test_what_is_not_takeouts_is_refused_in_plain_words(content: bytes, words: str) -> None:
    with pytest.raises(MediaDamaged, match=words):
        read_takeout(content)


def test_what_a_database_refuses_is_taken_out() -> None:
    content = (
        b'{"geoData": {"latitude": NaN, "longitude": 1e999}, "title": "a\\u0000b\\ud800", "x": ' + b"9" * 30 + b"}"
    )

    assert read_takeout(content) == {
        "geoData": {"latitude": None, "longitude": None},
        "title": "ab?",
        "x": "9" * 30,
    }


def test_a_file_without_facts_gets_those_of_takeout() -> None:
    facts = told({}, takeout())

    assert facts.place == Place(latitude=41.9, longitude=12.49)
    assert facts.whereabouts is not None
    assert facts.whereabouts.city == "Rome"
    assert (facts.description, facts.rating, facts.keywords) == ("At the sea\nin June", 5, ("Ada", "Bob"))
    assert facts.capture_time is not None
    assert facts.capture_time.local.hour == 12
    assert facts.capture_time.zone == "Europe/Rome"
    assert facts.title is None
    assert facts.exif == {}


def test_without_geodata_the_copy_of_the_files_position_counts_and_without_both_none() -> None:
    nowhere = {"latitude": 0.0, "longitude": 0.0, "altitude": 0.0}

    assert told({}, takeout(geoData=nowhere)).place == Place(latitude=45, longitude=9, altitude=12)
    facts = told({}, takeout(geoData=nowhere, geoDataExif=nowhere))
    assert (facts.place, facts.whereabouts) == (None, None)
    assert facts.capture_time is not None
    assert (facts.capture_time.local.hour, facts.capture_time.source) == (10, CaptureTimeSource.SIDECAR)


def test_googles_word_comes_before_the_files_but_not_where_it_is_a_copy() -> None:
    near = {"latitude": 48.8500001, "longitude": 2.3499999, "altitude": 0.0}

    assert told(EMBEDDED, takeout()).place == Place(latitude=41.9, longitude=12.49)
    assert told(EMBEDDED, takeout(geoData=near)).place == Place(latitude=48.85, longitude=2.35, altitude=35.5)
    assert told(EMBEDDED, takeout()).description == "At the sea\nin June"
    assert told(EMBEDDED, takeout(description="")).description == "from the file"


def test_a_favourite_has_five_stars_only_where_nobody_gave_any() -> None:
    assert told(EMBEDDED, takeout()).rating == 2
    assert told({"XMP-xmp:Rating": 0}, takeout()).rating == 5
    assert told({}, takeout(favorited=False)).rating is None


def test_xmp_comes_before_the_file_and_before_google() -> None:
    for facts in (told(EMBEDDED, XMP), told(EMBEDDED, takeout(people=[], favorited=False), XMP)):
        assert (facts.title, facts.description) == ("Sidecar", "from the sidecar")
        assert (facts.keywords, facts.rating) == (("sidecar",), 0)
        assert facts.place == Place(latitude=-33.86, longitude=151.21, altitude=-4)
        assert facts.whereabouts is not None
        assert facts.whereabouts.country == "Australia"


def test_an_empty_sidecar_takes_nothing_away() -> None:
    empty = Sidecar(kind=SidecarKind.XMP, tags={"XMP-x:XMPToolkit": "XMP Core 5.5.0"})

    assert told(EMBEDDED, empty) == told(EMBEDDED)


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
)


@settings(deadline=None)  # the first position reads the towns
@given(st.dictionaries(st.sampled_from(sorted(TAKEOUT)), ANYTHING), st.binary(max_size=40))
def test_no_json_upsets_it(members: dict[str, object], tail: bytes) -> None:
    for content in (json.dumps(members).encode(), json.dumps(TAKEOUT).encode()[:-20] + tail):
        try:
            tags = read_takeout(content)
        except MediaDamaged:
            continue
        facts = told(EMBEDDED, Sidecar(kind=SidecarKind.TAKEOUT, tags=tags))
        assert facts.place is not None
        assert facts.rating in (2, 5)
