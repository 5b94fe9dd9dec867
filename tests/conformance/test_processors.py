"""What every processor owes: the right size, the right picture, thumbnails of the agreed sizes, honest errors."""

import io
import math
import random
import struct
import zlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from lumilio.errors import MediaDamaged, MediaError, MediaOverBudget
from lumilio.media import PROCESSORS, processor_for
from lumilio.media.detect import sniff
from lumilio.media.facts import facts_from_exif
from lumilio.media.formats import FORMATS
from lumilio.model import THUMBNAIL_SIZES, Rendition
from tests.conformance.reference import Sample, pictures, psnr, rendered

PICTURES = list(pictures())
SHRINKING = 35.0
"""Decibels that a thumbnail may differ from the reference before it is encoded: measured, the worst file has 36 and
the average 48 (150 px) to 76 (1024 px)."""


def thumbnail(rendition: Rendition, size: int) -> Image.Image:
    (found,) = (each for each in rendition.thumbnails if each.size == size)
    image = Image.open(io.BytesIO(found.data), formats=["WEBP"])
    assert image.size == (found.width, found.height)
    return image


def both(*losses: float) -> float:
    """Decibels of independent losses together: their squares add up."""
    return -10 * math.log10(sum(10 ** (-loss / 10) for loss in losses))


def encoded(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80, method=2)
    return Image.open(buffer)


def photograph(width: int, height: int) -> Image.Image:
    """A picture with no symmetry, so that every way to turn it shows."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return Image.fromarray((np.stack([x, y, (x * y + x**2) / 2], axis=-1) * 255).astype(np.uint8), "RGB")


def render(path: Path) -> Rendition:
    media_type = sniff(path.read_bytes())
    assert media_type is not None
    processor = processor_for(media_type)
    assert processor is not None
    return processor(path)


def test_every_processor_is_of_a_known_format() -> None:
    assert set(PROCESSORS) <= set(FORMATS)


@pytest.mark.parametrize("sample", PICTURES, ids=lambda sample: sample.name)
def test_a_real_picture_gets_thumbnails_that_look_like_it(sample: Sample) -> None:
    rendition = render(sample.path)
    facts = facts_from_exif(
        sample.exif, sniff(sample.path.read_bytes()), name=sample.path.name, modified=datetime(2026, 1, 1, tzinfo=UTC)
    )

    assert rendition.width is not None
    assert rendition.height is not None
    assert (rendition.width, rendition.height) == (facts.width, facts.height)
    assert sample.pillow is not None
    assert {rendition.width, rendition.height} == {*sample.pillow[2:4]}
    assert tuple(each.size for each in rendition.thumbnails) == THUMBNAIL_SIZES
    for size in THUMBNAIL_SIZES:
        image = thumbnail(rendition, size)
        longest = max(rendition.width, rendition.height)
        assert max(image.size) == min(size, longest)
        scale = max(image.size) / longest
        assert image.size == pytest.approx((rendition.width * scale, rendition.height * scale), abs=1)
        reference = rendered(sample.path, image.size)
        assert psnr(image, reference) >= both(psnr(encoded(reference), reference), SHRINKING) - 0.2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(10))
def test_a_picture_stands_upright_in_whatever_way_it_was_stored(tmp_path: Path, kind: str, orientation: int) -> None:
    upright = photograph(1500, 1000)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned"
    stored.save(path, kind, exif=exif, quality=95)

    rendition = render(path)

    assert (rendition.width, rendition.height) == upright.size
    for size in THUMBNAIL_SIZES:
        image = thumbnail(rendition, size)
        assert psnr(image, upright.resize(image.size)) >= 35
        assert "exif" not in image.info


def test_colours_of_a_wide_profile_are_converted_to_srgb(tmp_path: Path) -> None:
    """Red and green change places in this profile, so that ignoring it is seen at once."""
    path = tmp_path / "swapped.jpg"
    photograph(600, 400).save(path, "JPEG", quality=95, icc_profile=_swapped_profile())

    image = thumbnail(render(path), 300)

    assert psnr(image, rendered(path, image.size)) >= 35
    assert psnr(image, photograph(*image.size)) < 20
    assert "icc_profile" not in image.info


def _swapped_profile() -> bytes:
    """sRGB with the colourants of red and green exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", profile, 128)
    rows = {bytes(profile[132 + 12 * n : 136 + 12 * n]): 136 + 12 * n for n in range(count)}
    red, green = rows[b"rXYZ"], rows[b"gXYZ"]
    profile[red : red + 8], profile[green : green + 8] = profile[green : green + 8], profile[red : red + 8]
    start = struct.unpack_from(">I", profile, rows[b"desc"])[0]
    profile[:] = bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
    assert start > 0
    return bytes(profile)


def test_a_broken_colour_profile_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    photograph(200, 100).save(path, "PNG", icc_profile=b"no profile at all")

    image = thumbnail(render(path), 150)

    assert psnr(image, photograph(*image.size)) >= 35


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_of_every_kind_of_pixel_is_shown(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "picture.png"
    plain = photograph(400, 300)
    picture = (
        Image.fromarray(np.asarray(plain.convert("L"), dtype=np.uint16) * 257)
        if mode == "I;16"
        else plain.convert(mode)
    )
    picture.save(path, "PNG")

    image = thumbnail(render(path), 300)

    expected = plain.convert("L") if mode in ("I;16", "LA", "1", "L") else plain
    assert image.size == (300, 225)
    assert psnr(image, expected.resize(image.size)) >= (8 if mode == "1" else 25)


def test_a_cmyk_jpeg_has_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "print.jpg"
    photograph(400, 300).convert("CMYK").save(path, "JPEG", quality=95)

    image = thumbnail(render(path), 300)

    assert psnr(image, photograph(300, 225)) >= 30


def test_transparency_survives(tmp_path: Path) -> None:
    path = tmp_path / "hole.png"
    picture = photograph(400, 300).convert("RGBA")
    picture.paste((0, 0, 0, 0), (100, 100, 300, 200))
    picture.save(path, "PNG")

    image = thumbnail(render(path), 300).convert("RGBA")

    assert image.getpixel((150, 112))[3] < 10  # type: ignore[index]
    assert image.getpixel((10, 10))[3] > 245  # type: ignore[index]


def test_an_animation_shows_its_first_frame(tmp_path: Path) -> None:
    path = tmp_path / "film.webp"
    first, second = Image.new("RGB", (64, 48), "red"), Image.new("RGB", (64, 48), "blue")
    first.save(path, "WEBP", save_all=True, append_images=[second], lossless=True)

    pixel = thumbnail(render(path), 150).convert("RGB").getpixel((32, 24))

    assert isinstance(pixel, tuple)
    assert pixel[0] > 240
    assert pixel[2] < 15


def test_one_pixel_and_a_thread_of_pixels_have_thumbnails(tmp_path: Path) -> None:
    for size in ((1, 1), (5000, 1), (1, 3000)):
        path = tmp_path / f"{size[0]}x{size[1]}.png"
        Image.new("RGB", size, "green").save(path, "PNG")
        rendition = render(path)
        assert (rendition.width, rendition.height) == size
        assert [max(each.width, each.height) for each in rendition.thumbnails] == [
            min(max(size), each) for each in THUMBNAIL_SIZES
        ]


def test_a_truncated_picture_is_damaged_and_not_half_grey(tmp_path: Path) -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        whole = io.BytesIO()
        Image.effect_noise((800, 600), 80).convert("RGB").save(whole, kind)
        path = tmp_path / f"cut.{kind}"
        path.write_bytes(whole.getvalue()[: whole.tell() * 2 // 3])
        with pytest.raises(MediaDamaged):
            PROCESSORS["jpeg"](path)


def test_a_picture_cut_or_changed_anywhere_is_shown_or_refused_as_media_error(tmp_path: Path) -> None:
    chance = random.Random(2026)
    sound = {}
    for kind in ("JPEG", "PNG", "WEBP"):
        buffer = io.BytesIO()
        photograph(160, 120).save(buffer, kind, exif=Image.Exif(), icc_profile=_swapped_profile())
        sound[kind] = buffer.getvalue()
    path = tmp_path / "hostile"
    for kind, content in sound.items():
        for _ in range(150):
            bytes_now = bytearray(content[: chance.randrange(len(content))] if chance.random() < 0.3 else content)
            for _ in range(chance.randrange(8)):
                if bytes_now:
                    bytes_now[chance.randrange(len(bytes_now))] = chance.randrange(256)
            path.write_bytes(bytes_now)
            try:
                rendition = PROCESSORS[kind.lower()](path)
            except MediaError as error:
                assert str(error), kind
            else:
                assert len(rendition.thumbnails) == len(THUMBNAIL_SIZES)


def test_what_is_empty_or_no_picture_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "nothing.jpg"
    for content in (b"", b"\xff\xd8\xff", b"hello", b"GIF89a" + bytes(100), b"<svg/>", bytes(4096)):
        path.write_bytes(content)
        with pytest.raises(MediaDamaged):
            PROCESSORS["jpeg"](path)


def test_formats_of_other_processors_are_not_decoded_by_this_one(tmp_path: Path) -> None:
    for kind in ("GIF", "BMP", "TIFF", "PPM", "ICO", "EPS"):
        path = tmp_path / "picture.jpg"
        photograph(64, 48).save(path, kind)
        with pytest.raises(MediaDamaged):
            PROCESSORS["jpeg"](path)


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, body in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1_000_000))), (b"IEND", b"")):
            file.write(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)))

    with pytest.raises(MediaOverBudget, match=r"60000 x 60000 pixels needs about \d+ MiB"):
        render(path)


def test_a_webp_is_charged_for_what_its_decoder_takes(tmp_path: Path) -> None:
    path = tmp_path / "large.webp"
    Image.new("RGB", (8000, 6000)).save(path, "WEBP", method=0)

    with pytest.raises(MediaOverBudget):
        render(path)


def test_a_jpeg_of_a_hundred_megapixels_fits_because_it_is_scaled_while_decoding(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.new("L", (12_000, 9_000), 128).save(path, "JPEG")

    rendition = render(path)

    assert (rendition.width, rendition.height) == (12_000, 9_000)
