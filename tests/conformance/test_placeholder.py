"""What is shown of photos that cannot be decoded, in a decoder child and behind its fence. The previews are red, the
photos blue, so that each shows where a thumbnail comes from."""

import io
import os
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lumilio.errors import MediaDamaged, MediaOverBudget, StorageError, ToolMissing
from lumilio.media.photo import process_photo
from lumilio.media.placeholder import render_placeholder
from lumilio.model import THUMBNAIL_SIZES, RenderSource, Rendition
from lumilio.tools.decoders import DecoderLimits, DecoderPool
from lumilio.tools.previews import embedded_previews, jpeg_size
from lumilio.tools.process import output_of
from tests.conformance.painting import TURNS, thumbnail
from tests.conformance.reference import Sample, samples

MIB = 1024 * 1024
BLUE, RED = (40, 60, 160), (160, 60, 40)


@pytest.fixture
async def pool() -> AsyncIterator[DecoderPool]:
    async with DecoderPool(size=1) as running:
        yield running


def jpeg(picture: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def plain(size: tuple[int, int], colour: tuple[int, int, int] = RED) -> Image.Image:
    return Image.new("RGB", size, colour)


def standing(size: tuple[int, int]) -> Image.Image:
    """Red, with a white upper half, when it is upright."""
    picture = plain(size)
    picture.paste((255, 255, 255), (0, 0, size[0], size[1] // 2))
    return picture


async def embed(path: Path, preview: bytes, *, photo: bytes | None = None, orientation: int | None = None) -> Path:
    """Have exiftool put a thumbnail into a photo, as cameras do."""
    if photo is not None:
        path.write_bytes(photo)
    source = path.with_name("thumbnail")
    source.write_bytes(preview)
    turn = [f"-IFD0:Orientation#={orientation}"] if orientation else []
    arguments = ["-q", "-overwrite_original", f"-ThumbnailImage<={source}", *turn]
    await output_of("exiftool", "-config", "", *arguments, str(path), install="")
    return path


def cut(photo: Path, share: float = 0.5) -> Path:
    os.truncate(photo, int(photo.stat().st_size * share))
    return photo


def noisy(size: tuple[int, int]) -> Image.Image:
    """Blue, and of many bytes."""
    grain = np.random.default_rng(2026).integers(0, 40, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(grain + np.array([20, 40, 140], np.uint8))


def is_red(rendition: Rendition) -> bool:
    red, _, blue = np.asarray(thumbnail(rendition, 150).convert("RGB"), dtype=float).mean((0, 1))
    return bool(red > blue)


async def test_of_a_photo_that_ends_early_its_thumbnail_is_shown(pool: DecoderPool, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    cut(await embed(path, jpeg(plain((160, 107))), photo=jpeg(noisy((1200, 800)))))

    with pytest.raises(MediaDamaged):
        await pool.run(process_photo, path, timeout=30)
    rendition = await pool.run(render_placeholder, path, timeout=30)

    assert rendition is not None
    assert rendition.source is RenderSource.EMBEDDED_PREVIEW
    assert (rendition.width, rendition.height) == (1200, 800)
    assert tuple(each.size for each in rendition.thumbnails) == THUMBNAIL_SIZES
    assert thumbnail(rendition, 1024).size == (160, 107)
    assert is_red(rendition)
    assert rendition.thumbhash
    assert rendition.perceptual_hash is not None


async def test_of_a_photo_over_the_budget_its_thumbnail_is_shown_by_the_same_child(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    await embed(path, jpeg(plain((160, 107))), photo=jpeg(plain((6000, 4000), BLUE), progressive=True))

    async with DecoderPool(size=1, limits=DecoderLimits(memory=64 * MIB)) as pool:
        with pytest.raises(MediaOverBudget, match=r"6000 x 4000 pixels .* the limit is 53 MiB"):
            await pool.run(process_photo, path, timeout=30)
        rendition = await pool.run(render_placeholder, path, timeout=30)

    assert rendition is not None
    assert is_red(rendition)
    assert (rendition.width, rendition.height) == (6000, 4000)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("turned", [False, True], ids=["as it lies", "turned already"])
async def test_it_stands_upright(tmp_path: Path, orientation: int, turned: bool) -> None:
    """A preview of the photo's own shape cannot be told from one that was turned by 180° or mirrored."""
    upright = standing((120, 80))
    lies = upright.transpose(TURNS[orientation]) if orientation > 1 else upright
    path = tmp_path / "photo.jpg"
    await embed(
        path,
        jpeg(upright if turned and orientation >= 5 else lies),
        orientation=orientation,
        photo=jpeg(noisy((800, 1200) if orientation >= 5 else (1200, 800))),
    )

    rendition = render_placeholder(path)

    assert rendition is not None
    assert (rendition.width, rendition.height) == (1200, 800)
    pixels = np.asarray(thumbnail(rendition, 150).convert("RGB"), dtype=float)
    assert pixels.shape[:2] == (80, 120)
    assert pixels[:30].min() > 200
    assert pixels[50:, :, 2].max() < 100


def with_pictures_behind(photo: bytes, *pictures: tuple[int, bytes]) -> bytes:
    """A Multi-Picture file (CIPA DC-007): pictures of some kind behind the photo, and a directory of them in it."""
    marker, start = 4 + 4, 2 + 4 + 4  # of the segment and its name; the offsets count from behind the name
    count = len(pictures) + 1
    head = b"II*\0" + struct.pack("<IH", 8, 3)
    head += struct.pack("<HHI4s", 0xB000, 7, 4, b"0100") + struct.pack("<HHII", 0xB001, 4, 1, count)
    head += struct.pack("<HHIII", 0xB002, 7, 16 * count, 8 + 2 + 36 + 4, 0)
    entries, place = struct.pack("<IIIHH", 0x030000, 0, 0, 0, 0), marker + len(head) + 16 * count + len(photo) - start
    for kind, picture in pictures:
        entries += struct.pack("<IIIHH", kind, len(picture), place, 0, 0)
        place += len(picture)
    segment = b"MPF\0" + head + entries
    whole = b"\xff\xd8\xff\xe2" + struct.pack(">H", len(segment) + 2) + segment + photo[2:]
    return whole + b"".join(picture for _, picture in pictures)


LARGE_THUMBNAIL, GAIN_MAP = 0x010001, 0


async def test_the_largest_preview_is_chosen_and_a_gain_map_is_none(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    await embed(path, jpeg(plain((160, 107), BLUE)), photo=jpeg(noisy((1200, 800))))
    behind = (GAIN_MAP, jpeg(plain((600, 400), BLUE))), (LARGE_THUMBNAIL, jpeg(plain((320, 213))))
    path.write_bytes(with_pictures_behind(path.read_bytes(), *behind))

    rendition = render_placeholder(path)

    assert rendition is not None
    assert thumbnail(rendition, 1024).size == (320, 213)
    assert is_red(rendition)


async def test_a_preview_that_is_damaged_makes_room_for_a_smaller_one(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    await embed(path, jpeg(plain((160, 107))), photo=jpeg(noisy((1200, 800))))
    large = jpeg(noisy((320, 213)))
    path.write_bytes(with_pictures_behind(path.read_bytes(), (LARGE_THUMBNAIL, large)))
    cut_short = path.read_bytes().replace(large[2000:], bytes(len(large) - 2000))
    path.write_bytes(cut_short.replace(large[:2000], large[:400] + bytes(1600)))
    with path.open("rb") as file:
        assert [jpeg_size(each) for each in embedded_previews(file).jpegs] == [(320, 213), (160, 107)]

    rendition = render_placeholder(path)

    assert rendition is not None
    assert is_red(rendition)


@pytest.mark.parametrize(("size", "is_shown"), [((64, 20), True), ((63, 63), False)])
async def test_a_preview_that_shows_nothing_is_none(tmp_path: Path, size: tuple[int, int], is_shown: bool) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(noisy((300, 200))))

    assert (render_placeholder(await embed(path, jpeg(plain(size)))) is not None) == is_shown


async def test_of_a_photo_that_is_no_jpeg_the_size_stays_unknown(tmp_path: Path) -> None:
    described = await embed(tmp_path / "described.jpg", jpeg(plain((160, 107))), photo=jpeg(plain((300, 200), BLUE)))
    with Image.open(described) as image:
        exif = image.info["exif"]
    path = tmp_path / "photo.heic"
    plain((2400, 1600), BLUE).save(path, "HEIF", exif=exif)

    async with DecoderPool(size=1, limits=DecoderLimits(memory=64 * MIB)) as pool:
        with pytest.raises(MediaOverBudget, match="2400 x 1600 pixels"):
            await pool.run(process_photo, path, timeout=30)
        rendition = await pool.run(render_placeholder, path, timeout=30)

    assert rendition is not None
    assert is_red(rendition)
    assert (rendition.width, rendition.height) == (None, None)


def test_what_holds_no_preview_has_no_placeholder(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"hello", bytes(5000), jpeg(plain((300, 200))))):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(content)

        assert render_placeholder(path) is None


def test_a_file_that_is_gone_and_an_exiftool_that_is_missing_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StorageError):
        render_placeholder(tmp_path / "gone.jpg")
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(plain((300, 200))))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissing):
        render_placeholder(path)


CAMERAS = ("DCP_4385", "DSC00007", "DSCN0870", "DSC_0003", "HPIM0043", "IMG_4203", "POL_0136", "_MG_9381")
"""One of each make, with a preview, as far as the corpus is there."""


@pytest.mark.parametrize(
    "sample",
    [each for each in samples() if each.name.removeprefix("jpeg/digicamcor-").removesuffix(".JPG") in CAMERAS],
    ids=lambda each: each.name,
)
async def test_the_preview_of_a_camera_shows_the_photo_that_is_lost(
    pool: DecoderPool, tmp_path: Path, sample: Sample
) -> None:
    """Measured on 60 files: a distance of 2 between the hashes as a rule, 18 where the preview has black bars."""
    path = tmp_path / "cut.jpg"
    path.write_bytes(sample.path.read_bytes())
    whole = process_photo(sample.path)

    rendition = await pool.run(render_placeholder, cut(path, 0.8), timeout=30)

    assert rendition is not None
    assert whole.perceptual_hash is not None
    assert rendition.perceptual_hash is not None
    assert (whole.perceptual_hash ^ rendition.perceptual_hash).bit_count() <= 18
    assert (rendition.width, rendition.height) == (whole.width, whole.height)
