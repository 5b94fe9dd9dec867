"""Photos of a hundred megapixels and more, in a real decoder child with a real limit."""

import asyncio
import os
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pyvips
from PIL import Image

from lumilio.errors import MediaDamaged, MediaOverBudget
from lumilio.media.photo import process_photo
from lumilio.tools.decoders import DecoderLimits, DecoderPool
from tests.conformance.painting import photograph, thumbnail
from tests.integration.decoder_tasks import LOADED, MIB, keep_memory, own_pid

MEMORY = 768 * MIB
WIDTH, HEIGHT = 16_000, 12_500
COLOUR = bytes((30, 144, 255))


@pytest.fixture
async def pool() -> AsyncIterator[DecoderPool]:
    async with DecoderPool(size=1, limits=DecoderLimits(memory=MEMORY)) as running:
        yield running


def write_png(path: Path, width: int = WIDTH, height: int = HEIGHT) -> None:
    """Deflated once and repeated: a full flush makes a block stand for itself."""
    rows = (b"\0" + COLOUR * width) * 125
    deflate = zlib.compressobj(1, zlib.DEFLATED, -15)
    first = deflate.compress(rows) + deflate.flush(zlib.Z_FULL_FLUSH)
    check = 1
    for _ in range(height // 125):
        check = zlib.adler32(rows, check)
    body = b"\x78\x01" + first * (height // 125) + b"\x03\x00" + struct.pack(">I", check)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", body),
        (b"IEND", b""),
    )
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, content in chunks:
            file.write(struct.pack(">I", len(content)) + name + content)
            file.write(struct.pack(">I", zlib.crc32(name + content)))


def write_tiff(path: Path) -> None:
    """Uncompressed, in one strip, and sparse but for the header and the first row."""
    tags = {256: WIDTH, 257: HEIGHT, 258: 8, 259: 1, 262: 2, 273: 4096, 277: 3, 278: HEIGHT, 279: WIDTH * HEIGHT * 3}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    header = b"II*\x00" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    with path.open("wb") as file:
        file.write(header + bytes(4096 - len(header)) + COLOUR * WIDTH)
        os.truncate(file.fileno(), 4096 + WIDTH * HEIGHT * 3)


def write_jpeg(path: Path) -> None:
    Image.new("L", (WIDTH, HEIGHT), 128).save(path, "JPEG")


def write_progressive_jpeg(path: Path) -> None:
    Image.new("L", (WIDTH, HEIGHT), 128).save(path, "JPEG", progressive=True)


@pytest.mark.parametrize("write", [write_png, write_tiff, write_jpeg, write_progressive_jpeg])
async def test_two_hundred_megapixels_fit_because_they_are_shrunk_while_decoding(
    pool: DecoderPool, tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "large"
    await asyncio.to_thread(write, path)

    rendition = await pool.run(process_photo, path, timeout=60)

    assert (rendition.width, rendition.height) == (WIDTH, HEIGHT)
    assert thumbnail(rendition, 1024).size == (1024, 800)
    if write is write_png:
        pixel = thumbnail(rendition, 150).convert("RGB").getpixel((75, 60))
        assert isinstance(pixel, tuple)
        assert all(abs(one - other) < 8 for one, other in zip(pixel, COLOUR, strict=True))


async def test_a_panorama_fits_however_wide_its_rows_are(pool: DecoderPool, tmp_path: Path) -> None:
    path = tmp_path / "wide"
    await asyncio.to_thread(write_png, path, 100_000, 1_000)

    rendition = await pool.run(process_photo, path, timeout=60)

    assert (rendition.width, rendition.height) == (100_000, 1_000)
    assert thumbnail(rendition, 1024).size == (1024, 10)


async def test_a_large_webp_fits_because_it_is_shrunk_while_decoding(pool: DecoderPool, tmp_path: Path) -> None:
    path = tmp_path / "large"
    image = (pyvips.Image.black(10_000, 8_000, bands=3) + 128).cast("uchar").copy(interpretation="srgb")
    image.webpsave(str(path), Q=50, effort=0)

    rendition = await pool.run(process_photo, path, timeout=60)

    assert (rendition.width, rendition.height) == (10_000, 8_000)
    assert thumbnail(rendition, 1024).size == (1024, 819)


async def test_a_lossless_webp_as_large_is_refused_for_what_its_decoder_would_take(
    pool: DecoderPool, tmp_path: Path
) -> None:
    """Forty bytes hold 268 megapixels of one colour: no pixel needs a bit when a prefix code has one symbol."""
    size = 16_383 - 1 | (16_383 - 1) << 14
    no_transforms_no_cache_no_groups, one_symbol = 0b000, 0b0001
    bits, place = 0x2F | size << 8, 8 + 14 + 14 + 1 + 3
    bits |= no_transforms_no_cache_no_groups << place
    for number in range(5):
        bits |= one_symbol << place + 3 + 4 * number
    body = bits.to_bytes(20, "little")
    riff = b"WEBPVP8L" + struct.pack("<I", len(body)) + body
    path = tmp_path / "bomb.webp"
    path.write_bytes(b"RIFF" + struct.pack("<I", len(riff)) + riff)

    with pytest.raises(MediaOverBudget, match="16383 x 16383 pixels"):
        await pool.run(process_photo, path, timeout=60)


async def test_a_library_that_meets_the_limit_says_so_and_the_child_lives(tmp_path: Path) -> None:
    """The header lets expect less than the limit, of which something else has taken a part."""
    path = tmp_path / "picture"
    photograph(2000, 2000).save(path, "AVIF", quality=20, speed=10)

    async with DecoderPool(size=1, preload=LOADED, limits=DecoderLimits(memory=80 * MIB)) as pool:
        child = await pool.run(keep_memory, 60 * MIB, timeout=30)
        with pytest.raises(MediaOverBudget, match="more memory than a decoder may use"):
            await pool.run(process_photo, path, timeout=60)
        assert await pool.run(own_pid, timeout=30) == child


async def test_a_smaller_child_refuses_smaller_pictures_and_names_its_own_limit(
    pool: DecoderPool, tmp_path: Path
) -> None:
    path = tmp_path / "palette"
    Image.new("P", (1, 1)).save(path, "GIF")
    path.write_bytes(path.read_bytes().replace(struct.pack("<HH", 1, 1), struct.pack("<HH", 20_000, 10_000)))

    async with DecoderPool(size=1, limits=DecoderLimits(memory=256 * MIB)) as small:
        with pytest.raises(MediaOverBudget, match=r"needs about 222 MiB to decode; the limit is 213 MiB"):
            await small.run(process_photo, path, timeout=60)
    with pytest.raises(MediaDamaged):
        await pool.run(process_photo, path, timeout=60)
