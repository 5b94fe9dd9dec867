"""Pictures to put into files, and ways to look at what came out."""

import io
import math
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pillow_heif
import pillow_jxl.JpegXLImagePlugin
from PIL import Image, ImageCms

from lumilio.media import processor_for
from lumilio.media.detect import sniff
from lumilio.model import Rendition

pillow_heif.register_heif_opener()
assert pillow_jxl.JpegXLImagePlugin.JXLImageFile.format in Image.SAVE

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How an upright picture is stored to be displayed in an EXIF orientation."""


def render(path: Path) -> Rendition:
    """What the processor of the file's sniffed format makes of it."""
    media_type = sniff(path.read_bytes())
    assert media_type is not None
    processor = processor_for(media_type)
    assert processor is not None
    return processor(path)


def thumbnail(rendition: Rendition, size: int) -> Image.Image:
    (found,) = (each for each in rendition.thumbnails if each.size == size)
    image = Image.open(io.BytesIO(found.data), formats=["WEBP"])
    assert image.size == (found.width, found.height)
    return image


def shares(width: int, height: int) -> npt.NDArray[np.float64]:
    """Red, green and blue from 0 to 1, with no symmetry, so that every way to turn or swap them shows."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack([x, y, (x * y + x**2) / 2], axis=-1)


def photograph(width: int, height: int) -> Image.Image:
    return Image.fromarray((shares(width, height) * 255).astype(np.uint8))


def both(*losses: float) -> float:
    """Decibels of independent losses together: their squares add up."""
    return -10 * math.log10(sum(10 ** (-loss / 10) for loss in losses))


def encoded(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80, method=2)
    return Image.open(buffer)


def swapped_profile() -> bytes:
    """sRGB with the colourants of red and green exchanged: ignoring it is seen at once."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", profile, 128)
    rows = {bytes(profile[132 + 12 * n : 136 + 12 * n]): 136 + 12 * n for n in range(count)}
    red, green = rows[b"rXYZ"], rows[b"gXYZ"]
    profile[red : red + 8], profile[green : green + 8] = profile[green : green + 8], profile[red : red + 8]
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def through(image: Image.Image, profile: bytes) -> Image.Image:
    """The picture in sRGB, its colours being those of the profile."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    return converted
