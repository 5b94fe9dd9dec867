"""The bodies of the API as pydantic models: what is accepted and answered; the OpenAPI document is made from them."""

from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

TaskState = Literal["queued", "running", "completed", "failed"]
AssetState = Literal["stored", "ready", "unsupported", "problem"]


class Body(BaseModel):
    """A body that a client sends: unknown members are refused."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


class ProblemDocument(BaseModel):
    """An error, RFC 9457 (`application/problem+json`); compare `code`, show `detail`."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str
    request_id: str | None = None
    errors: list[str] | None = None


class LoginBody(Body):
    """Credentials."""

    username: str = Field(min_length=1, max_length=256)
    password: str = Field(min_length=1, max_length=1024)


class RefreshBody(Body):
    """A refresh token; it is used up by this."""

    refresh_token: str = Field(min_length=1, max_length=256)


class Tokens(BaseModel):
    """What a login yields; `expires_in` is seconds of the access token."""

    access_token: str
    token_type: Literal["Bearer"] = Field(default="Bearer")
    expires_in: int
    refresh_token: str


class CheckBody(Body):
    """BLAKE3 digests of files that a client might send."""

    hashes: list[str] = Field(min_length=1, max_length=1000)


class CheckResult(BaseModel):
    """What the library knows of one digest; `trashed`: the asset is in the trash, and will be gone one day."""

    content_hash: str
    status: Literal["known", "processing", "unknown"]
    asset_id: UUID | None = None
    task_id: str | None = None
    trashed: bool = False


class CheckResults(BaseModel):
    """In the order of the request."""

    results: list[CheckResult]


class Upload(BaseModel):
    """A file that was received: `processing` has a task, `duplicate` the asset that was there before."""

    status: Literal["processing", "duplicate"]
    file_name: str
    size: int
    content_hash: str
    task_id: str | None = None
    asset_id: UUID | None = None
    trashed: bool = False


class BatchResult(BaseModel):
    """One file of a batch: `http_status` is what it would have had alone, `error` is set when it was refused."""

    http_status: int
    file_name: str
    upload: Upload | None = None
    error: ProblemDocument | None = None


class BatchResults(BaseModel):
    """In the order of the parts."""

    results: list[BatchResult]


class ProblemItem(BaseModel):
    """A step that failed for a file."""

    step: str
    code: str
    reason: str
    tool: str | None = None
    tool_version: str | None = None


class Task(BaseModel):
    """What became of an upload. `completed`: stored, facts and thumbnails are there (or of a type that is not processed
    yet). `failed` with an `asset_id`: stored, but `problem` tells what could not be done with it."""

    task_id: str
    state: TaskState
    file_name: str | None = None
    attempt: int
    asset_id: UUID | None = None
    asset_state: AssetState | None = None
    duplicate: bool = False
    problem: ProblemItem | None = None
    created_at: datetime
    finished_at: datetime | None = None


class Tasks(BaseModel):
    """Those that exist, in the order of the request."""

    items: list[Task]


class AssetItem(BaseModel):
    """An asset in a listing. `captured_local` is the wall clock where it was recorded; `captured_offset` its distance
    from UTC in seconds, null when nothing tells. `thumbhash` (base64) is a placeholder of some 25 bytes to show while
    the thumbnail loads. Files that belong to another one of the same shot are not listed: see its `companions`."""

    id: UUID
    content_hash: str
    file_name: str
    size: int
    kind: Literal["photo", "video", "audio"]
    format: str
    mime: str
    state: AssetState
    width: int | None
    height: int | None
    duration: float | None
    rating: int | None
    thumbhash: str | None
    captured_local: datetime
    captured_offset: int | None
    created_at: datetime


class AssetItems(BaseModel):
    """A page; `next_cursor` is null on the last one."""

    items: list[AssetItem]
    next_cursor: str | None


class CapturedAt(BaseModel):
    """When it was recorded; `at` is the instant, null while the distance from UTC is unknown; `offset` in seconds.
    `source` tells where the time was read, `offset_source` how its distance from UTC is known, `confidence` how sure
    that is; `zone` is the IANA time zone of the place."""

    local: datetime
    offset: int | None
    at: datetime | None
    source: str
    offset_source: str | None
    confidence: Literal["high", "medium", "low"]
    zone: str | None


class Position(BaseModel):
    """WGS 84, degrees and metres."""

    latitude: float
    longitude: float
    altitude: float | None


class PlaceNames(BaseModel):
    """The nearest town, and the ISO 3166 code of its country."""

    country_code: str
    country: str
    region: str | None
    city: str


class Person(BaseModel):
    """A named person in the picture; centre and size as shares of its displayed width and height."""

    name: str
    x: float
    y: float
    width: float
    height: float


class StreamsSheet(BaseModel):
    """Moving pictures and sound, of a motion photo those of its film; `bit_rate` in bits a second, `sample_rate` in
    hertz, `rotation` in degrees clockwise."""

    container: str
    duration: float | None
    video_codec: str | None
    audio_codec: str | None
    frame_rate: float | None
    bit_rate: int | None
    rotation: int | None
    hdr: bool | None
    sample_rate: int | None
    channels: int | None


class MusicSheet(BaseModel):
    """The tags of a piece of music."""

    title: str | None
    artist: str | None
    album: str | None
    album_artist: str | None
    genre: str | None
    year: int | None
    track: int | None
    disc: int | None


class FactSheet(BaseModel):
    """What was read out of the file and its sidecars; null means that they do not say. `exposure_time` and `duration`
    in seconds, `focal_length` in millimetres; `rating` is -1 for rejected, 0 for unrated, else 1 to 5."""

    make: str | None
    model: str | None
    lens: str | None
    iso: int | None
    f_number: float | None
    exposure_time: float | None
    focal_length: float | None
    orientation: int | None
    duration: float | None
    title: str | None
    description: str | None
    rating: int | None
    captured: CapturedAt
    position: Position | None
    place: PlaceNames | None
    people: list[Person]
    streams: StreamsSheet | None
    music: MusicSheet | None
    exif: dict[str, Any]


class ThumbnailItem(BaseModel):
    """A thumbnail that can be fetched."""

    size: Literal["small", "medium", "large"]
    width: int
    height: int
    url: str


class AlbumItem(BaseModel):
    """An album that the asset is in."""

    id: UUID
    title: str


class TagItem(BaseModel):
    """A tag on the asset."""

    name: str
    source: str


class CompanionItem(BaseModel):
    """Another file of the same shot: its `raw`, or the `live_video` of a still."""

    id: UUID
    role: Literal["raw", "live_video"]
    file_name: str
    format: str
    mime: str


class SidecarItem(BaseModel):
    """A file that describes this one."""

    kind: Literal["xmp", "takeout"]
    file_name: str
    url: str


class PlaybackItem(BaseModel):
    """What plays. `source`: the `original` as it is, the film `embedded` in a motion photo, a `web_version`, which is
    `pending` until it was made, or `failed`. `asset_id` differs where another file of the shot plays."""

    state: Literal["ready", "pending", "failed"]
    source: Literal["original", "embedded", "web_version"]
    asset_id: UUID
    mime: str
    url: str


class AssetDocument(AssetItem):
    """One asset, whole. `render_source` tells what its thumbnails were made of; `perceptual_hash` is 64 bits in
    hexadecimal, alike for pictures that look alike; `primary_id` the asset that this one is a companion of."""

    updated_at: datetime
    trashed_at: datetime | None
    original_url: str
    playback: PlaybackItem | None
    render_source: str | None
    perceptual_hash: str | None
    primary_id: UUID | None
    companion_role: Literal["raw", "live_video"] | None
    companions: list[CompanionItem]
    sidecars: list[SidecarItem]
    facts: FactSheet
    thumbnails: list[ThumbnailItem]
    albums: list[AlbumItem]
    tags: list[TagItem]
    problems: list[ProblemItem]


class RenderBody(Body):
    """How to make the thumbnails anew. `facts`: read what the file is and says again before. `full`: develop a RAW in
    full size although it carries a picture; when that fails, what is there stays."""

    facts: bool = False
    full: bool = False


class RenderOrder(BaseModel):
    """The job that makes them; an equal one that waits already is not doubled."""

    job_id: str


class HealthCheck(BaseModel):
    """One thing that was tried."""

    name: str
    ok: bool
    detail: str


class Health(BaseModel):
    """`ok` when every check is."""

    ok: bool
    version: str
    checks: list[HealthCheck] = []
