"""Identifiers, enumerations and value types that more than one part of Lumilio speaks of."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import NewType, Self
from uuid import UUID

from lumilio.errors import PathInvalid, RequestError

AssetId = NewType("AssetId", UUID)
RepositoryId = NewType("RepositoryId", UUID)
LocationId = NewType("LocationId", UUID)
UserId = NewType("UserId", UUID)
UploadId = NewType("UploadId", UUID)
JobId = NewType("JobId", int)

ContentHash = NewType("ContentHash", str)
"""BLAKE3 of the bytes, 64 lower-case hexadecimal digits."""

RepoPath = NewType("RepoPath", str)
"""POSIX path relative to a repository's root, valid UTF-8, without ``.``, ``..`` and empty components."""

SYSTEM_CONFIG = Path("/etc/lumilio/lumilio.toml")
"""The configuration when the command line names none."""

DAEMON_FILE = "daemon.json"
"""Below the data directory: address and token of the daemon that runs there."""

THUMBNAIL_SIZES = (150, 300, 1024)
"""Longest side of the thumbnails, in pixels; part of the on-disk layout and of the API."""

_HASH = re.compile(r"[0-9a-f]{64}")
_NAME_BYTES = 255


def parse_content_hash(text: str) -> ContentHash:
    """Check a BLAKE3 digest that came from outside. Raises RequestError."""
    lowered = text.strip().lower()
    if not _HASH.fullmatch(lowered):
        raise RequestError(f"{text!r} is not a BLAKE3 digest; send 64 hexadecimal digits")
    return ContentHash(lowered)


def parse_repo_path(text: str) -> RepoPath:
    """Check a relative path. Raises PathInvalid for absolute paths, dot components, NUL and undecodable names."""
    path = PurePosixPath(text)
    if not text or path.is_absolute() or ".." in path.parts or "\0" in text or str(path) != text or text == ".":
        raise PathInvalid(f"{text!r} is not a path inside a repository")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise PathInvalid(f"{text!r} is not valid UTF-8; rename the file") from exc
    for part in path.parts:
        if len(part.encode()) > _NAME_BYTES:
            raise PathInvalid(f"{part!r} is longer than {_NAME_BYTES} bytes")
    return RepoPath(text)


class MediaKind(StrEnum):
    """What an asset is to its viewer."""

    PHOTO = "photo"
    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaType:
    """What the content of a file was recognised as: ``format`` is a short name such as ``jpeg`` or ``mp4``."""

    kind: MediaKind
    format: str
    mime: str


class ProcessingState(StrEnum):
    """How far the processing of an asset came."""

    STORED = "stored"
    READY = "ready"
    UNSUPPORTED = "unsupported"
    PROBLEM = "problem"


class LocationState(StrEnum):
    """Where the bytes of a location are: in place, or in the repository's trash."""

    PRESENT = "present"
    TRASHED = "trashed"


class StorageStrategy(StrEnum):
    """How Lumilio names the files of an inbox."""

    DATE = "date"
    FLAT = "flat"
    CAS = "cas"


class DuplicateNames(StrEnum):
    """What happens when a different file already has the name that the strategy chose."""

    RENAME = "rename"
    UUID = "uuid"
    OVERWRITE = "overwrite"


class Role(StrEnum):
    """What a user may do."""

    ADMIN = "admin"
    USER = "user"
    GUEST = "guest"


class CaptureTimeSource(StrEnum):
    """Where a capture time was read: what a person said first, then from the most to the least trustworthy."""

    USER = "user"
    SIDECAR = "sidecar"
    EXIF_WITH_OFFSET = "exif_with_offset"
    EXIF = "exif"
    QUICKTIME = "quicktime"
    GPS = "gps"
    XMP = "xmp"
    FILE_NAME = "file_name"
    MODIFIED = "modified"


class OffsetSource(StrEnum):
    """How the distance of a capture time from UTC is known."""

    USER = "user"
    STATED = "stated"
    """The file or its sidecar writes it beside the time."""
    GPS = "gps"
    """The receiver's UTC beside the camera's wall clock."""
    COORDINATES = "coordinates"
    """The time zone of the place."""
    UTC = "utc"
    """The source counts in UTC and the place is unknown: ``local`` is Greenwich's clock."""


class Confidence(StrEnum):
    """How sure a capture time is."""

    HIGH = "high"
    """Clock and zone are stated by the recording device, or by a sidecar."""
    MEDIUM = "medium"
    """The clock is the device's, the zone derived or unknown."""
    LOW = "low"
    """From a name or from the file's own time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureTime:
    """When a recording was made.

    ``local`` is the wall clock at the place, naive, microseconds kept; ``utc_offset`` is None when nothing tells the
    zone: unknown stays unknown. ``zone`` is the IANA name of the place's time zone where the place is known.
    """

    local: datetime
    utc_offset: timedelta | None
    source: CaptureTimeSource
    offset_source: OffsetSource | None = None
    confidence: Confidence = Confidence.LOW
    zone: str | None = None

    def __post_init__(self) -> None:
        if self.local.tzinfo is not None:
            raise ValueError("a capture time's local part is naive")

    def utc(self) -> datetime | None:
        """The instant, aware, or None while the offset is unknown."""
        if self.utc_offset is None:
            return None
        return self.local.replace(tzinfo=timezone(self.utc_offset)).astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """WGS 84 position in degrees, altitude in metres above sea level."""

    latitude: float
    longitude: float
    altitude: float | None = None

    @classmethod
    def of(cls, latitude: float | None, longitude: float | None, altitude: float | None = None) -> Self | None:
        """None for missing, out-of-range and not finite coordinates and for 0,0, which cameras write for "no fix"."""
        if latitude is None or longitude is None:
            return None
        if not (abs(latitude) <= 90 and abs(longitude) <= 180) or (latitude == 0 and longitude == 0):
            return None
        if altitude is not None and not math.isfinite(altitude):
            altitude = None
        return cls(latitude=latitude, longitude=longitude, altitude=altitude)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """What maps say of a position: the nearest town, and the ISO 3166 code of its country."""

    country_code: str
    country: str
    region: str | None
    city: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRegion:
    """A named person in a picture; centre and size as shares of the displayed width and height."""

    name: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionVideo:
    """The video that a motion photo carries: ``bytes`` of an MP4 from ``offset`` on, within the photo's own file."""

    offset: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was read out of a file and its sidecars. None means that nothing is said.

    ``width`` and ``height`` are pixels as displayed, after orientation; ``exposure_time`` seconds; ``focal_length``
    millimetres; ``duration`` seconds. ``rating`` is -1 for rejected, 0 for unrated, else 1 to 5 stars.
    ``content_identifier`` is Apple's, the same in both files of a Live Photo. ``exif`` is everything that exiftool
    printed, group-prefixed keys and raw values.
    """

    media_type: MediaType | None
    width: int | None = None
    height: int | None = None
    orientation: int | None = None
    make: str | None = None
    model: str | None = None
    lens: str | None = None
    iso: int | None = None
    f_number: float | None = None
    exposure_time: float | None = None
    focal_length: float | None = None
    duration: float | None = None
    capture_time: CaptureTime
    place: Place | None = None
    whereabouts: Whereabouts | None = None
    title: str | None = None
    description: str | None = None
    rating: int | None = None
    keywords: tuple[str, ...] = ()
    people: tuple[PersonRegion, ...] = ()
    content_identifier: str | None = None
    motion: MotionVideo | None = None
    exif: dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """An encoded WebP picture: ``size`` is its nominal size out of THUMBNAIL_SIZES, width and height its own."""

    size: int
    width: int
    height: int
    data: bytes


class RenderSource(StrEnum):
    """What the thumbnails of an asset were made of."""

    ORIGINAL = "original"
    EMBEDDED_PREVIEW = "embedded_preview"
    HALF_SIZE = "half_size"
    FULL_SIZE = "full_size"
    POSTER = "poster"
    COVER = "cover"
    WAVEFORM = "waveform"


class Playback(StrEnum):
    """What a browser needs to play a recording: nothing, another container, or other codecs."""

    DIRECT = "direct"
    REMUX = "remux"
    TRANSCODE = "transcode"


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """The moving pictures and the sound of a recording. Codecs and ``container`` are FFmpeg's short names (``h264``,
    ``mov``); ``duration`` seconds, ``frame_rate`` pictures a second, ``bit_rate`` bits a second of the whole file,
    ``rotation`` degrees clockwise (0, 90, 180, 270) that a player turns the frames by, ``sample_rate`` hertz.
    ``playback`` says what a browser needs to play it."""

    container: str
    duration: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    frame_rate: float | None = None
    bit_rate: int | None = None
    rotation: int | None = None
    hdr: bool | None = None
    sample_rate: int | None = None
    channels: int | None = None
    playback: Playback


@dataclass(frozen=True, slots=True, kw_only=True)
class Music:
    """The tags of a piece of music."""

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    album_artist: str | None = None
    genre: str | None = None
    year: int | None = None
    track: int | None = None
    disc: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """What a media processor made of a file.

    ``width`` and ``height`` are those of the original as displayed, None for sound. ``perceptual_hash`` is an unsigned
    64-bit number and ``thumbhash`` a ThumbHash of at most 25 bytes, both of the picture that the thumbnails show; None
    where that is drawn by us (a waveform). ``damage`` says what could not be done although something is shown.
    """

    width: int | None
    height: int | None
    thumbnails: tuple[Thumbnail, ...]
    source: RenderSource
    perceptual_hash: int | None = None
    thumbhash: bytes | None = None
    streams: Streams | None = None
    music: Music | None = None
    damage: str | None = None


class CompanionRole(StrEnum):
    """What an asset is to its primary, of the same shot."""

    RAW = "raw"
    """The sensor's data of a picture that the camera developed too."""
    LIVE_VIDEO = "live_video"
    """The moving half of a Live Photo."""


class SidecarKind(StrEnum):
    """Who writes files that describe other files."""

    XMP = "xmp"
    TAKEOUT = "takeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """A file that describes another one, as read: exiftool's tags of an XMP file, the members of a Takeout JSON."""

    kind: SidecarKind
    tags: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedFile:
    """Where bytes lie, and what identifies that file to reconcile: ``size`` bytes, ``mtime_ns`` since 1970."""

    path: RepoPath
    size: int
    mtime_ns: int
    device: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A step that failed for a file, with a reason that a person can act on.

    ``tool`` is what failed on it (``pillow``, ``libraw``, ``ffmpeg``, ``exiftool``) with its version; another version
    may succeed.
    """

    code: str
    step: str
    reason: str
    tool: str | None = None
    tool_version: str | None = None
