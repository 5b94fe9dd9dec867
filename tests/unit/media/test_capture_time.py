"""The capture time: which source wins, and what is passed over."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumilio.model import CaptureTimeSource, Confidence, OffsetSource, Place, Sidecar, SidecarKind
from tests.unit.media.clocks import ATLANTIC, ROME, at, clock, of, takeout, xmp


def test_the_original_time_comes_with_its_fraction_and_offset() -> None:
    tags: dict[str, object] = {
        "IFD0:ModifyDate": "2024:01:01 00:00:00",
        "ExifIFD:CreateDate": "2023:02:02 02:02:02",
        "ExifIFD:DateTimeOriginal": "2020:04:17 10:03:48",
        "ExifIFD:SubSecTimeOriginal": "064",
        "ExifIFD:OffsetTimeOriginal": "-06:00",
    }
    found = of(tags)

    assert found == at(
        CaptureTimeSource.EXIF_WITH_OFFSET,
        *(2020, 4, 17, 10, 3, 48, 64000),
        hours=-6,
        by=OffsetSource.STATED,
        confidence=Confidence.HIGH,
    )
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
    assert of({}, "cat.jpg") == at(
        CaptureTimeSource.MODIFIED,
        *(2026, 5, 4, 3, 2, 1),
        hours=0,
        by=OffsetSource.UTC,
        confidence=Confidence.LOW,
    )


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
        CaptureTimeSource.QUICKTIME, 2020, 4, 17, 16, 3, 47, hours=0, by=OffsetSource.UTC
    )
    assert of({"Keys:CreationDate": "2020:04:17 10:03:47-06:00", "QuickTime:CreateDate": "2020:04:17 16:03:47"}) == at(
        CaptureTimeSource.QUICKTIME,
        *(2020, 4, 17, 10, 3, 47),
        hours=-6,
        by=OffsetSource.STATED,
        confidence=Confidence.HIGH,
    )


def test_an_unset_quicktime_clock_is_passed_over() -> None:
    for unset in ("0000:00:00 00:00:00", "1970:01:01 00:00:00"):
        assert of({"QuickTime:CreateDate": unset}).source is CaptureTimeSource.MODIFIED


def test_xmp_brings_its_own_zone() -> None:
    found = of({"XMP-xmp:CreateDate": "2020:02:18 08:56:13.29-07:00"})

    assert found == at(CaptureTimeSource.XMP, 2020, 2, 18, 8, 56, 13, 290000, hours=-7, by=OffsetSource.STATED)


@pytest.mark.parametrize(
    ("name", "parts"),
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
def test_names_that_tell_a_time(name: str, parts: tuple[int, ...] | None) -> None:
    named = at(CaptureTimeSource.FILE_NAME, *parts, confidence=Confidence.LOW) if parts else None
    expected = named or of({}, "no time here")

    assert of({}, name) == expected


def test_a_pixel_phone_counts_in_utc() -> None:
    found = of({}, "PXL_20200131_123456789.jpg")

    assert found == at(
        CaptureTimeSource.FILE_NAME,
        *(2020, 1, 31, 12, 34, 56, 789000),
        hours=0,
        by=OffsetSource.UTC,
        confidence=Confidence.LOW,
    )


def test_avchd_with_the_mark_of_summer_time_has_an_unknown_offset() -> None:
    assert of({"H264:DateTimeOriginal": "2012:07:01 10:00:00+01:00"}).utc_offset == timedelta(hours=1)
    assert of({"H264:DateTimeOriginal": "2012:07:01 10:00:00+01:00 DST"}) == at(CaptureTimeSource.EXIF, 2012, 7, 1, 10)


def test_canons_raw_dates_are_read_apart_from_the_zone_of_the_reading_computer() -> None:
    """exiftool converts the container's date of a CR3 to the zone that it runs in, and says so."""
    found = of({"QuickTime:CreateDate": "2018:02:21 21:08:56+09:00"}, "A.CR3")

    assert found == at(CaptureTimeSource.QUICKTIME, 2018, 2, 21, 12, 8, 56, hours=0, by=OffsetSource.UTC)


def test_the_satellites_clock_stands_in_for_a_camera_without_one() -> None:
    tags: dict[str, object] = {
        "Composite:GPSDateTime": "2023:11:15 12:30:00Z",
        "XMP-xmp:CreateDate": "2024:01:01 00:00:00",
    }

    assert of(tags) == at(CaptureTimeSource.GPS, 2023, 11, 15, 12, 30, hours=0, by=OffsetSource.UTC)


def test_the_date_and_time_of_iptc_are_read_together() -> None:
    found = of({"IPTC:DateCreated": "2020:01:02", "Composite:DateTimeCreated": "2020:01:02 03:04:05+05:30"})

    assert (found.local, found.utc_offset) == (clock(2020, 1, 2, 3, 4, 5), timedelta(hours=5.5))
    assert of({"XMP-photoshop:DateCreated": "2020:01:02"}).source is CaptureTimeSource.MODIFIED


def test_the_time_of_an_xmp_sidecar_replaces_that_of_the_file() -> None:
    tags: dict[str, object] = {
        "ExifIFD:DateTimeOriginal": "2020:07:01 12:00:00",
        "ExifIFD:OffsetTimeOriginal": "+02:00",
    }
    corrected = xmp(XMP_exif__DateTimeOriginal="2019:06:30 11:00:00+01:00")

    assert of(tags, "IMG.jpg", None, corrected) == at(
        CaptureTimeSource.SIDECAR,
        *(2019, 6, 30, 11),
        hours=1,
        by=OffsetSource.STATED,
        confidence=Confidence.HIGH,
    )


def test_a_sidecar_with_the_files_own_clock_adds_what_the_file_lacks_and_takes_nothing_away() -> None:
    exact: dict[str, object] = {
        "ExifIFD:DateTimeOriginal": "2020:07:01 12:00:00",
        "ExifIFD:SubSecTimeOriginal": 25,
    }
    stated = {**exact, "ExifIFD:OffsetTimeOriginal": "+02:00"}
    copied, zoned = (xmp(XMP_exif__DateTimeOriginal=f"2020:07:01 12:00:00{zone}") for zone in ("", "+02:00"))
    counted = xmp(XMP_photoshop__DateCreated="2020:07:01 10:00:00Z")

    assert of(stated, "a", None, copied) == of(stated)
    for sidecar in (zoned, counted):
        found = of(exact, "a", None, sidecar)
        assert (found.local, found.utc_offset) == (clock(2020, 7, 1, 12, 0, 0, 250000), timedelta(hours=2))
        assert found.source is CaptureTimeSource.SIDECAR
    assert of(stated, "a", None, counted) == of(stated)
    assert of(exact, "a", None, xmp(XMP_xmp__CreateDate="2020:07:01 12:00:00Z")) == of(exact)


def test_takeout_is_utc_and_becomes_the_clock_of_the_place() -> None:
    taken = takeout(clock(2020, 7, 1, 10))

    assert of({}, "a.jpg", None, taken) == at(CaptureTimeSource.SIDECAR, 2020, 7, 1, 10, hours=0, by=OffsetSource.UTC)
    assert of({}, "a.jpg", ROME, taken) == at(
        CaptureTimeSource.SIDECAR,
        *(2020, 7, 1, 12),
        hours=2,
        by=OffsetSource.COORDINATES,
        zone="Europe/Rome",
    )


def test_takeout_never_puts_its_utc_in_place_of_the_cameras_clock() -> None:
    tags: dict[str, object] = {
        "ExifIFD:DateTimeOriginal": "2020:07:01 12:00:00",
        "ExifIFD:SubSecTimeOriginal": 25,
    }
    told = of(tags, "a", None, takeout(clock(2020, 7, 1, 10)))
    nothing = of(tags, "a", None, takeout(clock(2020, 7, 1, 12)))

    assert told == at(CaptureTimeSource.EXIF, 2020, 7, 1, 12, 0, 0, 250000, hours=2, by=OffsetSource.STATED)
    assert nothing == at(CaptureTimeSource.EXIF, 2020, 7, 1, 12, 0, 0, 250000)


def test_takeout_wins_where_a_person_gave_another_day() -> None:
    """A print that was scanned in 2015 and dated in Google Photos."""
    found = of({"ExifIFD:DateTimeOriginal": "2015:01:01 12:00:00"}, "a", None, takeout(clock(1985, 6, 1, 10)))

    assert (found.local, found.source) == (clock(1985, 6, 1, 10), CaptureTimeSource.SIDECAR)


def test_takeout_knows_the_hours_of_a_name_that_tells_the_day() -> None:
    taken = takeout(clock(2020, 1, 31, 17, 5), title="IMG_20200131_180500.jpg")

    assert of({}, "IMG-20200131-WA0007.jpg", None, taken).local == clock(2020, 1, 31, 17, 5)
    named = of({}, "upload.jpg", None, taken)
    assert (named.local, named.utc_offset) == (clock(2020, 1, 31, 18, 5), timedelta(hours=1))


@pytest.mark.parametrize("seconds", ["0", "", "soon", None, {}, "9" * 40, "-99999999999999", True])
def test_an_odd_time_of_takeout_is_passed_over(seconds: object) -> None:
    odd = Sidecar(kind=SidecarKind.TAKEOUT, tags={"photoTakenTime": {"timestamp": seconds}})

    assert of({}, "a", None, odd).source is CaptureTimeSource.MODIFIED


STAMPS = st.one_of(
    st.from_regex(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?", fullmatch=True),
    st.text(),
    st.integers(),
    st.floats(),
    st.none(),
    st.booleans(),
    st.lists(st.text()),
)


@settings(deadline=None)  # the first position reads the towns
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
                "Composite:GPSDateTime",
                "Composite:DateTimeCreated",
                "Nikon:TimeZone",
                "Canon:TimeZone",
                "ExifIFD:TimeZoneOffset",
                "UserData:FirmwareVersion",
            ]
        ),
        STAMPS,
    ),
    st.text(),
    st.sampled_from([None, ROME, ATLANTIC]),
    STAMPS,
    STAMPS,
)
def test_whatever_a_file_says_there_is_a_time_and_it_is_possible(
    tags: dict[str, object], name: str, place: Place | None, written: object, taken: object
) -> None:
    found = of(
        tags,
        name,
        place,
        Sidecar(kind=SidecarKind.XMP, tags={"XMP-exif:DateTimeOriginal": written}),
        Sidecar(kind=SidecarKind.TAKEOUT, tags={"title": written, "photoTakenTime": {"timestamp": taken}}),
    )

    assert found.local.year >= 1826
    assert found.local <= datetime(2026, 6, 3)  # noqa: DTZ001
    found.utc()
