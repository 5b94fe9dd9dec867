"""The media files to judge by, and a plain, slow rendering of a picture to compare ours with."""

import io
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pillow_heif
import pillow_jxl.JpegXLImagePlugin
from PIL import Image, ImageCms, ImageOps

FIXTURES = Path(__file__).parents[1] / "fixtures/media"
CORPUS = Path(os.environ.get("LUMILIO_TEST_MEDIA", Path(__file__).parents[2].parent / "shared/media")).resolve()


pillow_heif.register_heif_opener()
assert pillow_jxl.JpegXLImagePlugin.JXLImageFile.format in Image.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A media file, with what exiftool and Pillow say about it."""

    path: Path
    exif: Mapping[str, object]
    pillow: tuple[str, str, int, int] | None

    @property
    def name(self) -> str:
        return f"{self.path.parent.name}/{self.path.name}"


def samples() -> tuple[Sample, ...]:
    """Every file of a truth.json: the fixtures, and the whole corpus where it lies beside the checkout."""
    return tuple(
        Sample(
            path=root / entry["path"],
            exif=entry["exiftool"],
            pillow=tuple(entry["pillow"][:4]) if entry.get("pillow") else None,
        )
        for root in (FIXTURES, CORPUS)
        if (root / "truth.json").exists()
        for entry in json.loads((root / "truth.json").read_text())
    )


def pictures() -> Iterator[Sample]:
    """The photos among the samples that Pillow and its plugins read; not the RAW ones, which are TIFF to Pillow."""
    for sample in samples():
        if sample.pillow and not sample.path.parent.name.startswith("raw"):
            yield sample


def rendered(path: Path, size: tuple[int, int]) -> Image.Image:
    """Decode everything, turn it upright, convert its colours, and only then shrink: RGBA of the given size."""
    return _decoded(path).resize(size, Image.Resampling.LANCZOS)


@lru_cache(maxsize=1)
def _decoded(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        opened.load()
        # The decoder of JPEG XL turns a picture itself, whatever is written beside it.
        upright = opened if opened.format == "JXL" else ImageOps.exif_transpose(opened)
    profile = upright.info.get("icc_profile")
    if upright.mode.startswith("I;16"):
        upright = Image.fromarray((np.asarray(upright) / 257).astype(np.uint8))
    if upright.mode == "RGB" and profile:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(upright, source, ImageCms.createProfile("sRGB"))
        assert converted is not None
        upright = converted
    return upright.convert("RGBA")


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Likeness of two pictures of one size in decibels, over a grey ground so that what is transparent counts less."""
    first, second = (np.asarray(_grounded(each), dtype=np.float64) for each in (one, other))
    error = float(((first - second) ** 2).mean())
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def _grounded(image: Image.Image) -> Image.Image:
    ground = Image.new("RGBA", image.size, (128, 128, 128, 255))
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
