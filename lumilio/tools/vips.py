"""libvips, for large PNG, TIFF and WebP pictures: it decodes row by row and shrinks on the way.

Measured at 100 megapixels, memory beyond that of the process: PNG and TIFF 44 MB (Pillow 421), WebP 51 MB (1,542), a
lossless WebP 426 MB. Loading the library takes 30 ms and 10 MB.

Colours are left as the file has them, so that one place converts those of small and of large pictures.
"""

import os
from functools import cache
from typing import Any, BinaryIO, TypeVar

from PIL import Image

from lumilio.errors import MediaDamaged, MediaOverBudget
from lumilio.tools.decoding import Decoded, library
from lumilio.tools.shrinking import fitted

T = TypeVar("T")

_LOADERS = {"PNG": "pngload_source", "TIFF": "tiffload_source", "WEBP": "webpload_source"}
_CLASSES = ("VipsForeignLoadPng", "VipsForeignLoadTiff", "VipsForeignLoadWebp")
_PLAIN = ("srgb", "rgb", "b-w", "cmyk", "rgb16", "grey16", "multiband")
_MODES = {("b-w", 1): "L", ("b-w", 2): "LA", ("srgb", 3): "RGB", ("srgb", 4): "RGBA", ("cmyk", 4): "CMYK"}
_GAP = 2.0
"""How many times too wide a picture may be before a box filter goes ahead of the better one."""
_WEBP_RESERVE = 1.5
"""How many times larger than wanted libwebp scales, which does so by averaging."""


def decode_with_vips(file: BinaryIO, kind: str, longest: int, *, size: tuple[int, int] | None = None) -> Decoded:
    """The first picture of a file of ``kind`` (PNG, TIFF or WEBP) with its longest side at most ``longest``.

    The ``size`` is to be told of a WebP, which is scaled while it is decoded: opening one makes room for its pixels.
    Raises MediaDamaged with libvips's words, and MediaOverBudget.
    """
    pyvips = _library()
    try:
        scale = min(1.0, _WEBP_RESERVE * longest / max(size)) if size else 1.0
        picture = _opened(pyvips, file, kind, **({"scale": scale} if scale < 1 else {}))
        size = size or (picture.width, picture.height)
        return Decoded(
            image=_in_pillow(_scaled(_eight_bits(picture), fitted(size, longest))),
            size=size,
            orientation=_field(picture, "orientation", 1),
            profile=_field(picture, "icc-profile-data", b"") or None,
        )
    except pyvips.Error as exc:
        words = _words(exc)
        if "memory" in words:
            raise MediaOverBudget("decoding needs more memory than a decoder may use") from exc
        raise MediaDamaged(
            f"the picture cannot be decoded: its data are damaged or end early (libvips: {words})"
        ) from exc


def _opened(pyvips: Any, file: BinaryIO, kind: str, **options: float) -> Any:
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    source = pyvips.Source.new_from_descriptor(file.fileno())
    load = getattr(pyvips.Image, _LOADERS[kind])
    return load(source, access="sequential", fail_on="error", **options)


def _field(picture: Any, name: str, default: T) -> T:
    """A piece of metadata, where the file has it and it is of the right type."""
    value = picture.get(name) if picture.get_typeof(name) else default
    return value if isinstance(value, type(default)) else default


def _eight_bits(picture: Any) -> Any:
    """Colours of a model that Pillow has, unsigned 8 bits. Floating numbers are light, as in scRGB."""
    if picture.format in ("ushort", "uint"):
        picture = picture.cast("uchar", shift=True)
    elif picture.interpretation not in _PLAIN or picture.format != "uchar":
        picture = picture.colourspace("b-w" if picture.bands < 3 else "srgb")
    grey = picture.bands < 3
    name = "cmyk" if picture.interpretation == "cmyk" else "b-w" if grey else "srgb"
    most = 2 if grey else 4
    if picture.bands > most:  # samples beyond colour and opacity
        picture = picture.extract_band(0, n=most)
    return picture.copy(interpretation=name)


def _scaled(picture: Any, size: tuple[int, int]) -> Any:
    """Across first: shrinking down wants many rows at once, which are short by then."""
    alpha = picture.hasalpha()
    if alpha:
        picture = picture.premultiply()
    boxes = int(picture.width / size[0] / _GAP)
    if boxes > 1:
        picture = picture.shrinkh(boxes)
    picture = picture.resize(size[0] / picture.width, vscale=size[1] / picture.height)
    return picture.unpremultiply().cast("uchar") if alpha else picture


def _in_pillow(picture: Any) -> Image.Image:
    mode = _MODES[picture.interpretation, picture.bands]
    return Image.frombytes(mode, (picture.width, picture.height), picture.write_to_memory())


def _words(error: Any) -> str:
    lines = [line.strip() for line in str(error.detail).splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines))[:200] or "libvips does not say why"


@cache
def _library() -> Any:
    """One processor, nothing kept from file to file, and no loader but the three that are asked for."""
    pyvips = library("pyvips", "pyvips[binary]")
    pyvips.concurrency_set(1)
    pyvips.cache_set_max(0)
    pyvips.block_untrusted_set(True)
    pyvips.operation_block_set("VipsForeignLoad", True)
    for name in _CLASSES:
        pyvips.operation_block_set(name, False)
    return pyvips
