"""Sound: what its tags and streams say, and the picture that stands for it."""

import base64
import io
import math
import struct
import wave
import zlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from mutagen.aiff import AIFF
from mutagen.asf import ASF
from mutagen.asf._attrs import ASFByteArrayAttribute
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC
from mutagen.mp3 import MP3
from mutagen.mp4 import MP4, MP4Cover
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.wave import WAVE
from PIL import Image

from lumilio.errors import LumilioError, MediaDamaged, MediaError
from lumilio.media.audio import process_audio
from lumilio.model import THUMBNAIL_SIZES, Music, Playback, RenderSource, Rendition
from lumilio.tools import waveform
from lumilio.tools.audio_tags import COVER_BYTES, read_tags
from lumilio.tools.decoders import DecoderPool
from tests.conformance.reference import CORPUS, FIXTURES, Sample, samples

SOUNDS = [each for each in samples() if each.path.parent.name == "audio" and each.path.exists()]
RATE = 48000
RED, BLUE = (200, 30, 30), (30, 30, 200)

STREAMS = {
    "filetype-fixture-adts-mpeg4.aac": (14.486, 16000, 1, 22620),
    "filetype-fixture-id3v2.aac": (1.045, 44100, 2, 944650),
    "libscantes-cat1.wav": (20.174, 16000, 1, 256044),
    "mediafile-full.aiff": (1.0, 44100, 1, 714368),
    "mediafile-full.flac": (1.0, 44100, 1, 175120),
    "mediafile-full.m4a": (1.068, 44100, 1, 43905),
    "mediafile-full.mp3": (1.071, 44100, 1, 95760),
    "mediafile-full.ogg": (1.0, 44100, 1, 81408),
    "mediafile-full.opus": (1.007, 48000, 1, 66300),
    "mediafile-full.wav": (1.0, 44100, 1, 715184),
    "mediafile-image.mp3": (1.045, 44100, 1, 80023),
    "tika-testMP3_coverArt.mp3": (2.456, 44100, 1, 129052),
    "tika-testMP3_twoCovers.mp3": (2.456, 44100, 1, 130530),
    "tika-testMP3cbrInfoTag.mp3": (0.183, 44100, 2, 292570),
    "tika-testMP3i18n.mp3": (2.456, 44100, 1, 133030),
    "tika-testMP3i18n_truncated.mp3": (2.446, 44100, 1, 133050),
    "tika-testMP3id3v1.mp3": (2.464, 44100, 1, 128000),
    "tika-testWMA.wma": (3.299, 44100, 1, 67285),
}
"""Seconds, hertz, channels and bits a second, as ffprobe says."""

FULL = Music(title="full", artist="the artist", album="the album", genre="the genre", year=2001, track=2, disc=4)
TEST = Music(title="Test Title", artist="Test Artist", album="Test Album", genre="Rock", year=2008, track=1)
FRENCH = Music(
    title="Une chason en Français", artist="Test Artist ⑨①", album="Test Album ①⑨", genre="Rock", year=2008, track=1
)
MUSIC: dict[str, Music | None] = {
    "mediafile-full.flac": FULL,
    "mediafile-full.ogg": FULL,
    "mediafile-full.opus": FULL,
    "tika-testMP3i18n.mp3": FRENCH,
    "tika-testMP3i18n_truncated.mp3": FRENCH,
    "tika-testMP3id3v1.mp3": TEST,
    "tika-testWMA.wma": Music(artist="administrator", year=2005),
    "libscantes-cat1.wav": None,
    "mediafile-image.mp3": None,
}


def files(*names: str) -> list[Path]:
    return [each.path for each in SOUNDS if each.path.name in names]


def picture_of(rendition: Rendition, size: int = 1024) -> Image.Image:
    (found,) = (each for each in rendition.thumbnails if each.size == size)
    image = Image.open(io.BytesIO(found.data), formats=["WEBP"])
    assert image.size == (found.width, found.height)
    return image.convert("RGB")


def png(colour: tuple[int, int, int], size: int = 40) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(buffer, "PNG")
    return buffer.getvalue()


def tone(path: Path, *, seconds: float = 1.0, codec: str = "pcm_s16le", words: Mapping[str, str] | None = None) -> Path:
    """A sine of 440 Hz that swells from nothing, as the container that the name says."""
    samples = round(seconds * RATE)
    signal = np.sin(np.arange(samples) * 2 * np.pi * 440 / RATE) * np.linspace(0, 0.5, samples)
    with av.open(str(path), "w") as container:
        container.metadata.update(words or {})
        stream: Any = container.add_stream(codec, rate=RATE, layout="mono", options={"b": "96000"})
        at = 0
        for part in np.array_split((signal * 32767).astype(np.int16), math.ceil(samples / 960)):
            frame = AudioFrame.from_ndarray(part[None, :], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
            at += part.size
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def flac_picture(data: bytes, kind: int) -> Any:
    picture = opened(Picture)
    picture.data, picture.type, picture.mime = data, kind, "image/png"
    return picture


@pytest.mark.parametrize("sample", SOUNDS, ids=lambda sample: sample.name)
def test_a_real_sound_has_the_streams_that_ffprobe_finds(sample: Sample) -> None:
    if sample.path.name == "mediafile-full.wma":
        with pytest.raises(MediaDamaged):
            process_audio(sample.path)
        return

    rendition = process_audio(sample.path)

    duration, sample_rate, channels, bit_rate = STREAMS[sample.path.name]
    streams = rendition.streams
    assert streams is not None
    assert (streams.sample_rate, streams.channels) == (sample_rate, channels)
    assert streams.duration == pytest.approx(duration, rel=0.05)
    assert streams.bit_rate == pytest.approx(bit_rate, rel=0.06)
    assert (streams.video_codec, streams.frame_rate, streams.rotation, streams.hdr) == (None, None, None, None)
    assert (streams.playback is Playback.DIRECT) == (sample.path.suffix not in (".aiff", ".wma"))
    assert (rendition.width, rendition.height) == (None, None)
    assert tuple(each.size for each in rendition.thumbnails) == THUMBNAIL_SIZES


@pytest.mark.parametrize("sample", SOUNDS, ids=lambda sample: sample.name)
def test_the_words_of_a_real_sound_are_those_that_exiftool_reads(sample: Sample) -> None:
    with sample.path.open("rb") as file:
        texts = read_tags(file).texts
    for member, tag in (("title", "Title"), ("artist", "Artist"), ("album", "Album")):
        said = [str(value).strip() for key, value in sample.exif.items() if key.partition(":")[2] == tag]
        assert not said or texts.get(member, "").strip() in said


@pytest.mark.parametrize("path", files(*MUSIC), ids=lambda path: path.name)
def test_the_music_of_a_real_sound(path: Path) -> None:
    assert process_audio(path).music == MUSIC[path.name]


@pytest.mark.parametrize(
    "path", files(*(f"mediafile-full.{kind}" for kind in ("mp3", "m4a", "aiff"))), ids=lambda path: path.name
)
def test_the_artist_of_an_album_is_its_own_word(path: Path) -> None:
    music = process_audio(path).music
    assert music is not None
    assert (music.album_artist, music.track, music.disc) == ("the album artist", 2, 4)


@pytest.mark.parametrize("path", files("tika-testMP3_twoCovers.mp3"), ids=lambda path: path.name)
def test_of_two_covers_the_front_one_is_shown(path: Path) -> None:
    rendition = process_audio(path)
    assert rendition.source is RenderSource.COVER
    assert picture_of(rendition).size == (64, 40)
    assert rendition.perceptual_hash is not None
    assert rendition.thumbhash


CODECS = {
    "mp3": "mp3", "flac": "flac", "opus": "libopus", "ogg": "flac", "m4a": "aac", "wav": "pcm_s16le",
    "aiff": "pcm_s16be", "wma": "wmav2",
}  # fmt: skip


async def test_a_front_cover_is_found_in_every_kind_of_tag_by_a_real_child(tmp_path: Path) -> None:
    async with DecoderPool(size=1) as pool:
        for kind, codec in CODECS.items():
            path = tone(tmp_path / f"sound.{kind}", codec=codec)
            add_covers(path, (4, png(BLUE)), (3, png(RED)))

            rendition = await pool.run(process_audio, path, timeout=60)

            assert rendition.source is RenderSource.COVER, kind
            assert np.abs(np.asarray(picture_of(rendition), dtype=int) - RED).max() < 12, kind


def test_the_tags_of_a_flac_count_before_those_of_an_id3_tag_in_front_of_it(tmp_path: Path) -> None:
    path = tone(tmp_path / "sound.flac", codec="flac", words={"title": "own"})
    front = tone(tmp_path / "front.mp3", codec="mp3", words={"title": "front", "artist": "Somebody"}).read_bytes()
    size = int.from_bytes(front[6:10], "big")
    length = 10 + (size & 0x7F | size >> 1 & 0x3F80 | size >> 2 & 0x1FC000)
    path.write_bytes(front[:length] + path.read_bytes())
    with path.open("rb") as file:
        texts = read_tags(file).texts
    assert (texts["title"], texts["artist"]) == ("own", "Somebody")


def add_covers(path: Path, *covers: tuple[int, bytes]) -> None:
    """Through mutagen, as music managers do."""
    match path.suffix:
        case ".flac":
            flac = opened(FLAC, path)
            for kind, data in covers:
                flac.add_picture(flac_picture(data, kind))
            flac.save()
        case ".opus" | ".ogg":
            ogg = opened(OggOpus if path.suffix == ".opus" else OggFLAC, path)
            pictures = [flac_picture(data, kind).write() for kind, data in covers]
            ogg["metadata_block_picture"] = [base64.b64encode(picture).decode() for picture in pictures]
            ogg.save()
        case ".m4a":
            mp4 = opened(MP4, path)
            mp4["covr"] = [
                opened(MP4Cover, data, MP4Cover.FORMAT_PNG) for _, data in reversed(covers)
            ]  # no kinds there
            mp4.save()
        case ".wma":
            asf = opened(ASF, path)
            words = "image/png\0cover\0".encode("utf-16-le")
            pictures = [struct.pack("<BI", kind, len(data)) + words + data for kind, data in covers]
            asf["WM/Picture"] = [opened(ASFByteArrayAttribute, picture) for picture in pictures]
            asf.save()
        case suffix:
            tagged = opened({".wav": WAVE, ".aiff": AIFF, ".mp3": MP3}[suffix], path)
            if tagged.tags is None:
                tagged.add_tags()
            for kind, data in covers:
                frame = opened(APIC, encoding=3, mime="image/png", type=kind, desc=f"cover {kind}", data=data)
                tagged.tags.add(frame)
            tagged.save()


def opened(kind: Any, *args: object, **named: object) -> Any:
    """mutagen's classes have no types."""
    return kind(*args, **named)


def test_a_broken_cover_gives_way_to_the_next_and_then_to_the_waveform(tmp_path: Path) -> None:
    path = tone(tmp_path / "sound.flac", codec="flac")
    add_covers(path, (3, png(RED)[:60]), (4, b"no picture at all"), (8, png(BLUE)))
    rendition = process_audio(path)
    assert rendition.source is RenderSource.COVER
    assert np.abs(np.asarray(picture_of(rendition), dtype=int) - BLUE).max() < 12

    broken = tone(tmp_path / "broken.flac", codec="flac")
    add_covers(broken, (3, png(RED)[:60]), (4, b""))
    assert process_audio(broken).source is RenderSource.WAVEFORM


def test_a_cover_beyond_the_limit_is_not_looked_at(tmp_path: Path) -> None:
    path = tone(tmp_path / "sound.mp3", codec="mp3")
    add_covers(path, (3, png(RED) + bytes(COVER_BYTES)))
    assert process_audio(path).source is RenderSource.WAVEFORM


def test_a_waveform_shows_how_loud_the_sound_is_and_is_no_picture_to_compare(tmp_path: Path) -> None:
    rendition = process_audio(tone(tmp_path / "swell.wav"))

    assert rendition.source is RenderSource.WAVEFORM
    assert (rendition.perceptual_hash, rendition.thumbhash) == (None, None)
    drawn = np.asarray(picture_of(rendition), dtype=int).max(axis=2) > 100
    heights = drawn.sum(axis=0)
    beginning, middle, end = heights[40:200].max(), heights[440:600].max(), heights[-200:-40].max()
    assert beginning < middle < end
    assert end > 380


def test_quiet_sounds_show_their_shape_and_silence_is_a_row_of_dots() -> None:
    ramp = np.linspace(0, 1, waveform.BARS, dtype=np.float32)
    assert np.array_equal(waveform.draw(ramp), waveform.draw(ramp * np.float32(0.1)))
    silent = waveform.draw(np.zeros(waveform.BARS, dtype=np.float32))
    assert ((silent.max(axis=2) > 100).sum(axis=0) <= 12).all()
    assert np.array_equal(silent, waveform.draw(np.full(waveform.BARS, np.nan, dtype=np.float32)))


@pytest.mark.parametrize("samples", [1, 2, 100, 48000])
def test_silence_and_the_shortest_sounds_have_a_picture(tmp_path: Path, samples: int) -> None:
    path = tmp_path / "short.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(bytes(4 * samples))
    rendition = process_audio(path)
    assert rendition.source is RenderSource.WAVEFORM
    assert rendition.streams is not None
    assert rendition.streams.duration == pytest.approx(samples / 48000, abs=1e-4)


def test_the_words_of_containers_that_only_ffmpeg_reads(tmp_path: Path) -> None:
    words = {"title": "A  title\u202e", "artist": "Somebody", "date": "1999-05-01"}
    path = tone(tmp_path / "sound.mka", codec="flac", words=words)
    assert process_audio(path).music == Music(title="A title", artist="Somebody", year=1999)


@pytest.mark.parametrize(
    ("words", "music"),
    [
        (
            {"title": ["  two\nlines\x1b[31m "], "artist": ["One", "Two"]},
            Music(title="two lines [31m", artist="One, Two"),
        ),
        ({"title": ["x" * 5000]}, Music(title="x" * 255)),
        ({"tracknumber": ["0"], "date": ["0000"], "discnumber": ["none"]}, None),
        ({"tracknumber": ["007/12"], "date": ["May 1987"]}, Music(track=7, year=1987)),
        ({"tracknumber": ["9" * 30], "date": ["20" * 30]}, None),
        ({"title": ["\x00\u200b"]}, None),
    ],
)
def test_words_are_cleaned(tmp_path: Path, words: dict[str, list[str]], music: Music | None) -> None:
    path = tone(tmp_path / "sound.flac", codec="flac", seconds=0.1)
    flac = opened(FLAC, path)
    flac.tags.clear()
    for name, values in words.items():
        flac[name] = values
    flac.save()
    assert process_audio(path).music == music


def test_tags_that_cannot_be_read_leave_a_sound(tmp_path: Path) -> None:
    path = tone(tmp_path / "sound.mp3", codec="mp3")
    path.write_bytes(b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + path.read_bytes())
    with path.open("rb") as file:
        assert read_tags(file).texts == {}


@pytest.mark.parametrize(("size", "music"), [(1000, Music(title="a" * 255)), (700 << 20, None)])
async def test_a_compressed_frame_that_swells_beyond_a_childs_memory_leaves_a_sound(
    tmp_path: Path, size: int, music: Music | None
) -> None:
    squeezer = zlib.compressobj(1)
    body = squeezer.compress(b"\x03" + b"a" * (size % (1 << 20)))
    for _ in range(size >> 20):
        body += squeezer.compress(b"a" * (1 << 20))
    body += squeezer.flush()
    frame = _syncsafe(size & (1 << 28) - 1) + body
    frames = b"TIT2" + _syncsafe(len(frame)) + b"\x00\x09" + frame
    path = tone(tmp_path / "sound.mp3", codec="mp3")
    path.write_bytes(b"ID3\x04\x00\x00" + _syncsafe(len(frames)) + frames + path.read_bytes())
    async with DecoderPool(size=1) as pool:
        rendition = await pool.run(process_audio, path, timeout=60)
        assert rendition.music == music
        assert (await pool.run(process_audio, tone(tmp_path / "next.wav"), timeout=60)).streams is not None


def _syncsafe(number: int) -> bytes:
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


@pytest.mark.parametrize("path", files("mediafile-full.wma"), ids=lambda path: path.name)
def test_tags_without_a_sound_are_damage_in_plain_words(path: Path) -> None:
    with pytest.raises(MediaDamaged, match="cannot be decoded"):
        process_audio(path)


async def test_damaged_sounds_are_shown_or_refused_by_a_real_child_and_none_kills_it(tmp_path: Path) -> None:
    whole = {each.path for each in SOUNDS if each.path.stat().st_size < 60_000}
    variants = []
    for number, path in enumerate(sorted(whole)):
        data = path.read_bytes()
        rng = np.random.default_rng(number)
        noisy = bytearray(data)
        for place in rng.integers(0, len(data), len(data) // 200):
            noisy[place] = int(rng.integers(0, 256))
        for kind, content in (("half", data[: len(data) // 2]), ("stub", data[:60]), ("noisy", bytes(noisy))):
            variants.append(tmp_path / f"{number}-{kind}{path.suffix}")
            variants[-1].write_bytes(content)
    empty = tmp_path / "empty.mp3"
    empty.write_bytes(b"")
    shown = 0
    async with DecoderPool(size=1) as pool:
        for path in [*variants, empty]:
            try:
                rendition = await pool.run(process_audio, path, timeout=60)
            except LumilioError as exc:
                assert isinstance(exc, MediaError), path
                assert str(exc).isprintable()
                continue
            shown += 1
            assert tuple(each.size for each in rendition.thumbnails) == THUMBNAIL_SIZES
    assert shown >= len(whole)


def test_a_file_that_is_read_is_closed(tmp_path: Path) -> None:
    path = tone(tmp_path / "sound.wav")
    before = len(list(Path("/proc/self/fd").iterdir()))
    process_audio(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_samples_are_there() -> None:
    assert FIXTURES.exists()
    assert len(SOUNDS) >= (19 if CORPUS.exists() else 4)
