"""RAW photos: the camera's own picture where the file carries one that is large enough, else a development.

Cameras put a JPEG of what they showed into the file. Reading it costs a small part of a development and looks as the
photographer saw it, so that it comes first; the sensor's data come next, and at the end a preview that is smaller than
wished.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from lumilio.errors import MediaDamaged, MediaOverBudget, MediaUnsupported
from lumilio.model import THUMBNAIL_SIZES, RenderSource, Rendition
from lumilio.tools.imaging import render_bytes, render_pixels
from lumilio.tools.libraw import Pixels, RawFile
from lumilio.tools.originals import open_original
from lumilio.tools.previews import Previews, embedded_previews, jpeg_size

_LARGEST = max(THUMBNAIL_SIZES)
_UNREADABLE = (MediaDamaged, MediaOverBudget, MediaUnsupported)


def process_raw(path: Path) -> Rendition:
    """Make thumbnails of the best picture that is cheap to have. Runs in a decoder child.

    The order: LibRaw's largest preview; where LibRaw has none that can be read, or does not know the file, exiftool's;
    then a development at half size, in full for a picture so small that half of it would not fill the largest
    thumbnail; at last the largest preview of all. Large enough is a preview with 1,024 pixels on its longest side, or
    with as many as the RAW has. ``Rendition.source`` says which it was.

    Width and height are the camera's frame as displayed, and the orientation is LibRaw's, for previews often carry
    none. A preview whose shape is that of the frame on its side was turned by the camera, and is not turned again.

    Raises MediaDamaged, MediaUnsupported and MediaOverBudget for the file, StorageError when it cannot be read,
    ToolMissing, ToolTimedOut and ToolError for exiftool.
    """
    with open_original(path) as file:
        carried = _Carried(file)
        try:
            raw = RawFile(file)
        except _UNREADABLE:
            for jpeg in carried.previews.jpegs:
                with suppress(*_UNREADABLE):
                    return _unframed(jpeg, carried.previews.orientation)
            raise
        with raw:
            return _of_known(raw, carried)


def develop_raw_full(path: Path) -> Rendition:
    """The same of the sensor's data alone, every pixel interpolated: four times slower, for a person who asks for it.

    Runs in a decoder child. Raises MediaDamaged, MediaUnsupported, MediaOverBudget and StorageError.
    """
    with open_original(path) as file, RawFile(file) as raw:
        return _developed(raw, half=False)


class _Carried:
    """The previews that exiftool finds: asked for once, and only when they are needed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @cached_property
    def previews(self) -> Previews:
        return embedded_previews(self._file)


def _of_known(raw: RawFile, carried: _Carried) -> Rendition:
    own = raw.preview()
    for picture in _large_enough(raw, own, carried):
        with suppress(*_UNREADABLE):
            return _shown(raw, picture)
    try:
        return _developed(raw, half=raw.size is None or max(raw.size) >= 2 * _LARGEST)
    except _UNREADABLE as exc:
        left = [*carried.previews.jpegs] if own is None else [own, *carried.previews.jpegs]
        for picture in sorted(left, key=_longest, reverse=True):
            with suppress(*_UNREADABLE):
                return replace(_shown(raw, picture), damage=f"only a small picture within can be shown: {exc}")
        raise


def _large_enough(raw: RawFile, own: bytes | Pixels | None, carried: _Carried) -> Iterator[bytes | Pixels]:
    """LibRaw's preview, and exiftool's should that be absent or fail. A small one is LibRaw's largest: exiftool, which
    would cost half a development, has no larger."""
    wanted = min(_LARGEST, max(raw.size)) if raw.size else _LARGEST
    if own is not None:
        if _longest(own) < wanted:
            return
        yield own
    yield from (jpeg for jpeg in carried.previews.jpegs if _longest(jpeg) >= wanted)


def _shown(raw: RawFile, picture: bytes | Pixels) -> Rendition:
    orientation, source = _turn(raw, picture), RenderSource.EMBEDDED_PREVIEW
    size = _displayed(raw.size, raw.orientation)
    if isinstance(picture, bytes):
        return render_bytes(picture, orientation=orientation, source=source, size=size)
    return render_pixels(picture, orientation=orientation, source=source, size=size)


def _unframed(jpeg: bytes, orientation: int | None) -> Rendition:
    """A preview of a file that LibRaw does not know: its size is the best that is known of the photo's."""
    return render_bytes(jpeg, orientation=orientation, source=RenderSource.EMBEDDED_PREVIEW, size=None)


def _developed(raw: RawFile, *, half: bool) -> Rendition:
    pixels = raw.develop(half=half)
    height, width = pixels.shape[:2]
    halved = half and (raw.size is None or width < raw.size[0])
    size = raw.size or ((2 * width, 2 * height) if halved else (width, height))
    return render_pixels(
        pixels,
        orientation=raw.orientation,
        source=RenderSource.HALF_SIZE if halved else RenderSource.FULL_SIZE,
        size=_displayed(size, raw.orientation),
    )


def _displayed(size: tuple[int, int] | None, orientation: int) -> tuple[int, int] | None:
    return size[::-1] if size and orientation >= 5 else size


def _turn(raw: RawFile, picture: bytes | Pixels) -> int:
    """The EXIF orientation that makes a preview upright. A half turn that the camera has made does not show."""
    size = _size(picture)
    if size is None or raw.size is None:
        return raw.orientation
    lies_as_sensor = (size[0] - size[1]) * (raw.size[0] - raw.size[1]) >= 0
    return raw.orientation if lies_as_sensor else 1


def _size(picture: bytes | Pixels) -> tuple[int, int] | None:
    if isinstance(picture, bytes):
        return jpeg_size(picture)
    height, width = picture.shape[:2]
    return width, height


def _longest(picture: bytes | Pixels) -> int:
    return max(_size(picture) or (0, 0))
