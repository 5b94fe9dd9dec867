"""Facts of real files, and of files that programs wrote to, read with the real exiftool and held against the truth."""

import asyncio
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image

from lumilio.media.detect import HEAD_BYTES, refine, sniff
from lumilio.media.facts import facts_from_exif
from lumilio.media.formats import FORMATS
from lumilio.model import (
    CaptureTime,
    CaptureTimeSource,
    Confidence,
    Facts,
    OffsetSource,
    PersonRegion,
    Place,
    Sidecar,
    SidecarKind,
)
from lumilio.tools.exiftool import ExifTool
from tests.conformance.reference import CORPUS, Sample, samples

MODIFIED = datetime(2026, 1, 1, tzinfo=UTC)
STAMP = re.compile(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d")


async def _printed(paths: list[Path]) -> list[dict[str, object]]:
    async with ExifTool() as exiftool:
        return await asyncio.gather(*(exiftool.read(path, name_hint=path.name) for path in paths))


def read(path: Path, tags: Mapping[str, object], *sidecars: Sidecar) -> Facts:
    file_type = tags.get("File:FileType")
    with path.open("rb") as file:
        sniffed = sniff(file.read(HEAD_BYTES))
    media_type = refine(sniffed, str(file_type) if file_type else None, path.name)
    return facts_from_exif(tags, media_type, name=path.name, modified=MODIFIED, sidecars=sidecars)


@pytest.fixture(scope="module")
def known() -> list[tuple[Sample, Facts]]:
    """Every sample with its facts."""
    found = samples()
    printed = asyncio.run(_printed([sample.path for sample in found]))
    return [(sample, read(sample.path, tags)) for sample, tags in zip(found, printed, strict=True)]


def captured(facts: Facts) -> CaptureTime:
    assert facts.capture_time is not None
    return facts.capture_time


def test_cameras_are_those_of_the_truth(known: list[tuple[Sample, Facts]]) -> None:
    compared = 0
    for sample, facts in known:
        for found, tag in ((facts.make, "Make"), (facts.model, "Model")):
            for group in ("IFD0", "Keys"):
                if told := " ".join(str(sample.exif.get(f"{group}:{tag}", "")).split()):
                    assert found == told, sample.name
                    compared += 1
                    break
    assert compared


def test_sizes_are_those_that_pillow_sees(known: list[tuple[Sample, Facts]]) -> None:
    """Pillow's size is of the shown picture in HEIF and AVIF, of the stored one elsewhere."""
    compared = 0
    for sample, facts in known:
        if sample.pillow is None or sample.pillow[0] not in (
            "JPEG",
            "MPO",
            "PNG",
            "WEBP",
            "GIF",
            "BMP",
            "HEIF",
            "AVIF",
        ):
            continue
        turned = sample.pillow[0] not in ("HEIF", "AVIF") and (facts.orientation or 1) >= 5
        width, height = sample.pillow[2:4]
        assert (facts.width, facts.height) == ((height, width) if turned else (width, height)), sample.name
        compared += 1
    assert compared


def test_the_cameras_clock_is_kept_and_its_stated_offset_believed(known: list[tuple[Sample, Facts]]) -> None:
    compared = 0
    for sample, facts in known:
        stamp = str(sample.exif.get("ExifIFD:DateTimeOriginal"))
        if not STAMP.fullmatch(stamp) or stamp < "1826":
            continue
        found = captured(facts)
        assert found.local.strftime("%Y:%m:%d %H:%M:%S") == stamp, sample.name
        fraction = str(sample.exif.get("ExifIFD:SubSecTimeOriginal", "0")).strip()
        assert found.local.microsecond == int(fraction.ljust(6, "0")[:6] or 0), sample.name
        stated = sample.exif.get("ExifIFD:OffsetTimeOriginal") or sample.exif.get("ExifIFD:OffsetTime")
        if stated:
            assert found.utc_offset == offset(str(stated)), sample.name
            assert (found.source, found.offset_source, found.confidence) == (
                CaptureTimeSource.EXIF_WITH_OFFSET,
                OffsetSource.STATED,
                Confidence.HIGH,
            )
        elif found.utc_offset is None:
            assert (found.source, found.offset_source) == (CaptureTimeSource.EXIF, None), sample.name
            assert facts.place is None, sample.name
        compared += 1
    assert compared


def offset(text: str) -> timedelta:
    size = timedelta(hours=int(text[1:3]), minutes=int(text[4:6]))
    return -size if text[0] == "-" else size


def test_positions_are_those_of_the_truth_and_have_a_town_and_a_zone(known: list[tuple[Sample, Facts]]) -> None:
    compared = 0
    for sample, facts in known:
        latitude, longitude, altitude = (
            sample.exif.get(f"Composite:GPS{name}") for name in ("Latitude", "Longitude", "Altitude")
        )
        if not (latitude or longitude):
            assert facts.place is None, sample.name
            continue
        assert facts.place is not None, sample.name
        assert (facts.place.latitude, facts.place.longitude) == (latitude, longitude), sample.name
        if altitude is not None:
            assert facts.place.altitude == altitude, sample.name
        assert facts.whereabouts is not None, sample.name
        assert captured(facts).zone is not None, sample.name
        assert captured(facts).utc_offset is not None, sample.name
        compared += 1
    assert compared


def test_stars_are_those_of_the_truth(known: list[tuple[Sample, Facts]]) -> None:
    for sample, facts in known:
        if "XMP-xmp:Rating" in sample.exif:
            assert facts.rating == sample.exif["XMP-xmp:Rating"], sample.name


def test_both_files_of_a_live_photo_have_one_identifier_and_one_moment() -> None:
    pair = [path for path in sorted(CORPUS.glob("livephoto/IMG_3589.*")) if path.suffix.lower() in (".heic", ".mov")]
    photo_and_film = [read(path, tags) for path, tags in zip(pair, asyncio.run(_printed(pair)), strict=True)]
    moments = [captured(facts).utc() for facts in photo_and_film]

    assert {facts.content_identifier for facts in photo_and_film} <= {"1EA799FF-8384-4BC4-87AA-139A814D9125"}
    for moment in moments:
        assert moment is not None
        assert abs(moment - datetime(2020, 4, 17, 16, 3, 48, tzinfo=UTC)) < timedelta(seconds=2)


def test_the_real_traps_of_the_corpus(known: list[tuple[Sample, Facts]]) -> None:
    """By file: offset in hours, how it is known, the town. A Nikon whose clock is a day off its satellites; a phone
    with a fresh fix; a phone's film in UTC with a place; Apple's film with a zone; Canon's summer time."""
    expected: dict[str, tuple[float, OffsetSource, str | None]] = {
        "jpeg/exifsample-DSCN0010.jpg": (2, OffsetSource.COORDINATES, "Arezzo"),
        "heic/pillowheif-xiaomi.heic": (3, OffsetSource.GPS, "Rostov-na-Donu"),
        "video/metadataex-with-gps.mp4": (0, OffsetSource.COORDINATES, "Crystal Palace"),
        "video/metadataex-with-gps.mov": (3, OffsetSource.STATED, "Petaẖ Tiqva"),
        "jpeg/testassets-datetimeoriginal-gps.jpg": (-7, OffsetSource.COORDINATES, "Cedaredge"),
        "throughput/014.jpg": (-6, OffsetSource.STATED, None),
        "throughput/004.jpg": (-6, OffsetSource.STATED, None),
    }
    seen = 0
    for sample, facts in known:
        if sample.name in expected:
            found, city = captured(facts), facts.whereabouts.city if facts.whereabouts else None
            assert found.utc_offset is not None, sample.name
            hours = found.utc_offset / timedelta(hours=1)
            assert (hours, found.offset_source, city) == expected[sample.name], sample.name
            seen += 1
    assert seen


WRITTEN = (
    "-XMP-mwg-rs:RegionInfo={AppliedToDimensions={W=40,H=30,Unit=pixel},RegionList=[{Name=Ada Lovelace,Type=Face,"
    "Area={X=0.3,Y=0.2,W=0.1,H=0.15,Unit=normalized}},{Name=Rex,Type=Pet,Area={X=0.5,Y=0.5,W=0.1,H=0.1}}]}",
    *("-XMP-dc:Subject=Beach", "-XMP-dc:Subject=beach", "-XMP-dc:Subject=2020"),
    *("-XMP-lr:HierarchicalSubject=Places|Italy|Rome", "-XMP-digiKam:TagsList=People/Ada"),
    *("-XMP-xmp:Rating=4", "-XMP-dc:Title=Hello", "-XMP-dc:Description=one\ntwo"),
    *("-XMP-exif:DateTimeOriginal=2020:07:01 12:00:00.25", "-XMP-exif:GPSLatitude=-33.86"),
    *("-XMP-exif:GPSLongitude=151.21", "-XMP-exif:GPSAltitude=4", "-XMP-exif:GPSAltitudeRef=1"),
)
"""What Lightroom and digiKam keep in XMP, by exiftool's names for it."""


def written(path: Path, *arguments: str, orientation: int = 1) -> tuple[Path, dict[str, object]]:
    """A photo or a sidecar with what exiftool was told to write, and what it then prints."""
    if path.suffix == ".jpg":
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", (40, 30)).save(path, exif=exif)
    subprocess.run(["exiftool", "-q", "-n", "-overwrite_original", *arguments, path], check=True)
    (printed,) = asyncio.run(_printed([path]))
    return path, printed


def assert_is_what_was_written(facts: Facts) -> None:
    assert (facts.title, facts.description, facts.rating) == ("Hello", "one\ntwo", 4)
    assert facts.keywords == ("Beach", "2020", "People/Ada", "Ada", "Places/Italy/Rome", "Rome")
    assert facts.place == Place(latitude=-33.86, longitude=151.21, altitude=-4)
    assert facts.whereabouts is not None
    assert facts.whereabouts.city == "Sydney"
    found = captured(facts)
    assert (found.local.isoformat(), found.utc_offset) == ("2020-07-01T12:00:00.250000", timedelta(hours=10))
    assert (found.offset_source, found.zone) == (OffsetSource.COORDINATES, "Australia/Sydney")


def test_what_programs_write_into_a_photo_is_read(tmp_path: Path) -> None:
    path, tags = written(tmp_path / "a.jpg", *WRITTEN, orientation=6)
    facts = read(path, tags)

    assert_is_what_was_written(facts)
    assert facts.people == (PersonRegion(name="Ada Lovelace", x=0.8, y=0.3, width=0.15, height=0.1),)
    assert captured(facts).source is CaptureTimeSource.XMP


def test_what_programs_write_beside_a_photo_is_read(tmp_path: Path) -> None:
    path, plain = written(tmp_path / "a.jpg", "-ExifIFD:DateTimeOriginal=2019:01:01 00:00:00")
    _, tags = written(tmp_path / "a.xmp", *WRITTEN)
    facts = read(path, plain, Sidecar(kind=SidecarKind.XMP, tags=tags))

    assert_is_what_was_written(facts)
    assert facts.people == (PersonRegion(name="Ada Lovelace", x=0.3, y=0.2, width=0.1, height=0.15),)
    assert captured(facts).source is CaptureTimeSource.SIDECAR


MICROSOFT = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:MP="http://ns.microsoft.com/photo/1.2/"
 xmlns:MPRI="http://ns.microsoft.com/photo/1.2/t/RegionInfo#" xmlns:MPReg="http://ns.microsoft.com/photo/1.2/t/Region#"
 xmlns:MicrosoftPhoto="http://ns.microsoft.com/photo/1.0/" MicrosoftPhoto:Rating="75">
<MP:RegionInfo rdf:parseType="Resource"><MPRI:Regions><rdf:Bag>
<rdf:li MPReg:Rectangle="0.1, 0.2, 0.3, 0.4" MPReg:PersonDisplayName="Cy Young"/>
</rdf:Bag></MPRI:Regions></MP:RegionInfo></rdf:Description></rdf:RDF></x:xmpmeta>"""


def test_microsofts_people_and_stars_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.xmp"
    path.write_text(MICROSOFT)
    (tags,) = asyncio.run(_printed([path]))
    sidecar = Sidecar(kind=SidecarKind.XMP, tags=tags)
    facts = facts_from_exif({}, FORMATS["jpeg"], name="a.jpg", modified=MODIFIED, sidecars=[sidecar])

    assert facts.people == (PersonRegion(name="Cy Young", x=0.25, y=0.4, width=0.3, height=0.4),)
    assert facts.rating == 4


@pytest.mark.parametrize(
    ("arguments", "hours", "known_by"),
    [
        (("-GPSDateStamp=2020:07:01", "-GPSTimeStamp=06:15:20"), 5.75, OffsetSource.GPS),
        (("-GPSDateStamp=2020:07:01", "-GPSTimeStamp=09:50:00"), None, None),
        (("-OffsetTimeOriginal=-03:30",), -3.5, OffsetSource.STATED),
        (
            ("-GPSLatitude=27.7172", "-GPSLatitudeRef=N", "-GPSLongitude=85.324", "-GPSLongitudeRef=E"),
            5.75,
            OffsetSource.COORDINATES,
        ),
    ],
)
def test_offsets_that_exiftool_wrote_are_found(
    tmp_path: Path, arguments: tuple[str, ...], hours: float | None, known_by: OffsetSource | None
) -> None:
    path, tags = written(tmp_path / "a.jpg", "-ExifIFD:DateTimeOriginal=2020:07:01 12:00:00", *arguments)
    found = captured(read(path, tags))

    assert found.utc_offset == (None if hours is None else timedelta(hours=hours))
    assert found.offset_source is known_by


def test_the_sign_of_the_altitude_is_that_of_its_reference(tmp_path: Path) -> None:
    where = ("-GPSLatitude=31.5", "-GPSLatitudeRef=N", "-GPSLongitude=35.5", "-GPSLongitudeRef=E")
    path, tags = written(tmp_path / "a.jpg", *where, "-GPSAltitude=430.5", "-GPSAltitudeRef=1")

    assert read(path, tags).place == Place(latitude=31.5, longitude=35.5, altitude=-430.5)


def test_title_and_caption_of_iptc_and_of_windows_are_read(tmp_path: Path) -> None:
    iptc, windows = (
        ("-IPTC:ObjectName=Title", "-IPTC:Caption-Abstract=Caption", "-IPTC:Keywords=one"),
        ("-XPTitle=Title", "-XPComment=Caption", "-XPKeywords=one"),
    )
    for arguments in (iptc, windows):
        path, tags = written(tmp_path / "a.jpg", "-ImageDescription=OLYMPUS DIGITAL CAMERA", *arguments)
        facts = read(path, tags)

        assert (facts.title, facts.description, facts.keywords) == ("Title", "Caption", ("one",))
