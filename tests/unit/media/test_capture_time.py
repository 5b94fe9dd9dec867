"""The capture time: which source wins, and what is passed over."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumilio.media.capture_time import capture_time
from lumilio.model import CaptureTime, CaptureTimeSource

MODIFIED = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def of(tags: dict[str, object], name: str = "IMG.jpg") -> CaptureTime:
    return capture_time(tags, name=name, modified=MODIFIED, now=NOW)


def at(source: CaptureTimeSource, *clock: int, hours: float | None = None) -> CaptureTime:
    year, month, day, hour, minute, second, micro = (*clock, *(0,) * (7 - len(clock)))
    local = datetime(year, month, day, hour, minute, second, micro)  # noqa: DTZ001  # a camera's wall clock
    return CaptureTime(local=local, utc_offset=None if hours is None else timedelta(hours=hours), source=source)


def test_the_original_time_comes_with_its_fraction_and_offset() -> None:
    tags: dict[str, object] = {
        "IFD0:ModifyDate": "2024:01:01 00:00:00",
        "ExifIFD:CreateDate": "2023:02:02 02:02:02",
        "ExifIFD:DateTimeOriginal": "2020:04:17 10:03:48",
        "ExifIFD:SubSecTimeOriginal": "064",
        "ExifIFD:OffsetTimeOriginal": "-06:00",
    }
    found = of(tags)

    assert found == at(CaptureTimeSource.EXIF_WITH_OFFSET, 2020, 4, 17, 10, 3, 48, 64000, hours=-6)
    assert found.utc() == datetime(2020, 4, 17, 16, 3, 48, 64000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fraction", "micro"), [(29, 290000), ("05", 50000), (691465, 691465), ("1234567", 123456), ("x", 0)]
)
def test_a_fraction_is_digits_behind_the_point(fraction: object, micro: int) -> None:
    found = of({"ExifIFD:DateTimeOriginal": "2020:01:02 03:04:05", "ExifIFD:SubSecTimeOriginal": fraction})

    assert found.local.microsecond == micro


def test_without_an_offset_the_zone_stays_unknown() -> None:
    found = of({"ExifIFD:DateTimeOriginal": "2020:01:02 03:04:05"})

    assert found == at(CaptureTimeSource.EXIF, 2020, 1, 2, 3, 4, 5)
    assert found.utc() is None


def test_the_order_of_sources() -> None:
    tags: dict[str, object] = {
        "ExifIFD:DateTimeOriginal": "2011:01:01 01:01:01",
        "ExifIFD:CreateDate": "2012:01:01 01:01:01",
        "Keys:CreationDate": "2013:01:01 01:01:01+02:00",
        "QuickTime:CreateDate": "2014:01:01 01:01:01",
        "XMP-photoshop:DateCreated": "2015:01:01 01:01:01",
    }
    found = []
    for _ in range(7):
        found.append(of(tags, "IMG_20160101_010101.jpg").local.year)
        if tags:
            del tags[next(iter(tags))]

    assert found == [2011, 2012, 2013, 2014, 2015, 2016, 2016]
    assert of({}, "cat.jpg") == at(CaptureTimeSource.MODIFIED, 2026, 5, 4, 3, 2, 1, hours=0)


@pytest.mark.parametrize(
    "nonsense",
    [
        "0000:00:00 00:00:00",
        "    :  :     :  :  ",
        "1825:12:31 23:59:59",
        "2026:06:04 00:00:00",
        "9999:99:99 99:99:99",
        "2020:02:30 10:00:00",
        "2020:02:03 24:00:00",
        "",
        "yesterday",
        0,
        20200203,
        None,
        True,
        ["2020:01:01 01:01:01"],
        {"a": 1},
    ],
)
def test_a_time_that_cannot_be_is_passed_over(nonsense: object) -> None:
    tags = {"ExifIFD:DateTimeOriginal": nonsense, "ExifIFD:CreateDate": "2019:01:02 03:04:05"}

    assert of(tags) == at(CaptureTimeSource.EXIF, 2019, 1, 2, 3, 4, 5)


def test_a_camera_in_tomorrows_time_zone_is_believed() -> None:
    assert of({"ExifIFD:DateTimeOriginal": "2026:06:02 10:00:00"}).source is CaptureTimeSource.EXIF


@pytest.mark.parametrize("offset", ["+99:00", "+14:30", "east", "", 7, None])
def test_an_impossible_offset_is_no_offset(offset: object) -> None:
    tags = {"ExifIFD:DateTimeOriginal": "2020:01:02 03:04:05", "ExifIFD:OffsetTimeOriginal": offset}

    assert of(tags) == at(CaptureTimeSource.EXIF, 2020, 1, 2, 3, 4, 5)


def test_the_clock_of_quicktime_is_utc_and_its_creation_date_has_a_zone() -> None:
    assert of({"QuickTime:CreateDate": "2020:04:17 16:03:47"}) == at(
        CaptureTimeSource.QUICKTIME, 2020, 4, 17, 16, 3, 47, hours=0
    )
    assert of({"Keys:CreationDate": "2020:04:17 10:03:47-06:00", "QuickTime:CreateDate": "2020:04:17 16:03:47"}) == at(
        CaptureTimeSource.QUICKTIME, 2020, 4, 17, 10, 3, 47, hours=-6
    )


def test_an_unset_quicktime_clock_is_passed_over() -> None:
    for unset in ("0000:00:00 00:00:00", "1970:01:01 00:00:00"):
        assert of({"QuickTime:CreateDate": unset}).source is CaptureTimeSource.MODIFIED


def test_xmp_brings_its_own_zone() -> None:
    found = of({"XMP-xmp:CreateDate": "2020:02:18 08:56:13.29-07:00"})

    assert found == at(CaptureTimeSource.XMP, 2020, 2, 18, 8, 56, 13, 290000, hours=-7)


@pytest.mark.parametrize(
    ("name", "clock"),
    [
        ("IMG_20200131_123456.jpg", (2020, 1, 31, 12, 34, 56)),
        ("VID_20200131_123456.mp4", (2020, 1, 31, 12, 34, 56)),
        ("20200131_123456.jpg", (2020, 1, 31, 12, 34, 56)),
        ("Screenshot_20200131-123456_Maps.png", (2020, 1, 31, 12, 34, 56)),
        ("2020-01-31 12.34.56.jpg", (2020, 1, 31, 12, 34, 56)),
        ("Photo 2020-01-31 at 12.34.56.jpg", (2020, 1, 31, 12, 34, 56)),
        ("signal-2020-01-31-12-34-56-789.jpg", None),
        ("VID-20200131-WA0007.mp4", (2020, 1, 31)),
        ("IMG-20200131-WA0007.jpg", (2020, 1, 31)),
        ("IMG_20201331_123456.jpg", None),
        ("IMG_20200131_256199.jpg", None),
        ("9202001311234567.jpg", None),
        ("IMG_0001.jpg", None),
    ],
)
def test_names_that_tell_a_time(name: str, clock: tuple[int, ...] | None) -> None:
    expected = at(CaptureTimeSource.FILE_NAME, *clock) if clock else of({}, "no time here")

    assert of({}, name) == expected


def test_a_pixel_phone_counts_in_utc() -> None:
    found = of({}, "PXL_20200131_123456789.jpg")

    assert found == at(CaptureTimeSource.FILE_NAME, 2020, 1, 31, 12, 34, 56, 789000, hours=0)


STAMPS = st.one_of(
    st.from_regex(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?", fullmatch=True),
    st.text(),
    st.integers(),
    st.floats(),
    st.none(),
    st.booleans(),
    st.lists(st.text()),
)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "ExifIFD:DateTimeOriginal",
                "ExifIFD:SubSecTimeOriginal",
                "ExifIFD:OffsetTimeOriginal",
                "ExifIFD:OffsetTime",
                "IFD0:CreateDate",
                "RIFF:DateTimeOriginal",
                "Keys:CreationDate",
                "QuickTime:CreateDate",
                "XMP-xmp:CreateDate",
            ]
        ),
        STAMPS,
    ),
    st.text(),
)
def test_whatever_a_file_says_there_is_a_time_and_it_is_possible(tags: dict[str, object], name: str) -> None:
    found = of(tags, name)

    assert found.local.year >= 1826
    assert found.local <= datetime(2026, 6, 3)  # noqa: DTZ001
    found.utc()
