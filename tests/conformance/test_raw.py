"""RAW photos. Of the corpus, ``raw-real`` are complete files of cameras, ``raw-header`` such whose data of the sensor
were cut off, and ``raw-synth`` synthetic ones with a preview and true data. What else is needed is made here as DNG,
out of a picture that is known."""

import asyncio
import io
import random
import resource
import struct
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import rawpy
from PIL import Image

from lumilio.errors import LumilioError, MediaDamaged, MediaError, MediaOverBudget, StorageError, ToolError, ToolMissing
from lumilio.media.formats import RAW_FORMATS
from lumilio.media.raw import develop_raw_full, process_raw
from lumilio.model import THUMBNAIL_SIZES, RenderSource, Rendition
from lumilio.tools import exiftool_session
from lumilio.tools.decoders import DecoderLimits, DecoderPool
from lumilio.tools.libraw import RawFile
from tests.conformance.dng import GAIN, dng, jpeg, light, seen, written
from tests.conformance.painting import TURNS as STORED
from tests.conformance.painting import photograph, thumbnail
from tests.conformance.reference import FIXTURES, Sample, psnr, samples
from tests.integration.decoder_tasks import LOADED, MIB, keep_memory

RAWS = [
    each
    for each in samples()
    if each.path.suffix.lower().removeprefix(".") in RAW_FORMATS and each.exif.get("File:FileType") != "JPEG"
]
CUT_OFF = {
    "exiftool-CanonRaw.cr2": None,
    "exiftool-CanonRaw.cr3": None,
    "exiftool-Minolta.mrw": None,
    "exiftool-FujiFilm.raf": (160, 120),
    "exiftool-Panasonic.rw2": (8, 8),
    "exiftool-SigmaDP2.x3f": (8, 8),
}
"""The preview that is left in a header, or None where none is."""

SOURCES = {
    "digicamcor-CRW_0113.CRW": (RenderSource.HALF_SIZE, 2272, 1704),
    "digicamcor-DC0010S.KDC": (RenderSource.FULL_SIZE, 768, 512),
    "pigallery2-test.dng": (RenderSource.EMBEDDED_PREVIEW, 366, 494),
    "synth-mrw.mrw": (RenderSource.FULL_SIZE, 480, 784),
    "synth-arw.arw": (RenderSource.EMBEDDED_PREVIEW, 784, 480),
    "synth-ljpeg.dng": (RenderSource.EMBEDDED_PREVIEW, 784, 480),
}
"""Width and height are those of the camera's frame, as displayed."""

TURNS = {**STORED, 6: STORED[8], 8: STORED[6]}
"""What makes a picture of an EXIF orientation upright: the same as what made it lie, but for a quarter turn."""


@pytest.fixture
async def pool() -> AsyncIterator[DecoderPool]:
    async with DecoderPool(size=2, limits=DecoderLimits(memory=768 << 20)) as running:
        yield running


def stored(picture: Image.Image, orientation: int) -> Image.Image:
    """As a sensor sees an upright picture when the camera is held so."""
    return picture.transpose(STORED[orientation]) if orientation in STORED else picture


def halved(picture: Image.Image) -> Image.Image:
    return picture.resize((picture.width // 2, picture.height // 2))


def exiftools_preview(path: Path) -> Image.Image:
    """The largest that exiftool hands out, asked tag by tag."""
    found = []
    for tag in ("JpgFromRaw", "PreviewImage", "OtherImage", "ThumbnailImage"):
        arguments = ["exiftool", "-config", "", "-b", f"-{tag}", str(path)]
        data = subprocess.run(arguments, capture_output=True, check=False).stdout
        if data.startswith(b"\xff\xd8"):
            found.append(Image.open(io.BytesIO(data)).convert("RGB"))
    return max(found, key=lambda each: each.width * each.height)


def developed(path: Path) -> Image.Image:
    """All of the sensor, interpolated and turned by LibRaw itself."""
    with rawpy.imread(str(path)) as raw:
        pixels = raw.postprocess(use_camera_wb=True, no_auto_bright=True, bright=GAIN, gamma=(2.4, 12.92))
        sizes = raw.sizes
    if sizes.crop_width and sizes.flip == 0:
        left, top = sizes.crop_left_margin - sizes.left_margin, sizes.crop_top_margin - sizes.top_margin
        pixels = pixels[top : top + sizes.crop_height, left : left + sizes.crop_width]
    return Image.fromarray(pixels)


def looks_like(rendition: Rendition, reference: Image.Image, decibels: float) -> None:
    """Every thumbnail has its agreed size and shows the reference."""
    assert tuple(each.size for each in rendition.thumbnails) == THUMBNAIL_SIZES
    for size in THUMBNAIL_SIZES:
        image = thumbnail(rendition, size)
        scale = min(1, size / max(reference.size))
        assert image.size == pytest.approx((reference.width * scale, reference.height * scale), abs=1)
        small = reference.resize(image.size, Image.Resampling.LANCZOS)
        assert psnr(image, small) >= decibels, (size, psnr(image, small))


@pytest.mark.parametrize("sample", [each for each in RAWS if each.path.name not in CUT_OFF], ids=lambda each: each.name)
def test_a_raw_file_is_shown_upright_in_its_colours(sample: Sample) -> None:
    """Against the preview that exiftool hands out, turned as exiftool says, or against LibRaw's full development.
    Measured: the worst preview has 34.5 dB, which is the loss of WebP at 150 pixels, the worst development 31.7."""
    rendition = process_raw(sample.path)

    if rendition.source is RenderSource.EMBEDDED_PREVIEW:
        preview, orientation = exiftools_preview(sample.path), sample.exif.get("IFD0:Orientation", 1)
        assert isinstance(orientation, int)
        looks_like(rendition, preview.transpose(TURNS[orientation]) if orientation in TURNS else preview, 33)
    else:
        looks_like(rendition, developed(sample.path), 30)
    if sample.path.name in SOURCES:
        assert (rendition.source, rendition.width, rendition.height) == SOURCES[sample.path.name]


def test_of_a_header_without_data_the_preview_is_shown_or_it_is_damaged() -> None:
    for sample in (each for each in RAWS if each.path.name in CUT_OFF):
        size = CUT_OFF[sample.path.name]
        if size is None:
            with pytest.raises(MediaDamaged, match="RAW file"):
                process_raw(sample.path)
        else:
            rendition = process_raw(sample.path)
            assert rendition.source is RenderSource.EMBEDDED_PREVIEW
            assert thumbnail(rendition, 1024).size == size


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shown", ["as the sensor lies", "upright", "not at all"])
def test_a_photo_stands_upright_whether_its_preview_lies_or_was_turned_or_is_missing(
    tmp_path: Path, orientation: int, shown: str
) -> None:
    """A preview of the sensor's own shape cannot be told from one that the camera turned by 180° or mirrored."""
    sensor = stored(upright := photograph(2080, 800), orientation)
    preview = jpeg(halved(sensor if shown == "as the sensor lies" or orientation < 5 else upright))
    path = written(
        tmp_path / "photo.dng",
        dng(seen(sensor), orientation=orientation, preview=None if shown == "not at all" else preview),
    )

    rendition = process_raw(path)

    expected = RenderSource.HALF_SIZE if shown == "not at all" else RenderSource.EMBEDDED_PREVIEW
    assert rendition.source is expected
    assert (rendition.width, rendition.height) == upright.size
    looks_like(rendition, halved(upright), 33)


BLUE, RED = Image.new("RGB", (2080, 800), (40, 60, 160)), Image.new("RGB", (2080, 800), (160, 60, 40))


def is_red(rendition: Rendition) -> bool:
    red, _, blue = np.asarray(thumbnail(rendition, 150).convert("RGB"), dtype=float).mean((0, 1))
    return bool(red > blue)


@pytest.mark.parametrize(
    ("sensor", "preview", "source"),
    [
        (2400, 2400, RenderSource.EMBEDDED_PREVIEW),
        (2400, 1024, RenderSource.EMBEDDED_PREVIEW),
        (2400, 1023, RenderSource.HALF_SIZE),
        (2400, 160, RenderSource.HALF_SIZE),
        (2048, 640, RenderSource.HALF_SIZE),
        (2046, 640, RenderSource.FULL_SIZE),
        (600, 600, RenderSource.EMBEDDED_PREVIEW),
        (600, 590, RenderSource.FULL_SIZE),
    ],
)
def test_the_preview_is_taken_when_it_fills_the_largest_thumbnail(
    tmp_path: Path, sensor: int, preview: int, source: RenderSource
) -> None:
    """The sensor saw blue, the preview is red, so that each shows where a thumbnail comes from."""
    content = dng(seen(BLUE.resize((sensor, 400))), preview=jpeg(RED.resize((preview, preview * 400 // sensor))))

    rendition = process_raw(written(tmp_path / "photo.dng", content))

    assert rendition.source is source
    assert is_red(rendition) == (source is RenderSource.EMBEDDED_PREVIEW)
    assert (rendition.width, rendition.height) == (sensor, 400)
    longest = preview if source is RenderSource.EMBEDDED_PREVIEW else sensor
    assert max(thumbnail(rendition, 1024).size) == min(1024, longest)


def test_a_preview_of_plain_pixels_is_taken_too(tmp_path: Path) -> None:
    pixels = RED.resize((1040, 400))
    path = written(tmp_path / "photo.dng", dng(seen(BLUE), orientation=6, preview=(pixels.tobytes(), *pixels.size)))

    rendition = process_raw(path)

    assert rendition.source is RenderSource.EMBEDDED_PREVIEW
    assert is_red(rendition)
    assert thumbnail(rendition, 1024).size == (394, 1024)


@pytest.mark.parametrize("share", [0.03, 0.5, 0.9])
def test_a_broken_preview_leads_to_a_development(tmp_path: Path, share: float) -> None:
    data, width, height = jpeg(Image.effect_noise((1040, 400), 80).convert("RGB"))
    content = dng(seen(BLUE), preview=(data[: int(len(data) * share)], width, height))

    rendition = process_raw(written(tmp_path / "photo.dng", content))

    assert rendition.source is RenderSource.HALF_SIZE
    assert not is_red(rendition)
    assert max(thumbnail(rendition, 1024).size) == 1024


def test_the_frame_of_the_camera_is_shown_and_not_what_lies_around_it(tmp_path: Path) -> None:
    whole = Image.new("RGB", (2140, 840), "white")
    whole.paste(inside := photograph(2080, 800), (40, 20))
    for orientation in (1, 6):
        content = dng(seen(whole), crop=(40, 20, 2080, 800), orientation=orientation)
        rendition = process_raw(written(tmp_path / "framed.dng", content))

        upright = inside.transpose(TURNS[orientation]) if orientation == 6 else inside
        assert (rendition.width, rendition.height) == upright.size
        looks_like(rendition, halved(upright), 33)


def test_a_frame_that_does_not_fit_is_ignored(tmp_path: Path) -> None:
    for crop in ((2000, 20, 2080, 800), (0, 0, 100, 100), (0, 0, 0, 0), (0, 0, 60_000, 60_000)):
        rendition = process_raw(written(tmp_path / "odd.dng", dng(seen(photograph(2080, 800)), crop=crop)))

        assert (rendition.width, rendition.height) == (2080, 800), crop
        looks_like(rendition, photograph(1040, 400), 33)


def test_a_sensor_with_layers_is_developed(tmp_path: Path) -> None:
    path = written(tmp_path / "linear.dng", dng(light(np.asarray(photograph(2080, 800))), orientation=8))

    rendition = process_raw(path)

    assert rendition.source is RenderSource.FULL_SIZE
    assert (rendition.width, rendition.height) == (800, 2080)
    looks_like(rendition, photograph(1040, 400).transpose(TURNS[8]), 33)


def test_a_dark_frame_stays_dark_and_a_bright_one_bright(tmp_path: Path) -> None:
    """LibRaw's automatic brightness would make both grey."""
    for shade in (4, 30, 128, 230):
        path = written(tmp_path / f"{shade}.dng", dng(seen(Image.new("RGB", (2080, 800), (shade,) * 3))))

        mean = np.asarray(thumbnail(process_raw(path), 300).convert("L"), dtype=float).mean()

        assert mean == pytest.approx(shade, abs=3)


async def test_full_development_comes_only_when_asked_for(pool: DecoderPool, tmp_path: Path) -> None:
    shown = written(tmp_path / "shown.dng", dng(seen(photograph(2080, 800)), preview=jpeg(RED)))
    bare = written(tmp_path / "bare.dng", dng(seen(photograph(2080, 800)), orientation=6))

    assert process_raw(shown).source is RenderSource.EMBEDDED_PREVIEW
    assert process_raw(bare).source is RenderSource.HALF_SIZE
    for path, size in ((shown, (2080, 800)), (bare, (800, 2080))):
        full = await pool.run(develop_raw_full, path, timeout=60)

        assert full.source is RenderSource.FULL_SIZE
        assert (full.width, full.height) == size
        looks_like(full, photograph(1040, 400).transpose(TURNS[6]) if path == bare else photograph(1040, 400), 33)


def test_a_raw_file_of_which_only_the_preview_is_left_has_no_full_development(tmp_path: Path) -> None:
    content = dng(seen(BLUE), preview=jpeg(RED))

    with pytest.raises(MediaDamaged, match="RAW file"):
        develop_raw_full(written(tmp_path / "cut.dng", content[: len(content) // 2]))


def with_size(content: bytes, old: tuple[int, int], new: tuple[int, int]) -> bytes:
    """The same DNG claiming another size of its sensor."""
    for tag, before, after in ((256, old[0], new[0]), (257, old[1], new[1])):
        content = content.replace(struct.pack("<HHII", tag, 4, 1, before), struct.pack("<HHII", tag, 4, 1, after))
    return content


async def test_a_small_child_refuses_by_its_own_limit(tmp_path: Path) -> None:
    path = written(tmp_path / "large.dng", dng(np.tile(seen(photograph(2080, 800)), (5, 3))))

    async with DecoderPool(size=1, limits=DecoderLimits(memory=64 * MIB)) as pool:
        with pytest.raises(MediaOverBudget, match=r"6240 x 4000 pixels needs about 147 MiB .*; the limit is 53 MiB"):
            await pool.run(process_raw, path, timeout=60)


def test_what_would_need_too_much_memory_is_refused_by_its_header(tmp_path: Path) -> None:
    content = with_size(dng(seen(BLUE)), BLUE.size, (30_000, 20_000))

    with pytest.raises(MediaOverBudget, match=r"30000 x 20000 pixels needs about \d+ MiB"):
        process_raw(written(tmp_path / "bomb.dng", content))


def test_of_what_is_too_large_to_develop_the_small_preview_is_shown(tmp_path: Path) -> None:
    content = with_size(dng(seen(BLUE), preview=jpeg(RED.resize((640, 427)))), BLUE.size, (30_000, 20_000))

    rendition = process_raw(written(tmp_path / "huge.dng", content))

    assert rendition.source is RenderSource.EMBEDDED_PREVIEW
    assert is_red(rendition)
    assert (rendition.width, rendition.height) == (30_000, 20_000)
    assert thumbnail(rendition, 1024).size == (640, 427)


@pytest.mark.parametrize("memory", [64, 100, 128, 150, 180])
async def test_a_child_that_gets_too_little_memory_says_so_whenever_it_runs_out(tmp_path: Path, memory: int) -> None:
    """As the header lets expect enough, all but ``memory`` MiB are taken by something else."""
    sensor = np.tile(seen(photograph(2080, 800)), (5, 3))
    path = written(tmp_path / "large.dng", dng(sensor))

    async with DecoderPool(size=1, preload=LOADED, limits=DecoderLimits(memory=256 * MIB)) as pool:
        await pool.run(keep_memory, (256 - memory) * MIB, timeout=30)
        try:
            rendition = await pool.run(process_raw, path, timeout=60)
        except MediaOverBudget as error:
            assert "more memory than a decoder may use" in str(error)
        else:
            assert memory >= 128
            assert (rendition.width, rendition.height) == (6240, 4000)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 0.999])
def test_a_file_without_a_preview_that_ends_early_is_damaged_and_not_half_black(tmp_path: Path, share: float) -> None:
    content = dng(seen(photograph(2080, 800)))

    with pytest.raises(MediaDamaged, match="RAW file"):
        process_raw(written(tmp_path / "cut.dng", content[: int(len(content) * share)]))


def test_data_of_the_sensor_that_are_zeros_are_damaged(tmp_path: Path) -> None:
    content = dng(seen(photograph(2080, 800)))
    blank = content[: len(content) * 2 // 3] + bytes(len(content) // 3)

    with pytest.raises(MediaDamaged, match="data of the sensor are missing"):
        process_raw(written(tmp_path / "blank.dng", blank))


def test_a_photo_whose_end_is_cut_off_keeps_its_preview(tmp_path: Path) -> None:
    content = dng(seen(BLUE), orientation=6, preview=jpeg(RED))

    rendition = process_raw(written(tmp_path / "cut.dng", content[: len(content) // 2]))

    assert rendition.source is RenderSource.EMBEDDED_PREVIEW
    assert is_red(rendition)
    assert thumbnail(rendition, 1024).size == (394, 1024)


def test_what_is_no_raw_file_is_damaged(tmp_path: Path) -> None:
    for content in (b"", b"II*\0", b"hello", bytes(5000), b"FUJIFILMCCD-RAW " + bytes(200), b"FOVb" + bytes(200)):
        with pytest.raises(MediaDamaged):
            process_raw(written(tmp_path / "photo.nef", content))


def test_a_file_that_is_gone_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        process_raw(tmp_path / "gone.cr2")


def test_without_exiftool_what_libraw_reads_is_shown_and_the_rest_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = written(tmp_path / "shown.dng", dng(seen(BLUE), preview=jpeg(RED)))
    bare = written(tmp_path / "bare.dng", dng(seen(BLUE)))
    monkeypatch.setenv("PATH", str(tmp_path))

    assert is_red(process_raw(shown))
    with pytest.raises(ToolMissing, match="exiftool"):
        process_raw(bare)


def test_an_exiftool_that_fails_is_not_the_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = written(tmp_path / "bare.dng", dng(seen(BLUE)))
    program = written(tmp_path / "exiftool", b"#!/bin/sh\nexit 2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")

    with pytest.raises(ToolError, match="status 2"):
        process_raw(bare)


def test_an_exiftool_without_memory_says_so_in_plain_words() -> None:
    session = exiftool_session.Session()
    try:
        session.metadata([str(FIXTURES / "gif/digicamcor-MVC-006T.GIF")], time.monotonic() + 20)
        (exiftool,) = (each for each in psutil.Process().children() if "exiftool" in " ".join(each.cmdline()))
        limit = exiftool.memory_info().vms + MIB
        resource.prlimit(exiftool.pid, resource.RLIMIT_AS, (limit, limit))
        with pytest.raises(ToolError, match=r"^exiftool ran out of memory on the file$"):
            session.metadata([str(path) for path in FIXTURES.rglob("*.*")], time.monotonic() + 20)
    finally:
        session.end(5)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.98])
def test_a_raw_file_of_a_camera_that_ends_early_is_not_the_fault_of_the_disk(tmp_path: Path, share: float) -> None:
    content = (FIXTURES / "raw-real/digicamcor-DC0010S.KDC").read_bytes()
    path = written(tmp_path / "cut.kdc", content[: int(len(content) * share)])

    with (
        pytest.raises(MediaDamaged, match=r"^the RAW file ends early or is damaged$"),
        path.open("rb") as file,
        RawFile(file) as raw,
    ):
        raw.develop(half=True)


async def test_a_fenced_child_shows_previews_developments_and_what_only_exiftool_reads(
    pool: DecoderPool, tmp_path: Path
) -> None:
    """LibRaw refuses a DNG that claims to be of an unknown kind; exiftool finds its preview still."""
    whole = dng(seen(BLUE), orientation=6, preview=jpeg(RED.resize((1040, 400))))
    unknown = whole.replace(struct.pack("<HHII", 50706, 1, 4, 0x0401), struct.pack("<HHII", 50706, 1, 4, 0x0963), 1)
    unknown = unknown.replace(struct.pack("<H", 32803), struct.pack("<H", 32777))
    with io.BytesIO(unknown) as file, pytest.raises(rawpy.LibRawError):
        rawpy.imread(file)
    for name, content, source in (
        ("shown", whole, RenderSource.EMBEDDED_PREVIEW),
        ("bare", dng(seen(RED)), RenderSource.HALF_SIZE),
        ("unknown", unknown, RenderSource.EMBEDDED_PREVIEW),
    ):
        rendition = await pool.run(process_raw, written(tmp_path / f"{name}.dng", content), timeout=30)

        assert rendition.source is source, name
        assert is_red(rendition), name


async def test_a_raw_file_cut_or_changed_anywhere_is_shown_or_refused_and_takes_nobody_along(
    pool: DecoderPool, tmp_path: Path
) -> None:
    chance = random.Random(2026)
    small = photograph(320, 240)
    sound = [dng(seen(small)), dng(seen(small), preview=jpeg(small), orientation=6)]
    sound += [each.path.read_bytes() for each in RAWS if each.path.stat().st_size < 800_000]
    files = []
    for number in range(60):
        content = bytearray(chance.choice(sound))
        if chance.random() < 0.3:
            del content[chance.randrange(len(content)) :]
        for _ in range(chance.randrange(12)):
            if content:
                near = chance.choice((64, 1024, len(content)))
                content[chance.randrange(min(near, len(content)))] = chance.randrange(256)
        files.append(written(tmp_path / f"{number}.raw", bytes(content)))

    outcomes = await asyncio.gather(*(attempted(pool, path) for path in files))

    assert all(isinstance(each, Rendition | LumilioError) for each in outcomes)
    for each in outcomes:
        assert isinstance(each, Rendition | MediaError | ToolError)
    assert sum(isinstance(each, Rendition) for each in outcomes) > 10
    assert sum(isinstance(each, MediaError) for each in outcomes) > 10
    assert sum(isinstance(each, ToolError) for each in outcomes) <= 3
    assert (await pool.run(process_raw, written(tmp_path / "sound.dng", sound[0]), timeout=30)).width == 320


async def attempted(pool: DecoderPool, path: Path) -> Rendition | LumilioError:
    try:
        return await pool.run(process_raw, path, timeout=60)
    except LumilioError as error:
        return error


def test_a_raw_file_says_how_it_lies_without_being_developed(tmp_path: Path) -> None:
    path = written(tmp_path / "photo.dng", dng(seen(photograph(600, 400)), orientation=7))

    with path.open("rb") as file, RawFile(file) as raw:
        assert (raw.size, raw.orientation) == ((600, 400), 7)
        assert raw.preview() is None
