"""How the distance of a capture time from UTC is known: stated, derived, or unknown."""

from datetime import timedelta

import pytest

from lumilio.media.time_offsets import clock_in_zone, offset_in_zone
from lumilio.model import CaptureTimeSource, Confidence, OffsetSource
from tests.unit.media.clocks import ATLANTIC, KATHMANDU, ROME, TOKYO, at, clock, of


def test_the_zone_of_the_place_tells_the_offset_of_a_wall_clock() -> None:
    """The hours of summer and winter differ, and a zone of quarter hours is one like another."""
    for stamp, place, hours, zone in (
        ("2020:07:01 12:00:00", ROME, 2, "Europe/Rome"),
        ("2020:01:01 12:00:00", ROME, 1, "Europe/Rome"),
        ("2020:01:01 12:00:00", KATHMANDU, 5.75, "Asia/Kathmandu"),
    ):
        found = of({"ExifIFD:DateTimeOriginal": stamp}, place=place)

        assert (found.utc_offset, found.zone) == (timedelta(hours=hours), zone)
        assert (found.offset_source, found.confidence) == (OffsetSource.COORDINATES, Confidence.MEDIUM)
        assert found.source is CaptureTimeSource.EXIF


def test_a_stated_offset_stands_against_the_zone_of_the_place() -> None:
    """The owner had not put the camera's clock right; clock and offset belong together all the same."""
    tags: dict[str, object] = {
        "ExifIFD:DateTimeOriginal": "2020:07:01 12:00:00",
        "ExifIFD:OffsetTimeOriginal": "-06:00",
    }
    found = of(tags, place=ROME)

    assert (found.utc_offset, found.offset_source) == (timedelta(hours=-6), OffsetSource.STATED)
    assert found.zone == "Europe/Rome"


def test_the_hour_that_is_left_out_in_spring_has_the_offset_of_winter() -> None:
    """No clock that was put forward shows 02:30 then, so this one was not."""
    assert offset_in_zone("Europe/Rome", clock(2021, 3, 28, 2, 30)) == timedelta(hours=1)
    assert offset_in_zone("Europe/Rome", clock(2021, 3, 28, 3, 30)) == timedelta(hours=2)


def test_the_hour_that_comes_twice_in_autumn_has_no_certain_offset() -> None:
    repeated = clock(2021, 10, 31, 2, 30)

    assert offset_in_zone("Europe/Rome", repeated) is None
    found = of({"ExifIFD:DateTimeOriginal": "2021:10:31 02:30:00"}, place=ROME)
    assert found == at(CaptureTimeSource.EXIF, 2021, 10, 31, 2, 30, zone="Europe/Rome")
    assert clock_in_zone("Europe/Rome", clock(2021, 10, 31, 0, 30)) == (repeated, timedelta(hours=2))
    assert clock_in_zone("Europe/Rome", clock(2021, 10, 31, 1, 30)) == (repeated, timedelta(hours=1))


def test_the_offsets_of_mean_solar_time_are_unknown() -> None:
    assert offset_in_zone("Europe/Amsterdam", clock(1890, 5, 1)) is None
    assert clock_in_zone("Europe/Amsterdam", clock(1890, 5, 1)) is None


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "Europe"])
def test_a_zone_without_rules_tells_nothing(zone: str) -> None:
    assert offset_in_zone(zone, clock(2020, 1, 1)) is None
    assert clock_in_zone(zone, clock(2020, 1, 1)) is None


def test_at_sea_there_is_no_zone() -> None:
    found = of({"ExifIFD:DateTimeOriginal": "2020:07:01 12:00:00"}, place=ATLANTIC)

    assert found == at(CaptureTimeSource.EXIF, 2020, 7, 1, 12)


@pytest.mark.parametrize(
    ("satellites", "hours"),
    [
        ("2020:07:01 06:15:10Z", 5.75),
        ("2020:07:01 06:13:01Z", 5.75),
        ("2020:07:01 22:00:30.5Z", -10),
        ("2020:06:30 22:00:00Z", 14),
        # five minutes old, ten minutes old; no zone is 2:15 from Greenwich; a day off; not a time
        ("2020:07:01 09:55:40Z", None),
        ("2020:07:01 09:50:00Z", None),
        ("2020:07:01 09:45:00Z", None),
        ("2020:06:30 10:00:00Z", None),
        ("2020:07:01", None),
    ],
)
def test_the_satellites_clock_tells_the_offset_while_its_fix_is_fresh(satellites: str, hours: float | None) -> None:
    found = of({"ExifIFD:DateTimeOriginal": "2020:07:01 12:00:00", "Composite:GPSDateTime": satellites})

    by = None if hours is None else OffsetSource.GPS
    assert found == at(CaptureTimeSource.EXIF, 2020, 7, 1, 12, hours=hours, by=by)


def test_the_satellites_clock_comes_before_the_zone_of_the_place() -> None:
    """A camera from Rome in Tokyo, its clock still at home: the instant is right."""
    tags: dict[str, object] = {
        "ExifIFD:DateTimeOriginal": "2020:07:01 12:00:00",
        "Composite:GPSDateTime": "2020:07:01 10:00:12Z",
    }
    found = of(tags, place=TOKYO)

    assert (found.utc_offset, found.offset_source, found.zone) == (timedelta(hours=2), OffsetSource.GPS, "Asia/Tokyo")


@pytest.mark.parametrize(
    ("tags", "hours"),
    [
        ({"Nikon:TimeZone": -420, "Nikon:DaylightSavings": 1}, -6),
        ({"Nikon:TimeZone": -420, "Nikon:DaylightSavings": 0}, -7),
        ({"Nikon:TimeZone": 345, "Nikon:DaylightSavings": 0}, 5.75),
        ({"Nikon:TimeZone": 0, "Nikon:DaylightSavings": 1}, 1),
        ({"Canon:TimeZone": -360, "Canon:DaylightSavings": 60, "Canon:TimeZoneCity": 29}, -6),
        ({"ExifIFD:TimeZoneOffset": -6}, -6),
        ({"ExifIFD:TimeZoneOffset": "9 9"}, 9),
        # as delivered; an index into a list of zones; out of this world
        ({"Nikon:TimeZone": 0, "Nikon:DaylightSavings": 0}, None),
        ({"Canon:TimeZone": 0, "Canon:DaylightSavings": 0, "Canon:TimeZoneCity": 0}, None),
        ({"Nikon:TimeZone": 7}, None),
        ({"Nikon:TimeZone": -7200}, None),
    ],
)
def test_the_zone_that_was_set_in_the_camera(tags: dict[str, object], hours: float | None) -> None:
    found = of({"ExifIFD:DateTimeOriginal": "2020:07:15 08:36:21", **tags})

    assert found.utc_offset == (None if hours is None else timedelta(hours=hours))
    assert found.source is (CaptureTimeSource.EXIF if hours is None else CaptureTimeSource.EXIF_WITH_OFFSET)
    assert found.confidence is (Confidence.MEDIUM if hours is None else Confidence.HIGH)


def test_a_recordings_utc_becomes_the_clock_of_the_place() -> None:
    found = of({"QuickTime:CreateDate": "2020:04:17 16:03:47"}, "VID.mp4", TOKYO)

    assert found == at(
        CaptureTimeSource.QUICKTIME,
        *(2020, 4, 18, 1, 3, 47),
        hours=9,
        by=OffsetSource.COORDINATES,
        zone="Asia/Tokyo",
    )


@pytest.mark.parametrize(
    "writer",
    [
        {"Nikon:Make": "NIKON", "Nikon:Model": "D5100"},
        {"UserData:Make": "Panasonic"},
        {"ItemList:Make": "OLYMPUS IMAGING CORP."},
        {"QuickTime:MajorBrand": "CAEP"},
        {"QuickTime:MajorBrand": "niko"},
        {"UserData:FirmwareVersion": "HD7.01.01.90.00"},
        {"UserData:FirmwareVersion": "H21.01.01.46.00"},
        {"Track1:CompressorName": "GoPro AVC encoder"},
        {"Track1:HandlerDescription": "\tGoPro AVC"},
    ],
)
def test_cameras_that_keep_their_wall_clock_in_quicktime_are_not_taken_for_utc(writer: dict[str, object]) -> None:
    tags: dict[str, object] = {"QuickTime:CreateDate": "2020:04:17 16:03:47", **writer}

    assert of(tags, "A.mov") == at(CaptureTimeSource.QUICKTIME, 2020, 4, 17, 16, 3, 47)
    assert of(tags, "A.mov", TOKYO) == at(
        CaptureTimeSource.QUICKTIME,
        *(2020, 4, 17, 16, 3, 47),
        hours=9,
        by=OffsetSource.COORDINATES,
        zone="Asia/Tokyo",
    )


@pytest.mark.parametrize(
    "writer",
    [
        {"Keys:Make": "Apple"},
        {"UserData:Make": "samsung"},
        {"Keys:AndroidVersion": "13"},
        {"UserData:FirmwareVersion": "H22.01.01.10.00", "Track1:HandlerDescription": "GoPro H.265"},
        {"UserData:FirmwareVersion": "H24.01.01.10.00"},
        {"ItemList:Encoder": "Lavf58.29.100"},
    ],
)
def test_phones_and_new_gopros_write_utc(writer: dict[str, object]) -> None:
    found = of({"QuickTime:CreateDate": "2020:04:17 16:03:47", **writer}, "A.mp4")

    assert (found.utc_offset, found.offset_source) == (timedelta(0), OffsetSource.UTC)


def test_a_recording_that_begins_after_its_file_was_written_is_not_in_utc() -> None:
    """MODIFIED is 03:02:01 in UTC; the camera's clock stood at 12 in Tokyo."""
    assert of({"QuickTime:CreateDate": "2026:05:04 12:00:00"}).utc_offset is None
    assert of({"QuickTime:CreateDate": "2026:05:04 03:05:00"}).utc_offset == timedelta(0)
    assert of({"QuickTime:CreateDate": "2026:05:06 12:00:00"}).utc_offset == timedelta(0)


def test_sonys_films_state_their_zone_beside_the_container() -> None:
    tags: dict[str, object] = {
        "QuickTime:CreateDate": "2020:04:17 07:03:47",
        "XML:CreationDateValue": "2020:04:17 16:03:47+09:00",
    }
    found = of(tags, "C0001.MP4")

    assert (found.local, found.utc_offset) == (clock(2020, 4, 17, 16, 3, 47), timedelta(hours=9))
