"""The times that a file's tags tell of, best first: what cameras, phones and programs write where."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from lumilio.media.tags import Tags, as_text, first_text, values
from lumilio.media.timestamps import Stamp, digits, in_utc, microseconds, parse_offset, parse_stamp
from lumilio.model import CaptureTimeSource

_UNIX_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # compared with wall clocks, which have no zone

_Table = tuple[tuple[str, tuple[str, ...]], ...]
_EXIF = (("DateTimeOriginal", "Original"), ("CreateDate", "Digitized"))
OWN = ("ExifIFD", "IFD0", "SubIFD")
"""The picture's own directories, which fraction and offset belong to."""

_MAKERS = ("CanonRaw", "SigmaRaw", "Reconyx", "RIFF", "Nikon", "H264")
"""What makers, AVI, Nikon's films and AVCHD keep instead: the camera's wall clock."""

_XMP: _Table = (
    ("DateTimeOriginal", ("XMP-exif",)),
    ("DateCreated", ("XMP-photoshop",)),
    ("DateTimeDigitized", ("XMP-exif",)),
    ("CreateDate", ("XMP-xmp",)),
    ("DateTimeCreated", ("Composite",)),  # IPTC's DateCreated and TimeCreated
    ("CreationTime", ("PNG",)),
)
_RECORDING_WITH_ZONE: _Table = (
    ("CreationDate", ("Keys", "ItemList", "UserData")),
    ("DateTimeOriginal", ("Keys", "UserData")),
    ("CreationDateValue", ("XML",)),  # Sony's film cameras
)
_RECORDING_UTC: _Table = (
    ("CreateDate", ("QuickTime",)),
    ("MediaCreateDate", ("Track1", "Track2")),
    ("DateTimeOriginal", ("Matroska",)),
    ("CreationDate", ("ASF",)),
)
_SATELLITES: _Table = (("GPSDateTime", ("Composite", "XMP-exif")),)

_WALL_CLOCK_MAKERS = (
    *("nikon", "canon", "panasonic", "olympus", "om digital", "fuji", "pentax", "ricoh", "casio"),
    *("kodak", "eastman kodak"),
)
_UTC_MAKERS = ("apple", "google", "samsung", "sony", "xiaomi", "huawei", "oneplus", "motorola")
"""Beginnings of the makers' names in lower case; of those in neither list the container's definition is believed."""

_GOPRO_WITH_ZONES = 22
"""HERO11, whose firmware is H22, is the first GoPro that knows time zones and writes UTC; earlier ones are HD2 to HD9
and H18 to H21."""

_GOPRO_FIRMWARE = re.compile(r"H(?:D\d|(\d\d))\.")
_WRITTEN_EARLIER = timedelta(minutes=10)
_LARGEST_OFFSET = timedelta(hours=14)


def embedded_stamps(tags: Tags, modified: datetime) -> Iterator[Stamp]:
    """EXIF, the container of a recording, the satellites' clock, then XMP, IPTC and PNG, whose times are often those
    of a program. ``modified`` is the file's own time on the clock of Greenwich, naive."""
    yield from _from_exif(tags)
    yield from _read(tags, _RECORDING_WITH_ZONE, CaptureTimeSource.QUICKTIME)
    for found in _read(tags, _RECORDING_UTC, CaptureTimeSource.QUICKTIME):
        if found.local != _UNIX_EPOCH:
            yield _recorded(tags, found, modified)
    yield from map(in_utc, _read(tags, _SATELLITES, CaptureTimeSource.GPS))
    yield from xmp_stamps(tags, CaptureTimeSource.XMP)


def xmp_stamps(tags: Tags, source: CaptureTimeSource) -> Iterator[Stamp]:
    """The dates of an XMP packet that have a time of day."""
    return _read(tags, _XMP, source)


def _from_exif(tags: Tags) -> Iterator[Stamp]:
    for tag, suffix in _EXIF:
        fraction = next((text for value in values(tags, f"SubSecTime{suffix}", OWN) if (text := digits(value))), "")
        zone = _first_offset(tags, f"OffsetTime{suffix}", "OffsetTime")
        for stamp in _stamps(tags, tag, OWN, CaptureTimeSource.EXIF):
            exact = stamp.local if stamp.local.microsecond else stamp.local.replace(microsecond=microseconds(fraction))
            yield _exif(replace(stamp, local=exact, offset=zone if stamp.offset is None else stamp.offset))
        yield from map(_exif, _stamps(tags, tag, _MAKERS, CaptureTimeSource.EXIF))


def _exif(stamp: Stamp) -> Stamp:
    source = CaptureTimeSource.EXIF if stamp.offset is None else CaptureTimeSource.EXIF_WITH_OFFSET
    return replace(stamp, source=source, utc=False)


def _first_offset(tags: Tags, *names: str) -> timedelta | None:
    for name in names:
        for value in values(tags, name, OWN):
            if (offset := parse_offset(value)) is not None:
                return offset
    return None


def _stamps(tags: Tags, tag: str, groups: tuple[str, ...], source: CaptureTimeSource) -> Iterator[Stamp]:
    for value in values(tags, tag, groups):
        if stamp := parse_stamp(value, source):
            yield stamp


def _read(tags: Tags, table: _Table, source: CaptureTimeSource) -> Iterator[Stamp]:
    for tag, groups in table:
        yield from _stamps(tags, tag, groups, source)


def _recorded(tags: Tags, stamp: Stamp, modified: datetime) -> Stamp:
    """The container's date is UTC by definition, unless its writer is known, or shown, to keep its wall clock there.

    It is shown where the recording would have begun after its file was last written: that clock stands east of
    Greenwich. Copies only get later, so the test never fires wrongly on them.
    """
    made_by = (first_text(tags, "Make", "*") or "").lower()
    if made_by.startswith(_UTC_MAKERS):
        return in_utc(stamp)
    early = timedelta(0) < stamp.local - modified - _WRITTEN_EARLIER <= _LARGEST_OFFSET
    if early or made_by.startswith(_WALL_CLOCK_MAKERS) or _is_wall_clock_writer(tags):
        return replace(stamp, offset=None, utc=False)
    return in_utc(stamp)


def _is_wall_clock_writer(tags: Tags) -> bool:
    """For films without a make: by the brand, and by GoPro's firmware or the name that it gives its tracks."""
    if (first_text(tags, "MajorBrand", "QuickTime") or "").startswith(("CAEP", "niko", "pana")):
        return True
    firmware = _GOPRO_FIRMWARE.match(first_text(tags, "FirmwareVersion", "GoPro", "UserData") or "")
    if firmware:
        return int(firmware[1] or 0) < _GOPRO_WITH_ZONES
    return any(
        "gopro" in (as_text(value) or "").lower()
        for tag in ("CompressorName", "HandlerDescription")
        for value in values(tags, tag, ("Track1", "Track2", "Track3"))
    )
