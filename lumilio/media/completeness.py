"""Whether a file has all the bytes that its own container states: what an interrupted copy left is shown up to where it
ends, and nobody would notice.

Only sizes in headers are read, some dozens of bytes in the whole file: ISO media (ISO/IEC 14496-12, boxes), RIFF (AVI,
WAV, WebP) and Matroska (RFC 8794, elements). Other formats tell by failing to decode, or cannot tell.
"""

import os
from pathlib import Path
from typing import BinaryIO

from lumilio.model import MediaType
from lumilio.tools.originals import open_original

_ISO = frozenset({"mp4", "mov", "m4v", "3gp", "m4a", "heic", "heif", "avif", "cr3"})
_RIFF = frozenset({"avi", "wav", "webp"})
_MATROSKA = frozenset({"mkv", "webm", "mka"})
_MOST_BOXES = 4096
_UNKNOWN_SIZE_RIFF = (0, 0xFFFFFFFF)
_SEGMENT = b"\x18\x53\x80\x67"


def shortfall(path: Path, media_type: MediaType) -> str | None:
    """What is missing, in words, or None for a file that is whole or does not tell. Raises StorageError and OSError."""
    form = media_type.format
    if form not in _ISO | _RIFF | _MATROSKA:
        return None
    with open_original(path) as file:
        size = os.fstat(file.fileno()).st_size
        stated = _iso(file, size) if form in _ISO else _riff(file) if form in _RIFF else _matroska(file)
    if stated is None or stated <= size:
        return None
    return f"the file ends early: {size:,} of {stated:,} bytes are there, as after an interrupted copy"


def _iso(file: BinaryIO, size: int) -> int | None:
    """Where the last box ends. Padding and appended trailers are no boxes: there the walk ends without a verdict."""
    at = 0
    for _ in range(_MOST_BOXES):
        if at >= size:
            return at
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:16], "big")
        if length < 8 or not head[4:8].isalnum():
            return None
        at += length
    return None


def _riff(file: BinaryIO) -> int | None:
    head = file.read(8)
    length = int.from_bytes(head[4:8], "little")
    return None if head[:4] != b"RIFF" or length in _UNKNOWN_SIZE_RIFF else 8 + length


def _matroska(file: BinaryIO) -> int | None:
    """The end of the Segment, which follows the EBML header; a stream that was recorded live states none."""
    at = _end_of_element(file, 0)
    if at is None:
        return None
    file.seek(at)
    return _end_of_element(file, at) if file.read(4) == _SEGMENT else None


def _end_of_element(file: BinaryIO, at: int) -> int | None:
    """Behind an element whose identifier has four bytes: its size is a number of 1 to 8 bytes, all ones if unknown."""
    file.seek(at + 4)
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    rest = file.read(width - 1)
    length = int.from_bytes(bytes([first[0] & (0x7F >> (width - 1))]) + rest, "big")
    unknown = length == (1 << 7 * width) - 1
    return None if unknown or len(rest) != width - 1 else at + 4 + width + length
