"""The header of a WebP file: Pillow makes room for two canvases before it tells the size."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_MOST_CHUNKS = 64
_ANIMATION, _ALPHA = 0x02, 0x10
_FRAME_HEADER_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WebpHeader:
    """``size`` is the canvas's width and height. A first frame that is lossless or transparent is decoded as a
    ``whole``."""

    size: tuple[int, int]
    animated: bool
    whole: bool


def webp_header(file: BinaryIO) -> WebpHeader:
    """Read it, the extended format's or the only frame's (RFC 9649). Raises ValueError when there is none."""
    canvas: tuple[int, int] | None = None
    animated = transparent = False
    for name, head in _chunks(file):
        if name == b"VP8X" and canvas is None and len(head) >= 10:
            animated, transparent = bool(head[0] & _ANIMATION), bool(head[0] & _ALPHA)
            canvas = int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
        elif name == b"VP8 " and head[3:6] == b"\x9d\x01\x2a" and len(head) >= 10:
            width, height = struct.unpack("<HH", head[6:10])
            return WebpHeader(size=canvas or (width & 0x3FFF, height & 0x3FFF), animated=animated, whole=transparent)
        elif name == b"VP8L" and head[:1] == b"\x2f" and len(head) >= 5:
            packed = int.from_bytes(head[1:5], "little")
            size = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
            return WebpHeader(size=canvas or size, animated=animated, whole=True)
    raise ValueError("the WebP file has no picture")


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Names and first bytes of the chunks, those of animation frames included."""
    place = 12
    for _ in range(_MOST_CHUNKS):
        file.seek(place)
        header = file.read(8)
        if len(header) < 8:
            return
        yield header[:4], file.read(10)
        inside = header[:4] == b"ANMF"
        length = _FRAME_HEADER_BYTES if inside else int.from_bytes(header[4:], "little")
        place += 8 + length + (length & 1)
