"""From a decoded picture to its thumbnails and to what tells it from others.

WebP at quality 80 loses more (41 dB) than bicubic shrinking does. Its method 2 takes 16 ms and 14 KiB for 1,024 px,
method 0 13 ms and 16 KiB, method 4 47 ms and 13 KiB.
"""

import io

import numpy as np
from PIL import Image

from lumilio.model import THUMBNAIL_SIZES, RenderSource, Rendition, Thumbnail
from lumilio.tools.likeness import BLUR_SIDE, HASH_SIDE, perceptual_hash, thumbhash
from lumilio.tools.shrinking import fitted, shrunk

LARGEST = max(THUMBNAIL_SIZES)
"""The longest side, in pixels, that is worth decoding."""

_QUALITY = 80
_METHOD = 2
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height as displayed, of a picture that is stored in an EXIF orientation."""
    return size[::-1] if orientation >= 5 else size


def rendition(image: Image.Image, *, orientation: int, source: RenderSource, size: tuple[int, int]) -> Rendition:
    """Thumbnails of 1024, 300 and 150 pixels as WebP, perceptual hash and ThumbHash.

    ``image`` is sRGB, RGB or RGBA, of any size, turned by the EXIF ``orientation``; ``size`` is what the original
    has as displayed. Nothing is enlarged: a small picture has thumbnails of its own size.
    """
    image = shrunk(image, fitted(image.size, LARGEST))
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    thumbnails, smaller = [], image
    for side in sorted(THUMBNAIL_SIZES, reverse=True):
        smaller = shrunk(image, fitted(image.size, side))
        thumbnails.append(_encoded(smaller, side))
    return Rendition(
        width=size[0],
        height=size[1],
        thumbnails=tuple(sorted(thumbnails, key=lambda each: each.size)),
        source=source,
        perceptual_hash=perceptual_hash(_grey(smaller)),
        thumbhash=thumbhash(np.asarray(shrunk(smaller, fitted(smaller.size, BLUR_SIDE)).convert("RGBA"))),
    )


def _grey(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The picture as its hash sees it, what is transparent over white."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("L").resize((HASH_SIDE, HASH_SIDE), Image.Resampling.BILINEAR))


def _encoded(image: Image.Image, size: int) -> Thumbnail:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY, method=_METHOD)
    return Thumbnail(size=size, width=image.width, height=image.height, data=buffer.getvalue())
