"""When a recording was made, from the most trustworthy source that makes sense.

The order is that of CaptureTimeSource. Cameras with an unset clock, converters and damaged files write all sorts of
things; a time that cannot be is passed over for the next source, and the file's own time is always there at the end.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from lumilio.media.tags import Tags, as_text, values
from lumilio.model import CaptureTime, CaptureTimeSource

_EARLIEST_YEAR = 1826
"""The year of the oldest photograph that survives."""

_CLOCK_ERROR = timedelta(days=2)
"""How far ahead of us a camera's clock may be: time zones, and some slack."""

_LARGEST_OFFSET = timedelta(hours=14)
_UNIX_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # compared with wall clocks, which have no zone
_ZONE = r"(?P<zone>Z|[+-]\d\d:?\d\d)"
_STAMP = re.compile(
    r"(\d{4})[:\-/.](\d\d)[:\-/.](\d\d)[ T]+(\d\d):(\d\d)(?::(\d\d)(?:[.,](?P<fraction>\d+))?)?\s*" + _ZONE + "?"
)
_OFFSET = re.compile(_ZONE)

_Table = tuple[tuple[str, tuple[str, ...]], ...]
_EXIF = (("DateTimeOriginal", "Original"), ("CreateDate", "Digitized"))
_OWN = ("ExifIFD", "IFD0", "SubIFD")
_MAKERS = ("CanonRaw", "SigmaRaw", "Reconyx", "RIFF")
_XMP: _Table = (
    ("DateTimeOriginal", ("XMP-exif",)),
    ("DateCreated", ("XMP-photoshop",)),
    ("DateTimeDigitized", ("XMP-exif",)),
    ("CreateDate", ("XMP-xmp",)),
)
_QUICKTIME_WITH_ZONE: _Table = (
    ("CreationDate", ("Keys", "ItemList", "UserData")),
    ("DateTimeOriginal", ("Keys", "UserData")),
)
_QUICKTIME_UTC: _Table = (("CreateDate", ("QuickTime", "Track1", "Track2")),)

_NAMES = (
    # IMG_20200131_123456, PXL_20200131_123456789, VID_…, Screenshot_20200131-123456, 20200131_123456
    re.compile(r"(?<!\d)(\d{4})(\d\d)(\d\d)[_\-T ](\d\d)(\d\d)(\d\d)(\d{3})?(?!\d)"),
    # 2020-01-31 12.34.56, Photo 2020-01-31 at 12.34.56, 2020-01-31_12-34-56
    re.compile(r"(?<!\d)(\d{4})-(\d\d)-(\d\d)(?:[ _T]|\sat\s)(\d\d)[.:\-_](\d\d)[.:\-_](\d\d)(?!\d)"),
    # VID-20200131-WA0001: WhatsApp tells the day only
    re.compile(r"(?<!\d)(\d{4})(\d\d)(\d\d)-WA\d+"),
)


def capture_time(tags: Tags, *, name: str, modified: datetime, now: datetime | None = None) -> CaptureTime:
    """The capture time by exiftool's tags, the original file name and, last, the file's modification time.

    QuickTime's own dates are UTC by definition and the modification time is an instant: there ``local`` is the clock
    of Greenwich and the offset zero. A WhatsApp name tells the day only and counts from midnight. ``modified`` and
    ``now`` are aware. Never raises on odd tags.
    """
    latest = (now or datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None) + _CLOCK_ERROR
    for candidate in _candidates(tags, name):
        if candidate.local.year >= _EARLIEST_YEAR and candidate.local <= latest:
            return candidate
    instant = modified.astimezone(UTC).replace(tzinfo=None)
    return CaptureTime(local=instant, utc_offset=timedelta(0), source=CaptureTimeSource.MODIFIED)


def _candidates(tags: Tags, name: str) -> Iterator[CaptureTime]:
    yield from _from_exif(tags)
    yield from _read(tags, _QUICKTIME_WITH_ZONE, CaptureTimeSource.QUICKTIME)
    for found in _read(tags, _QUICKTIME_UTC, CaptureTimeSource.QUICKTIME):
        if found.local != _UNIX_EPOCH:
            yield found if found.utc_offset is not None else replace(found, utc_offset=timedelta(0))
    yield from _read(tags, _XMP, CaptureTimeSource.XMP)
    yield from _from_name(name)


def _from_exif(tags: Tags) -> Iterator[CaptureTime]:
    """The picture's own directories first, which fraction and offset belong to; then what makers and AVI keep."""
    for tag, suffix in _EXIF:
        fraction = next((text for value in values(tags, f"SubSecTime{suffix}", _OWN) if (text := _digits(value))), "")
        zone = _first_offset(tags, f"OffsetTime{suffix}", "OffsetTime")
        for local, offset in _stamps(tags, tag, _OWN):
            exact = local if local.microsecond else local.replace(microsecond=_microseconds(fraction))
            yield _exif_time(exact, zone if offset is None else offset)
        for local, offset in _stamps(tags, tag, _MAKERS):
            yield _exif_time(local, offset)


def _exif_time(local: datetime, offset: timedelta | None) -> CaptureTime:
    source = CaptureTimeSource.EXIF if offset is None else CaptureTimeSource.EXIF_WITH_OFFSET
    return CaptureTime(local=local, utc_offset=offset, source=source)


def _first_offset(tags: Tags, *names: str) -> timedelta | None:
    for name in names:
        for value in values(tags, name, _OWN):
            if (offset := _offset(value)) is not None:
                return offset
    return None


def _stamps(tags: Tags, tag: str, groups: tuple[str, ...]) -> Iterator[tuple[datetime, timedelta | None]]:
    for value in values(tags, tag, groups):
        if stamp := _parse(value):
            yield stamp


def _read(tags: Tags, table: _Table, source: CaptureTimeSource) -> Iterator[CaptureTime]:
    for tag, groups in table:
        for local, offset in _stamps(tags, tag, groups):
            yield CaptureTime(local=local, utc_offset=offset, source=source)


def _parse(value: object) -> tuple[datetime, timedelta | None] | None:
    """A time as EXIF, XMP or QuickTime write it, with its offset when it has one."""
    match = _STAMP.match(value[:64].strip()) if isinstance(value, str) else None
    if match is None:
        return None
    parts = [int(part or 0) for part in match.groups()[:6]]
    local = _local(parts, _microseconds(match["fraction"] or ""))
    if local is None:
        return None
    return local, _offset(match["zone"])


def _local(parts: Sequence[int], microsecond: int) -> datetime | None:
    """The camera's wall clock, or None when no clock shows that."""
    year, month, day, hour, minute, second = parts
    try:
        return datetime(year, month, day, hour, minute, second, microsecond)  # noqa: DTZ001
    except ValueError:
        return None


def _offset(value: object) -> timedelta | None:
    """An offset such as ``+05:30`` or ``Z``."""
    match = _OFFSET.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    text = match["zone"].replace(":", "")
    offset = timedelta() if text == "Z" else timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))
    if offset > _LARGEST_OFFSET:
        return None
    return -offset if text[0] == "-" else offset


def _digits(value: object) -> str:
    text = as_text(value) or ""
    return text if text.isascii() and text.isdigit() else ""


def _microseconds(fraction: str) -> int:
    """Of the digits behind a decimal point."""
    return int(fraction[:6].ljust(6, "0")) if fraction.isascii() and fraction.isdigit() else 0


def _from_name(name: str) -> Iterator[CaptureTime]:
    """Times that phones and messengers put into file names. Google's ``PXL_`` counts in UTC, the others do not say."""
    offset = timedelta(0) if name.startswith("PXL_") else None
    for pattern in _NAMES:
        if match := pattern.search(name[:255]):
            found = [*match.groups(), None, None, None, None]
            local = _local([int(part or 0) for part in found[:6]], _microseconds(found[6] or ""))
            if local is not None:
                yield CaptureTime(local=local, utc_offset=offset, source=CaptureTimeSource.FILE_NAME)
