"""The FFmpeg libraries, through PyAV: what a recording is, and how loud it is."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.buffer import Buffer
from av.container.input import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from lumilio.errors import MediaDamaged
from lumilio.model import Streams
from lumilio.tools.ffmpeg_colour import is_hdr
from lumilio.tools.ffmpeg_input import open_media, read_packets, salvaged
from lumilio.tools.ffmpeg_playback import DECODERS, Vision, playback
from lumilio.tools.thumbnails import turned

__all__ = ["open_media"]

PROGRESSIVE = 1
"""AV_FIELDPROGRESSIVE; above it are the orders of interlaced fields, 0 is unknown."""
_FASTEST = 1000.0
_PACKETS_TO_A_FRAME = 300
_BLOCK = 256
"""Samples that share a peak while the length of a sound is unknown."""
_CHUNK = 1 << 17
_SAMPLED_SECONDS = 1800.0
"""Longer sounds are not decoded whole: at 0.2 s of CPU a minute an audio book would take minutes."""


def version() -> str:
    """The version of FFmpeg that PyAV carries, such as ``8.1``."""
    return str(av.ffmpeg_version_info)


def probe(container: InputContainer, frame: VideoFrame | None = None) -> Streams:
    """What a recording consists of; a cover is no moving picture.

    Which way up the pictures are only a decoded one tells: ``frame`` is one, or the first is decoded here. The place
    of reading is anywhere afterwards.
    """
    video, audio = moving_pictures(container), sound_of(container)
    if video is not None and frame is None:
        frame = first_frame(container, video)
    vision = vision_of(video, frame) if video is not None else None
    sound = audio.codec_context.codec.canonical_name if audio is not None else None
    name = container.format.name.partition(",")[0]
    brand = container.metadata.get("major_brand") if name == "mov" else container.name
    duration = duration_of(container)
    return Streams(
        container=name,
        duration=duration,
        video_codec=vision.codec if vision else None,
        audio_codec=sound,
        frame_rate=_frame_rate(video) if video is not None else None,
        bit_rate=_bit_rate(container, duration),
        rotation=ROTATIONS[orientation_of(frame)] if video is not None else None,
        hdr=is_hdr(video.codec_context.color_trc) if video is not None else None,
        sample_rate=audio.codec_context.sample_rate or None if audio is not None else None,
        channels=audio.codec_context.channels or None if audio is not None else None,
        playback=playback(name, brand, vision, sound),
    )


def moving_pictures(container: InputContainer) -> VideoStream | None:
    """The first stream of pictures that is no cover and that can be decoded."""
    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    for stream in container.streams.video:
        if not stream.disposition & covers and _is_known(stream) and stream.codec_context.width:
            return stream
    return None


def sound_of(container: InputContainer) -> AudioStream | None:
    """The stream of sound that a player would choose, out of those that can be decoded."""
    known = [each for each in container.streams.audio if _is_known(each) and each.codec_context.sample_rate]
    chosen = [each for each in known if each.disposition & Disposition.default]
    return next(iter([*chosen, *known]), None)


def _is_known(stream: AudioStream | VideoStream) -> bool:
    return stream.codec_context is not None and stream.codec_context.name in DECODERS


def vision_of(video: VideoStream, frame: VideoFrame | None) -> Vision:
    """What decides whether browsers show it."""
    context = video.codec_context
    return Vision(
        codec=context.codec.canonical_name,
        profile=context.profile,
        pixels=context.pix_fmt,
        interlaced=context.field_order > PROGRESSIVE,
        mirrored=orientation_of(frame) in (2, 4, 5, 7),
    )


def first_frame(container: InputContainer, video: VideoStream) -> VideoFrame | None:
    """The first picture that can be decoded, from where the container is read now; None when there is none soon."""
    video.codec_context.thread_count = 1
    for number, packet in enumerate(read_packets(container, video)):
        if number > _PACKETS_TO_A_FRAME:
            return None
        if frames := salvaged(partial(video.codec_context.decode, packet)):
            return frames[0]
    return next(iter(salvaged(partial(video.codec_context.decode, None))), None)


ROTATIONS = (0, 0, 0, 180, 180, 90, 90, 270, 270)
"""Degrees clockwise that a player turns pictures by, for each EXIF orientation; 0 stands for an unknown one."""

_TURNS = {(1, 1): 1, (-1, 1): 2, (-1, -1): 3, (1, -1): 4}
_TURNS_OVER_THE_DIAGONAL = {(1, 1): 5, (1, -1): 6, (-1, -1): 7, (-1, 1): 8}


def orientation_of(frame: VideoFrame | None) -> int:
    """The EXIF orientation (1 to 8) that is nearest to a picture's display matrix.

    The matrix maps x to ax + cy and y to bx + dy (ISO 14496-12, 6.2.2), y downwards.
    """
    try:
        side_data: Mapping[str, Buffer] = frame.side_data if frame else {}  # type: ignore[assignment]  # stubs know one
        matrix = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), dtype=np.int32)
    except (KeyError, ValueError):  # there is none, or PyAV does not know what else the picture carries
        return {-90: 6, 180: 3, -180: 3, 90: 8}.get(frame.rotation if frame else 0, 1)
    if matrix.size < 5:
        return 1
    a, b, _, c, d = (int(value) for value in matrix[:5])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return _TURNS[_sign(a), _sign(d)]
    return _TURNS_OVER_THE_DIAGONAL[_sign(b), _sign(c)]


def _sign(value: int) -> int:
    return -1 if value < 0 else 1


def aspect_of(video: VideoStream) -> float:
    """The width of a pixel in its heights; 1 where nothing or nonsense is said."""
    aspect = float(video.sample_aspect_ratio or 1)
    return aspect if 0.1 <= aspect <= 10 else 1.0


def displayed_size(video: VideoStream, frame: VideoFrame) -> tuple[int, int]:
    """Width and height as displayed, with square pixels and upright."""
    return turned(squared(frame.width, frame.height, aspect_of(video)), orientation_of(frame))


def squared(width: int, height: int, aspect: float) -> tuple[int, int]:
    """The size with square pixels: stretched, never shrunk, as browsers do it."""
    return (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))


def duration_of(container: InputContainer) -> float | None:
    """Seconds, or None when nothing tells: bare MPEG video states a bit rate that it does not have."""
    if container.format.name == "mpegvideo":
        return None
    if container.duration and container.duration > 0:
        return container.duration / av.time_base
    for stream in container.streams:
        if stream.duration and stream.time_base and stream.duration > 0:
            return float(stream.duration * stream.time_base)
    return None


def _frame_rate(video: VideoStream) -> float | None:
    rate = video.average_rate or video.guessed_rate or Fraction(0)
    return float(rate) if 0 < rate <= _FASTEST else None


def _bit_rate(container: InputContainer, duration: float | None) -> int | None:
    if container.bit_rate > 0:
        return container.bit_rate
    return int(container.size * 8 / duration) if duration and container.size > 0 else None


def read_samples(path: Path, *, buckets: int) -> npt.NDArray[np.float32]:
    """How loud a sound is: the largest sample of any channel, 0 to 1, in each of ``buckets`` equal parts of its time.

    Sounds longer than half an hour are sampled at the beginning of each part. What comes after a damaged place counts
    as far as it can be decoded. Raises MediaDamaged when nothing can be decoded, and what ``open_media`` raises.
    """
    with open_media(path) as container:
        audio = sound_of(container)
        if audio is None:
            raise MediaDamaged("the file holds no sound that can be decoded")
        audio.codec_context.thread_count = 1
        duration = duration_of(container)
        if duration is not None and duration > _SAMPLED_SECONDS:
            peaks = [_peak_at(container, audio, duration * part / buckets) for part in range(buckets)]
            return np.array(peaks, dtype=np.float32)
        blocks = np.concatenate([np.zeros(0, np.float32), *_peaks(_frames(container, audio))])
    if not blocks.size:
        raise MediaDamaged("the file holds no sound that can be decoded")
    edges = np.arange(buckets) * blocks.size // buckets
    loudness: npt.NDArray[np.float32] = np.maximum.reduceat(blocks, edges)
    return np.nan_to_num(loudness, posinf=1.0).clip(0.0, 1.0)


def _frames(container: InputContainer, audio: AudioStream) -> Iterator[AudioFrame]:
    """Every piece of sound that can be decoded, up to a place where the file cannot be read any more."""
    for packet in read_packets(container, audio):
        yield from salvaged(partial(audio.codec_context.decode, packet))
    yield from salvaged(partial(audio.codec_context.decode, None))


def _peak_at(container: InputContainer, audio: AudioStream, second: float) -> float:
    """The largest of some samples from there on; 0 where nothing can be decoded."""
    try:
        container.seek(int(second * av.time_base))
    except av.FFmpegError:
        return 0.0
    loudest = 0.0
    for number, frame in enumerate(_frames(container, audio)):
        loudest = max(loudest, float(_levels(frame).max(initial=0.0)))
        if number >= 8:
            break
    return loudest


def _peaks(frames: Iterator[AudioFrame]) -> Iterator[npt.NDArray[np.float32]]:
    """The largest sample of every _BLOCK, in portions of about _CHUNK samples: few calls, little memory."""
    waiting: list[npt.NDArray[np.float32]] = []
    count = 0
    for frame in frames:
        waiting.append(_levels(frame))
        count += waiting[-1].size
        if count >= _CHUNK:
            levels = np.concatenate(waiting)
            whole = levels.size // _BLOCK * _BLOCK
            yield levels[:whole].reshape(-1, _BLOCK).max(axis=1)
            waiting, count = [levels[whole:]], levels.size - whole
    if count:
        levels = np.concatenate(waiting)
        yield np.maximum.reduceat(levels, np.arange(0, levels.size, _BLOCK))


def _levels(frame: AudioFrame) -> npt.NDArray[np.float32]:
    """The magnitude of each sample, 0 to 1, of the loudest channel."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    levels: npt.NDArray[np.float32] = samples.astype(np.float32)
    if samples.dtype.kind in "iu":
        half = float(2 ** (8 * samples.dtype.itemsize - 1))
        levels = (levels - half) / half if samples.dtype.kind == "u" else levels / half
    loudest: npt.NDArray[np.float32] = np.abs(levels).max(axis=0)
    return loudest
