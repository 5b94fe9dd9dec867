"""Facts, against what exiftool says of real files, and against nonsense."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumilio.media.detect import HEAD_BYTES, refine, sniff
from lumilio.media.facts import facts_from_exif
from lumilio.media.formats import FORMATS
from lumilio.media.tags import as_number, as_text
from lumilio.model import CaptureTimeSource, Facts, MediaKind, Place, Whereabouts
from tests.conformance.reference import Sample, samples

MODIFIED = datetime(2026, 1, 1, tzinfo=UTC)
PHOTOS = [each for each in samples() if each.path.parent.name in ("jpeg", "png", "webp", "heic", "avif")]


def facts_of(sample: Sample) -> Facts:
    file_type = sample.exif.get("File:FileType")
    with sample.path.open("rb") as file:
        sniffed = sniff(file.read(HEAD_BYTES))
    media_type = refine(sniffed, file_type if isinstance(file_type, str) else None, sample.path.name)
    return facts_from_exif(sample.exif, media_type, name=sample.path.name, modified=MODIFIED)


def of(tags: dict[str, object], form: str = "jpeg") -> Facts:
    return facts_from_exif(tags, FORMATS[form], name="a", modified=MODIFIED)


@pytest.mark.parametrize("sample", PHOTOS, ids=lambda sample: sample.name)
def test_camera_and_exposure_are_those_of_the_truth(sample: Sample) -> None:
    facts, exif = facts_of(sample), sample.exif

    for found, key in ((facts.make, "IFD0:Make"), (facts.model, "IFD0:Model"), (facts.lens, "ExifIFD:LensModel")):
        if key in exif:
            assert found == (str(exif[key]).strip() or None)
    for value, key in (
        (facts.iso, "ExifIFD:ISO"),
        (facts.f_number, "ExifIFD:FNumber"),
        (facts.exposure_time, "ExifIFD:ExposureTime"),
        (facts.focal_length, "ExifIFD:FocalLength"),
    ):
        told = exif.get(key)
        if isinstance(told, int | float) and told > 0:
            assert value == pytest.approx(told)
    assert facts.exif == exif


@pytest.mark.parametrize("sample", [each for each in PHOTOS if each.pillow], ids=lambda sample: sample.name)
def test_the_size_is_that_of_the_picture_as_it_is_shown(sample: Sample) -> None:
    """Pillow's size is of the stored picture in JPEG, PNG and WebP, of the shown one in HEIF and AVIF."""
    facts = facts_of(sample)
    assert sample.pillow is not None
    kind, _, width, height = sample.pillow

    turned = kind in ("JPEG", "PNG", "WEBP") and (facts.orientation or 1) >= 5

    assert (facts.width, facts.height) == ((height, width) if turned else (width, height))


@pytest.mark.parametrize("sample", PHOTOS, ids=lambda sample: sample.name)
def test_the_place_is_that_of_the_truth_with_its_sign(sample: Sample) -> None:
    latitude, longitude = sample.exif.get("Composite:GPSLatitude"), sample.exif.get("Composite:GPSLongitude")
    place = facts_of(sample).place

    if isinstance(latitude, int | float) and isinstance(longitude, int | float) and (latitude, longitude) != (0, 0):
        assert place is not None
        assert (place.latitude, place.longitude) == (latitude, longitude)
    else:
        assert place is None


@pytest.mark.parametrize("sample", PHOTOS, ids=lambda sample: sample.name)
def test_the_capture_time_is_the_original_one_of_the_truth(sample: Sample) -> None:
    told = sample.exif.get("ExifIFD:DateTimeOriginal")
    found = facts_of(sample).capture_time

    assert found is not None
    if isinstance(told, str) and told[:4].isdigit() and told > "1826":
        assert found.local.strftime("%Y:%m:%d %H:%M:%S") == told
        offset = "ExifIFD:OffsetTimeOriginal" in sample.exif or "ExifIFD:OffsetTime" in sample.exif
        assert found.source is (CaptureTimeSource.EXIF_WITH_OFFSET if offset else CaptureTimeSource.EXIF)


def test_videos_and_sounds_have_a_duration_and_photos_none() -> None:
    for sample in samples():
        facts = facts_of(sample)
        told = any(key.endswith(":Duration") for key in sample.exif)
        if facts.media_type and facts.media_type.kind is not MediaKind.PHOTO:
            assert (facts.duration is not None) == told, sample.name
        else:
            assert facts.duration is None


def test_a_video_is_as_wide_as_it_is_shown() -> None:
    tags: dict[str, object] = {"Track1:ImageWidth": 1920, "Track1:ImageHeight": 1080, "Composite:Rotation": 90}

    facts = of(tags, "mov")

    assert (facts.width, facts.height) == (1080, 1920)


def test_no_fix_is_no_place() -> None:
    assert of({"Composite:GPSLatitude": 0, "Composite:GPSLongitude": 0}).place is None
    assert of({"Composite:GPSLatitude": 95, "Composite:GPSLongitude": 0}).place is None
    assert of({"Composite:GPSLatitude": "undef", "Composite:GPSLongitude": 3}).place is None


def test_both_halves_of_a_live_photo_have_apples_identifier() -> None:
    """exiftool has called the photo's one by both names."""
    identifier = "1EA799FF-8384-4BC4-87AA-139A814D9125"
    for key in ("Keys:ContentIdentifier", "Apple:ContentIdentifier", "Apple:MediaGroupUUID"):
        assert of({key: identifier}).content_identifier == identifier
    assert of({"XMP-x:ContentIdentifier": identifier}).content_identifier is None


def test_a_position_has_a_town_and_lends_its_zone_to_the_capture_time() -> None:
    facts = of(
        {
            "Composite:GPSLatitude": 41.9,
            "Composite:GPSLongitude": 12.49,
            "Composite:GPSAltitude": -3.5,
            "ExifIFD:DateTimeOriginal": "2020:07:01 12:00:00",
        }
    )

    assert facts.place == Place(latitude=41.9, longitude=12.49, altitude=-3.5)
    assert facts.whereabouts == Whereabouts(country_code="IT", country="Italy", region="Lazio", city="Rome")
    assert facts.capture_time is not None
    assert facts.capture_time.zone == "Europe/Rome"
    assert facts.capture_time.utc_offset == timedelta(hours=2)


def test_a_position_that_only_xmp_keeps_is_one() -> None:
    tags: dict[str, object] = {
        "XMP-exif:GPSLatitude": -33.86,
        "XMP-exif:GPSLongitude": 151.21,
        "XMP-exif:GPSAltitude": 4,
    }

    assert of(tags).place == Place(latitude=-33.86, longitude=151.21, altitude=4)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3),
        ("0.5", 0.5),
        ("100 200", 100),
        ("100, 200", 100),
        ([64, 100], 64),
        ("00:00:02.322000000", 2.322),
        ("inf", None),
        ("nan", None),
        (float("inf"), None),
        (10**400, None),
        ("undef", None),
        ("", None),
        (True, None),
        (None, None),
        ({}, None),
        ([], None),
        ([[1]], None),
    ],
)
def test_numbers(value: object, number: float | None) -> None:
    assert as_number(value) == number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  Canon \n", "Canon"),
        ("a\0b\x1b[31mc", "a b [31mc"),
        (1100, "1100"),
        ("", None),
        (" \t", None),
        (True, None),
        (None, None),
        ([], None),
        ("x" * 9000, "x" * 255),
    ],
)
def test_texts(value: object, text: str | None) -> None:
    assert as_text(value) == text


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)),
)
KEYS = st.one_of(
    st.text(),
    st.builds(
        "{}:{}".format,
        st.sampled_from(
            ["IFD0", "ExifIFD", "Composite", "File", "PNG", "RIFF", "Track1", "QuickTime", "XMP-exif", "XMP-mwg-rs"]
        ),
        st.sampled_from(
            [
                "Make",
                "Model",
                "LensModel",
                "ISO",
                "FNumber",
                "ExposureTime",
                "FocalLength",
                "ImageWidth",
                "ImageHeight",
                "Orientation",
                "Rotation",
                "Duration",
                "GPSLatitude",
                "GPSLongitude",
                "GPSAltitude",
                "DateTimeOriginal",
                "CreateDate",
                "Title",
                "ImageDescription",
                "Rating",
                "RegionInfo",
                "ContentIdentifier",
            ]
        ),
    ),
)


@settings(deadline=None)  # the first position reads the towns
@given(st.dictionaries(KEYS, VALUES), st.one_of(st.none(), st.sampled_from(sorted(FORMATS.values(), key=str))))
def test_no_tags_upset_it(tags: dict[str, object], media_type: object) -> None:
    facts = facts_from_exif(tags, media_type, name="a", modified=MODIFIED)  # type: ignore[arg-type]

    assert facts.iso is None or 1 <= facts.iso <= 10_000_000
    assert facts.width is None or facts.width >= 1
    assert facts.orientation in (None, *range(1, 9))
    assert facts.make is None or facts.make.isprintable()
