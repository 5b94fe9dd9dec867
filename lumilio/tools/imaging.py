"""From the bytes of a picture to its thumbnails, in one decode. Runs in decoder children only, on bytes that nobody
has vouched for.

The first bytes of a file say which decoder sees it, and that one alone: whoever can choose among all of them, with a
file that is none of what it claims, finds the weakest.
"""

import errno
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as package_version
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, UnidentifiedImageError

from lumilio.errors import MediaDamaged, MediaError, MediaOverBudget, StorageError
from lumilio.model import RenderSource, Rendition
from lumilio.tools.colour import in_srgb
from lumilio.tools.decoding import Decoded
from lumilio.tools.heif import decode_heif
from lumilio.tools.jxl import decode_jxl
from lumilio.tools.originals import open_original
from lumilio.tools.pillow_formats import (
    AVIF,
    BMP,
    GIF,
    JPEG,
    PILLOW_ERRORS,
    PNG,
    TIFF,
    WEBP,
    decode_with_pillow,
)
from lumilio.tools.thumbnails import LARGEST, rendition, turned

_PACKAGES = ("pillow-heif", "pillow-jxl-plugin", "pyvips-binary")
_HEAD_BYTES = 256
_TOO_MUCH = "decoding needs more memory than a decoder may use"
_EMBEDDED = (JPEG, PNG, WEBP, BMP, GIF)
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", JPEG),
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"BM", BMP),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"II+\x00", TIFF),
    (b"MM\x00+", TIFF),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JXL"),
    (b"\xff\x0a", "JXL"),
)
_AVIF_BRANDS = frozenset((b"avif", b"avis"))
_HEIF_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))


def version() -> str:
    """The version of Pillow, and those of the packages that bring the other decoders, libheif, libjxl and libvips:
    ``13.0.0, pillow-heif 1.8.1, …``. None of them is loaded for it."""
    found = [PIL.__version__]
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{package} {package_version(package)}")
    return ", ".join(found)


def render(path: Path) -> Rendition:
    """Decode a picture once and make its thumbnails of 1024, 300 and 150 pixels, upright, in sRGB, as WebP.

    JPEG, PNG, WebP, HEIF, AVIF, TIFF, GIF, BMP and JPEG XL. Of an animation the first frame is shown (JPEG XL: the
    last), of several pages or pictures the first. A picture is never enlarged: a small one has thumbnails of its own
    size.

    Raises MediaDamaged with the library's words, MediaOverBudget when decoding would need more than ``decode_budget``
    bytes, StorageError when the file itself cannot be read, and ToolMissing.
    """
    with _as_media_errors(), open_original(path) as file:
        return _rendered(file, None, orientation=None, source=RenderSource.ORIGINAL, size=None)


def render_bytes(
    data: bytes, *, orientation: int | None, source: RenderSource, size: tuple[int, int] | None
) -> Rendition:
    """The same for an encoded picture that another file carries: JPEG, PNG, WebP, BMP or GIF.

    ``orientation`` (EXIF, 1 to 8) is obeyed instead of the picture's own unless it is None. ``size`` is the width and
    height of the original as displayed, which the rendition reports; None for the picture's own.

    Raises MediaDamaged and MediaOverBudget as ``render`` does.
    """
    with _as_media_errors():
        return _rendered(io.BytesIO(data), _EMBEDDED, orientation=orientation, source=source, size=size)


def render_pixels(
    pixels: npt.NDArray[np.uint8], *, orientation: int, source: RenderSource, size: tuple[int, int] | None
) -> Rendition:
    """The same for decoded pixels, H x W x 3, sRGB, which are still to be turned by the EXIF ``orientation``."""
    with _as_media_errors():
        image = Image.fromarray(pixels, "RGB")
        shown = size or turned(image.size, orientation)
        return rendition(image, orientation=orientation, source=source, size=shown)


def _rendered(
    file: BinaryIO,
    kinds: tuple[str, ...] | None,
    *,
    orientation: int | None,
    source: RenderSource,
    size: tuple[int, int] | None,
) -> Rendition:
    kind = _kind(file.read(_HEAD_BYTES))
    if kind is None or (kinds is not None and kind not in kinds):
        raise MediaDamaged("the content is not a picture of a known format")
    file.seek(0)
    decoded = _decode(file, kind)
    if orientation is None:
        orientation = decoded.orientation
    image = in_srgb(decoded.image, decoded.profile, decoded.code_points)
    return rendition(image, orientation=orientation, source=source, size=size or turned(decoded.size, orientation))


def _kind(head: bytes) -> str | None:
    """The format of a file that begins with these bytes."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] == b"ftyp":
        end = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
        major = head[8:12]
        if major in _AVIF_BRANDS or (major in (b"mif1", b"msf1") and brands & _AVIF_BRANDS):
            return AVIF
        return "HEIF" if major in _HEIF_BRANDS else None
    return None


def _decode(file: BinaryIO, kind: str) -> Decoded:
    match kind:
        case "HEIF":
            return decode_heif(file, LARGEST)
        case "JXL":
            decoded = decode_jxl(file, LARGEST)
            return decode_with_pillow(io.BytesIO(decoded), JPEG, LARGEST) if isinstance(decoded, bytes) else decoded
        case _:
            return decode_with_pillow(file, kind, LARGEST)


@contextmanager
def _as_media_errors() -> Iterator[None]:
    """The libraries tell of damage by a wide choice of exceptions; an ``errno`` is the filesystem's word, not the
    file's. Their warnings are about odd metadata, which exiftool reads anyway."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except MemoryError as exc:
        raise MediaOverBudget(_TOO_MUCH) from exc
    except UnidentifiedImageError as exc:
        raise MediaDamaged("the picture cannot be decoded: its header is damaged or of an unknown kind") from exc
    except OSError as exc:
        if exc.errno == errno.ENOMEM:
            raise MediaOverBudget(_TOO_MUCH) from exc
        if exc.errno is not None:
            raise StorageError(f"the file cannot be read: {exc.strerror}") from exc
        raise _media_error(exc) from exc
    except PILLOW_ERRORS as exc:
        raise _media_error(exc) from exc


def _media_error(error: Exception) -> MediaError:
    words = " ".join(str(error).split())[:200] or type(error).__name__
    if "memory" in words.lower():
        return MediaOverBudget(_TOO_MUCH)
    if words == "could not create decoder object":
        words = "its WebP data are damaged or end early"
    return MediaDamaged(f"the picture cannot be decoded: {words}")
