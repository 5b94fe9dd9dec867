"""Web versions: they play, they show what the recording shows, and they encode no more than they must."""

import asyncio
import errno
import os
import resource
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from lumilio.errors import MediaDamaged, MediaError, StorageError
from lumilio.media.web_version import WebVersion, WebWish, make_web_version
from lumilio.model import Playback, Streams
from lumilio.tools import ffmpeg, ffmpeg_web
from lumilio.tools.decoders import DecoderLimits, DecoderPool
from lumilio.tools.ffmpeg_encoders import (
    SOFTWARE,
    available_encoders,
    fault_of,
)
from tests.conformance.reference import CORPUS, FIXTURES
from tests.conformance.test_video import HLG, MATRICES, PQ, QUIET, UNDO, hdr_card, likeness
from tests.recordings import Film, Picture, gradient, make, moving

TRANSCODE = WebWish(playback=Playback.TRANSCODE)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """An empty file, as the daemon makes one."""
    path = tmp_path / "target"
    path.touch()
    return path


def needed(path: Path) -> bool:
    """Whether a web version is ever made of it, which of sound that plays is not."""
    streams = probed(path)
    return streams.video_codec is not None or streams.playback is not Playback.DIRECT


def probed(path: Path, window: tuple[int, int] | None = None) -> Streams:
    with ffmpeg.open_media(path, window=window) as container:
        return ffmpeg.probe(container)


def pictures(path: Path) -> Iterator[tuple[float, Picture]]:
    """Every decoded picture with its time in seconds, colours by the marks of the file."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            matrix = "itu709" if frame.colorspace == 1 else "itu601"
            rgb = frame.reformat(format="rgb24", src_colorspace=matrix, dst_color_range="JPEG")
            yield frame.time, np.asarray(rgb.to_ndarray(), dtype=np.uint8)


def payloads(path: Path, kind: str) -> Sequence[bytes]:
    """The packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(each for each in container.streams if each.type == kind)
        return [bytes(packet) for packet in container.demux(stream) if packet.size]


def boxes(path: Path) -> list[bytes]:
    """The kinds of the boxes of an MP4, in order."""
    content, at, found = path.read_bytes(), 0, []
    while at + 8 <= len(content):
        found.append(content[at + 4 : at + 8])
        at += int.from_bytes(content[at : at + 4], "big") or len(content)
    return found


REAL = sorted(
    path
    for root in (FIXTURES, CORPUS)
    for folder in ("video", "livephoto", "audio")
    for path in (root / folder).glob("*")
    if path.suffix not in (".HEIC", ".mp3") and path.name != "mediafile-full.wma" and needed(path)
)


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_the_web_version_of_a_real_recording_plays_as_long_and_as_large(path: Path, target: Path) -> None:
    before = probed(path)
    made = make_web_version(path, target, WebWish(playback=before.playback))

    after = probed(target)
    assert after.playback is Playback.DIRECT
    assert after.duration == pytest.approx(before.duration, abs=0.1)
    assert (after.video_codec is None, after.audio_codec is None) == (
        before.video_codec is None,
        before.audio_codec is None,
    )
    assert made.made_by == ("transcode" if before.playback is Playback.TRANSCODE else "remux")
    if made.mime.endswith("/mp4"):
        assert boxes(target).index(b"moov") < boxes(target).index(b"mdat")
    if before.video_codec:
        with ffmpeg.open_media(path) as container:
            video = ffmpeg.moving_pictures(container)
            assert video
            frame = ffmpeg.first_frame(container, video)
            assert frame
            assert (made.width, made.height) == ffmpeg.displayed_size(video, frame)
    else:
        assert (made.width, made.height) == (None, None)


@pytest.mark.parametrize(
    ("name", "film", "mime"),
    [
        ("a.mkv", Film(paint=moving(), sound="aac"), "video/mp4"),
        ("a.mov", Film(paint=moving(), sound="aac"), "video/mp4"),
        ("a.flv", Film(paint=moving(), sound="aac"), "video/mp4"),
        ("vp8.mkv", Film(paint=moving(), codec="libvpx", sound="libopus"), "video/webm"),
        ("voice.mka", Film(sound="aac", container="matroska"), "audio/mp4"),
        ("voice.webm", Film(sound="libopus"), "audio/webm"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_wrong_container_is_exchanged_and_no_packet_changed(
    tmp_path: Path, target: Path, name: str, film: Film, mime: str
) -> None:
    path = make(tmp_path / name, film)
    made = make_web_version(path, target, WebWish(playback=Playback.REMUX))

    assert (made.mime, made.made_by, made.encoder) == (mime, "remux", None)
    for kind in ("video", "audio"):
        if (film.paint if kind == "video" else film.sound) is not None:
            assert payloads(target, kind) == payloads(path, kind)
    assert probed(target).playback is Playback.DIRECT


@pytest.mark.parametrize(("name", "sound", "offset"), [("film.ts", "aac", 90), ("film.avi", "libmp3lame", 0)])
def test_annex_b_becomes_mp4_with_the_same_pictures_from_zero_on(
    tmp_path: Path, target: Path, name: str, sound: str, offset: int
) -> None:
    """The packets are framed differently in MP4, so that what they decode to is compared."""
    muxing = {"output_ts_offset": str(offset)}
    path = make(tmp_path / name, Film(paint=moving(), sound=sound, muxing=muxing))
    made = make_web_version(path, target, WebWish(playback=Playback.REMUX))

    assert made.made_by == "remux"
    before, after = list(pictures(path)), list(pictures(target))
    assert len(before) == len(after) == 50
    assert all(np.array_equal(one[1], other[1]) for one, other in zip(before, after, strict=True))
    assert before[0][0] >= offset
    assert after[0][0] < 0.1


@pytest.mark.parametrize(("codec", "sound"), [("libx264", "aac"), ("mpeg2video", "mp2")])
@pytest.mark.parametrize("offsets", [("10", "9000"), ("9000", "10")], ids=["forwards", "backwards"])
def test_a_clock_that_was_set_anew_in_the_middle_leaves_no_hole(
    tmp_path: Path, target: Path, codec: str, sound: str, offsets: tuple[str, str]
) -> None:
    halves = [
        make(tmp_path / f"{at}.ts", Film(paint=moving(), codec=codec, sound=sound, muxing={"output_ts_offset": at}))
        for at in offsets
    ]
    path = tmp_path / "tape.ts"
    path.write_bytes(b"".join(half.read_bytes() for half in halves))
    make_web_version(path, target, WebWish(playback=Playback.REMUX))

    assert probed(target).duration == pytest.approx(4, abs=0.3)
    assert len(list(pictures(target))) >= 95


def test_only_the_sound_is_encoded_where_the_pictures_play(tmp_path: Path, target: Path) -> None:
    path = make(tmp_path / "film.mov", Film(paint=moving(), sound="pcm_s16le", layout="mono"))
    made = make_web_version(path, target, TRANSCODE)

    assert (made.made_by, made.encoder) == ("transcode", "aac")
    assert payloads(target, "video") == payloads(path, "video")
    after = probed(target)
    assert (after.audio_codec, after.channels, after.sample_rate) == ("aac", 1, 48_000)
    assert np.abs(ffmpeg.read_samples(target, buckets=20)[2:-2] - 0.5).max() < 0.05


def test_only_the_pictures_are_encoded_where_the_sound_plays(tmp_path: Path, target: Path) -> None:
    path = make(tmp_path / "film.mp4", Film(paint=moving(), codec="libx265", options=QUIET, sound="aac"))
    made = make_web_version(path, target, TRANSCODE)

    assert (made.made_by, made.encoder) == ("transcode", SOFTWARE)
    assert payloads(target, "audio") == payloads(path, "audio")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_pictures_are_upright_without_a_matrix(tmp_path: Path, target: Path, orientation: int) -> None:
    undo = UNDO.get(orientation)
    image = Image.fromarray(gradient())
    stored = np.asarray(image if undo is None else image.transpose(Image.Transpose(undo)))
    film = Film(paint=lambda _: stored, codec="mpeg4", seconds=0.4, matrix=MATRICES[orientation])
    made = make_web_version(make(tmp_path / "turned.mp4", film), target, TRANSCODE)

    assert (made.width, made.height) == (320, 180)
    assert probed(target).rotation == 0
    assert all(likeness(gradient(), picture) < 8 for _, picture in pictures(target))


def test_a_copied_picture_keeps_its_matrix(tmp_path: Path, target: Path) -> None:
    path = make(tmp_path / "turned.mov", Film(paint=moving(180, 320), sound="pcm_s16le", matrix=MATRICES[6]))
    made = make_web_version(path, target, TRANSCODE)

    assert (made.encoder, made.width, made.height) == ("aac", 320, 180)
    assert probed(target).rotation == 90


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [
        ((2560, 1440), None, (1920, 1080)),
        ((1440, 2560), None, (1080, 1920)),
        ((2400, 800), None, (1920, 640)),
        ((322, 182), None, (322, 182)),
        ((720, 576), Fraction(16, 15), (768, 576)),
        ((1440, 1080), Fraction(4, 3), (1920, 1080)),
    ],
)
def test_web_versions_have_even_square_pixels_within_1080p(
    tmp_path: Path, target: Path, size: tuple[int, int], aspect: Fraction | None, expected: tuple[int, int]
) -> None:
    film = Film(paint=moving(*size), codec="mpeg4", seconds=0.12, aspect=aspect)
    made = make_web_version(
        make(tmp_path / "film.avi" if aspect is None else tmp_path / "film.mp4", film), target, TRANSCODE
    )

    assert (made.width, made.height) == expected
    (shown,) = {picture.shape[1::-1] for _, picture in pictures(target)}
    assert shown == expected


def test_odd_sizes_lose_half_a_pixel(tmp_path: Path, target: Path) -> None:
    film = Film(paint=moving(321, 181), codec="mjpeg", pixels="yuvj444p", seconds=0.2)
    made = make_web_version(make(tmp_path / "film.avi", film), target, TRANSCODE)

    assert (made.width, made.height) == (320, 180)


def test_a_smaller_height_may_be_wished(tmp_path: Path, target: Path) -> None:
    film = Film(paint=moving(1280, 720), codec="mpeg4", seconds=0.2)
    made = make_web_version(make(tmp_path / "film.mp4", film), target, WebWish(playback=Playback.TRANSCODE, height=480))

    assert (made.width, made.height) == (854, 480)


@pytest.mark.parametrize("tags", [PQ, HLG], ids=["PQ", "HLG"])
def test_hdr_becomes_sdr_with_the_colours_of_the_poster(
    tmp_path: Path, target: Path, tags: tuple[int, int, int]
) -> None:
    card, expected = hdr_card(tags[1])
    film = Film(
        paint=lambda _: card,
        codec="libx265",
        pixels="yuv420p10le",
        options={**QUIET, "crf": "4"},
        tags=tags,
        seconds=0.4,
    )
    make_web_version(make(tmp_path / "bright.mp4", film), target, TRANSCODE)

    with av.open(str(target)) as container:
        context = container.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc, context.colorspace) == (1, 1, 1)
        assert context.pix_fmt == "yuv420p"
    _, shown = next(pictures(target))
    for number, wanted in enumerate(expected):
        patch = shown[90, 30 + 60 * number].astype(int)
        assert np.abs(patch - wanted).max() <= 10, (number, patch.tolist(), wanted)


def test_full_range_bt601_keeps_its_colours(tmp_path: Path, target: Path) -> None:
    card = np.zeros((120, 240, 3), dtype=np.uint8)
    card[:, :80], card[:, 80:160], card[:, 160:] = (200, 30, 40), (20, 180, 60), (30, 40, 220)
    path = tmp_path / "card.avi"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mjpeg", rate=25, options={"qmin": "1", "qmax": "1"})
        stream.width, stream.height, stream.pix_fmt = 240, 120, "yuvj444p"
        frame = av.VideoFrame.from_ndarray(card, format="rgb24")
        frame = frame.reformat(format="yuvj444p", dst_colorspace="itu601", dst_color_range="JPEG")
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    make_web_version(path, target, TRANSCODE)

    _, shown = next(pictures(target))
    for number in range(3):
        assert np.abs(shown[60, 40 + 80 * number].astype(int) - card[60, 40 + 80 * number]).max() <= 6


def test_slow_motion_plays_at_sixty_pictures_a_second(tmp_path: Path, target: Path) -> None:
    film = Film(paint=moving(160, 90), codec="mpeg4", rate=Fraction(240), seconds=1)
    make_web_version(make(tmp_path / "slow.mp4", film), target, TRANSCODE)

    after = probed(target)
    assert after.frame_rate == pytest.approx(60, rel=0.02)
    assert after.duration == pytest.approx(1, abs=0.05)


def test_pictures_keep_their_own_times(tmp_path: Path, target: Path) -> None:
    times = (0, 40, 80, 500, 540, 1500, 1540, 1580)
    path = tmp_path / "phone.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 160, 90
        stream.codec_context.time_base = Fraction(1, 1000)
        for at in times:
            frame = av.VideoFrame.from_ndarray(gradient(160, 90, shift=at / 1000), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))

    make_web_version(path, target, TRANSCODE)

    assert [round(at * 1000) for at, _ in pictures(target)] == pytest.approx(times, abs=1)


def test_interlaced_pictures_are_made_whole(tmp_path: Path, target: Path) -> None:
    """A bar that moves by 16 pixels a field has saw teeth in every frame; whole pictures have straight edges."""

    def paint(second: float) -> Picture:
        picture = np.full((144, 176, 3), 30, dtype=np.uint8)
        for field in range(2):
            left = round(second * 25) * 32 % 128 + 16 * field
            picture[field::2, left : left + 30] = 220
        return picture

    film = Film(paint=paint, codec="mpeg2video", options={"flags": "+ildct+ilme", "top": "1", "qmin": "2", "qmax": "2"})
    path = make(tmp_path / "tape.ts", film)
    made = make_web_version(path, target, TRANSCODE)

    assert made.made_by == "transcode"
    assert combs(path) > 3 * combs(target)


def combs(path: Path) -> float:
    """How much neighbouring lines differ more than lines of one field."""
    grey = [picture.astype(float).mean(axis=2) for _, picture in pictures(path)][5:20]
    return float(np.mean([np.abs(np.diff(each, axis=0)).mean() for each in grey]))


def test_sound_of_six_channels_becomes_stereo(tmp_path: Path, target: Path) -> None:
    path = make(tmp_path / "film.ts", Film(paint=moving(), sound="ac3", layout="5.1"))
    make_web_version(path, target, TRANSCODE)

    assert (probed(path).channels, probed(target).channels) == (6, 2)


def test_a_hole_in_the_sound_does_not_move_what_comes_after(tmp_path: Path, target: Path) -> None:
    path = tmp_path / "hole.mkv"
    whole = make(tmp_path / "whole.mkv", Film(paint=moving(), sound="pcm_s16le", seconds=4))
    with av.open(str(whole)) as source, av.open(str(path), "w") as output:
        streams = {each: output.add_stream_from_template(each, opaque=True) for each in source.streams}
        for packet in source.demux():
            missing = (
                packet.stream.type == "audio" and packet.pts is not None and 1 <= packet.pts * packet.time_base < 3
            )
            if packet.size and not missing:
                packet.stream = streams[packet.stream]
                output.mux(packet)

    make_web_version(path, target, TRANSCODE)

    peaks = ffmpeg.read_samples(target, buckets=40)
    assert peaks[:8].min() > 0.4
    assert peaks[12:28].max() < 0.1
    assert peaks[32:38].min() > 0.4


def test_the_film_in_a_motion_photo_is_cut_out_of_its_file(tmp_path: Path, target: Path) -> None:
    film = make(tmp_path / "film.mp4", Film(paint=moving(), codec="libx265", options=QUIET, sound="aac")).read_bytes()
    photo = tmp_path / "photo.jpg"
    photo.write_bytes((FIXTURES / "jpeg/digicamcor-POL_0136.JPG").read_bytes() + film + b"trailer" * 100)
    window = (photo.stat().st_size - 700 - len(film), len(film))

    made = make_web_version(photo, target, WebWish(playback=Playback.TRANSCODE, window=window))

    assert (made.mime, made.width, made.height) == ("video/mp4", 320, 180)
    assert probed(photo, window).duration == pytest.approx(probed(target).duration, abs=0.05)


def test_a_broken_tail_makes_a_shorter_version(tmp_path: Path, target: Path) -> None:
    whole = make(tmp_path / "film.ts", Film(paint=moving(), codec="mpeg2video", sound="mp2", seconds=4)).read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(whole[: len(whole) // 2])
    make_web_version(path, target, TRANSCODE)

    assert probed(target).duration == pytest.approx(2, abs=0.4)


def test_a_broken_middle_loses_no_more_than_itself(tmp_path: Path, target: Path) -> None:
    content = bytearray(make(tmp_path / "film.mp4", Film(paint=moving(), codec="mpeg4", seconds=4)).read_bytes())
    middle = content.index(b"mdat") + 20_000
    content[middle : middle + 5000] = bytes(5000)
    path = tmp_path / "scratched.mp4"
    path.write_bytes(content)
    make_web_version(path, target, TRANSCODE)

    assert probed(target).duration == pytest.approx(4, abs=0.2)
    assert len(list(pictures(target))) > 80


def test_what_cannot_be_decoded_is_the_fault_of_the_file(tmp_path: Path, target: Path) -> None:
    path = make(tmp_path / "film.mp4", Film(paint=moving(), codec="mpeg4"))
    content = bytearray(path.read_bytes())
    data = content.index(b"mdat") + 4
    content[data : content.index(b"moov") - 4] = bytes(content.index(b"moov") - 4 - data)
    for damaged in (bytes(content), b"", b"nothing"):
        path.write_bytes(damaged)
        with pytest.raises(MediaDamaged):
            make_web_version(path, target, TRANSCODE)


def test_a_disk_that_takes_no_more_is_not_the_fault_of_the_file(tmp_path: Path, target: Path) -> None:
    path = make(tmp_path / "film.mkv", Film(paint=moving(640, 360), sound="aac", seconds=2))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(StorageError, match=os.strerror(errno.EFBIG)):
            make_web_version(path, target, WebWish(playback=Playback.REMUX))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_progress_grows_to_one(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg_web, "REPORT_SECONDS", 0.0)
    path = make(tmp_path / "film.avi", Film(paint=moving(), codec="mpeg4", seconds=4, sound="mp2"))
    told: list[float] = []
    make_web_version(path, target, TRANSCODE, told.append)

    assert told == sorted(told)
    assert told[-1] == 1
    assert len(told) > 50


async def test_a_child_behind_the_fence_makes_it_and_tells_how_far_it_is(tmp_path: Path, target: Path) -> None:
    path = make(tmp_path / "film.mp4", Film(paint=moving(), codec="mpeg4", seconds=2, sound="aac"))
    told: list[float] = []
    async with DecoderPool(size=1, limits=DecoderLimits(file_bytes=None)) as pool:
        made = await pool.run(
            make_web_version, path, target, TRANSCODE, timeout=60, target=target, on_progress=told.append
        )

    assert made == WebVersion(mime="video/mp4", made_by="transcode", encoder=SOFTWARE, width=320, height=180)
    assert probed(target).playback is Playback.DIRECT
    assert told == sorted(told)


async def test_a_cancelled_one_never_looks_complete(tmp_path: Path, target: Path) -> None:
    path = make(tmp_path / "film.avi", Film(paint=moving(1280, 720), codec="mpeg4", seconds=12, keyframes=250))
    begun = asyncio.Event()
    async with DecoderPool(size=1, limits=DecoderLimits(file_bytes=None)) as pool:
        run = asyncio.create_task(
            pool.run(
                make_web_version, path, target, TRANSCODE, timeout=60, target=target, on_progress=lambda _: begun.set()
            )
        )
        await begun.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    with pytest.raises(MediaError):
        probed(target)


def test_a_hardware_encoder_that_fails_is_replaced(tmp_path: Path, target: Path) -> None:
    path = make(tmp_path / "film.avi", Film(paint=moving(), codec="mpeg4", seconds=0.4))
    broken = next(name for name in available_encoders() if fault_of(name) is not None)
    made = make_web_version(path, target, WebWish(playback=Playback.TRANSCODE, encoder=broken))

    assert made.encoder == SOFTWARE
    assert probed(target).playback is Playback.DIRECT
