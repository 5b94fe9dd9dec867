"""What is still shown of a photo that cannot be decoded, because it is damaged or larger than a decoder may handle."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from lumilio.errors import MediaDamaged, MediaError
from lumilio.model import RenderSource, Rendition
from lumilio.tools.imaging import render_bytes
from lumilio.tools.originals import open_original
from lumilio.tools.previews import Previews, embedded_previews, jpeg_size

_LEAST_SIDE = 64
_HEAD_BYTES = 1024 * 1024


def render_placeholder(path: Path) -> Rendition | None:
    """Thumbnails of the largest JPEG preview that exiftool finds in the file and that can be decoded, upright; None
    when there is none with a side of 64 pixels. Runs in a decoder child.

    Width and height are the photo's as displayed where it is a JPEG whose header states them, else None: the
    preview's own say nothing of it. A preview whose shape is that of the photo on its side was turned by whoever
    made it, and is not turned again.

    Raises StorageError when the file cannot be read, ToolMissing, ToolTimedOut and ToolError for exiftool.
    """
    with open_original(path) as file:
        size = _stated_size(file)
        previews = _previews(file)
    for jpeg in previews.jpegs:
        with suppress(MediaError):
            return _shown(jpeg, size, previews.orientation or 1)
    return None


def _stated_size(file: BinaryIO) -> tuple[int, int] | None:
    """Width and height of a JPEG as stored, from the frame header that precedes its data; None where there is none."""
    return jpeg_size(file.read(_HEAD_BYTES))


def _previews(file: BinaryIO) -> Previews:
    try:
        return embedded_previews(file)
    except MediaDamaged:
        return Previews(jpegs=(), orientation=None)


def _shown(jpeg: bytes, size: tuple[int, int] | None, orientation: int) -> Rendition:
    """Raises MediaDamaged, also for a preview that is too small, and MediaOverBudget."""
    width, height = jpeg_size(jpeg) or (0, 0)
    if max(width, height) < _LEAST_SIDE:
        raise MediaDamaged(f"a preview of {width} x {height} pixels shows nothing")
    lies = size is None or (width - height) * (size[0] - size[1]) >= 0
    rendition = render_bytes(
        jpeg, orientation=orientation if lies else 1, source=RenderSource.EMBEDDED_PREVIEW, size=None
    )
    shown = size[::-1] if size is not None and orientation >= 5 else size
    return replace(rendition, width=shown[0] if shown else None, height=shown[1] if shown else None)
