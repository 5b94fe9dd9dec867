"""How far a camera's wall clock stood from UTC, where the time itself does not say."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from lumilio.media.tags import Tags, first_number, values
from lumilio.media.time_sources import OWN
from lumilio.media.timestamps import in_utc, offset_of_minutes, parse_offset, parse_stamp
from lumilio.model import CaptureTimeSource

_QUARTER = timedelta(minutes=15)
_FRESH = timedelta(minutes=3)
_KNOWN_OFFSETS = frozenset(
    timedelta(minutes=minutes)
    for minutes in (
        *range(-12 * 60, 14 * 60 + 1, 60),
        # the half and quarter hours that some zone keeps, or kept since there are receivers in cameras
        *(-570, -270, -210, -150, 210, 270, 330, 345, 390, 510, 525, 570, 630, 690, 765, 825),
    )
)


def offset_by_satellites(tags: Tags, local: datetime) -> timedelta | None:
    """The difference of the camera's clock and the receiver's UTC, when it is within three minutes of an offset that
    is in use somewhere. Otherwise the fix was old, or the clock was wrong."""
    for value in values(tags, "GPSDateTime", ("Composite",)):
        if stamp := parse_stamp(value, CaptureTimeSource.GPS):
            return offset_between(local, in_utc(stamp).local)
    return None


def offset_between(local: datetime, utc: datetime) -> timedelta | None:
    difference = local - utc
    offset = round(difference / _QUARTER) * _QUARTER
    return offset if offset in _KNOWN_OFFSETS and abs(difference - offset) <= _FRESH else None


def offset_by_maker(tags: Tags) -> timedelta | None:
    """The zone that was set in the camera: TIFF/EP's hours, Nikon's minutes beside its flag for summer time, Canon's
    minutes that include it. Zero is what cameras come with, and says nothing.

    Canon's was seen with ``OffsetTimeOriginal`` beside it; so was its -360 with summer time on for Denver.
    """
    hours = first_number(tags, "TimeZoneOffset", *OWN)
    canon = first_number(tags, "TimeZone", "Canon")
    for minutes in (None if hours is None else hours * 60, canon):
        if offset := offset_of_minutes(minutes):
            return offset
    return _nikon(tags)


def _nikon(tags: Tags) -> timedelta | None:
    for value in values(tags, "TimeZone", ("Nikon",)):
        zone = parse_offset(value)
        if zone is None and isinstance(value, int | float):
            zone = offset_of_minutes(value)
        summer = timedelta(hours=1) if first_number(tags, "DaylightSavings", "Nikon") == 1 else timedelta(0)
        if zone is not None and (zone or summer) and zone + summer in _KNOWN_OFFSETS:
            return zone + summer
    return None


def offset_in_zone(zone: str, local: datetime) -> timedelta | None:
    """What a time zone's clocks were ahead of UTC when they showed ``local``.

    In the hour that the end of summer time repeats, the clock alone does not tell: None. In the hour that its
    beginning leaves out, the camera's clock had not been put forward yet: the offset from before. Offsets of mean solar
    time, with seconds, are None as well.
    """
    rules = _rules(zone)
    if rules is None:
        return None
    first, second = (local.replace(tzinfo=rules, fold=fold).utcoffset() for fold in (0, 1))
    repeated = first is not None and second is not None and first > second
    return None if repeated or first is None or first % timedelta(minutes=1) else first


def clock_in_zone(zone: str, utc: datetime) -> tuple[datetime, timedelta] | None:
    """What a time zone's clocks showed at an instant, given as Greenwich's clock, and their offset."""
    rules = _rules(zone)
    try:
        there = utc.replace(tzinfo=UTC).astimezone(rules) if rules else None
    except OverflowError:
        return None
    offset = there.utcoffset() if there else None
    if there is None or offset is None or offset % timedelta(minutes=1):
        return None
    return there.replace(tzinfo=None), offset


def _rules(zone: str) -> ZoneInfo | None:
    """None where the system has no time zone data: unknown stays unknown."""
    try:
        return ZoneInfo(zone)
    except (LookupError, ValueError, OSError):
        return None
