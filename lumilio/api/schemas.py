"""The bodies of the API as pydantic models: what is accepted and answered; the OpenAPI document is made from them."""

from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from lumilio.catalog.assets import AssetDetail, AssetSummary

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
    from UTC in seconds, null when the file does not tell."""

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
    captured_local: datetime
    captured_offset: int | None
    created_at: datetime


class AssetItems(BaseModel):
    """A page; `next_cursor` is null on the last one."""

    items: list[AssetItem]
    next_cursor: str | None


class CapturedAt(BaseModel):
    """When it was recorded; `at` is the instant, null while the zone is unknown; `offset` in seconds."""

    local: datetime
    offset: int | None
    at: datetime | None
    source: str


class Position(BaseModel):
    """WGS 84, degrees and metres."""

    latitude: float
    longitude: float
    altitude: float | None


class FactSheet(BaseModel):
    """What was read out of the file; null means that the file does not say. `exposure_time` and `duration` in seconds,
    `focal_length` in millimetres."""

    make: str | None
    model: str | None
    lens: str | None
    iso: int | None
    f_number: float | None
    exposure_time: float | None
    focal_length: float | None
    orientation: int | None
    duration: float | None
    captured: CapturedAt
    position: Position | None
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


class AssetDocument(AssetItem):
    """One asset, whole."""

    updated_at: datetime
    trashed_at: datetime | None
    original_url: str
    facts: FactSheet
    thumbnails: list[ThumbnailItem]
    albums: list[AlbumItem]
    tags: list[TagItem]
    problems: list[ProblemItem]


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


THUMBNAIL_NAMES: dict[int, Literal["small", "medium", "large"]] = {150: "small", 300: "medium", 1024: "large"}


def asset_item(asset: AssetSummary) -> dict[str, Any]:
    """The members of AssetItem."""
    offset = asset.captured_offset
    return {
        "id": asset.id,
        "content_hash": asset.content_hash,
        "file_name": asset.file_name,
        "size": asset.size,
        "kind": asset.media_type.kind.value,
        "format": asset.media_type.format,
        "mime": asset.media_type.mime,
        "state": asset.state.value,
        "width": asset.width,
        "height": asset.height,
        "captured_local": asset.captured_local,
        "captured_offset": int(offset.total_seconds()) if offset is not None else None,
        "created_at": asset.created_at,
    }


def asset_document(asset: AssetDetail) -> AssetDocument:
    """An asset as the API shows it."""
    facts, captured = asset.facts, asset.captured
    base = f"/api/v1/assets/{asset.id}"
    item = asset_item(asset)
    return AssetDocument(
        **item,
        updated_at=asset.updated_at,
        trashed_at=asset.trashed_at,
        original_url=f"{base}/original",
        facts=FactSheet(
            make=facts.make,
            model=facts.model,
            lens=facts.lens,
            iso=facts.iso,
            f_number=facts.f_number,
            exposure_time=facts.exposure_time,
            focal_length=facts.focal_length,
            orientation=facts.orientation,
            duration=facts.duration,
            captured=CapturedAt(
                local=captured.local,
                offset=item["captured_offset"],
                at=captured.utc(),
                source=captured.source.value,
            ),
            position=Position(
                latitude=facts.place.latitude, longitude=facts.place.longitude, altitude=facts.place.altitude
            )
            if facts.place
            else None,
            exif=facts.exif,
        ),
        thumbnails=[
            ThumbnailItem(
                size=THUMBNAIL_NAMES[item["size"]],
                width=item["width"],
                height=item["height"],
                url=f"{base}/thumbnail?size={THUMBNAIL_NAMES[item['size']]}",
            )
            for item in asset.thumbnails
        ],
        albums=[AlbumItem(**album) for album in asset.albums],
        tags=[TagItem(**tag) for tag in asset.tags],
        problems=[ProblemItem(step=item.step, code=item.code, reason=item.reason) for item in asset.problems],
    )
