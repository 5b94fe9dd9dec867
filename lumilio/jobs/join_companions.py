"""Recognise the files of one shot: RAW beside the developed picture, the moving half of a Live Photo.

The primary is what a viewer shows: the developed picture, the still. Rules from the most to the least certain:
Apple's ContentIdentifier; else the same name without its extension in the same folder at about the same time, which for
a film must be a short one. Numbers that cameras give out come round again, hence folder and time.
"""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import PurePosixPath

from lumilio.catalog import companions
from lumilio.catalog.companions import ShotFile
from lumilio.db import Tx
from lumilio.jobs.library import Library, in_inbox
from lumilio.log import get_log
from lumilio.media.formats import RAW_FORMATS
from lumilio.model import AssetId, CaptureTimeSource, CompanionRole, MediaKind, RepoPath

CLOSE = timedelta(seconds=3)
"""A Live Photo's film begins up to 1.5 s before its still; RAW and picture of one shot have the same second."""

SHORT_FILM = 6.0
"""Seconds: Apple's last three, those of other makers a little longer."""


async def join_committed(library: Library, asset_id: AssetId) -> None:
    """Hang an asset on its primary, or its companions on it; nothing when it stands alone, as most do.

    Both files of a shot do this after their own rows are committed, so whichever is later sees the other.
    """
    async with library.db.session() as session:
        alone = len(await companions.candidates(session, asset_id)) < 2
    if not alone:
        async with library.db.transaction() as tx:
            await join(tx, asset_id)


async def join(tx: Tx, asset_id: AssetId) -> None:
    """The same inside the caller's transaction."""
    await companions.lock(tx, [each.id for each in await companions.candidates(tx, asset_id)])
    while (pair := _pair(asset_id, await companions.candidates(tx, asset_id))) is not None:
        companion, primary, role = pair
        if not await companions.join(tx, companion, primary, role):
            return
        get_log().debug("asset.joined", asset_id=companion, primary_id=primary, role=role)


def _pair(asset_id: AssetId, found: Sequence[ShotFile]) -> tuple[AssetId, AssetId, CompanionRole] | None:
    """A companion, its primary and its role, of which one is the asset; the most certain one that is not joined yet."""
    this = next((each for each in found if each.id == asset_id), None)
    if this is None:
        return None
    for other in _by_certainty(this, found):
        for companion, primary in ((this, other), (other, this)):
            if (role := role_of(companion, primary)) is not None:
                return companion.id, primary.id, role
    return None


def _by_certainty(this: ShotFile, found: Sequence[ShotFile]) -> Sequence[ShotFile]:
    """Others, those with the same identifier first, then the closest in time."""
    others = [each for each in found if each.id != this.id]
    return sorted(others, key=lambda each: (not _same_identifier(this, each), _apart(this, each)))


def role_of(companion: ShotFile, primary: ShotFile) -> CompanionRole | None:
    """What the first file is to the second, or None when they are not of one shot in that order."""
    if primary.kind is not MediaKind.PHOTO or primary.format in RAW_FORMATS:
        return None
    if companion.primary_id or companion.is_primary or primary.primary_id or companion.trashed != primary.trashed:
        return None
    if companion.kind is MediaKind.VIDEO:
        return CompanionRole.LIVE_VIDEO if _is_live_video(companion, primary) else None
    if companion.format not in RAW_FORMATS:
        return None
    same_camera = companion.model is None or primary.model is None or companion.model == primary.model
    return CompanionRole.RAW if same_camera and _same_shot(companion, primary) else None


def _is_live_video(video: ShotFile, photo: ShotFile) -> bool:
    if video.content_identifier or photo.content_identifier:
        return _same_identifier(video, photo)
    return video.duration is not None and video.duration <= SHORT_FILM and _same_shot(video, photo)


def _same_identifier(one: ShotFile, other: ShotFile) -> bool:
    return one.content_identifier is not None and one.content_identifier == other.content_identifier


def _same_shot(one: ShotFile, other: ShotFile) -> bool:
    """Name, folder and time. A time that is only the file's own tells nothing about the shot."""
    told = CaptureTimeSource.MODIFIED not in (one.captured_source, other.captured_source)
    return (
        one.stem == other.stem
        and told
        and _apart(one, other) <= CLOSE
        and not {_folder(place) for place in one.places}.isdisjoint(_folder(place) for place in other.places)
    )


def _apart(one: ShotFile, other: ShotFile) -> timedelta:
    """Between the two moments, by their clocks on the wall or in UTC, whichever is less: one may lack its zone."""
    local = abs(one.captured_local - other.captured_local)
    if one.captured_utc is None or other.captured_utc is None:
        return local
    return min(local, abs(one.captured_utc - other.captured_utc))


def _folder(place: str) -> str:
    """The folder of ``repository:path``. An inbox counts as one: there Lumilio chose the folders."""
    repository, _, path = place.partition(":")
    return f"{repository}:" if in_inbox(RepoPath(path)) else f"{repository}:{PurePosixPath(path).parent}"
