"""Pictures that are decoded, converted and encoded to H.264."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import partial

from av.container.output import OutputContainer
from av.filter import Graph
from av.frame import Frame
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream

from lumilio.tools.ffmpeg import PROGRESSIVE, squared
from lumilio.tools.ffmpeg_colour import hald, needs_conversion
from lumilio.tools.ffmpeg_encoders import CLOCK, add_video
from lumilio.tools.ffmpeg_filters import AdaptingFilters, Filters, link
from lumilio.tools.ffmpeg_input import salvaged
from lumilio.tools.ffmpeg_output import CUT_SECONDS, writing
from lumilio.tools.ffmpeg_poster import assumed_matrix
from lumilio.tools.thumbnails import turned

_FASTEST = 60
"""Pictures a second; of more, as in slow motion, some are left out."""
_HELPERS = 3
"""Threads that decode, and threads that convert: each one more of 4K in 10 bits costs 60 to 100 MiB."""
_UNKNOWN_RATE = Fraction(30)
_TURNS = {
    2: ("hflip",),
    3: ("hflip", "vflip"),
    4: ("vflip",),
    5: ("transpose=cclock_flip",),
    6: ("transpose=clock",),
    7: ("transpose=clock_flip",),
    8: ("transpose=cclock",),
}
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc"}
_UNMARKED = 2
_RANGES = {1: "tv", 2: "pc"}


def web_size(frame: VideoFrame, aspect: float, orientation: int, height: int) -> tuple[int, int]:
    """Width and height as displayed, with square pixels, even, the short side at most ``height``, the long side at
    most 16/9 of that; never enlarged."""
    width, tall = turned(squared(frame.width, frame.height, aspect), orientation)
    scale = min(1.0, height / min(width, tall), height * 16 / 9 / max(width, tall))
    return max(2, round(width * scale / 2) * 2), max(2, round(tall * scale / 2) * 2)


class EncodedVideo:
    """Pictures on their way to H.264: upright, in sRGB's colours, at most 60 a second, interlaced ones made whole."""

    def __init__(
        self,
        output: OutputContainer,
        video: VideoStream,
        *,
        size: tuple[int, int],
        orientation: int,
        encoder: str,
        threads: int,
        start: float,
    ) -> None:
        self._output, self._video, self._helpers = output, video, min(threads, _HELPERS)
        self._size, self._turns, self._lies = size, _TURNS.get(orientation, ()), orientation >= 5
        rate = video.average_rate or video.guessed_rate or _UNKNOWN_RATE
        self._too_fast = rate > _FASTEST * Fraction(101, 100)
        self._rate = Fraction(_FASTEST) if self._too_fast else max(rate, Fraction(1))
        with writing():
            self._stream = add_video(output, encoder, size=size, rate=self._rate, threads=threads)
        self._shift = Fraction(start)
        video.codec_context.thread_count = self._helpers
        video.codec_context.thread_type = "AUTO"
        self._filters = AdaptingFilters()
        self._last = -1
        self.end = 0.0

    def feed(self, packet: "Packet[Stream]") -> None:
        """Take one packet; what is damaged in it is left out."""
        self._convert(salvaged(partial(self._video.codec_context.decode, packet)))

    def finish(self) -> None:
        """What decoder, filters and encoder still hold."""
        self._convert(salvaged(partial(self._video.codec_context.decode, None)))
        with writing():
            for rest in self._filters.drained():
                self._encode(rest)
            if self._last >= 0:
                self._output.mux(self._stream.encode(None))

    def _convert(self, frames: Iterable[VideoFrame]) -> None:
        for frame in frames:
            _mend_marks(frame)
            shape = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_trc)
            with writing():
                for rest in self._filters.adapted(shape, partial(self._built, frame)):
                    self._encode(rest)
                for converted in self._filters.passed(frame):
                    self._encode(converted)

    def _encode(self, frame: Frame) -> None:
        if not isinstance(frame, VideoFrame):
            return
        usual = round(1 / self._rate / CLOCK)
        if frame.pts is None or frame.time_base is None:
            at = self._last + usual
        else:
            at = round((frame.pts * frame.time_base - self._shift) / CLOCK)
        if self._last >= 0 and abs(at - self._last) > CUT_SECONDS / CLOCK:
            self._shift += (at - self._last - usual) * CLOCK
            at = self._last + usual
        if at <= self._last:
            return
        frame.pts, frame.time_base = at, CLOCK
        frame.pict_type = PictureType.NONE  # or the encoder would make keyframes where the source has them
        self._last = at
        self.end = float((at + usual) * CLOCK)
        self._output.mux(self._stream.encode(frame))

    def _built(self, frame: VideoFrame) -> Filters:
        """The filters for pictures like this one."""
        graph = Graph()
        graph.threads = self._helpers
        source, sink = graph.add("buffer", _described(frame, self._video.time_base or CLOCK)), graph.add("buffersink")
        nodes = [source, *(graph.add(*step) for step in self._steps(frame)), sink]
        link(nodes)
        if needs_conversion(frame.color_primaries, frame.color_trc):
            table = hald(frame.color_trc)
            colours = graph.add("buffer", _described(table, Fraction(1, 1000)))
            colours.link_to(next(node for node in nodes if node.name and "haldclut" in node.name), 0, 1)
            graph.configure()
            colours.push(table)
            colours.push(None)
        else:
            graph.configure()
        return Filters(graph=graph, source=source, sink=sink)

    def _steps(self, frame: VideoFrame) -> Iterator[tuple[str, str | None]]:
        """Names and arguments of filters: fewer pictures first, then fewer pixels, colours, and last the turning."""
        if frame.interlaced_frame or self._video.codec_context.field_order > PROGRESSIVE:
            yield "bwdif", "mode=send_frame:deint=interlaced"
        if self._too_fast:
            yield "fps", str(_FASTEST)
        width, height = self._size[::-1] if self._lies else self._size
        matrix = assumed_matrix(frame)
        assumed = "auto" if matrix is None else "bt709" if matrix is Colorspace.ITU709 else "smpte170m"
        shrinking = f"w={width}:h={height}:flags=bicubic:in_color_matrix={assumed}"
        if needs_conversion(frame.color_primaries, frame.color_trc):
            yield "scale", shrinking
            yield "format", "rgb48le"
            yield "haldclut", "clut=first:interp=tetrahedral"
            shrinking = "flags=bicubic"
        yield "scale", f"{shrinking}:out_color_matrix=bt709:out_range=tv"
        yield "format", self._stream.pix_fmt
        yield "setparams", "color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv"
        for turn in self._turns:
            name, _, arguments = turn.partition("=")
            yield name, arguments or None


def _mend_marks(frame: VideoFrame) -> None:
    """Forget marks of colours that nothing here depends on: FFmpeg refuses some, such as reserved numbers."""
    if not needs_conversion(frame.color_primaries, frame.color_trc):
        frame.color_primaries = frame.color_trc = _UNMARKED
    if frame.colorspace not in _MATRICES:
        frame.colorspace = _UNMARKED


def _described(frame: VideoFrame, base: Fraction) -> str:
    """What FFmpeg's ``buffer`` filter has to know of the pictures to come."""
    parts = [
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:pixel_aspect=1/1",
        f"time_base={base.numerator}/{base.denominator}",
    ]
    if frame.colorspace in _MATRICES:
        parts.append(f"colorspace={_MATRICES[frame.colorspace]}")
    if frame.color_range in _RANGES:
        parts.append(f"range={_RANGES[frame.color_range]}")
    return ":".join(parts)
