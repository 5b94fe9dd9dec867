"""What is found out of videos, and the picture that stands for each."""

import io
import json
import os
import random
import struct
import subprocess
import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from lumilio.errors import MediaDamaged, MediaError
from lumilio.media.video import process_video
from lumilio.model import THUMBNAIL_SIZES, Playback, RenderSource, Rendition, Streams
from lumilio.tools import ffmpeg
from lumilio.tools.decoders import DecoderPool
from lumilio.tools.ffmpeg_colour import to_srgb
from tests.conformance.reference import CORPUS, FIXTURES
from tests.recordings import Film, Picture, gradient, make, moving

BLACK = np.zeros((180, 320, 3), dtype=np.uint8)
QUIET = {"x265-params": "log-level=none"}
PQ, HLG = (9, 16, 9), (9, 18, 9)
MATRICES = {
    1: (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30),
    2: (-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30),
    3: (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30),
    4: (65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30),
    5: (0, 65536, 0, 65536, 0, 0, 0, 0, 1 << 30),
    6: (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
    7: (0, -65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
    8: (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30),
}
"""The display matrix of each EXIF orientation (ISO 14496-12, 6.2.2)."""
UNDO = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
"""Pillow's transposition that stores an upright picture in an orientation."""


def known() -> list[tuple[Path, Mapping[str, Any]]]:
    """Real recordings with what ffprobe and exiftool say of them."""
    return [
        (root / entry["path"], entry)
        for root in (FIXTURES, CORPUS)
        if (root / "truth.json").exists()
        for entry in json.loads((root / "truth.json").read_text())
        if (entry.get("ffprobe") or {}).get("streams")
    ]


REAL = known()
VIDEOS = [(path, entry) for path, entry in REAL if path.parent.name in ("video", "livephoto")]


def stream_of(entry: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    found = [each for each in entry["ffprobe"]["streams"] if each.get("codec_type") == kind]
    return next((each for each in found if not each["disposition"]["attached_pic"]), None)


def probed(path: Path) -> Streams:
    with ffmpeg.open_media(path) as container:
        return ffmpeg.probe(container)


def poster(rendition: Rendition) -> Picture:
    """The largest thumbnail."""
    return np.asarray(Image.open(io.BytesIO(rendition.thumbnails[-1].data)).convert("RGB"))


def likeness(one: Picture, other: Picture) -> float:
    """The mean difference of two pictures, 0 to 255, the other one brought to the size of the first."""
    resized = np.asarray(Image.fromarray(other).resize(one.shape[1::-1], Image.Resampling.BICUBIC), dtype=np.float64)
    return float(np.abs(one.astype(np.float64) - resized).mean())


@pytest.mark.parametrize(("path", "entry"), REAL, ids=lambda each: each.name if isinstance(each, Path) else "")
def test_a_real_recording_is_what_ffprobe_says(path: Path, entry: Mapping[str, Any]) -> None:
    streams = probed(path)

    video, audio, whole = stream_of(entry, "video"), stream_of(entry, "audio"), entry["ffprobe"]["format"]
    assert streams.container == whole["format_name"].partition(",")[0]
    assert streams.duration == pytest.approx(float(whole["duration"]), abs=0.05)
    assert streams.bit_rate == pytest.approx(int(whole["bit_rate"]), rel=0.05)
    assert streams.video_codec == (video["codec_name"] if video else None)
    assert streams.audio_codec == (audio["codec_name"] if audio else None)
    if video:
        assert streams.frame_rate == pytest.approx(float(Fraction(video["avg_frame_rate"])), rel=0.01)
        assert streams.rotation == entry["exiftool"].get("Composite:Rotation", 0)
        assert streams.hdr is False
    if audio:
        assert (streams.sample_rate, streams.channels) == (int(audio["sample_rate"]), audio["channels"])


@pytest.mark.parametrize(("path", "entry"), VIDEOS, ids=lambda each: each.name if isinstance(each, Path) else "")
def test_a_real_video_has_a_poster_of_its_size(path: Path, entry: Mapping[str, Any]) -> None:
    rendition = process_video(path)

    video = stream_of(entry, "video")
    assert video
    turned = entry["exiftool"].get("Composite:Rotation", 0) in (90, 270)
    size = (video["height"], video["width"]) if turned else (video["width"], video["height"])
    assert (rendition.width, rendition.height) == size
    assert rendition.source is RenderSource.POSTER
    assert tuple(each.size for each in rendition.thumbnails) == THUMBNAIL_SIZES
    scale = min(1.0, 1024 / max(video["width"], video["height"]))
    assert poster(rendition).shape[1::-1] == (round(size[0] * scale), round(size[1] * scale))
    assert rendition.perceptual_hash is not None
    assert rendition.streams == probed(path)
    assert 20 < poster(rendition).mean() < 245


def test_a_cover_is_no_video() -> None:
    streams = probed(FIXTURES / "audio/mediafile-image.mp3")

    assert (streams.video_codec, streams.audio_codec, streams.hdr, streams.rotation) == (None, "mp3", None, None)


@pytest.mark.parametrize("sound", [None, "mono", "stereo", "5.1"])
def test_sound_of_any_number_of_channels_is_told(tmp_path: Path, sound: str | None) -> None:
    film = Film(paint=moving(), seconds=0.4, sound="aac" if sound else None, layout=sound or "stereo")
    streams = probed(make(tmp_path / "film.mp4", film))

    assert streams.channels == {None: None, "mono": 1, "stereo": 2, "5.1": 6}[sound]
    assert streams.playback is Playback.DIRECT


def test_a_video_file_with_sound_alone_is_processed_as_sound(tmp_path: Path) -> None:
    rendition = process_video(make(tmp_path / "voice.mp4", Film(sound="aac")))

    assert rendition.source is RenderSource.WAVEFORM
    assert rendition.width is None
    assert rendition.streams
    assert rendition.streams.audio_codec == "aac"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_poster_stands_upright(tmp_path: Path, orientation: int) -> None:
    upright = gradient()
    undo = UNDO.get(orientation)
    image = Image.fromarray(upright)
    stored = np.asarray(image if undo is None else image.transpose(Image.Transpose(undo)))
    film = Film(paint=lambda _: stored, seconds=0.2, matrix=MATRICES[orientation])

    rendition = process_video(make(tmp_path / "turned.mp4", film))

    assert (rendition.width, rendition.height) == (320, 180)
    assert likeness(upright, poster(rendition)) < 8
    assert rendition.streams
    assert rendition.streams.rotation == (0, 0, 180, 180, 90, 90, 270, 270)[orientation - 1]


@pytest.mark.parametrize(("aspect", "size"), [(Fraction(4, 3), (427, 180)), (Fraction(1, 2), (320, 360))])
def test_pixels_that_are_not_square_are_stretched(tmp_path: Path, aspect: Fraction, size: tuple[int, int]) -> None:
    rendition = process_video(make(tmp_path / "wide.mp4", Film(paint=moving(), seconds=0.2, aspect=aspect)))

    assert (rendition.width, rendition.height) == size
    assert (rendition.thumbnails[-1].width, rendition.thumbnails[-1].height) == size


@pytest.mark.parametrize("keyframes", [10, 250], ids=["many keyframes", "one keyframe"])
@pytest.mark.parametrize("dull", [0, 255, 128], ids=["black", "white", "grey"])
def test_a_poster_is_not_the_dull_beginning(tmp_path: Path, keyframes: int, dull: int) -> None:
    def paint(second: float) -> Picture:
        return gradient(shift=second) if second >= 2 else BLACK + np.uint8(dull)

    film = Film(paint=paint, seconds=4, keyframes=keyframes, options={"x264-params": "scenecut=0"})
    rendition = process_video(make(tmp_path / "opening.mp4", film))

    assert likeness(gradient(shift=3), poster(rendition)) < 40
    assert poster(rendition).std() > 40


def test_a_poster_is_the_sharpest_of_pictures_that_are_alike(tmp_path: Path) -> None:
    soft = np.asarray(Image.fromarray(gradient()).resize((12, 8)).resize((320, 180), Image.Resampling.BICUBIC))

    def paint(second: float) -> Picture:
        return gradient() if 2.4 <= second < 2.8 else soft

    rendition = process_video(make(tmp_path / "focus.mp4", Film(paint=paint, seconds=4)))

    assert likeness(gradient(), poster(rendition)) < 10


def test_colours_of_a_palette_are_shown(tmp_path: Path) -> None:
    film = Film(paint=lambda _: gradient()[:, :, [0]].repeat(3, axis=2), codec="qtrle", pixels="gray", seconds=0.4)
    rendition = process_video(make(tmp_path / "old.mov", film))

    assert likeness(gradient()[:, :, [0]].repeat(3, axis=2), poster(rendition)) < 8


def test_a_video_that_is_all_black_has_a_black_poster(tmp_path: Path) -> None:
    rendition = process_video(make(tmp_path / "night.mp4", Film(paint=lambda _: BLACK)))

    assert poster(rendition).max() < 10


@pytest.mark.parametrize("height", [480, 720], ids=["BT.601", "BT.709"])
def test_unmarked_colours_are_those_that_players_show(tmp_path: Path, height: int) -> None:
    """Without a mark the matrix follows from the height; the wrong one would make this red 20 levels too yellow."""
    red = np.zeros((height, 640, 3), dtype=np.uint8) + np.array([200, 30, 40], dtype=np.uint8)
    red[::2, ::40] = 255
    film = Film(paint=lambda _: red, seconds=0.2, tags=(2, 2, 1) if height == 720 else None)
    path = make(tmp_path / "red.avi", film)

    shown = poster(process_video(path))[100, 100]

    assert np.abs(shown.astype(int) - (200, 30, 40)).max() <= 6


def hdr_card(transfer: int) -> tuple[Picture, list[tuple[int, int, int]]]:
    """Patches in PQ or HLG, and what they are in sRGB: greys of 1, 18, 50 and 100 % of a white page, red, and a light
    of 600 nits."""
    light = np.array([[2.03] * 3, [36.5] * 3, [101.5] * 3, [203] * 3, [100, 8, 2], [600] * 3])
    signal = _pq(light) if transfer == PQ[1] else _hlg(light)
    card = np.zeros((180, 360, 3), dtype=np.uint16)
    for number, value in enumerate(signal):
        card[:, number * 60 : (number + 1) * 60] = np.rint(value * 65535)
    expected = np.rint(to_srgb(signal.astype(np.float32), transfer) * 255).astype(int)
    return card, [tuple(each) for each in expected.tolist()]  # type: ignore[return-value]


def _pq(light: Any) -> Any:
    """SMPTE ST 2084, equation 5.2."""
    power = (light / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def _hlg(light: Any) -> Any:
    """BT.2100-2, table 5, with the inverse of the OOTF for 1,000 nits."""
    luminance = light @ np.array([0.2627, 0.6780, 0.0593])
    scene = light / 1000 / ((luminance / 1000) ** (1 / 6))[:, None]
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    )


@pytest.mark.parametrize("tags", [PQ, HLG], ids=["PQ", "HLG"])
def test_hdr_is_recognised_and_its_poster_has_the_brightness_of_sdr(tmp_path: Path, tags: tuple[int, int, int]) -> None:
    card, expected = hdr_card(tags[1])
    film = Film(
        paint=lambda _: card,
        codec="libx265",
        pixels="yuv420p10le",
        options={**QUIET, "crf": "4"},
        tags=tags,
        seconds=0.2,
    )
    rendition = process_video(make(tmp_path / "bright.mp4", film))

    assert rendition.streams
    assert rendition.streams.hdr is True
    assert rendition.streams.playback is Playback.TRANSCODE
    shown = poster(rendition)
    patches = [shown[90, 30 + 60 * number].astype(int) for number in range(len(expected))]
    for patch, wanted in zip(patches, expected, strict=True):
        assert np.abs(patch - wanted).max() <= 8, (patch.tolist(), wanted)
    greys = [int(patch.mean()) for patch in (*patches[:4], patches[5])]
    assert greys == sorted(greys)
    assert abs(greys[1] - 118) <= 6, "18 % grey is where sRGB has it"
    assert greys[3] < 240 < greys[4], "white paper leaves room for lights"


@pytest.mark.parametrize(
    ("name", "film", "expected"),
    [
        ("a.mp4", Film(paint=moving(), sound="aac"), Playback.DIRECT),
        ("a.mov", Film(paint=moving(), sound="aac"), Playback.DIRECT),
        ("a.m4v", Film(paint=moving(), sound="aac", container="ipod"), Playback.DIRECT),
        ("mp3.mp4", Film(paint=moving(), sound="libmp3lame"), Playback.DIRECT),
        ("a.webm", Film(paint=moving(), codec="libvpx", sound="libopus"), Playback.DIRECT),
        ("silent.webm", Film(paint=moving(), codec="libvpx-vp9"), Playback.DIRECT),
        ("a.mkv", Film(paint=moving(), sound="aac"), Playback.REMUX),
        ("vp8.mkv", Film(paint=moving(), codec="libvpx", sound="libopus"), Playback.REMUX),
        ("a.avi", Film(paint=moving(), sound="libmp3lame"), Playback.REMUX),
        ("a.flv", Film(paint=moving(), sound="aac"), Playback.REMUX),
        ("a.ts", Film(paint=moving(), sound="aac"), Playback.REMUX),
        ("a.3gp", Film(paint=moving(), sound="aac"), Playback.REMUX),
        ("pcm.mov", Film(paint=moving(), sound="pcm_s16le"), Playback.TRANSCODE),
        ("ac3.ts", Film(paint=moving(), sound="ac3"), Playback.TRANSCODE),
        ("opus.mkv", Film(paint=moving(), sound="libopus"), Playback.TRANSCODE),
        ("hevc.mp4", Film(paint=moving(), codec="libx265", options=QUIET), Playback.TRANSCODE),
        ("deep.mp4", Film(paint=moving(), pixels="yuv420p10le"), Playback.TRANSCODE),
        ("fine.mp4", Film(paint=moving(), pixels="yuv444p"), Playback.TRANSCODE),
        ("fields.mp4", Film(paint=moving(), options={"x264-params": "interlaced=1:tff=1"}), Playback.TRANSCODE),
        ("mirrored.mp4", Film(paint=moving(), matrix=MATRICES[2]), Playback.TRANSCODE),
        ("mjpeg.avi", Film(paint=moving(), codec="mjpeg", pixels="yuvj420p"), Playback.TRANSCODE),
        ("old.mpg", Film(paint=moving(), codec="mpeg2video", sound="mp2"), Playback.TRANSCODE),
        ("voice.m4a", Film(sound="aac", container="ipod"), Playback.DIRECT),
        ("voice.mp3", Film(sound="libmp3lame"), Playback.DIRECT),
        ("voice.flac", Film(sound="flac"), Playback.DIRECT),
        ("voice.wav", Film(sound="pcm_s16le"), Playback.DIRECT),
        ("voice.opus", Film(sound="libopus"), Playback.DIRECT),
        ("voice.mka", Film(sound="aac", container="matroska"), Playback.REMUX),
        ("alac.m4a", Film(sound="alac", container="ipod"), Playback.TRANSCODE),
        ("voice.aiff", Film(sound="pcm_s16be"), Playback.TRANSCODE),
        ("deep.wav", Film(sound="pcm_f32le"), Playback.TRANSCODE),
    ],
    ids=lambda each: each if isinstance(each, str) and "." in each else "",
)
def test_what_a_browser_needs(tmp_path: Path, name: str, film: Film, expected: Playback) -> None:
    assert probed(make(tmp_path / name, film)).playback is expected


def pipe(path: Path) -> Path:
    """Whoever opens it for reading waits for ever, which the time-out of the test finds."""
    os.mkfifo(path)
    return path


def test_a_playlist_or_script_that_is_called_mp4_opens_nothing(tmp_path: Path) -> None:
    secret = pipe(tmp_path / "secret.mp4")
    texts = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{secret}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{secret}'\n",
        "ffconcat version 1.0\nfile secret.mp4\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet><Representation>'
        f"<BaseURL>file://{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5000 RTP/AVP 96\na=control:file://{secret}\n",
        "RTSPtextrtsp://127.0.0.1/secret\n",
    )
    path = tmp_path / "film.mp4"
    for text in texts:
        path.write_text(text)
        with pytest.raises(MediaDamaged):
            process_video(path)


def test_a_movie_whose_data_lie_in_another_file_opens_nothing(tmp_path: Path) -> None:
    """QuickTime's alias record, by which a track's data come from a file in the same folder."""
    path = make(tmp_path / "film.mov", Film(paint=moving(), seconds=0.4))
    path.write_bytes(with_alias(path.read_bytes(), b"/x/secrets.mov"))
    asked: list[str] = []

    def opened(url: str, flags: int, options: object) -> object:
        asked.append(url)
        return io.BytesIO(path.read_bytes())

    with av.open(str(path), "r", options={"enable_drefs": "1"}, io_open=opened):
        assert asked == [str(path), str(pipe(tmp_path / "secrets.mov"))], "FFmpeg would follow this alias if it could"
    rendition_or_none(path)


def with_alias(movie: bytes, target: bytes) -> bytes:
    """The movie with its data reference (ISO 14496-12, 8.7.2) turned into an alias record of QuickTime."""
    record = bytes(10) + b"\1v" + bytes(26 + 12) + b"\1f" + bytes(62 + 16) + struct.pack(">HH", 1, 1) + bytes(16)
    record += struct.pack(">HH", 2, len(target)) + target + struct.pack(">HH", 0xFFFF, 0) + bytes(40)
    alias = struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record
    dref = movie.index(b"dref") - 4
    (old,) = struct.unpack_from(">I", movie, dref)
    changed = bytearray(movie)
    changed[dref : dref + old] = struct.pack(">I4sII", 16 + len(alias), b"dref", 0, 1) + alias
    for box in (b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = movie.rindex(box, 0, dref) - 4
        (size,) = struct.unpack_from(">I", movie, at)
        struct.pack_into(">I", changed, at, size + len(changed) - len(movie))
    return bytes(changed)


def rendition_or_none(path: Path) -> Rendition | None:
    try:
        return process_video(path)
    except MediaError as error:
        assert str(error)
        return None


def test_what_is_no_video_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    for content in (b"", b"\0" * 4096, b"hello", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", b"\x1a\x45\xdf\xa3webm" * 9):
        path.write_bytes(content)
        with pytest.raises(MediaDamaged):
            process_video(path)


def test_a_recording_without_its_table_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "film.mp4", Film(paint=moving()))
    path.write_bytes(path.read_bytes()[:5000])

    with pytest.raises(MediaDamaged, match=r"no table of contents \(moov\): it ends early"):
        process_video(path)


@pytest.mark.parametrize(
    "content", [b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\na.ts\n", b"ffconcat version 1.0\n"]
)
def test_what_is_no_recording_is_called_so_without_the_names_of_readers(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "film.mp4"
    path.write_bytes(content)

    with pytest.raises(MediaDamaged, match=r"the content is not a video or sound that Lumilio reads$"):
        process_video(path)


FULL_DISK = """
import asyncio, os, subprocess, sys
from pathlib import Path
from lumilio.errors import LumilioError
from lumilio.media.web_version import WebWish, make_web_version
from lumilio.model import Playback
from lumilio.tools.decoders import DecoderLimits, DecoderPool

async def main(recording, root):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "small", str(root)], check=True, timeout=20)
    target, filler = root / "target", root / "filler"
    async with DecoderPool(size=1, limits=DecoderLimits(file_bytes=None)) as pool:
        for free in (0, 4096, 40960, 204800):
            for playback in (Playback.REMUX, Playback.TRANSCODE):
                target.write_bytes(b"")
                with filler.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, os.statvfs(root).f_bavail * 4096 - free or 1)
                try:
                    await pool.run(
                        make_web_version, recording, target, WebWish(playback=playback), timeout=60, target=target
                    )
                    print("made")
                except LumilioError as exc:
                    print(exc.code, exc)
                filler.unlink()

if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
"""


def test_a_disk_that_is_full_before_the_web_version_is_done_is_called_full(tmp_path: Path) -> None:
    noise = np.random.default_rng(2026).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    film = make(
        tmp_path / "film.mkv",
        Film(paint=lambda second: np.roll(noise, round(175 * second), axis=1), sound="aac", seconds=1),
    )
    script, root = tmp_path / "full_disk.py", tmp_path / "root"
    script.write_text(FULL_DISK)
    root.mkdir()
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    child = subprocess.run(
        ["unshare", "--mount", *as_root, sys.executable, str(script), str(film), str(root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    full = "storage.disk_full no space is left for the web version (No space left on device)"
    assert child.stdout.splitlines() == [full] * 8, child.stderr


async def test_a_recording_cut_or_changed_anywhere_is_shown_or_refused_by_a_child_that_lives_on(tmp_path: Path) -> None:
    chance = random.Random(2026)
    makings = {
        "mp4": Film(paint=moving(), sound="aac", seconds=1),
        "webm": Film(paint=moving(), codec="libvpx", sound="libopus", seconds=1),
        "avi": Film(paint=moving(), codec="mjpeg", pixels="yuvj420p", sound="pcm_s16le", seconds=0.4),
        "ts": Film(paint=moving(), codec="mpeg2video", sound="mp2", seconds=1),
        "flv": Film(paint=moving(), codec="flv", sound="libmp3lame", seconds=1),
    }
    sound = [make(tmp_path / f"sound.{name}", film).read_bytes() for name, film in makings.items()]
    sound += [path.read_bytes() for path, _ in VIDEOS if path.stat().st_size < 1_000_000]
    shown = refused = 0
    async with DecoderPool(size=1, preload=("lumilio.media.video",)) as pool:
        for content in sound:
            for number in range(6):
                damaged = bytearray(content[: chance.randrange(len(content))] if number % 3 == 0 else content)
                for _ in range(chance.randrange(1, 40) if number % 3 else 0):
                    damaged[chance.randrange(min(len(damaged), 4096 if number % 2 else len(damaged)))] = (
                        chance.randrange(256)
                    )
                path = tmp_path / "hostile"
                path.write_bytes(damaged)
                try:
                    await pool.run(process_video, path, timeout=30)
                    shown += 1
                except MediaError as error:
                    assert str(error)
                    refused += 1
    assert shown > 15
    assert refused > 5
