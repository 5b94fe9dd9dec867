"""Motion photos: where in a photo's file its short film lies.

Three makes exist. Google's first, MicroVideo, states the distance of the film from the end of the file. Google's
second, "Motion Photo format 1.0" of Android's documentation, which Samsung writes too by now, lists what is appended
to the picture. Older Samsungs state nothing in the metadata: a JPEG has a trailer with a directory (read here as
exiftool's Samsung.pm does), an HEIC a box ``mpvd``. Editors keep the statements and drop the film, so that a place is
believed only when an MP4 begins there.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from lumilio.model import MotionVideo
from lumilio.tools.originals import open_original

_DIRECTORIES = ("XMP-Container:Directory", "XMP-GContainer:Directory")
_LEAST_BYTES = 16
_HEAD_BYTES = 12
_TRAILER_LIMIT = 0x10000
_SAMSUNG_VIDEO = 0x0A30
_MOST_BOXES = 64


def find_video(path: Path, tags: Mapping[str, object], size: int) -> MotionVideo | None:
    """The film that a photo of ``size`` bytes carries, or None. Opens the file only when ``tags``, exiftool's with
    ``-G1 -n -struct``, say that there may be one. Raises StorageError when it cannot be read."""
    stated = list(_stated(tags, size))
    trailer = "Samsung:EmbeddedVideoType" in tags
    boxes = tags.get("File:FileType") in ("HEIC", "HEIF")
    if not stated and not trailer and not boxes:
        return None
    with open_original(path) as file:
        found = [*stated, *(_in_trailer(file, size) if trailer else ()), *(_in_boxes(file, size) if boxes else ())]
        return next((each for each in found if _begins_video(file, each)), None)


def _begins_video(file: BinaryIO, motion: MotionVideo) -> bool:
    file.seek(motion.offset)
    return file.read(_HEAD_BYTES)[4:8] == b"ftyp"


def _stated(tags: Mapping[str, object], size: int) -> Iterator[MotionVideo]:
    if tags.get("XMP-GCamera:MotionPhoto") != 0:
        for name in _DIRECTORIES:
            yield from _in_directory(tags.get(name), size)
    if tags.get("XMP-GCamera:MicroVideo") == 1:
        length = _count(tags.get("XMP-GCamera:MicroVideoOffset"))
        yield from _place(size - length, length, size)


def _in_directory(directory: object, size: int) -> Iterator[MotionVideo]:
    """The items follow the picture, each with its padding, so that the last one ends with the file."""
    entries = directory if isinstance(directory, list) else []
    end = size
    for entry in reversed(entries[1:]):
        item = entry.get("Item", entry) if isinstance(entry, dict) else None
        if not isinstance(item, dict):
            return
        length = _count(item.get("Length"))
        end -= _count(item.get("Padding")) + length
        if item.get("Semantic") == "MotionPhoto":
            yield from _place(end, length, size)


def _in_trailer(file: BinaryIO, size: int) -> Iterator[MotionVideo]:
    """A Samsung trailer ends with its directory: ``SEFH``, version, count, entries of 12 bytes with kind, distance
    from the directory and length of a block, then the directory's length and ``SEFT``. A block begins with 4 bytes of
    kind, the length of its name, and the name."""
    tail = _read(file, size - 8, 8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"SEFT" or not 12 <= length < min(_TRAILER_LIMIT, size - 8):
        return
    start = size - 8 - length
    directory = _read(file, start, length)
    if not directory.startswith(b"SEFH"):
        return
    for at in range(12, length - 11, 12):
        kind, distance, block = (
            int.from_bytes(directory[at + first : at + last], "little") for first, last in ((2, 4), (4, 8), (8, 12))
        )
        if kind == _SAMSUNG_VIDEO and block <= distance < start:
            name = int.from_bytes(_read(file, start - distance + 4, 4), "little")
            yield from _place(start - distance + 8 + name, block - 8 - name, start)


def _in_boxes(file: BinaryIO, size: int) -> Iterator[MotionVideo]:
    """The outermost boxes of an ISO base media file (ISO 14496-12, 4.2): length, kind, and a long length for 1."""
    at = 0
    for _ in range(_MOST_BOXES):
        head = _read(file, at, 16)
        if len(head) < 8:
            return
        length, header = int.from_bytes(head[:4], "big"), 8
        if length == 1:
            length, header = int.from_bytes(head[8:16], "big"), 16
        elif length == 0:
            length = size - at
        if length < header:
            return
        if head[4:8] == b"mpvd":
            yield from _place(at + header, length - header, size)
        at += length


def _place(offset: int, length: int, size: int) -> Iterator[MotionVideo]:
    if length >= _LEAST_BYTES and offset > 0 and offset + length <= size:
        yield MotionVideo(offset=offset, bytes=length)


def _count(value: object) -> int:
    """A number of bytes, 0 for whatever is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    with suppress(ValueError, OverflowError, OSError):
        file.seek(offset)
        return file.read(length)
    return b""
