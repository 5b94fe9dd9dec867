"""Encoders of H.264: which there are, how each is set, and which of them works on this machine."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import av
import numpy as np
from av.codec import Codec
from av.codec.hwaccel import HWAccel
from av.container.output import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

SOFTWARE = "libx264"
HARDWARE: Mapping[str, str] = {"nvenc": "h264_nvenc", "qsv": "h264_qsv", "vaapi": "h264_vaapi"}
"""FFmpeg's encoder for each word of the configuration, in the order in which ``auto`` tries them."""

CLOCK = Fraction(1, 90_000)
"""The time base of encoded pictures, fine enough for every camera, so that a variable frame rate stays as it was."""

_SETTINGS: Mapping[str, Mapping[str, str]] = {
    SOFTWARE: {"preset": "veryfast", "crf": "23", "profile": "high"},
    "h264_nvenc": {"preset": "p4", "rc": "vbr", "cq": "25", "profile": "high"},
    "h264_qsv": {"preset": "medium", "global_quality": "25", "profile": "high"},
    "h264_vaapi": {"rc_mode": "CQP", "qp": "25", "profile": "high"},
}
"""x264's preset by 3 s of a phone's 1440 x 1080, CPU-s a second and Mb/s at like quality (35.5 dB): superfast 0.73 and
4.9, veryfast 0.87 and 1.5, faster 1.29 and 1.8, medium 1.79 and 1.9."""
_PIXELS = {"h264_qsv": "nv12", "h264_vaapi": "nv12"}
_KEYFRAME_SECONDS = 4
_BITS_A_PIXEL = 4.0
"""Of the largest rate, each second: 8.3 Mb/s for 1080p. Noise would take any amount."""
_TRIAL_FRAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderChoice:
    """An encoder of FFmpeg, and why it was taken, for people."""

    encoder: str
    reason: str


async def choose(wanted: str, fault: Callable[[str], Awaitable[str | None]]) -> EncoderChoice:
    """The encoder for what the configuration says: ``software``, ``auto``, ``nvenc``, ``qsv`` or ``vaapi``.

    ``fault`` tells of an encoder what speaks against it, None for nothing: it asks ``fault_of`` in a child, since a
    driver may crash and take the process with it.
    """
    if wanted == "software":
        return EncoderChoice(encoder=SOFTWARE, reason="software, as configured")
    faults: list[str] = []
    for word in HARDWARE if wanted == "auto" else (wanted,):
        encoder = HARDWARE[word]
        found = await fault(encoder)
        if found is None:
            return EncoderChoice(encoder=encoder, reason=f"{encoder} encoded {_TRIAL_FRAMES} pictures on this machine")
        faults.append(f"{encoder}: {found}")
    return EncoderChoice(encoder=SOFTWARE, reason=f"software, because no other encoder works ({'; '.join(faults)})")


def available_encoders() -> tuple[str, ...]:
    """The encoders of H.264 that this FFmpeg was built with, whether or not the machine has the hardware."""
    return tuple(name for name in (SOFTWARE, *HARDWARE.values()) if _is_built(name))


def fault_of(encoder: str) -> str | None:
    """Encode a few pictures: None when that works, else why it does not."""
    if not _is_built(encoder):
        return "not in this FFmpeg"
    picture = np.zeros((360, 640, 3), dtype=np.uint8)
    sizes = 0
    try:
        with av.open(_Nowhere(), "w", format="mp4", options={"movflags": "+frag_keyframe+empty_moov"}) as container:
            stream = add_video(container, encoder, size=(640, 360), rate=Fraction(30), threads=1)
            for number in range(_TRIAL_FRAMES):
                picture[:, : 80 * number] = 200
                frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=stream.pix_fmt)
                frame.pts, frame.time_base = number * 3000, CLOCK
                sizes += sum(packet.size for packet in stream.encode(frame))
            sizes += sum(packet.size for packet in stream.encode(None))
    except (av.FFmpegError, OSError, ValueError, RuntimeError, NotImplementedError) as exc:
        return str(getattr(exc, "strerror", None) or exc).strip().lower() or type(exc).__name__
    return None if sizes else "it made nothing"


def add_video(
    container: OutputContainer, encoder: str, *, size: tuple[int, int], rate: Fraction, threads: int
) -> VideoStream:
    """A stream of H.264 in 8 bits 4:2:0, BT.709; ``rate`` is the average, in pictures a second."""
    options = dict(_SETTINGS[encoder])
    pixels = size[0] * size[1]
    hwaccel = HWAccel("vaapi") if encoder == "h264_vaapi" else None
    stream = cast(VideoStream, container.add_stream(encoder, rate=rate, options=options, hwaccel=hwaccel))
    stream.width, stream.height = size
    stream.pix_fmt = _PIXELS.get(encoder, "yuv420p")
    context = stream.codec_context
    context.time_base = CLOCK
    context.gop_size = max(1, round(rate * _KEYFRAME_SECONDS))
    context.thread_count = threads
    context.color_primaries = context.color_trc = context.colorspace = 1
    context.color_range = 1
    largest = int(pixels * _BITS_A_PIXEL)
    context.options = {**options, "maxrate": str(largest), "bufsize": str(2 * largest)}
    return stream


def _is_built(encoder: str) -> bool:
    try:
        return Codec(encoder, "w").is_encoder
    except ValueError:
        return False


class _Nowhere:
    """A file that forgets."""

    def write(self, data: Any) -> int:
        """All of it."""
        return len(data)
