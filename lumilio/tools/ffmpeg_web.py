"""From a recording to a file that browsers play: which streams are copied, which are encoded, and one pass over all."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import av
from av.container.input import InputContainer
from av.container.output import OutputContainer
from av.packet import Packet
from av.stream import Stream

from lumilio.errors import MediaDamaged
from lumilio.tools.ffmpeg import (
    aspect_of,
    duration_of,
    first_frame,
    moving_pictures,
    orientation_of,
    sound_of,
    vision_of,
)
from lumilio.tools.ffmpeg_input import no_logging, read_packets
from lumilio.tools.ffmpeg_output import CopiedTrack, open_output
from lumilio.tools.ffmpeg_playback import Route, route
from lumilio.tools.ffmpeg_sound import EncodedSound
from lumilio.tools.ffmpeg_transcode import EncodedVideo, web_size

REPORT_SECONDS = 0.5
_EARLY = 0.05
"""Seconds that a recording may begin after 0 without being moved: broadcasts begin anywhere."""


class Track(Protocol):
    """A stream on its way into the output; ``end`` is the time in seconds up to which it was written."""

    end: float

    def feed(self, packet: "Packet[Stream]") -> None:
        """Take the next packet of the stream."""

    def finish(self) -> None:
        """Write what is still held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a recording needs. ``size`` is that of encoded pictures, None for sound alone; ``orientation`` is EXIF's."""

    route: Route
    size: tuple[int, int] | None
    orientation: int
    has_sound: bool

    @property
    def has_video(self) -> bool:
        return self.size is not None

    @property
    def encodes_video(self) -> bool:
        return self.has_video and not self.route.copies_video

    @property
    def encodes_sound(self) -> bool:
        return self.has_sound and not self.route.copies_sound


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to encode: the most pixels of the short side, FFmpeg's encoder, its threads."""

    height: int
    encoder: str
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What came out: ``length`` in seconds, and whether there was any sound to write."""

    length: float
    has_sound: bool


def plan(container: InputContainer, height: int) -> Plan:
    """Decide by the streams and the first picture. Raises MediaDamaged when there is nothing that can be decoded."""
    video, audio = moving_pictures(container), sound_of(container)
    sound = audio.codec_context.codec.canonical_name if audio is not None else None
    if video is None:
        if audio is None:
            raise MediaDamaged("the recording holds neither pictures nor sound that can be decoded")
        return Plan(route=route(None, sound), size=None, orientation=1, has_sound=True)
    frame = first_frame(container, video)
    if frame is None:
        raise MediaDamaged("the video holds no picture that can be decoded")
    way = route(vision_of(video, frame), sound)
    orientation = orientation_of(frame)
    size = web_size(frame, aspect_of(video), orientation, height)
    return Plan(route=way, size=size, orientation=orientation, has_sound=audio is not None)


def write(
    container: InputContainer, target: Path, what: Plan, settings: Settings, report: Callable[[float], None]
) -> Written:
    """Make the web version in one pass. What can be read up to a broken place counts.

    Raises MediaDamaged when nothing could be read, what ``open_output`` raises, and ToolError for encoders that fail.
    """
    duration = duration_of(container)
    with no_logging(), open_output(target, what.route.container) as output:
        tracks = _tracks(container, output, what, settings)
        reported = time.monotonic()
        for packet in read_packets(container, *tracks):
            track = tracks[packet.stream]
            track.feed(packet)
            if duration and time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                report(min(0.99, max(0.0, max(each.end for each in tracks.values()) / duration)))
        for track in tracks.values():
            track.finish()
        ends = {stream.type: track.end for stream, track in tracks.items()}
        if ends.get("video", 1.0) <= 0 or max(ends.values()) <= 0:
            raise MediaDamaged("nothing of the recording can be decoded")
    return Written(length=max(ends.values()), has_sound=ends.get("audio", 0.0) > 0)


def _tracks(container: InputContainer, output: OutputContainer, what: Plan, settings: Settings) -> dict[Stream, Track]:
    began = (container.start_time or 0) / av.time_base
    start = began if began > _EARLY else 0.0
    tracks: dict[Stream, Track] = {}
    video, audio = moving_pictures(container), sound_of(container)
    if video is not None and what.size is not None:
        tracks[video] = (
            CopiedTrack(output, video, start)
            if what.route.copies_video
            else EncodedVideo(
                output,
                video,
                size=what.size,
                orientation=what.orientation,
                encoder=settings.encoder,
                threads=settings.threads,
                start=start,
            )
        )
    if audio is not None:
        tracks[audio] = (
            CopiedTrack(output, audio, start) if what.route.copies_sound else EncodedSound(output, audio, start=start)
        )
    return tracks
