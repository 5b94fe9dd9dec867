"""Photos of every format and of every kind of pixel: upright, in their colours, at their size."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import pyvips
from PIL import Image, ImageCms

from lumilio.model import THUMBNAIL_SIZES, RenderSource
from lumilio.tools import pillow_formats
from lumilio.tools.colour import in_srgb
from lumilio.tools.decoding import CodePoints
from lumilio.tools.imaging import render_bytes, render_pixels
from tests.conformance.painting import TURNS, photograph, render, shares, swapped_profile, through, thumbnail
from tests.conformance.reference import CORPUS, FIXTURES, psnr, rendered

FORMATS: Mapping[str, Mapping[str, object]] = {
    "JPEG": {"quality": 95},
    "PNG": {"compress_level": 1},
    "WEBP": {"quality": 95, "method": 0},
    "TIFF": {},
    "HEIF": {"quality": 90},
    "AVIF": {"quality": 90, "speed": 10},
    "JXL": {"quality": 95, "effort": 1},
}


@pytest.fixture
def by_libvips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small pictures decoded as only large ones are."""
    monkeypatch.setattr(pillow_formats, "_VIPS_ABOVE", 0)


def p3_profile() -> bytes:
    return bytes(pyvips.Operation.call("profile_load", "p3"))


def deep(width: int, height: int) -> npt.NDArray[np.uint16]:
    return (shares(width, height) * 65535 + 0.5).astype(np.uint16)


def write_deep(path: Path, pixels: npt.NDArray[np.uint16], *, profile: bytes | None = None) -> None:
    """PNG or TIFF of 16 bits a channel, which Pillow does not write."""
    height, width, bands = pixels.shape
    image = pyvips.Image.new_from_memory(pixels.tobytes(), width, height, bands, "ushort")
    image = image.copy(interpretation="grey16" if bands < 3 else "rgb16")
    if profile:
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    image.write_to_file(str(path))


def oriented(path: Path, kind: str, orientation: int) -> Image.Image:
    """Write a file that is to be shown as the picture that is returned."""
    upright = photograph(600, 400)
    stored = upright.transpose(TURNS[orientation]) if orientation in TURNS else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    # libjxl obeys the orientation of the codestream, which its encoder is not told.
    stored.save(path, kind, exif=exif.tobytes() if kind in ("HEIF", "JXL") else exif, **FORMATS[kind])
    return stored if kind == "JXL" else upright


def assert_shows(path: Path, expected: Image.Image, *, decibels: float = 34) -> None:
    rendition = render(path)

    assert (rendition.width, rendition.height) == expected.size
    assert rendition.source is RenderSource.ORIGINAL
    for size in THUMBNAIL_SIZES:
        image = thumbnail(rendition, size)
        assert psnr(image, expected.resize(image.size)) >= decibels
        assert not {"exif", "icc_profile", "xmp"} & set(image.info)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_upright_in_whatever_way_it_was_stored(tmp_path: Path, kind: str, orientation: int) -> None:
    upright = oriented(tmp_path / "turned", kind, orientation)

    assert_shows(tmp_path / "turned", upright)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_large_picture_stands_upright_too(tmp_path: Path, by_libvips: None, kind: str, orientation: int) -> None:
    upright = oriented(tmp_path / "turned", kind, orientation)

    assert_shows(tmp_path / "turned", upright)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(tmp_path: Path, orientation: int) -> None:
    upright = oriented(tmp_path / "odd", "JPEG", orientation)

    assert_shows(tmp_path / "odd", upright)


def test_a_jpeg_packed_into_jpeg_xl_stands_upright(tmp_path: Path) -> None:
    upright = oriented(tmp_path / "turned.jpg", "JPEG", 6)
    with Image.open(tmp_path / "turned.jpg") as jpeg:
        jpeg.save(tmp_path / "turned.jxl", "JXL", lossless_jpeg=True)

    assert_shows(tmp_path / "turned.jxl", upright)


@pytest.mark.parametrize("kind", FORMATS)
def test_colours_of_a_wide_profile_are_converted_to_srgb(tmp_path: Path, kind: str) -> None:
    path, picture, profile = tmp_path / "wide", photograph(600, 400), swapped_profile()
    if kind == "JXL":  # its plugin writes no profile; a JPEG in it has one
        picture.save(tmp_path / "wide.jpg", quality=95, icc_profile=profile)
        with Image.open(tmp_path / "wide.jpg") as jpeg:
            jpeg.save(path, "JXL", lossless_jpeg=True)
    else:
        picture.save(path, kind, icc_profile=profile, **FORMATS[kind])

    assert_shows(path, through(picture, profile))
    assert psnr(through(picture, profile), picture) < 20


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_colours_of_a_large_picture_are_converted_too(tmp_path: Path, by_libvips: None, kind: str) -> None:
    picture = photograph(600, 400)
    picture.save(tmp_path / "wide", kind, icc_profile=p3_profile(), **FORMATS[kind])

    assert_shows(tmp_path / "wide", through(picture, p3_profile()))


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_display_p3_is_known_by_the_code_points_of_a_container(tmp_path: Path, kind: str) -> None:
    picture, path = photograph(600, 400), tmp_path / "wide"
    if kind == "HEIF":
        points = {"color_primaries": 12, "transfer_characteristics": 13, "matrix_coefficients": 6, "full_range_flag": 1}
        picture.save(path, kind, quality=90, **points)
    else:
        picture.save(path, kind, quality=90, speed=10)
        content = path.read_bytes()
        assert content.count(b"nclx\x00\x01") == 1
        path.write_bytes(content.replace(b"nclx\x00\x01", b"nclx\x00\x0c"))

    assert_shows(path, through(picture, p3_profile()))


@pytest.mark.parametrize("transfer", [16, 18])
def test_high_dynamic_range_is_brought_into_what_a_screen_shows(transfer: int) -> None:
    ramp = Image.fromarray(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2))

    shown = np.asarray(in_srgb(ramp, None, CodePoints(primaries=9, transfer=transfer)))[0, :, 0].astype(int)

    assert shown[0] == 0
    assert (np.diff(shown) >= 0).all()
    white = {16: 148, 18: 191}[transfer]  # 203 candelas a square metre: 58 % of PQ, 75 % of HLG (ITU-R BT.2408)
    assert 220 <= shown[white] <= 250
    assert shown[255] > shown[white]


@pytest.mark.parametrize(("kind", "large"), [("JPEG", False), ("TIFF", False), ("TIFF", True)])
def test_inks_are_converted_by_the_profile_of_their_printer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, large: bool
) -> None:
    monkeypatch.setattr(pillow_formats, "_VIPS_ABOVE", 0 if large else 1 << 30)
    profile = bytes(pyvips.Operation.call("profile_load", "cmyk"))
    picture = photograph(600, 400).convert("CMYK")
    picture.save(tmp_path / "print", kind, icc_profile=profile, **FORMATS[kind])

    assert_shows(tmp_path / "print", through(picture, profile))
    assert psnr(through(picture, profile), picture.convert("RGB")) < 25


def test_a_broken_colour_profile_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "odd.png"
    photograph(200, 100).save(path, "PNG", icc_profile=b"no profile at all")

    assert_shows(path, photograph(200, 100))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_sixteen_bits_a_channel_are_scaled_to_eight(tmp_path: Path, suffix: str, bands: int) -> None:
    path, colours = tmp_path / f"deep.{suffix}", deep(400, 300)
    opaque = np.full((300, 400, 1), 65535, np.uint16)
    grey = colours.mean(axis=2, keepdims=True).astype(np.uint16)
    pixels = {1: grey, 2: np.dstack([grey, opaque]), 3: colours, 4: np.dstack([colours, opaque])}[bands]
    write_deep(path, pixels)

    eight = (pixels / 257).astype(np.uint8)
    assert_shows(path, Image.fromarray(eight[..., 0]) if bands < 3 else Image.fromarray(eight[..., :3]))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_in_display_p3_are_right_when_libvips_reads_them(
    tmp_path: Path, by_libvips: None, suffix: str
) -> None:
    path = tmp_path / f"deep.{suffix}"
    write_deep(path, deep(600, 400), profile=p3_profile())

    assert_shows(path, through(photograph(600, 400), p3_profile()))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("depth", ["L", "I;16"])
def test_a_tiff_whose_zero_is_white_is_no_negative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, depth: str, large: bool
) -> None:
    monkeypatch.setattr(pillow_formats, "_VIPS_ABOVE", 0 if large else 1 << 30)
    path, grey = tmp_path / "scan.tif", photograph(400, 300).convert("L")
    stored = grey if depth == "L" else Image.fromarray(np.asarray(grey, dtype=np.uint16) * 257)
    stored.save(path, "TIFF")
    black_is_zero, white_is_zero = (struct.pack("<HHII", 262, 3, 1, meaning) for meaning in (1, 0))
    content = path.read_bytes()
    assert content.count(black_is_zero) == 1
    path.write_bytes(content.replace(black_is_zero, white_is_zero))

    assert_shows(path, grey.point(lambda value: 255 - value))


MODES = [
    *(("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("TIFF", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "F")),
    *(("GIF", mode) for mode in ("1", "L", "P")),
    *(("BMP", mode) for mode in ("1", "L", "P", "RGB", "RGBA")),
    ("JPEG", "L"),
    ("JPEG", "CMYK"),
    ("WEBP", "RGBA"),
    ("HEIF", "L"),
    ("HEIF", "RGBA"),
    ("AVIF", "L"),
    ("AVIF", "RGBA"),
    ("JXL", "L"),
    ("JXL", "LA"),
    ("JXL", "RGBA"),
]


@pytest.mark.parametrize(("kind", "mode"), MODES)
def test_every_kind_of_pixel_is_shown(tmp_path: Path, kind: str, mode: str) -> None:
    expected = _write_mode(tmp_path / "picture", kind, mode)

    assert_shows(tmp_path / "picture", expected, decibels={"1": 6, "P": 24}.get(mode, 28))


@pytest.mark.parametrize(("kind", "mode"), [each for each in MODES if each[0] in ("PNG", "TIFF", "WEBP")])
def test_every_kind_of_pixel_is_shown_of_a_large_picture(
    tmp_path: Path, by_libvips: None, kind: str, mode: str
) -> None:
    expected = _write_mode(tmp_path / "picture", kind, mode)

    assert_shows(tmp_path / "picture", expected, decibels={"1": 6, "P": 24}.get(mode, 28))


def _write_mode(path: Path, kind: str, mode: str) -> Image.Image:
    plain = photograph(400, 300)
    grey = plain.convert("L")
    picture: Image.Image | None
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(grey, dtype=np.uint16) * 257)
    elif mode == "F":
        picture = Image.fromarray(np.asarray(grey, dtype=np.float32) / 255)
    elif mode == "LAB":
        source, target = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(plain, source, target, outputMode="LAB")
    else:
        picture = plain.convert(mode)
    assert picture is not None
    picture.save(path, kind, **(FORMATS.get(kind, {}) if kind != "PNG" else {}))
    return grey if mode in ("1", "L", "LA", "I;16", "F") else plain


def test_a_tiff_of_floating_colours_is_light(tmp_path: Path) -> None:
    """Pillow reads none, libvips takes them for scRGB: half of the light is 188 of 255."""
    path = tmp_path / "light.tif"
    image = pyvips.Image.black(64, 48, bands=3).cast("float") + 0.5
    image.copy(interpretation="scrgb").write_to_file(str(path))

    assert_shows(path, Image.new("RGB", (64, 48), (188, 188, 188)))


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_a_tiff_is_read_however_it_is_packed(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "packed.tif"
    photograph(400, 300).save(path, "TIFF", compression=compression)

    assert_shows(path, photograph(400, 300), decibels=30)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "HEIF", "AVIF", "JXL", "GIF"])
def test_transparency_survives(tmp_path: Path, kind: str) -> None:
    picture = photograph(400, 300).convert("RGBA")
    picture.paste((0, 0, 0, 0), (100, 100, 300, 200))
    picture.save(tmp_path / "hole", kind)

    image = thumbnail(render(tmp_path / "hole"), 300).convert("RGBA")

    assert image.getpixel((150, 112))[3] < 10  # type: ignore[index]
    assert image.getpixel((10, 10))[3] > 245  # type: ignore[index]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparency_survives_in_a_large_picture(tmp_path: Path, by_libvips: None, kind: str) -> None:
    test_transparency_survives(tmp_path, kind)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "AVIF", "MPO"])
def test_of_several_pictures_the_first_is_shown(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "film"
    first, second = Image.new("RGB", (64, 48), "red"), Image.new("RGB", (64, 48), "blue")
    first.save(path, kind, save_all=True, append_images=[second, second])

    rendition = render(path)
    pixel = thumbnail(rendition, 150).convert("RGB").getpixel((32, 24))

    assert (rendition.width, rendition.height) == (64, 48)
    assert isinstance(pixel, tuple)
    assert pixel[0] > 230
    assert pixel[2] < 25


def test_the_primary_picture_of_a_heif_is_shown(tmp_path: Path) -> None:
    first, second = photograph(64, 48), Image.new("RGB", (80, 60), "blue")
    first.save(tmp_path / "several", "HEIF", save_all=True, append_images=[second], primary_index=1)

    assert_shows(tmp_path / "several", second)


def test_one_pixel_and_a_thread_of_pixels_have_thumbnails(tmp_path: Path) -> None:
    for kind in ("PNG", "TIFF", "GIF"):
        for size in ((1, 1), (5000, 1), (1, 3000)):
            path = tmp_path / f"{size[0]}x{size[1]}.{kind}"
            Image.new("RGB", size, "green").save(path, kind)
            rendition = render(path)
            assert (rendition.width, rendition.height) == size
            assert [max(each.width, each.height) for each in rendition.thumbnails] == [
                min(max(size), each) for each in THUMBNAIL_SIZES
            ]


def test_an_embedded_picture_is_turned_as_its_carrier_says() -> None:
    jpeg = (FIXTURES / "jpeg/digicamcor-POL_0136.JPG").read_bytes()
    expected = rendered(FIXTURES / "jpeg/digicamcor-POL_0136.JPG", (640, 480)).transpose(TURNS[8])

    rendition = render_bytes(jpeg, orientation=6, source=RenderSource.EMBEDDED_PREVIEW, size=(3000, 4000))

    assert (rendition.width, rendition.height) == (3000, 4000)
    assert rendition.source is RenderSource.EMBEDDED_PREVIEW
    image = thumbnail(rendition, 1024)
    assert image.size == (480, 640)
    assert psnr(image, expected) >= 30


def test_developed_pixels_are_turned_and_have_their_own_size() -> None:
    pixels = np.asarray(photograph(600, 400))

    rendition = render_pixels(pixels, orientation=8, source=RenderSource.HALF_SIZE, size=None)

    assert (rendition.width, rendition.height) == (400, 600)
    assert psnr(thumbnail(rendition, 1024), photograph(600, 400).transpose(TURNS[6])) >= 35


def test_likeness_is_that_of_the_upright_picture(tmp_path: Path) -> None:
    turned, upright = tmp_path / "turned", tmp_path / "upright"
    oriented(turned, "PNG", 6).save(upright, "PNG")

    one, other = render(turned), render(upright)

    assert one.thumbhash == other.thumbhash
    assert one.perceptual_hash == other.perceptual_hash
    assert one.thumbhash is not None
    assert len(one.thumbhash) <= 25


def test_the_containers_of_real_heic_files_turn_them_once() -> None:
    """These four show one picture and say how it is turned in EXIF and in the container."""
    paths = sorted(CORPUS.glob("heic/kimageform-orientation*.heic"))
    images = [thumbnail(render(path), 300) for path in paths]

    assert all(psnr(images[0], image) > 25 for image in images[1:])


def test_a_file_says_its_size_in_the_header_of_jpeg_xl_however_it_is_written(tmp_path: Path) -> None:
    from lumilio.tools.jxl import _header

    for size in ((8, 8), (256, 256), (257, 40), (600, 400), (1600, 900), (5000, 12)):
        for container in (False, True):
            path = tmp_path / "size.jxl"
            Image.new("RGB", size).save(path, "JXL", effort=1, use_container=container)
            with path.open("rb") as file:
                assert _header(file)[0] == size
