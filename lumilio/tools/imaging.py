"""Pillow: from the bytes of a JPEG, PNG or WebP picture to its thumbnails, in one decode.

Runs in decoder children only, on bytes that nobody has vouched for. The order of the steps is what makes it cheap:
read the size from the header, decode as small as the format allows (libjpeg scales by 2, 4 or 8 while it decodes),
shrink, and only then do colour, orientation and encoding on the few pixels that are left.

Measured on 37 camera JPEGs of 8 to 26 megapixels, CPU a photo: decoding to the next scale above 1,024 px and bicubic
shrinking 57 ms (44.8 dB against a full decode shrunk by Lanczos), with half as many pixels again in reserve 83 ms
(49.5 dB). The encoder loses more than either: WebP at quality 80 has 41 dB. Its method 2 takes 16 ms and 14 KiB,
method 0 13 ms and 16 KiB, method 4 47 ms and 13 KiB.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import PIL
from PIL import Image, ImageCms, ImageFile, JpegImagePlugin, PngImagePlugin, UnidentifiedImageError, WebPImagePlugin

from lumilio.errors import MediaDamaged, MediaOverBudget, StorageError
from lumilio.model import THUMBNAIL_SIZES, RenderSource, Rendition, Thumbnail

FORMATS = (
    JpegImagePlugin.JpegImageFile.format,
    PngImagePlugin.PngImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
)
"""What ``render`` reads. Every other decoder of Pillow stays out of reach of hostile bytes."""

DECODE_BUDGET = 448 * 1024 * 1024
"""Bytes that decoding one picture may take; below the limit of a decoder child, so that most bombs are told apart
from their header alone."""

_LARGEST = max(THUMBNAIL_SIZES)
_QUALITY = 80
_METHOD = 2
_ORIENTATION = 0x0112
_MIRRORINGS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PILLOW_ERRORS = (
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

Image.MAX_IMAGE_PIXELS = None  # the memory estimate below judges each format by its own cost


def version() -> str:
    """The version of Pillow."""
    return PIL.__version__


def render(path: Path) -> Rendition:
    """Decode a picture once and make its thumbnails of 1024, 300 and 150 pixels, upright, in sRGB, as WebP.

    Of an animation the first frame is shown. A picture is never enlarged: a small one has thumbnails of its own size.

    Raises MediaDamaged with Pillow's words, MediaOverBudget when decoding would need more than DECODE_BUDGET bytes,
    and StorageError when the file itself cannot be read.
    """
    with _as_media_errors(), Image.open(path, formats=FORMATS) as opened:
        orientation = _orientation(opened)
        stored = opened.size
        if isinstance(opened, JpegImagePlugin.JpegImageFile):
            opened.draft(None, _fitted(stored, _LARGEST))
        _check_budget(opened, stored)
        profile = opened.info.get("icc_profile")
        image = _convertible(opened)
        image = _shrunk(image, _fitted(stored, _LARGEST))
        image = _in_srgb(image, profile if isinstance(profile, bytes) else None)
    if orientation in _MIRRORINGS:
        image = image.transpose(_MIRRORINGS[orientation])
    width, height = stored[::-1] if orientation >= 5 else stored
    thumbnails = [_encoded(_shrunk(image, _fitted((width, height), size)), size) for size in THUMBNAIL_SIZES]
    return Rendition(width=width, height=height, thumbnails=tuple(thumbnails), source=RenderSource.ORIGINAL)


@contextmanager
def _as_media_errors() -> Iterator[None]:
    """Pillow tells of damage by a wide choice of exceptions; an ``errno`` is the filesystem's word, not the file's.
    Its warnings are about odd metadata, which exiftool reads anyway."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except MemoryError as exc:
        raise MediaOverBudget("decoding needs more memory than a decoder may use") from exc
    except UnidentifiedImageError as exc:
        raise MediaDamaged("the content is not a readable JPEG, PNG or WebP picture") from exc
    except OSError as exc:
        if exc.errno is not None:
            raise StorageError(f"the file cannot be read: {exc.strerror}") from exc
        raise MediaDamaged(f"the picture cannot be decoded: {exc}") from exc
    except _PILLOW_ERRORS as exc:
        raise MediaDamaged(f"the picture cannot be decoded: {exc or type(exc).__name__}") from exc


def _orientation(image: ImageFile.ImageFile) -> int:
    """The EXIF orientation, 1 to 8. An XMP orientation is not obeyed, as browsers do not obey it."""
    block = image.info.get("exif")
    if not isinstance(block, bytes):
        return 1
    exif = Image.Exif()
    try:
        exif.load(block)
        value = exif.get(_ORIENTATION)
    except (OSError, *_PILLOW_ERRORS):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """The size with its longest side at most ``longest``, each side at least one pixel."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _check_budget(image: ImageFile.ImageFile, stored: tuple[int, int]) -> None:
    """Raise MediaOverBudget before a decode that would need too much. ``image.size`` is the size after ``draft``."""
    need = _estimate(image, stored)
    if need > DECODE_BUDGET:
        raise MediaOverBudget(
            f"a picture of {stored[0]} x {stored[1]} pixels needs about {need >> 20} MiB to decode; "
            f"the limit is {DECODE_BUDGET >> 20} MiB"
        )


def _estimate(image: ImageFile.ImageFile, stored: tuple[int, int]) -> int:
    """Bytes of memory that decoding takes: measured at 100 megapixels, see the numbers beside each format."""
    pixels = stored[0] * stored[1]
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        decoded = image.size[0] * image.size[1] * 4  # 421 MB undrafted, 50 MB drafted
        return decoded + (_coefficients(image, pixels) if "progressive" in image.info else 0)
    if isinstance(image, WebPImagePlugin.WebPImageFile):
        return pixels * 16  # 1,542 MB: the animation decoder keeps a canvas, its predecessor and a copy
    plain = image.mode in ("RGB", "RGBA", "L", "LA") and "transparency" not in image.info
    return pixels * (4 if plain else 8)  # 421 MB; other modes are converted before they can be shrunk


def _coefficients(image: JpegImagePlugin.JpegImageFile, pixels: int) -> int:
    """A progressive JPEG keeps two bytes for every sample of every component until its last scan: 262 MB."""
    factors = [(horizontal, vertical) for _, horizontal, vertical, _ in image.layer]
    most = max(h for h, _ in factors) * max(v for _, v in factors)
    return 2 * pixels * sum(h * v for h, v in factors) // max(1, most)


def _convertible(image: Image.Image) -> Image.Image:
    """The decoded picture in a mode that can be shrunk: L, LA, RGB, RGBA or CMYK, 8 bits a channel."""
    image.load()
    if image.mode in ("P", "PA"):
        return image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda sample: sample / 256).convert("L")
    if image.mode in ("RGB", "L") and "transparency" in image.info:
        return image.convert("RGBA")
    return image if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK") else image.convert("RGB")


def _shrunk(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB, or RGBA when some of it is transparent. A profile that is broken or of another colour model is ignored."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = image if alpha is None else image.convert("L" if image.mode == "LA" else "RGB")
    transform = _transform(profile, colours.mode) if profile else None
    rgb = ImageCms.applyTransform(colours, transform) if transform else colours.convert("RGB")
    if rgb is None:
        rgb = colours.convert("RGB")
    if alpha is not None and alpha.getextrema() != (255, 255):
        rgb.putalpha(alpha)
    rgb.info.clear()
    return rgb


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from a profile to sRGB; None when there is none, or when the profile says that it is sRGB already."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, OSError, *_PILLOW_ERRORS):
        return None


def _encoded(image: Image.Image, size: int) -> Thumbnail:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY, method=_METHOD)
    return Thumbnail(size=size, width=image.width, height=image.height, data=buffer.getvalue())
