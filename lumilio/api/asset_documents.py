"""Rows of assets as the documents that the API shows."""

import base64
from dataclasses import asdict
from typing import Any, Literal
from uuid import UUID

from lumilio.api.schemas import (
    AlbumItem,
    AssetDocument,
    CapturedAt,
    CompanionItem,
    FactSheet,
    MusicSheet,
    Person,
    PlaceNames,
    PlaybackItem,
    Position,
    ProblemItem,
    SidecarItem,
    StreamsSheet,
    TagItem,
    ThumbnailItem,
)
from lumilio.catalog.assets import AssetDetail, AssetSummary
from lumilio.jobs.make_web_version import STEP as WEB_VERSION_STEP
from lumilio.model import CompanionRole, MediaKind, Playback, ProcessingState

BASE = "/api/v1/assets"
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
        "duration": asset.duration,
        "rating": asset.rating,
        "thumbhash": base64.b64encode(asset.thumbhash).decode() if asset.thumbhash else None,
        "captured_local": asset.captured_local,
        "captured_offset": int(offset.total_seconds()) if offset is not None else None,
        "created_at": asset.created_at,
    }


def asset_document(asset: AssetDetail) -> AssetDocument:
    """An asset as the API shows it."""
    base = f"{BASE}/{asset.id}"
    return AssetDocument(
        **asset_item(asset),
        updated_at=asset.updated_at,
        trashed_at=asset.trashed_at,
        original_url=f"{base}/original",
        playback=playback_item(asset),
        render_source=asset.render_source,
        perceptual_hash=f"{asset.perceptual_hash:016x}" if asset.perceptual_hash is not None else None,
        primary_id=asset.primary_id,
        companion_role=asset.companion_role.value if asset.companion_role else None,
        companions=[
            CompanionItem(**{key: each[key] for key in CompanionItem.model_fields}) for each in asset.companions
        ],
        sidecars=[
            SidecarItem.model_validate({**each, "url": f"{base}/sidecars/{each['kind']}"}) for each in asset.sidecars
        ],
        facts=_fact_sheet(asset),
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
        problems=[ProblemItem(**asdict(problem)) for problem in asset.problems],
    )


def playback_item(asset: AssetDetail) -> PlaybackItem | None:
    """What plays of an asset; of a Live Photo the other file. None where nothing moves or sounds."""
    live = next((each for each in asset.companions if each["role"] == CompanionRole.LIVE_VIDEO), None)
    if live is not None and (live["playback"] is not None or live["state"] == ProcessingState.STORED):
        if live["playback"] == Playback.DIRECT:
            return _original(live["id"], live["format"], live["mime"])
        return _web_version(live["id"], "video/mp4", made=live["web_version"], failed=live["failed"])
    if asset.streams is None:
        return None
    if asset.streams.playback is not Playback.DIRECT:
        made = asset.web_version
        mime = "audio/mp4" if asset.media_type.kind is MediaKind.AUDIO else "video/mp4"
        failed = any(problem.step == WEB_VERSION_STEP for problem in asset.problems)
        return _web_version(asset.id, made["mime"] if made else mime, made=made is not None, failed=failed)
    if asset.facts.motion is None:
        return _original(asset.id, asset.media_type.format, asset.media_type.mime)
    url = f"{BASE}/{asset.id}/playback"
    return PlaybackItem(state="ready", source="embedded", asset_id=asset.id, mime="video/mp4", url=url)


def _original(asset_id: UUID, form: str, mime: str) -> PlaybackItem:
    """Browsers refuse QuickTime by its name and play it by that of its twin."""
    shown = "video/mp4" if form in ("mov", "m4v") else mime
    return PlaybackItem(
        state="ready", source="original", asset_id=asset_id, mime=shown, url=f"{BASE}/{asset_id}/playback"
    )


def _web_version(asset_id: UUID, mime: str, *, made: bool, failed: bool) -> PlaybackItem:
    state: Literal["ready", "failed", "pending"] = "ready" if made else "failed" if failed else "pending"
    return PlaybackItem(
        state=state, source="web_version", asset_id=asset_id, mime=mime, url=f"{BASE}/{asset_id}/playback"
    )


def _fact_sheet(asset: AssetDetail) -> FactSheet:
    facts, captured = asset.facts, asset.facts.capture_time
    offset = captured.utc_offset
    same = ("make", "model", "lens", "iso", "f_number", "exposure_time", "focal_length", "orientation", "duration")
    return FactSheet(
        **{name: getattr(facts, name) for name in (*same, "title", "description", "rating", "exif")},
        captured=CapturedAt(
            local=captured.local,
            offset=int(offset.total_seconds()) if offset is not None else None,
            at=captured.utc(),
            source=captured.source.value,
            offset_source=captured.offset_source,
            confidence=captured.confidence.value,
            zone=captured.zone,
        ),
        position=Position(**asdict(facts.place)) if facts.place else None,
        place=PlaceNames(**asdict(facts.whereabouts)) if facts.whereabouts else None,
        people=[Person(**asdict(person)) for person in facts.people],
        streams=StreamsSheet(**asdict(asset.streams)) if asset.streams else None,
        music=MusicSheet(**asdict(asset.music)) if asset.music else None,
    )
