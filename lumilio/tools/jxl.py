"""JPEG XL, through pillow-jxl-plugin (libjxl).

Its decoder knows no header-only step, so that the size is read here first. A JPEG that was packed into JPEG XL comes
out as that JPEG, with an EXIF orientation that is still to be obeyed; everything else comes out upright.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from lumilio.errors import MediaDamaged
from lumilio.tools.decoding import Decoded, check_budget, library
from lumilio.tools.shrinking import fitted, shrunk_by_bands

_SIGNATURE = b"\xff\x0a"
_CONTAINER = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_HEADER_BYTES = 64
_MOST_BOXES = 64
_FIXED_BYTES = 32 * 1024 * 1024
_PIXEL_BYTES, _DEEP_PIXEL_BYTES, _PACKED_PIXEL_BYTES = 8, 20, 18
_CHANNEL_BYTES, _DEEP_CHANNEL_BYTES = 5, 10
"""Memory a pixel, and for each channel beyond its colours. Measured at 24 megapixels: RGB 6 to 7.5, RGBA 11, RGB of 16
bits 12 to 18, a packed JPEG 17."""
_RATIOS = ((1, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def decode_jxl(file: BinaryIO, longest: int) -> Decoded | bytes:
    """The picture, upright already, or the bytes of the JPEG that it was made of.

    Of an animation the plugin tells only its last frame. Raises MediaOverBudget, MediaDamaged, and ValueError for a
    header that is none.
    """
    size, each = _header(file)
    check_budget(_FIXED_BYTES + size[0] * size[1] * each, size)
    file.seek(0)
    try:
        is_jpeg, info, data, profile, *_ = _decoder()(file.read())
    except RuntimeError as exc:  # its words are about how to build the plugin
        raise MediaDamaged("the picture cannot be decoded: its JPEG XL data are damaged or end early") from exc
    if is_jpeg:
        return bytes(data)
    size = info.width, info.height
    mode, channels = str(info.mode), len(info.mode) if info.mode in ("LA", "RGB", "RGBA") else 1
    pixels = _eight_bits(data, mode, size, channels)
    stride = size[0] * channels
    mode = mode if channels > 1 else "L"

    def band(top: int, bottom: int) -> Image.Image:
        return Image.frombytes(mode, (size[0], bottom - top), pixels[top * stride : bottom * stride])

    return Decoded(image=shrunk_by_bands(band, size, fitted(size, longest)), size=size, profile=profile or None)


def _eight_bits(data: bytes, mode: str, size: tuple[int, int], channels: int) -> memoryview | bytes:
    """The plugin makes colours 8 bits itself, grey it hands over as the file has it."""
    samples = size[0] * size[1] * channels
    if len(data) == samples:
        return memoryview(data)
    if len(data) == 2 * samples:
        return (np.frombuffer(data, np.uint16) >> 8).astype(np.uint8).tobytes()
    if len(data) == 4 * samples and mode.startswith(("F", "LA")):
        return (np.frombuffer(data, np.float32).clip(0, 1) * 255 + 0.5).astype(np.uint8).tobytes()
    raise ValueError(f"{len(data)} bytes are not {size[0]} x {size[1]} pixels of {mode}")


def _header(file: BinaryIO) -> tuple[tuple[int, int], int]:
    """Width and height as displayed, and the bytes that decoding takes for a pixel.

    ISO/IEC 18181-1: SizeHeader, and the head of ImageMetadata. What that says of previews and animations is not worth
    reading: they count as the worst.
    """
    codestream, packed = _codestream(file)
    bits = _Bits(codestream)
    height, width = _size_header(bits)
    least = _PACKED_PIXEL_BYTES if packed else _PIXEL_BYTES
    if bits.take(1):  # all_default
        return (width, height), least
    orientation = 1
    if bits.take(1):  # extra_fields
        orientation = bits.take(3) + 1
        if bits.take(1):  # intrinsic size
            _size_header(bits)
        if bits.take(1) or bits.take(1):
            return _turned((width, height), orientation), _DEEP_PIXEL_BYTES + _DEEP_CHANNEL_BYTES
    deep, extra = _samples(bits)
    each = _DEEP_PIXEL_BYTES + extra * _DEEP_CHANNEL_BYTES if deep else _PIXEL_BYTES + extra * _CHANNEL_BYTES
    return _turned((width, height), orientation), max(each, least)


def _samples(bits: "_Bits") -> tuple[bool, int]:
    """Whether there are more than 8 bits a sample, and how many channels there are beside colours."""
    if bits.take(1):  # floating
        bits.number((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
        depth = 32
    else:
        depth = bits.number((8, 0), (10, 0), (12, 0), (1, 6))
    bits.take(1)  # modular_16bit_buffers
    return depth > 8, bits.number((0, 0), (1, 0), (2, 4), (1, 12))


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return size[::-1] if orientation >= 5 else size


def _size_header(bits: "_Bits") -> tuple[int, int]:
    """Height and width."""
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio == 0:
        return height, _side(bits, small)
    return height, height * _RATIOS[ratio][0] // _RATIOS[ratio][1]


def _side(bits: "_Bits", small: int) -> int:
    if small:
        return (bits.take(5) + 1) * 8
    return bits.number((1, 9), (1, 13), (1, 18), (1, 30))


class _Bits:
    """Numbers of so many bits, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._rest = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def number(self, *choices: tuple[int, int]) -> int:
        """Two bits choose among four: a number to which so many more bits add."""
        least, more = choices[self.take(2)]
        return least + self.take(more)

    def take(self, count: int) -> int:
        """Raises ValueError at the end of the data."""
        if count > self._left:
            raise ValueError("the header is cut short")
        value = self._rest & ((1 << count) - 1)
        self._rest >>= count
        self._left -= count
        return value


def _codestream(file: BinaryIO) -> tuple[bytes, bool]:
    """The beginning of the codestream behind its signature, and whether a JPEG is packed in it. Raises ValueError."""
    file.seek(0)
    head, packed = file.read(_HEADER_BYTES), False
    if head.startswith(_CONTAINER):
        boxes = dict(_boxes(file))
        head, packed = boxes.get(b"jxl", b""), b"jbrd" in boxes
    if not head.startswith(_SIGNATURE):
        raise ValueError("the file holds no JPEG XL picture")
    return head[len(_SIGNATURE) : _HEADER_BYTES], packed


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Names of the boxes of a container until enough of the codestream is found, which comes last, named ``jxl``: one
    jxlc, or many jxlp with a number before their part."""
    found, place = b"", 0
    for _ in range(_MOST_BOXES):
        file.seek(place)
        header = file.read(16)
        length, kind, start = int.from_bytes(header[:4], "big"), header[4:8], 8
        if length == 1:
            length, start = int.from_bytes(header[8:16], "big"), 16
        yield kind, b""
        if kind in (b"jxlc", b"jxlp"):
            start += 4 if kind == b"jxlp" else 0
            file.seek(place + start)
            found += file.read(min(_HEADER_BYTES, max(0, length - start)) if length else _HEADER_BYTES)
        if len(found) >= _HEADER_BYTES or length < 8:
            break
        place += length
    yield b"jxl", found


@cache
def _decoder() -> Any:
    """Decodes in the calling thread: a decoder child has one processor."""
    return library("pillow_jxl", "pillow-jxl-plugin").Decoder(num_threads=0)
