"""When a recording was made, from the most trustworthy source that makes sense.

A person's corrections stand in sidecars, so those come first; then the order is that of CaptureTimeSource. Cameras with
an unset clock, converters and damaged files write all sorts of things; a time that cannot be is passed over for the
next source, and the file's own time is always there at the end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from lumilio.media.tags import Tags
from lumilio.media.time_offsets import (
    clock_in_zone,
    offset_between,
    offset_by_maker,
    offset_by_satellites,
    offset_in_zone,
)
from lumilio.media.time_sources import embedded_stamps, xmp_stamps
from lumilio.media.timestamps import Stamp, from_name, from_unix
from lumilio.model import (
    CaptureTime,
    CaptureTimeSource,
    Confidence,
    OffsetSource,
    Place,
    Sidecar,
    SidecarKind,
)
from lumilio.tools.geography import time_zone

_EARLIEST_YEAR = 1826
"""The year of the oldest photograph that survives."""

_CLOCK_ERROR = timedelta(days=2)
"""How far ahead of us a camera's clock may be: time zones, and some slack."""

_SAME_TIME = timedelta(days=1)
"""Google's UTC and a camera's wall clock that are less apart mean the same moment."""

_NOT_THE_DEVICES = (CaptureTimeSource.FILE_NAME, CaptureTimeSource.MODIFIED)


def capture_time(
    tags: Tags,
    *,
    name: str,
    modified: datetime,
    now: datetime | None = None,
    place: Place | None = None,
    sidecars: Sequence[Sidecar] = (),
) -> CaptureTime:
    """The capture time by exiftool's tags, the sidecars, the original file name and, last, the modification time.

    An XMP sidecar's time replaces that of the file; where both show the same clock, each adds the fraction or the
    offset that the other lacks. Google's ``photoTakenTime`` is UTC, made of the file's own time by guessing a zone: it
    replaces a time that is more than a day off, for then a person changed it, and otherwise at most tells the offset.

    A wall clock without offset gets that of the satellites' clock, of the camera's settings, or of the time zone at
    ``place``. Times that are counted in UTC become the clock of that zone, or stay that of Greenwich while the place
    is unknown. A WhatsApp name tells the day only and counts from midnight. ``modified`` and ``now`` are aware. Never
    raises on odd tags.
    """
    latest = (now or datetime.now(UTC)).astimezone(UTC).replace(tzinfo=None) + _CLOCK_ERROR
    instant = modified.astimezone(UTC).replace(tzinfo=None)
    zone = time_zone(place.latitude, place.longitude) if place else None
    takeout = _taken(sidecars, latest)
    stamp = _first(_corrections(sidecars), latest)
    own = _first(_told(tags, name, sidecars, instant), latest)
    if stamp is None:
        stamp = own if own and _agree(own, takeout) else takeout or own
    elif own and own.source not in _NOT_THE_DEVICES:
        stamp = _completed(stamp, own)
    last = Stamp(local=instant, offset=timedelta(0), source=CaptureTimeSource.MODIFIED, utc=True)
    return _settled(tags, stamp or last, zone, takeout)


def _first(stamps: Iterator[Stamp], latest: datetime) -> Stamp | None:
    return next((each for each in stamps if each.local.year >= _EARLIEST_YEAR and each.local <= latest), None)


def _told(tags: Tags, name: str, sidecars: Sequence[Sidecar], modified: datetime) -> Iterator[Stamp]:
    yield from embedded_stamps(tags, modified)
    yield from from_name(name)
    for title in (each.tags.get("title") for each in sidecars if each.kind is SidecarKind.TAKEOUT):
        if isinstance(title, str):
            yield from from_name(title)


def _corrections(sidecars: Sequence[Sidecar]) -> Iterator[Stamp]:
    for sidecar in sidecars:
        if sidecar.kind is SidecarKind.XMP:
            yield from xmp_stamps(sidecar.tags, CaptureTimeSource.SIDECAR)


def _taken(sidecars: Sequence[Sidecar], latest: datetime) -> Stamp | None:
    """Google's time of the picture, by Takeout."""
    taken = [each.tags.get("photoTakenTime") for each in sidecars if each.kind is SidecarKind.TAKEOUT]
    seconds = [each.get("timestamp") for each in taken if isinstance(each, dict)]
    return _first((found for each in seconds if (found := from_unix(each, CaptureTimeSource.SIDECAR))), latest)


def _agree(own: Stamp, takeout: Stamp | None) -> bool:
    """A day without hours is less than an instant, whatever they agree on."""
    if takeout is None:
        return True
    return not own.day_only and abs((own.instant() or own.local) - takeout.local) <= _SAME_TIME


def _completed(correction: Stamp, own: Stamp) -> Stamp:
    """A correction that shows the file's own clock is none: the more exact of both counts. One in UTC that is a whole
    offset away from that clock tells the offset; one that shows it tells nothing, since programs put Z to any clock."""
    if own.utc:
        return correction
    if correction.utc and own.offset is None and (offset := offset_between(own.local, correction.local)):
        return replace(correction, local=own.local, offset=offset, utc=False)
    if correction.utc:
        return own if _whole(own.instant() or own.local) == _whole(correction.local) else correction
    if _whole(own.local) != _whole(correction.local):
        return correction
    return own if correction.offset is None else replace(correction, local=max(own.local, correction.local))


def _whole(moment: datetime | None) -> datetime | None:
    return moment.replace(microsecond=0) if moment else None


def _settled(tags: Tags, stamp: Stamp, zone: str | None, takeout: Stamp | None) -> CaptureTime:
    confidence = Confidence.MEDIUM if stamp.source is CaptureTimeSource.XMP else Confidence.HIGH
    known = CaptureTime(
        local=stamp.local,
        utc_offset=stamp.offset,
        source=stamp.source,
        offset_source=OffsetSource.STATED,
        confidence=confidence,
        zone=zone,
    )
    if stamp.utc:
        known = _brought_home(known, zone)
    elif stamp.offset is None:
        known = _derived(tags, known, None if stamp.day_only else takeout)
    return replace(known, confidence=Confidence.LOW) if stamp.source in _NOT_THE_DEVICES else known


def _brought_home(counted: CaptureTime, zone: str | None) -> CaptureTime:
    """A time in UTC as the clock of the place, while that is known."""
    there = clock_in_zone(zone, counted.local) if zone else None
    if there is None:
        return replace(counted, offset_source=OffsetSource.UTC, confidence=Confidence.MEDIUM)
    local, offset = there
    return replace(
        counted,
        local=local,
        utc_offset=offset,
        offset_source=OffsetSource.COORDINATES,
        confidence=Confidence.MEDIUM,
    )


def _derived(tags: Tags, clock: CaptureTime, takeout: Stamp | None) -> CaptureTime:
    """A wall clock that comes without an offset, with the one that something beside it tells."""
    clock = replace(clock, offset_source=None, confidence=Confidence.MEDIUM)
    if clock.source in (CaptureTimeSource.EXIF, CaptureTimeSource.QUICKTIME):
        if (offset := offset_by_satellites(tags, clock.local)) is not None:
            return replace(clock, utc_offset=offset, offset_source=OffsetSource.GPS)
        if (offset := offset_by_maker(tags)) is not None:
            exif = clock.source is CaptureTimeSource.EXIF
            return replace(
                clock,
                utc_offset=offset,
                source=CaptureTimeSource.EXIF_WITH_OFFSET if exif else clock.source,
                offset_source=OffsetSource.STATED,
                confidence=Confidence.HIGH,
            )
    if clock.zone and (offset := offset_in_zone(clock.zone, clock.local)) is not None:
        return replace(clock, utc_offset=offset, offset_source=OffsetSource.COORDINATES)
    # where Google did not know the zone it took the wall clock for UTC: no difference says nothing
    if takeout and (offset := offset_between(clock.local, takeout.local)):
        return replace(clock, utc_offset=offset, offset_source=OffsetSource.STATED)
    return clock
