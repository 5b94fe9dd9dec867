"""Videos and sounds made to order, to know what must be found in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

Picture = npt.NDArray[np.uint8]
Painter = Callable[[float], Picture]
"""From a time in seconds to rows of sRGB pixels."""

SOUND_RATE = 48_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """What to make. ``matrix`` is a display matrix, ``tags`` are H.273 primaries, transfer and matrix."""

    paint: Painter | None = None
    codec: str = "libx264"
    seconds: float = 2.0
    rate: Fraction = Fraction(25)
    keyframes: int = 10
    pixels: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    aspect: Fraction | None = None
    matrix: Sequence[int] | None = None
    tags: tuple[int, int, int] | None = None
    interlaced: bool = False
    sound: str | None = None
    layout: str = "stereo"
    container: str | None = None
    muxing: Mapping[str, str] = field(default_factory=dict)


def gradient(width: int = 320, height: int = 180, *, shift: float = 0.0) -> Picture:
    """A picture with no symmetry and with something to see in it, which moves along with ``shift``."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    waves = (np.sin(x * 40 + shift * 20) * np.cos(y * 25) + 1) / 2
    return cast(Picture, (np.stack([x, y, waves], axis=-1) * 255).astype(np.uint8))


def moving(width: int = 320, height: int = 180) -> Painter:
    """A gradient that moves to the right, a quarter of its width a second."""
    still = gradient(width, height)
    return lambda second: np.roll(still, round(second * width / 4), axis=1)


def make(path: Path, film: Film) -> Path:
    """Encode it."""
    with av.open(str(path), "w", format=film.container, options=dict(film.muxing)) as output:
        video = _video(output, film) if film.paint else None
        sound = _sound(output, film) if film.sound else None
        for number in range(round(film.seconds * film.rate)):
            if video is not None and film.paint is not None:
                output.mux(video.encode(_frame(video, film, number)))
            if sound is not None:
                output.mux(sound.encode(_beep(sound, film, number)))
        for stream in (video, sound):
            if stream is not None:
                output.mux(stream.encode(None))
    return path


def _video(output: Any, film: Film) -> VideoStream:
    assert film.paint is not None
    height, width = film.paint(0).shape[:2]
    stream = cast(VideoStream, output.add_stream(film.codec, rate=film.rate, options=dict(film.options)))
    stream.width, stream.height, stream.pix_fmt = width, height, film.pixels
    context = stream.codec_context
    context.gop_size = film.keyframes
    context.thread_count = 1
    if film.aspect is not None:
        context.sample_aspect_ratio = film.aspect
    if film.tags is not None:
        context.color_primaries, context.color_trc, context.colorspace = film.tags
        context.color_range = 1
    if film.matrix is not None:
        stream.set_display_matrix(film.matrix)
    return stream


def _frame(stream: VideoStream, film: Film, number: int) -> av.VideoFrame:
    assert film.paint is not None
    painted = film.paint(float(number / film.rate))
    frame = av.VideoFrame.from_ndarray(painted, format="rgb48le" if painted.dtype == np.uint16 else "rgb24")
    matrix = {9: "bt2020", 1: "itu709"}.get(film.tags[2] if film.tags else 0, "itu601")
    frame = frame.reformat(format=stream.pix_fmt, dst_colorspace=matrix, dst_color_range="MPEG")
    frame.pts, frame.time_base = number, 1 / film.rate
    if film.tags is not None:
        frame.color_primaries, frame.color_trc, frame.colorspace = film.tags
    return frame


def _sound(output: Any, film: Film) -> AudioStream:
    stream = cast(AudioStream, output.add_stream(film.sound, rate=8000 if "amr" in str(film.sound) else SOUND_RATE))
    stream.layout = film.layout
    return stream


def _beep(stream: AudioStream, film: Film, number: int) -> av.AudioFrame:
    rate = stream.rate
    begin, end = (round(n * rate / film.rate) for n in (number, number + 1))
    wave = (0.5 * np.sin(np.arange(begin, end) * 2 * np.pi * 440 / rate)).astype(np.float32)
    channels = len(stream.layout.channels)
    frame = av.AudioFrame.from_ndarray(np.stack([wave] * channels), format="fltp", layout=film.layout)
    frame.sample_rate, frame.pts, frame.time_base = rate, begin, Fraction(1, rate)
    resampler = av.AudioResampler(format=stream.format, layout=film.layout, rate=rate)
    (converted,) = resampler.resample(frame)
    return converted
