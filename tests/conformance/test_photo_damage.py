"""Photos that lie, end early or want too much: refused as the file's own fault, and shown never by half."""

import io
import random
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from PIL import Image

from lumilio.errors import MediaDamaged, MediaError, MediaOverBudget, StorageError
from lumilio.media.photo import process_photo
from lumilio.model import THUMBNAIL_SIZES, RenderSource
from lumilio.tools import pillow_formats
from lumilio.tools.imaging import render_bytes
from tests.conformance.painting import photograph, swapped_profile

KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "HEIF", "AVIF", "JXL")
OPTIONS: Mapping[str, Mapping[str, object]] = {
    "AVIF": {"speed": 10},
    "JXL": {"effort": 1},
    "TIFF": {"compression": "tiff_lzw"},
}
BY_LIBVIPS = ("PNG", "TIFF", "WEBP")


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **OPTIONS.get(kind, {}))
    return buffer.getvalue()


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 80).convert("RGB")


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_picture_is_damaged_and_not_half_grey(tmp_path: Path, kind: str) -> None:
    whole = encoded(noise(400, 300), kind)
    for share in (0.1, 0.5, 0.9):
        path = tmp_path / "cut"
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(MediaDamaged, match=r"the picture cannot be decoded: \w+"):
            process_photo(path)


def test_a_reason_is_one_plain_line_with_the_library_and_its_words_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pillow_formats, "_VIPS_ABOVE", 0)
    path = tmp_path / "cut"
    for kind, library in (("HEIF", "libheif"), ("PNG", "libvips"), ("TIFF", "libvips")):
        whole = encoded(noise(400, 300), kind)
        for share in (0.5, 0.9):
            path.write_bytes(whole[: int(len(whole) * share)])
            with pytest.raises(MediaDamaged) as refused:
                process_photo(path)
            reason = str(refused.value)
            assert reason.isprintable()
            assert len(reason) <= 300
            assert f"its data are damaged or end early ({library}: " in reason


@pytest.mark.parametrize("kind", BY_LIBVIPS)
def test_a_truncated_large_picture_is_damaged_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(pillow_formats, "_VIPS_ABOVE", 0)
    test_a_truncated_picture_is_damaged_and_not_half_grey(tmp_path, kind)


def hostile(kind: str, count: int) -> Iterator[bytes]:
    """A sound picture with some bytes changed, or cut, or both."""
    chance = random.Random(2026)
    image = photograph(160, 120)
    if kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        image.info["icc_profile"] = swapped_profile()
    sound = encoded(image, kind)
    for _ in range(count):
        content = bytearray(sound[: chance.randrange(len(sound))] if chance.random() < 0.3 else sound)
        for _ in range(chance.randrange(8)):
            if content:
                content[chance.randrange(min(len(content), chance.choice((200, 1 << 30))))] = chance.randrange(256)
        yield bytes(content)


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_cut_or_changed_anywhere_is_shown_or_refused_as_media_error(tmp_path: Path, kind: str) -> None:
    _assert_shown_or_refused(tmp_path / "hostile", kind)


@pytest.mark.parametrize("kind", BY_LIBVIPS)
def test_so_is_one_that_libvips_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(pillow_formats, "_VIPS_ABOVE", 0)
    _assert_shown_or_refused(tmp_path / "hostile", kind)


def _assert_shown_or_refused(path: Path, kind: str) -> None:
    for content in hostile(kind, 120):
        path.write_bytes(content)
        try:
            rendition = process_photo(path)
        except MediaError as error:
            assert str(error), kind
        else:
            assert len(rendition.thumbnails) == len(THUMBNAIL_SIZES)


def test_what_is_empty_or_no_picture_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "nothing.jpg"
    heads = (b"", b"\xff\xd8\xff", b"hello", b"GIF89a" + bytes(100), b"<svg/>", bytes(4096), b"RIFF\0\0\0\0WEBP")
    for content in (*heads, b"\xff\x0a", b"\x00\x00\x00\x18ftypheic" + bytes(100), b"II*\x00" + bytes(8), b"BM"):
        path.write_bytes(content)
        with pytest.raises(MediaDamaged):
            process_photo(path)


def test_formats_that_nobody_asked_for_are_not_decoded(tmp_path: Path) -> None:
    for kind in ("PPM", "ICO", "EPS", "TGA", "PCX", "SGI", "JPEG2000", "ICNS", "DDS", "PDF"):
        path = tmp_path / "picture.jpg"
        photograph(64, 64).save(path, kind)
        with pytest.raises(MediaDamaged, match="not a picture of a known format"):
            process_photo(path)


def test_an_embedded_picture_is_of_the_formats_that_are_embedded() -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        data = encoded(photograph(64, 48), kind)
        assert render_bytes(data, orientation=None, source=RenderSource.COVER, size=None).width == 64
    for kind in ("TIFF", "HEIF", "AVIF", "JXL"):
        with pytest.raises(MediaDamaged):
            render_bytes(encoded(photograph(64, 48), kind), orientation=None, source=RenderSource.COVER, size=None)


def test_a_file_that_is_not_there_is_no_fault_of_its_content(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        process_photo(tmp_path / "gone.jpg")


def png_bomb(side: int) -> bytes:
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 1)),
        (b"IDAT", zlib.compress(bytes(100_000))),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


def patched(kind: str, size: tuple[int, int], fields: dict[bytes, bytes]) -> bytes:
    """A small picture of that size whose header says something else."""
    content = encoded(Image.new("RGB", size), kind)
    for old, new in fields.items():
        assert old in content
        content = content.replace(old, new)
    return content


BOMBS = {
    "PNG": png_bomb(60_000),
    "GIF": patched("GIF", (0x123, 0x145), {struct.pack("<HH", 0x123, 0x145): struct.pack("<HH", 65000, 65000)}),
    "BMP": patched("BMP", (0x123, 0x145), {struct.pack("<ii", 0x123, 0x145): struct.pack("<ii", 60000, 60000)}),
    "WEBP": patched("WEBP", (0x123, 0x145), {struct.pack("<HH", 0x123, 0x145): struct.pack("<HH", 16383, 16383)})[
        :4096
    ],
    "HEIF": patched("HEIF", (320, 208), {struct.pack(">II", 320, 208): struct.pack(">II", 30_000, 30_000)}),
    "AVIF": patched("AVIF", (320, 208), {struct.pack(">II", 320, 208): struct.pack(">II", 30_000, 30_000)}),
    "JXL": b"\xff\x0a" + ((29_999 << 3 | 2 << 1) | 1 << 21).to_bytes(40, "little"),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_by_its_header(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[kind])

    with warnings.catch_warnings(), pytest.raises(MediaError) as refused:
        process_photo(path)

    if kind not in ("WEBP", "AVIF"):  # a lossy WebP is never whole in memory; libavif compares its two headers itself
        assert isinstance(refused.value, MediaOverBudget)
        assert " pixels needs about " in str(refused.value)
