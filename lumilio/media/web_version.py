"""Web versions: what browsers play in the place of a recording that they do not.

A wrong container is exchanged and the packets stay as they are; only codecs that browsers lack are encoded, to H.264
and AAC in an MP4 that starts quickly, or in M4A where there is only sound.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lumilio.errors import MediaError, ToolError
from lumilio.model import Playback
from lumilio.tools import ffmpeg, ffmpeg_web
from lumilio.tools.ffmpeg_encoders import SOFTWARE
from lumilio.tools.ffmpeg_web import Plan, Settings, Written
from lumilio.tools.originals import report_progress

HEIGHT = 1080
"""The most pixels of a web version's short side; the long side has at most 16/9 of it."""
_TOLERANCE_SECONDS = 1.0
_TOLERANCE_SHARE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class WebWish:
    """What is wanted. ``encoder`` is one that ``ffmpeg_encoders`` chose, ``window`` offset and length in bytes of
    the part of the file that is meant, such as the film in a motion photo. ``playback`` is what was found out before;
    the file itself decides."""

    playback: Playback
    encoder: str = SOFTWARE
    threads: int = 1
    window: tuple[int, int] | None = None
    height: int = HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class WebVersion:
    """What was made. ``encoder`` is FFmpeg's name of what encoded the pictures, or else the sound; ``width`` and
    ``height`` are pixels as displayed, None for sound."""

    mime: str
    made_by: Literal["remux", "transcode"]
    encoder: str | None
    width: int | None
    height: int | None


def make_web_version(
    source: Path, target: Path, wish: WebWish, report: Callable[[float], None] = report_progress
) -> WebVersion:
    """Write a web version of ``source`` into the existing file ``target``. Runs in an encoder child.

    ``report`` is called with the share that is done, at most twice a second. A hardware encoder that fails is replaced
    by software. A recording that is broken somewhere becomes a shorter version.

    Raises MediaDamaged when nothing can be decoded, MediaOverBudget, DiskFull and StorageError for the disk, ToolError
    when an encoder fails or when what was written does not play.
    """
    settings = Settings(height=wish.height, encoder=wish.encoder, threads=wish.threads)
    with ffmpeg.open_media(source, window=wish.window) as container:
        what = ffmpeg_web.plan(container, wish.height)
    try:
        written = _write(source, target, wish, what, settings, report)
    except ToolError:
        if not what.encodes_video or settings.encoder == SOFTWARE:
            raise
        settings = replace(settings, encoder=SOFTWARE)
        written = _write(source, target, wish, what, settings, report)
    size = _verify(target, what, written)
    report(1.0)
    encoder = settings.encoder if what.encodes_video else "aac" if what.encodes_sound else None
    return WebVersion(
        mime=f"{'video' if what.has_video else 'audio'}/{what.route.container}",
        made_by="transcode" if encoder else "remux",
        encoder=encoder,
        width=size[0] if size else None,
        height=size[1] if size else None,
    )


def _write(
    source: Path, target: Path, wish: WebWish, what: Plan, settings: Settings, report: Callable[[float], None]
) -> Written:
    with ffmpeg.open_media(source, window=wish.window) as container:
        return ffmpeg_web.write(container, target, what, settings, report)


def _verify(target: Path, what: Plan, written: Written) -> tuple[int, int] | None:
    """Look at the result as at any recording; its size as displayed. Raises ToolError."""
    try:
        with ffmpeg.open_media(target) as container:
            video = ffmpeg.moving_pictures(container)
            frame = ffmpeg.first_frame(container, video) if video is not None else None
            streams = ffmpeg.probe(container, frame)
            size = ffmpeg.displayed_size(video, frame) if video is not None and frame is not None else None
    except MediaError as exc:
        raise ToolError(f"the web version that was made cannot be read back: {exc}") from exc
    if (size is not None) != what.has_video or (written.has_sound and streams.audio_codec is None):
        raise ToolError(f"the web version that was made lacks a stream: {streams}")
    if streams.playback is not Playback.DIRECT:
        raise ToolError(f"the web version that was made does not play: {streams}")
    allowed = max(_TOLERANCE_SECONDS, written.length * _TOLERANCE_SHARE)
    if streams.duration is None or abs(streams.duration - written.length) > allowed:
        raise ToolError(f"the web version that was made lasts {streams.duration} s instead of {written.length:.1f} s")
    return size
