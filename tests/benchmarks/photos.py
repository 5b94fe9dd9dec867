"""Distinct photos out of a few real ones: the bytes differ in a comment, so that every file is decoded in full."""

import os
import struct
from itertools import cycle
from pathlib import Path

from PIL import Image

_SOI = b"\xff\xd8"
_COM = b"\xff\xfe"


def media_directory() -> Path:
    """The real media files: LUMILIO_TEST_MEDIA, else ``shared/media`` beside the checkout."""
    return Path(os.environ.get("LUMILIO_TEST_MEDIA", Path(__file__).parents[2].parent / "shared/media"))


def camera_jpegs(megapixels: tuple[float, float]) -> list[Path]:
    """The camera JPEGs of ``throughput`` with so many megapixels, both ends included."""
    found = [path for path in sorted((media_directory() / "throughput").glob("*.jpg")) if _within(path, megapixels)]
    if not found:
        raise SystemExit(f"no JPEG of {megapixels} megapixels in {media_directory() / 'throughput'}")
    return found


def _within(path: Path, megapixels: tuple[float, float]) -> bool:
    with Image.open(path) as image:
        return megapixels[0] <= image.width * image.height / 1e6 <= megapixels[1]


def make_distinct(sources: list[Path], count: int, folder: Path) -> int:
    """Write ``count`` distinct copies into ``folder``, each source equally often; returns their bytes."""
    folder.mkdir(parents=True)
    size = 0
    for number, source in zip(range(count), cycle(sources), strict=False):
        size += (folder / f"{number:05}-{source.name}").write_bytes(commented(source.read_bytes(), f"copy {number}"))
    return size


def commented(jpeg: bytes, comment: str) -> bytes:
    """The JPEG with one more comment, behind its first segment: before an MPF index, whose offsets count from there."""
    if not jpeg.startswith(_SOI):
        raise ValueError("not a JPEG")
    text = comment.encode()
    after = 4 + struct.unpack(">H", jpeg[4:6])[0]
    return jpeg[:after] + _COM + struct.pack(">H", len(text) + 2) + text + jpeg[after:]
