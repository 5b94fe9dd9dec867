"""HEIC and HEIF, through pillow-heif (libheif and libde265).

The decoder turns, mirrors and crops a picture as its container says. An EXIF orientation beside that says the same
once more, and is not obeyed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, BinaryIO

from PIL import Image

from lumilio.errors import MediaDamaged
from lumilio.tools.decoding import CodePoints, Decoded, check_budget, library
from lumilio.tools.shrinking import fitted, shrunk_by_bands

_FIXED_BYTES = 32 * 1024 * 1024
_PIXEL_BYTES, _FULL_CHROMA_BYTES, _ALPHA_BYTES, _DEEP_PIXEL_BYTES = 7, 3, 5, 20
"""Memory a pixel: planes, their turned copy, and RGB. Measured: 5 to 6, with full chroma 9.5, with opacity 12, with 10
bits a channel 9 to 16."""


def decode_heif(file: BinaryIO, longest: int) -> Decoded:
    """The primary picture, upright already. Raises MediaOverBudget, MediaDamaged, and what else pillow-heif raises."""
    with _as_media_damaged():
        picture = _primary(file)
        check_budget(_FIXED_BYTES + picture.size[0] * picture.size[1] * _pixel_bytes(picture), picture.size)
        pixels = picture.data  # with the crop the size becomes final
    mode, size, stride = str(picture.mode), (int(picture.size[0]), int(picture.size[1])), int(picture.stride)

    def band(top: int, bottom: int) -> Image.Image:
        rows = pixels[top * stride : bottom * stride]
        return Image.frombytes(mode, (size[0], bottom - top), rows, "raw", mode, stride)

    profile = picture.info.get("icc_profile")
    return Decoded(
        image=shrunk_by_bands(band, size, fitted(size, longest)),
        size=size,
        profile=profile if isinstance(profile, bytes) and profile else None,
        code_points=_code_points(picture.info),
    )


@contextmanager
def _as_media_damaged() -> Iterator[None]:
    """libheif's words on one line; what it says of memory is left to the caller, who knows the limits."""
    try:
        yield
    except (ValueError, RuntimeError, EOFError, SyntaxError) as exc:
        words = " ".join(str(exc).split())[:200]
        if "memory" in words.lower():
            raise
        meaning = "of a kind that Lumilio does not read" if "nsupported" in words else "damaged or end early"
        raise MediaDamaged(f"the picture cannot be decoded: its data are {meaning} (libheif: {words})") from exc


def _pixel_bytes(picture: Any) -> int:
    if picture.info["bit_depth"] > 8:
        return _DEEP_PIXEL_BYTES
    chroma = _FULL_CHROMA_BYTES if picture.info.get("chroma") == 444 else 0
    return _PIXEL_BYTES + chroma + (_ALPHA_BYTES if picture.mode in ("RGBA", "LA") else 0)


def code_points_of_avif(file: BinaryIO) -> CodePoints | None:
    """What the container of an AVIF says of its colours: libheif reads it without a codec, Pillow does not tell."""
    return _code_points(_primary(file).info)


def _primary(file: BinaryIO) -> Any:
    container = _library().open_heif(file, convert_hdr_to_8bit=True, hdr_to_16bit=True)
    return container[container.primary_index]


def _code_points(info: Mapping[str, Any]) -> CodePoints | None:
    stated = info.get("nclx_profile")
    if not isinstance(stated, dict):
        return None
    return CodePoints(primaries=int(stated["color_primaries"]), transfer=int(stated["transfer_characteristics"]))


@cache
def _library() -> Any:
    """A decoder child has one processor; previews, depth maps and gain maps are not wanted."""
    pillow_heif = library("pillow_heif", "pillow-heif")
    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.options.THUMBNAILS = False
    pillow_heif.options.DEPTH_IMAGES = False
    pillow_heif.options.AUX_IMAGES = False
    return pillow_heif
