"""From bytes to facts and derivatives. PROCESSORS says which formats are processed, and by what."""

from collections.abc import Callable, Mapping
from pathlib import Path

from lumilio.media.audio import process_audio
from lumilio.media.formats import RAW_FORMATS
from lumilio.media.photo import process_photo
from lumilio.media.raw import process_raw
from lumilio.media.video import process_video
from lumilio.model import MediaType, Rendition

Processor = Callable[[Path], Rendition]
"""A function of a module, so that it can be sent to a decoder child, where alone it may run."""

PROCESSORS: Mapping[str, Processor] = {
    **dict.fromkeys(["jpeg", "png", "webp", "gif", "bmp", "tiff", "heic", "heif", "avif", "jxl"], process_photo),
    **dict.fromkeys(RAW_FORMATS, process_raw),
    **dict.fromkeys(
        ["mp4", "mov", "m4v", "3gp", "avi", "mkv", "webm", "flv", "wmv", "mts", "mpg", "ogv"], process_video
    ),
    **dict.fromkeys(["mp3", "aac", "m4a", "flac", "wav", "ogg", "opus", "aiff", "wma", "mka"], process_audio),
}
"""The processor of each format; a format that is missing is stored and listed, but not processed yet."""

TOOLS: Mapping[Processor, str] = {
    process_photo: "pillow",
    process_raw: "libraw",
    process_video: "ffmpeg",
    process_audio: "ffmpeg",
}
"""The program that a processor stands on: another version of it may read what this one cannot."""


def processor_for(media_type: MediaType) -> Processor | None:
    """The processor of a format, if there is one."""
    return PROCESSORS.get(media_type.format)
