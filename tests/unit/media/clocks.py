"""Capture times as tests write them down."""

from datetime import UTC, datetime, timedelta

from lumilio.media.capture_time import capture_time
from lumilio.model import (
    CaptureTime,
    CaptureTimeSource,
    Confidence,
    OffsetSource,
    Place,
    Sidecar,
    SidecarKind,
)

MODIFIED = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


ROME = Place(latitude=41.9, longitude=12.49)
KATHMANDU = Place(latitude=27.7172, longitude=85.324)
TOKYO = Place(latitude=35.68, longitude=139.76)
ATLANTIC = Place(latitude=0.5, longitude=-30)


def of(tags: dict[str, object], name: str = "IMG.jpg", place: Place | None = None, *sidecars: Sidecar) -> CaptureTime:
    return capture_time(tags, name=name, modified=MODIFIED, now=NOW, place=place, sidecars=sidecars)


def clock(*parts: int) -> datetime:
    year, month, day, hour, minute, second, micro = (*parts, *(0,) * (7 - len(parts)))
    return datetime(year, month, day, hour, minute, second, micro)  # noqa: DTZ001  # a camera's wall clock


def at(
    source: CaptureTimeSource,
    *parts: int,
    hours: float | None = None,
    by: OffsetSource | None = None,
    confidence: Confidence = Confidence.MEDIUM,
    zone: str | None = None,
) -> CaptureTime:
    return CaptureTime(
        local=clock(*parts),
        utc_offset=None if hours is None else timedelta(hours=hours),
        source=source,
        offset_source=by,
        confidence=confidence,
        zone=zone,
    )


def xmp(**tags: str) -> Sidecar:
    """``XMP_exif__DateTimeOriginal`` stands for ``XMP-exif:DateTimeOriginal``."""
    return Sidecar(
        kind=SidecarKind.XMP,
        tags={key.replace("__", ":").replace("_", "-"): value for key, value in tags.items()},
    )


def takeout(moment: datetime, title: str = "IMG.jpg") -> Sidecar:
    """As Google writes it: whole seconds since 1970, as text."""
    seconds = str(int(moment.replace(tzinfo=UTC).timestamp()))
    return Sidecar(kind=SidecarKind.TAKEOUT, tags={"title": title, "photoTakenTime": {"timestamp": seconds}})
