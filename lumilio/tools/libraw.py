"""LibRaw, through rawpy: what a RAW file says of its picture, its largest preview, and its development.

Runs in decoder children only, with one thread (see ``lumilio.tools.one_thread``). rawpy can read from a path or from
memory. A child may not open paths, so the file is read as a whole, which costs a few milliseconds beside the picture's
own decode.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
import rawpy

from lumilio.errors import MediaDamaged, MediaError, MediaOverBudget, MediaUnsupported, StorageError
from lumilio.tools.decoding import check_budget, decode_budget

Pixels = npt.NDArray[np.uint8]
"""H x W x 3, sRGB."""

_HALF_BYTES = 4.2
_FULL_BYTES = 16.0
_LAYERED_BYTES = 18.0
_BRIGHTNESS = 1.2
_SRGB_CURVE = (2.4, 12.92)
_LEAST_CROP = 0.55
_EMPTY_SHARE = 1 / 8
_ORIENTATIONS = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7, 90: 6, 180: 3, 270: 8}
_DAMAGED = (rawpy.LibRawIOError, rawpy.LibRawDataError)
"""What LibRaw says at the end of the file, which it reads from memory: never the disk's fault."""
_TOO_LARGE = (rawpy.LibRawTooBigError, rawpy.LibRawUnsufficientMemoryError, rawpy.LibRawMemPoolOverflowError)


def version() -> str:
    """The version of LibRaw, such as ``0.22.0``."""
    return ".".join(str(part) for part in rawpy.libraw_version)


class RawFile:
    """A RAW file that LibRaw has opened; nothing of its sensor's data is decoded until ``develop``.

    ``size`` is width and height as the sensor lies, within the frame that the camera chose; None for sensors whose
    rows run diagonally, which have no size before they are developed. ``orientation`` is EXIF's, 1 to 8.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Read all of the file. Raises MediaDamaged, MediaUnsupported, MediaOverBudget and StorageError."""
        self._file_bytes = os.fstat(file.fileno()).st_size
        if self._file_bytes > decode_budget():
            raise MediaOverBudget(
                f"the RAW file has {self._file_bytes >> 20} MiB; the limit is {decode_budget() >> 20} MiB"
            )
        self._raw: Any = rawpy.RawPy()
        with self._as_media_errors():
            try:
                content = file.read(self._file_bytes)
            except OSError as exc:
                raise StorageError(f"the file cannot be read: {exc.strerror}") from exc
            self._raw.open_buffer(io.BytesIO(content))
        self._sizes = sizes = self._raw.sizes  # as they are now: developing changes them
        self._frame = _frame(sizes)
        self.orientation = _ORIENTATIONS.get(sizes.flip % 360, 1)
        upright = 0 < sizes.width * sizes.height <= sizes.raw_width * sizes.raw_height
        self.size = _stretched(*self._frame[2:], sizes.pixel_aspect) if upright else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._raw.close()

    def preview(self) -> bytes | Pixels | None:
        """The largest preview in the file, encoded (a JPEG as a rule) or as pixels, as the camera stored it; None
        when there is none that LibRaw can read."""
        try:
            thumb = self._raw.extract_thumb()
        except (rawpy.LibRawError, rawpy.NotSupportedError):
            return None
        if thumb.format == rawpy.ThumbFormat.JPEG:
            return bytes(thumb.data)
        return _three_channels(thumb.data) if thumb.format == rawpy.ThumbFormat.BITMAP else None

    def develop(self, *, half: bool) -> Pixels:
        """The picture from the sensor's data, as the sensor lies, within the camera's frame. ``half`` makes one pixel
        of two by two, four times faster than interpolating and with a third of its memory; LibRaw does not heed it for
        sensors that see all colours everywhere.

        White balance is the camera's and the curve that of sRGB. LibRaw's automatic brightness is off: it makes noise
        of a dark frame and grey of a night. Sensors are exposed for their highlights, so that what comes out is
        darker than the camera's own picture; a gain of 1.2 (chosen out of 1.0 to 1.4 on the two real files here that
        carry the camera's picture) is nearest to both.

        Raises MediaDamaged, also for data that end early, MediaUnsupported and MediaOverBudget.
        """
        self._check_budget(_HALF_BYTES if half else _FULL_BYTES)
        with self._as_media_errors():
            self._raw.unpack()
            if self._raw.raw_type == rawpy.RawType.Stack:
                self._check_budget(_LAYERED_BYTES)
            self._check_complete()
            developed = self._raw.postprocess(
                half_size=half,
                use_camera_wb=True,
                no_auto_bright=True,
                bright=_BRIGHTNESS,
                gamma=_SRGB_CURVE,
                user_flip=0,
                output_bps=8,
            )
        return self._within_frame(_three_channels(developed))

    def _check_budget(self, pixel_bytes: float) -> None:
        """Raise MediaOverBudget before a step that would need too much, beside the file, for each pixel.

        Measured at 24 and 45 megapixels: 4.0 bytes a pixel at half size and 15.6 in full for a sensor with a pattern,
        17.4 at 24 for one with layers, which shows only in its data.
        """
        sizes = self._sizes
        pixels = max(sizes.raw_width * sizes.raw_height, sizes.width * sizes.height)
        check_budget(self._file_bytes + int(pixels * pixel_bytes), (sizes.raw_width, sizes.raw_height))

    def _check_complete(self) -> None:
        """LibRaw tells of data that end early, but for a few formats, where it leaves zeros. A real row has noise."""
        data = self._raw.raw_image_visible
        if data is None:
            return
        empty = ~data.any(axis=tuple(range(1, data.ndim)))
        if np.count_nonzero(empty) > len(data) * _EMPTY_SHARE:
            raise MediaDamaged("the RAW file cannot be developed: data of the sensor are missing")

    def _within_frame(self, pixels: Pixels) -> Pixels:
        """Cut to the camera's frame what LibRaw developed beyond it."""
        for scale in (1, 2):
            if pixels.shape[:2] == (-(-self._sizes.height // scale), -(-self._sizes.width // scale)):
                left, top, width, height = (each // scale for each in self._frame)
                return pixels[top : top + height, left : left + width]
        return pixels

    @contextmanager
    def _as_media_errors(self) -> Iterator[None]:
        try:
            yield
        except (MemoryError, OSError) as exc:  # rawpy raises an errno of LibRaw's, which reads memory only: ENOMEM
            raise MediaOverBudget("developing the RAW file needs more memory than a decoder may use") from exc
        except rawpy.LibRawError as exc:
            raise _media_error(exc) from exc


def _media_error(error: Exception) -> MediaError:
    words = b" ".join(part for part in error.args if isinstance(part, bytes)).decode(errors="replace") or str(error)
    words = f"(LibRaw: {' '.join(words.split())[:200]})"
    if isinstance(error, _TOO_LARGE):
        return MediaOverBudget(f"the RAW file needs more memory than a decoder may use {words}")
    if isinstance(error, rawpy.LibRawNotImplementedError):
        return MediaUnsupported(f"LibRaw cannot develop this kind of RAW file {words}")
    if isinstance(error, rawpy.LibRawFileUnsupportedError):
        return MediaDamaged("the RAW file is cut short, or of a camera that LibRaw does not know")
    if isinstance(error, _DAMAGED):
        return MediaDamaged("the RAW file ends early or is damaged")
    return MediaDamaged(f"the RAW file cannot be developed {words}")


def _frame(sizes: Any) -> tuple[int, int, int, int]:
    """Left, top, width and height, within the visible area, of what the camera shows; the whole area where the file
    says nothing or what LibRaw's own ``adjust_to_raw_inset_crop`` refuses, and where pixels are not square: there
    frame and area differ by less than the stretching rounds."""
    left, top = sizes.crop_left_margin - sizes.left_margin, sizes.crop_top_margin - sizes.top_margin
    width, height = sizes.crop_width, sizes.crop_height
    inside = left >= 0 and top >= 0 and left + width <= sizes.width and top + height <= sizes.height
    if inside and sizes.pixel_aspect == 1 and width > sizes.width * _LEAST_CROP and height > sizes.height * _LEAST_CROP:
        return left, top, width, height
    return 0, 0, sizes.width, sizes.height


def _stretched(width: int, height: int, pixel_aspect: float) -> tuple[int, int]:
    """Width and height after LibRaw has made pixels square, which only ever adds some."""
    if 0 < pixel_aspect < 1:
        return width, round(height / pixel_aspect)
    return round(width * max(1.0, pixel_aspect)), height


def _three_channels(pixels: npt.NDArray[Any]) -> Pixels:
    """Grey as red, green and blue; samples of 16 bits as 8."""
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)) if pixels.shape[2] == 1 else pixels)
