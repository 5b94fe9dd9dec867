"""One picture that stands for a video: the best out of a few keyframes, each decoded by itself.

A keyframe of 4K takes some 50 ms, so that ten of them spread over the recording are what a second allows. Only where
all of those are poor, or where a short clip has one keyframe, is a stretch decoded from the beginning.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import av
import numpy as np
import numpy.typing as npt
from av.container.input import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation
from av.video.stream import VideoStream

from lumilio.errors import MediaDamaged
from lumilio.tools.ffmpeg import squared
from lumilio.tools.ffmpeg_colour import needs_conversion, to_srgb
from lumilio.tools.ffmpeg_input import read_packets, salvaged

_PLACES = (0.3, 0.55, 0.15, 0.75, 0.4, 0.05, 0.9, 0.22, 0.65, 0.0)
"""Where keyframes are looked at, as shares of the duration: the likely ones first, for the time may run out."""
_KEYFRAME_SECONDS = 0.6
_STRETCH_SECONDS = 0.5
_STRETCH_LOOKS = 12
_GOOD = 0.8
"""A score that needs no more looking, once three keyframes were seen."""
_POOR = 0.2
_PACKETS_TO_A_KEYFRAME = 400
_SMALL = 160
_DRAWING = 0.1
"""What white counts that something is drawn on."""
_OPENING = 0.7
"""What the very first picture's score counts: it is often a title, a fade or a hand."""


@dataclass(slots=True)
class _Best:
    """The best picture so far."""

    frame: VideoFrame | None = None
    score: float = -1.0
    seen: int = 0

    def look_at(self, frame: VideoFrame, weight: float = 1.0) -> None:
        score = _score(frame) * weight * (0.5 if frame.is_corrupt else 1.0)
        self.seen += 1
        if score > self.score:
            self.frame, self.score = frame, score


def choose_frame(container: InputContainer, video: VideoStream, duration: float | None) -> VideoFrame:
    """A picture that is neither black nor blank nor blurred, if there is one within about a second of CPU.

    ``duration`` is in seconds. Raises MediaDamaged when no picture can be decoded.
    """
    video.codec_context.thread_count = 1
    began = time.process_time()
    best = _Best()
    by_palette = video.codec_context.pix_fmt == "pal8"  # which comes once, with the first packet
    for frame, first in () if by_palette else _keyframes(container, video, duration):
        best.look_at(frame, _OPENING if first else 1.0)
        if time.process_time() - began > _KEYFRAME_SECONDS or (best.seen >= 3 and best.score > _GOOD):
            break
    if best.score < _POOR or best.seen < 2:
        deadline = time.process_time() + _STRETCH_SECONDS
        for number, frame in enumerate(_stretch(container, video, rewind=not by_palette)):
            best.look_at(frame, 1.0 if number else _OPENING)
            if time.process_time() > deadline:
                break
    if best.frame is None:
        raise MediaDamaged("the video holds no picture that can be decoded")
    return best.frame


def pixels(frame: VideoFrame, longest: int, aspect: float) -> npt.NDArray[np.uint8]:
    """A picture as sRGB rows of at most ``longest`` pixels a side (H x W x 3), not turned yet, with square pixels;
    ``aspect`` is the width of a pixel in heights."""
    width, height = squared(frame.width, frame.height, aspect)
    scale = min(1.0, longest / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    convert = needs_conversion(frame.color_primaries, frame.color_trc)
    picture = frame.reformat(
        width=size[0],
        height=size[1],
        format="rgb48le" if convert else "rgb24",
        src_colorspace=assumed_matrix(frame),
        dst_color_range="JPEG",
        interpolation=Interpolation.AREA if scale < 0.5 else Interpolation.BICUBIC,
        threads=1,
    ).to_ndarray()
    if convert:
        signal = picture.astype(np.float32) / np.float32(65535)
        return np.rint(to_srgb(signal, frame.color_trc) * 255).astype(np.uint8)
    return np.ascontiguousarray(picture, dtype=np.uint8)


def assumed_matrix(frame: VideoFrame) -> Colorspace | None:
    """What the colours of an unmarked picture are taken to be, as players do: BT.709 for HD, BT.601 below. None where
    the picture says it."""
    if frame.colorspace not in (0, 2, 3):
        return None
    return Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601


def _keyframes(
    container: InputContainer, video: VideoStream, duration: float | None
) -> Iterator[tuple[VideoFrame, bool]]:
    """Distinct keyframes near _PLACES, each with whether the recording begins with it."""
    start = video.start_time or 0
    seen: set[int | None] = set()
    for place in _PLACES if duration and video.time_base else (0.0,):
        at = start + int(place * (duration or 0.0) / (video.time_base or 1))
        packet = _keyframe_packet(container, video, at)
        if packet is None or packet.pts in seen:
            continue
        seen.add(packet.pts)
        decode = video.codec_context.decode
        frames = salvaged(partial(decode, packet)) or salvaged(partial(decode, None))
        if frames:
            yield frames[0], (packet.pts or 0) <= start


def _keyframe_packet(container: InputContainer, video: VideoStream, at: int) -> "Packet[Stream] | None":
    if not _seek(container, video, at):
        return None
    for number, packet in enumerate(read_packets(container, video)):
        if packet.is_keyframe:
            return packet
        if number > _PACKETS_TO_A_KEYFRAME:
            return None
    return None


def _seek(container: InputContainer, video: VideoStream, at: int) -> bool:
    try:
        container.seek(at, stream=video)
    except MemoryError:
        raise
    except av.FFmpegError:
        return False
    return True


def _stretch(container: InputContainer, video: VideoStream, *, rewind: bool) -> Iterator[VideoFrame]:
    """Every so many pictures from the beginning on; those that no other one needs are not decoded."""
    if rewind and not _seek(container, video, video.start_time or 0):
        return
    step = max(1, (video.frames or 300) // _STRETCH_LOOKS)
    count = 0
    for packet in read_packets(container, video):
        for frame in salvaged(partial(video.codec_context.decode, packet)):
            if count % step == 0:
                yield frame
            count += 1


def _score(frame: VideoFrame) -> float:
    """How much there is to see, 0 to 1: entropy, contrast and edges of the luma, nothing where it is black or white."""
    scale = min(1.0, _SMALL / max(frame.width, frame.height))
    size = max(8, round(frame.width * scale)), max(8, round(frame.height * scale))
    grey = frame.reformat(width=size[0], height=size[1], format="gray", interpolation=Interpolation.AREA, threads=1)
    luma = grey.to_ndarray().astype(np.float32)
    mean = float(luma.mean())
    exposure = min(max((mean - 18) / 40, 0.0), max((248 - mean) / 40, _DRAWING), 1.0)
    shares = np.bincount(luma.ravel().astype(np.intp) >> 3, minlength=32) / luma.size
    entropy = float(-(shares[shares > 0] * np.log2(shares[shares > 0])).sum()) / 5
    contrast = min(float(luma.std()) / 60, 1.0)
    edges = float(np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean())
    return exposure * (0.4 * entropy + 0.3 * contrast + 0.3 * min(edges / 20, 1.0))
