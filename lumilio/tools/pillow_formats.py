"""What Pillow reads by itself: JPEG, PNG, WebP, AVIF, TIFF, GIF and BMP; libvips takes over where Pillow needs much.

The order of the steps is what makes it cheap: read the size from the header, decode as small as the format allows
(libjpeg scales by 2, 4 or 8 while it decodes), shrink, and leave colour and orientation to the few pixels that are
left.

Measured on 37 camera JPEGs of 8 to 26 megapixels, CPU a photo: decoding to the next scale above 1,024 px and bicubic
shrinking 57 ms (44.8 dB against a full decode shrunk by Lanczos), with half as many pixels again in reserve 83 ms
(49.5 dB).
"""

import struct
import zlib
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from lumilio.tools.decoding import CodePoints, Decoded, check_budget
from lumilio.tools.heif import code_points_of_avif
from lumilio.tools.shrinking import fitted, shrunk, shrunk_by_bands
from lumilio.tools.vips import decode_with_vips
from lumilio.tools.webp import webp_header

JPEG = JpegImagePlugin.JpegImageFile.format
PNG = PngImagePlugin.PngImageFile.format
WEBP = WebPImagePlugin.WebPImageFile.format
AVIF = AvifImagePlugin.AvifImageFile.format
TIFF = TiffImagePlugin.TiffImageFile.format
GIF = GifImagePlugin.GifImageFile.format
BMP = BmpImagePlugin.BmpImageFile.format

PILLOW_ERRORS = (
    SyntaxError,
    ValueError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    struct.error,
    zlib.error,
)
"""How Pillow tells of damage, beside OSError."""

_ORIENTATION = 0x0112
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0
_MIB = 1024 * 1024
_VIPS_ABOVE = 64 * _MIB
"""Bytes that Pillow may take where libvips would take fewer."""
_VIPS_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "I;16B")
_VIPS_FIXED_BYTES, _VIPS_ROW_BYTES = 64 * _MIB, 4 * 1024
"""What libvips takes, and for a pixel of a row. Measured with RGB: 44 MB for a width of 12,000 pixels, 184 MB for one
of 100,000, 328 MB for that in tiles."""
_BANDS_BYTES = 32 * _MIB
_PLAIN = ("L", "LA", "RGB", "RGBA", "CMYK", "LAB")

Image.MAX_IMAGE_PIXELS = None  # the memory estimate below judges each format by its own cost
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
PngImagePlugin.MAX_TEXT_CHUNK = 16 * _MIB  # profiles of printers have more than the usual one


def decode_with_pillow(file: BinaryIO, kind: str, longest: int) -> Decoded:
    """The first picture of a file of ``kind``, one of Pillow's format names above; no other plugin sees the file.

    Raises MediaOverBudget, MediaDamaged, and what Pillow raises.
    """
    if kind == WEBP and (decoded := _large_webp(file, longest)) is not None:
        return decoded
    try:
        opened = Image.open(file, formats=(kind,))
    except UnidentifiedImageError:
        if kind != TIFF or not _has_descriptor(file):
            raise
        return decode_with_vips(file, kind, longest)  # it knows more kinds of pixels, and needs little memory
    with opened:
        size, orientation = opened.size, _orientation(opened)
        if isinstance(opened, JpegImagePlugin.JpegImageFile):
            opened.draft(None, fitted(size, longest))
        profile = opened.info.get("icc_profile")
        need = _estimate(opened, size)
        if kind in (PNG, TIFF) and need > _VIPS_ABOVE and opened.mode in _VIPS_MODES and _has_descriptor(file):
            check_budget(_estimate_of_vips(opened), size)
            return replace(decode_with_vips(file, kind, longest), orientation=orientation)
        check_budget(need, size)
        image = _shrunk(opened, fitted(size, longest))
    if kind == TIFF:
        orientation = 1  # Pillow has turned it
    profile = profile if isinstance(profile, bytes) and profile else None
    code_points = _code_points(file) if kind == AVIF and profile is None else None
    return Decoded(image=image, size=size, orientation=orientation, profile=profile, code_points=code_points)


def _large_webp(file: BinaryIO, longest: int) -> Decoded | None:
    """One that Pillow, whose decoder is that for animations, would need much for; None for others."""
    header = webp_header(file)
    file.seek(0)
    pixels = header.size[0] * header.size[1]
    need = pixels * 16  # 1,542 MB at 100 megapixels: a canvas, its predecessor and two copies
    if need <= _VIPS_ABOVE:
        return None
    if _has_descriptor(file):
        if not header.animated:
            need = _VIPS_FIXED_BYTES + (pixels * 11 // 2 if header.whole else pixels // 2)  # 426 MB, 51 MB
        check_budget(need, header.size)
        return decode_with_vips(file, WEBP, longest, size=header.size)
    check_budget(need, header.size)
    return None


def _code_points(file: BinaryIO) -> CodePoints | None:
    file.seek(0)
    try:
        return code_points_of_avif(file)
    except (OSError, *PILLOW_ERRORS):
        return None


def _has_descriptor(file: BinaryIO) -> bool:
    """Whether it is a file: libvips does not read from Python's memory."""
    try:
        file.fileno()
    except OSError:
        return False
    return True


def _orientation(image: ImageFile.ImageFile) -> int:
    """The EXIF orientation, 1 to 8, for AVIF that of its container. An XMP orientation is not obeyed, as browsers do
    not obey it."""
    try:
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            value = image.tag_v2.get(_ORIENTATION)
        else:
            block = image.info.get("exif")
            if not isinstance(block, bytes):
                return 1
            exif = Image.Exif()
            exif.load(block)
            value = exif.get(_ORIENTATION)
    except (OSError, *PILLOW_ERRORS):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _estimate(image: ImageFile.ImageFile, size: tuple[int, int]) -> int:
    """Bytes of memory that decoding takes: measured at 100 megapixels, see the numbers beside each format.
    ``image.size`` is the size after ``draft``."""
    pixels = size[0] * size[1]
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        decoded = image.size[0] * image.size[1] * 4  # 421 MB undrafted, 50 MB drafted
        return decoded + (_coefficients(image, pixels) if "progressive" in image.info else 0)
    if isinstance(image, AvifImagePlugin.AvifImageFile):
        return pixels * 12  # 870 MB with 8 bits a channel: planes, RGB and Pillow's copy
    if image.mode in ("1", "L", "P") or image.mode.startswith("I;16"):
        return pixels * (2 if image.mode.startswith("I") else 1) + _BANDS_BYTES
    return pixels * 4 + _BANDS_BYTES  # 421 MB


def _estimate_of_vips(image: ImageFile.ImageFile) -> int:
    """The same for libvips, which keeps some rows, of an interlaced PNG all."""
    rows = _VIPS_FIXED_BYTES + _VIPS_ROW_BYTES * max(image.size)
    return rows + (image.width * image.height * 8 if image.info.get("interlace") else 0)


def _coefficients(image: JpegImagePlugin.JpegImageFile, pixels: int) -> int:
    """A progressive JPEG keeps two bytes for every sample of every component until its last scan: 262 MB."""
    factors = [(horizontal, vertical) for _, horizontal, vertical, _ in image.layer]
    most = max(h for h, _ in factors) * max(v for _, v in factors)
    return 2 * pixels * sum(h * v for h, v in factors) // max(1, most)


def _shrunk(image: ImageFile.ImageFile, wanted: tuple[int, int]) -> Image.Image:
    """Decode, and shrink in a mode that can be: modes that cannot are converted band by band."""
    image.load()
    if image.mode in _PLAIN and "transparency" not in image.info:
        return shrunk(image, wanted)
    lowest, highest = _range(image)

    def band(top: int, bottom: int) -> Image.Image:
        return _converted(image.crop((0, top, image.width, bottom)), lowest, highest)

    small = shrunk_by_bands(band, image.size, wanted)
    # Pillow inverts eight bits itself.
    return ImageOps.invert(small) if image.mode.startswith("I;16") and _is_white_zero(image) else small


def _is_white_zero(image: ImageFile.ImageFile) -> bool:
    return isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _range(image: Image.Image) -> tuple[float, float]:
    """The samples that are black and white, where not the mode says so: floats beyond 1, integers beyond 16 bits."""
    if image.mode not in ("F", "I"):
        return 0.0, 1.0
    extremes = image.getextrema()
    low, high = (float(value) if isinstance(value, int | float) else 0.0 for value in extremes)
    usual = 1.0 if image.mode == "F" else 65535.0
    if low >= 0 and high <= usual:
        return 0.0, usual
    return low, high if high > low else low + 1


def _converted(image: Image.Image, lowest: float, highest: float) -> Image.Image:
    """In L, LA, RGB, RGBA or CMYK, 8 bits a channel."""
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I;16"):
        samples = np.asarray(image) >> 8
        return Image.fromarray(samples.astype(np.uint8))
    if image.mode in ("F", "I"):
        shares = (np.asarray(image, np.float32) - lowest) / (highest - lowest)
        return Image.fromarray((np.nan_to_num(shares).clip(0, 1) * 255 + 0.5).astype(np.uint8))
    if "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")
