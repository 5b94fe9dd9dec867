"""Videos: their streams, and a picture that stands for each."""

from dataclasses import replace
from pathlib import Path

from lumilio.media.audio import process_audio
from lumilio.model import THUMBNAIL_SIZES, RenderSource, Rendition
from lumilio.tools import ffmpeg, imaging
from lumilio.tools.ffmpeg_poster import choose_frame, pixels


def process_video(path: Path) -> Rendition:
    """Runs in a decoder child. A file of a video format that holds only sound is processed as sound.

    Raises MediaDamaged with FFmpeg's words, MediaOverBudget when decoding needs more memory than the child may use, and
    StorageError when the file itself cannot be read.
    """
    with ffmpeg.open_media(path) as container:
        video = ffmpeg.moving_pictures(container)
        if video is not None:
            frame = choose_frame(container, video, ffmpeg.duration_of(container))
            streams = ffmpeg.probe(container, frame)
            picture = pixels(frame, max(THUMBNAIL_SIZES), ffmpeg.aspect_of(video))
            orientation, size = ffmpeg.orientation_of(frame), ffmpeg.displayed_size(video, frame)
    if video is None:
        return process_audio(path)
    rendition = imaging.render_pixels(picture, orientation=orientation, source=RenderSource.POSTER, size=size)
    return replace(rendition, streams=streams)
