"""Short films for tests, made by FFmpeg."""

import io
from fractions import Fraction

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

RATE = 25
SOUND_RATE = 48000


def film(
    form: str = "mp4",
    *,
    video: str | None = "libx264",
    audio: str | None = "aac",
    seconds: float = 1.0,
    size: tuple[int, int] = (320, 240),
    seed: int = 0,
) -> bytes:
    """Colours that move and a tone, in any container and codecs that FFmpeg can write; ``seed`` makes others."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=form) as container:
        quiet = {"x265-params": "log-level=none"} if video == "libx265" else None
        pictures = None if video is None else container.add_stream(video, rate=RATE, options=quiet)
        if isinstance(pictures, VideoStream):
            pictures.width, pictures.height, pictures.pix_fmt = *size, "yuv420p"
        sound = None if audio is None else container.add_stream(audio, rate=SOUND_RATE, layout="stereo")
        if isinstance(pictures, VideoStream):
            _show(pictures, container, round(seconds * RATE), size, seed)
        if isinstance(sound, AudioStream):
            _sound(sound, container, seconds, seed)
    return buffer.getvalue()


def _show(stream: VideoStream, container: OutputContainer, count: int, size: tuple[int, int], seed: int) -> None:
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    for number in range(count):
        phase = np.full_like(x, (number * 7 + seed * 31) % 256)
        picture = np.stack([x, y, phase], axis=-1).astype(np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _sound(stream: AudioStream, container: OutputContainer, seconds: float, seed: int) -> None:
    count = round(seconds * SOUND_RATE)
    tone = (np.sin(np.arange(count) * (440 + seed) * 2 * np.pi / SOUND_RATE) * 8000).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.repeat(tone, 2).reshape(1, -1), format="s16", layout="stereo")
    frame.sample_rate = SOUND_RATE
    frame.pts, frame.time_base = 0, Fraction(1, SOUND_RATE)
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
