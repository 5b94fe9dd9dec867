"""What people wrote of a picture, and what cameras write that nobody wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumilio.media.description import description_of, keywords_of, rating_of, title_of
from lumilio.media.tags import as_paragraphs


def described(text: object, name: str = "a.jpg", make: str | None = None) -> str | None:
    return description_of({"IFD0:ImageDescription": text}, name=name, make=make)


@pytest.mark.parametrize(
    "written_by_cameras",
    [
        "OLYMPUS DIGITAL CAMERA         ",
        "KONICA MINOLTA DIGITAL CAMERA",
        "TRAVELER DIGITAL CAMERA        ",
        "SONY DSC                       ",
        "DCIM\\100GOPRO\\GOPR8509.JPG",
        "DSC00006",
        "IM000958.JPG",
        "DC0010S",
        "IMG_0001",
        "Exif_JPEG_PICTURE",
        "                   ",
        "",
    ],
)
def test_what_a_camera_writes_by_itself_is_no_description(written_by_cameras: str) -> None:
    assert described(written_by_cameras) is None
    written = {"IFD0:ImageDescription": written_by_cameras, "IPTC:Caption-Abstract": "Workshop"}
    assert description_of(written, name="a.jpg", make=None) == "Workshop"


@pytest.mark.parametrize(
    "text", ["My new digital camera", "May 2020", "Room 101", "default gateway", "DIGITAL CAMERA!"]
)
def test_what_a_person_writes_is_one(text: str) -> None:
    assert described(text) == text


def test_the_files_own_name_is_no_description() -> None:
    assert described("Holiday", "holiday.jpg") is None
    assert described("holiday.jpg", "holiday.jpg") is None
    assert described("Holidays", "holiday.jpg") == "Holidays"


def test_huaweis_modes_are_no_description_and_words_elsewhere_are() -> None:
    assert [described(mode, make="HUAWEI") for mode in ("dav", "oznor", "sdr_vivid")] == [None, None, None]
    assert described("dav", make="Canon") == "dav"


def test_a_description_keeps_its_lines_and_loses_what_cannot_be_printed() -> None:
    assert described("one  \r\ntwo\x1b[31m\0\rthree\n\n") == "one\ntwo [31m\nthree"
    assert described("word " * 9000) == ("word " * 2000).rstrip()
    assert as_paragraphs(2020) == "2020"
    assert as_paragraphs([]) is None


def test_texts_come_in_languages() -> None:
    """As exiftool prints them: the default without a suffix."""
    assert title_of({"XMP-dc:Title-de": "Hallo", "XMP-dc:Title": "Hello"}) == "Hello"
    assert title_of({"XMP-dc:Title-de": "Hallo", "IPTC:ObjectName": "Obj"}) == "Hallo"
    assert title_of({"XMP-dc:Title": " ", "IPTC:ObjectName": "Obj"}) == "Obj"
    assert title_of({"Matroska:Title": "Film"}) == "Film"
    assert title_of({}) is None


@pytest.mark.parametrize(
    ("tags", "stars"),
    [
        ({"XMP-xmp:Rating": 4}, 4),
        ({"XMP-xmp:Rating": "3"}, 3),
        ({"XMP-xmp:Rating": -1}, -1),
        ({"XMP-xmp:Rating": 0}, 0),
        ({"XMP-xmp:Rating": 0, "IFD0:Rating": 5}, 5),
        ({"IFD0:Rating": 2, "XMP-microsoft:RatingPercent": 99}, 2),
        ({"XMP-microsoft:RatingPercent": 1}, 1),
        ({"XMP-microsoft:RatingPercent": 25}, 2),
        ({"XMP-microsoft:RatingPercent": 50}, 3),
        ({"XMP-microsoft:RatingPercent": 75}, 4),
        ({"IFD0:RatingPercent": 99}, 5),
        ({"IFD0:RatingPercent": 100}, 5),
        ({"IFD0:RatingPercent": 0}, 0),
        ({"XMP-xmp:Rating": 9, "IFD0:Rating": 3}, 3),
        ({"XMP-xmp:Rating": "many"}, None),
        ({}, None),
    ],
)
def test_stars(tags: dict[str, object], stars: int | None) -> None:
    assert rating_of(tags) == stars


def test_keywords_of_every_program_come_once_and_hierarchies_with_their_last_level() -> None:
    tags: dict[str, object] = {
        "XMP-dc:Subject": ["Beach", "beach", 2020],
        "IPTC:Keywords": "BEACH",
        "IFD0:XPKeywords": "sea;  sand ;",
        "XMP-digiKam:TagsList": ["Places/Italy/Rome", "Beach"],
        "XMP-lr:HierarchicalSubject": ["Places|Italy|Rome", "Animals|Cat"],
        "XMP-microsoft:LastKeywordXMP": ["Places/Italy"],
    }

    assert keywords_of(tags) == (
        *("Beach", "2020", "sea", "sand"),
        *("Places/Italy/Rome", "Rome", "Animals/Cat", "Cat", "Places/Italy", "Italy"),
    )


def test_keywords_are_bounded_in_number_and_length() -> None:
    found = keywords_of({"XMP-dc:Subject": ["x" * 300, *map(str, range(500))]})

    assert len(found) == 200
    assert found[0] == "x" * 255


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
)
KEYS = st.sampled_from(
    [
        *("XMP-dc:Title", "XMP-dc:Title-de", "XMP-dc:Description", "IFD0:ImageDescription", "XMP-dc:Subject"),
        *("IPTC:Keywords", "IFD0:XPKeywords", "XMP-digiKam:TagsList", "XMP-lr:HierarchicalSubject"),
        *("XMP-xmp:Rating", "IFD0:RatingPercent", "Keys:Keywords"),
    ]
)


@given(st.dictionaries(KEYS, ANYTHING))
def test_nothing_that_a_file_says_upsets_it(tags: dict[str, object]) -> None:
    title, text, stars = title_of(tags), description_of(tags, name="a", make="HUAWEI"), rating_of(tags)

    assert title is None or (title.isprintable() and 0 < len(title) <= 255)
    assert text is None or 0 < len(text) <= 10_000
    assert stars is None or -1 <= stars <= 5
    assert all(word.isprintable() and 0 < len(word) <= 255 for word in keywords_of(tags))
