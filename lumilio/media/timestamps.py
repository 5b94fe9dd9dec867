"""Dates as EXIF, XMP, IPTC, QuickTime and file names write them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from lumilio.media.tags import as_number, as_text
from lumilio.model import CaptureTimeSource

_LARGEST_OFFSET = timedelta(hours=14)
_ZONE = r"(?P<zone>Z|[+-]\d\d:?\d\d)"
_STAMP = re.compile(
    r"(\d{4})[:\-/.](\d\d)[:\-/.](\d\d)[ T]+(\d\d):(\d\d)(?::(\d\d)(?:[.,](?P<fraction>\d+))?)?\s*"
    rf"{_ZONE}?(?P<summer>\s+DST)?"
)
_OFFSET = re.compile(_ZONE)

_NAMES = (
    # IMG_20200131_123456, PXL_20200131_123456789, VID_…, Screenshot_20200131-123456, 20200131_123456
    re.compile(r"(?<!\d)(\d{4})(\d\d)(\d\d)[_\-T ](\d\d)(\d\d)(\d\d)(\d{3})?(?!\d)"),
    # 2020-01-31 12.34.56, Photo 2020-01-31 at 12.34.56, 2020-01-31_12-34-56
    re.compile(r"(?<!\d)(\d{4})-(\d\d)-(\d\d)(?:[ _T]|\sat\s)(\d\d)[.:\-_](\d\d)[.:\-_](\d\d)(?!\d)"),
    # VID-20200131-WA0001: WhatsApp tells the day only
    re.compile(r"(?<!\d)(\d{4})(\d\d)(\d\d)-WA\d+"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """A time that a source writes. ``utc`` says that the source counts in UTC, so that ``local`` is the clock of
    Greenwich wherever the recording was made; ``day_only`` that the hours are ours."""

    local: datetime
    offset: timedelta | None
    source: CaptureTimeSource
    utc: bool = False
    day_only: bool = False

    def instant(self) -> datetime | None:
        """The clock of Greenwich, naive; None without an offset, and at the ends of the calendar."""
        if self.offset is None:
            return None
        try:
            return self.local - self.offset
        except OverflowError:
            return None


def parse_stamp(value: object, source: CaptureTimeSource) -> Stamp | None:
    """A date with a time of day and, it may be, a fraction and an offset. ``Z`` says that UTC was counted in.

    AVCHD marks summer time behind an offset without saying whether that includes it: the offset is then unknown.
    """
    match = _STAMP.match(value[:64].strip()) if isinstance(value, str) else None
    if match is None:
        return None
    local = _clock([int(part or 0) for part in match.groups()[:6]], microseconds(match["fraction"] or ""))
    if local is None:
        return None
    offset = None if match["summer"] else parse_offset(match["zone"])
    return Stamp(local=local, offset=offset, source=source, utc=match["zone"] == "Z")


def in_utc(stamp: Stamp) -> Stamp:
    """The stamp of a source that counts in UTC, though it may not say so, or in the zone of the reading computer."""
    instant = stamp.instant() or stamp.local
    return replace(stamp, local=instant, offset=timedelta(0), utc=True)


def parse_offset(value: object) -> timedelta | None:
    """An offset such as ``+05:30`` or ``Z``."""
    match = _OFFSET.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return None
    text = match["zone"].replace(":", "")
    offset = timedelta() if text == "Z" else timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))
    if offset > _LARGEST_OFFSET:
        return None
    return -offset if text[0] == "-" else offset


def offset_of_minutes(minutes: float | None) -> timedelta | None:
    """Whole quarter hours, as makers' notes count them."""
    if minutes is None or minutes % 15 or abs(minutes) > _LARGEST_OFFSET.total_seconds() / 60:
        return None
    return timedelta(minutes=minutes)


def digits(value: object) -> str:
    text = as_text(value) or ""
    return text if text.isascii() and text.isdigit() else ""


def microseconds(fraction: str) -> int:
    """Of the digits behind a decimal point."""
    return int(fraction[:6].ljust(6, "0")) if fraction.isascii() and fraction.isdigit() else 0


def from_unix(seconds: object, source: CaptureTimeSource) -> Stamp | None:
    """Seconds since 1970, as a number or as text. Zero is what is written for "unknown"."""
    number = as_number(seconds)
    if not number:
        return None
    try:
        local = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    except OverflowError:
        return None
    return Stamp(local=local.replace(tzinfo=None), offset=timedelta(0), source=source, utc=True)


def from_name(name: str) -> Iterator[Stamp]:
    """Times that phones and messengers put into file names. Google's ``PXL_`` counts in UTC, the others do not say."""
    utc = name.startswith("PXL_")
    for pattern in _NAMES:
        if match := pattern.search(name[:255]):
            found = [*match.groups(), None, None, None, None]
            local = _clock([int(part or 0) for part in found[:6]], microseconds(found[6] or ""))
            if local is not None:
                stamp = Stamp(
                    local=local, offset=None, source=CaptureTimeSource.FILE_NAME, day_only=len(match.groups()) == 3
                )
                yield in_utc(stamp) if utc else stamp


def _clock(parts: Sequence[int], microsecond: int) -> datetime | None:
    """A wall clock, or None when no clock shows that."""
    year, month, day, hour, minute, second = parts
    try:
        return datetime(year, month, day, hour, minute, second, microsecond)  # noqa: DTZ001
    except ValueError:
        return None
