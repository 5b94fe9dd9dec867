"""Sound that is decoded, converted and encoded to AAC."""

from collections.abc import Iterable
from fractions import Fraction
from functools import partial

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container.output import OutputContainer
from av.filter import Graph
from av.frame import Frame
from av.packet import Packet
from av.stream import Stream

from lumilio.tools.ffmpeg_filters import AdaptingFilters, Filters, link
from lumilio.tools.ffmpeg_input import salvaged
from lumilio.tools.ffmpeg_output import CUT_SECONDS, writing

_SOUND_RATES = (44_100, 48_000)
_SOUND_BITS = 160_000
_LOST_SECONDS = 0.2
"""How far sound may be from where it belongs, before it is brought back."""


class EncodedSound:
    """Sound on its way to AAC: mono or stereo, at 44.1 or 48 kHz, gaps filled so that it stays beside the picture."""

    def __init__(self, output: OutputContainer, audio: AudioStream, *, start: float) -> None:
        self._output, self._audio = output, audio
        rate = audio.codec_context.sample_rate
        self._rate = _SOUND_RATES[0] if rate % 11_025 == 0 else _SOUND_RATES[1]
        self._layout = "mono" if audio.codec_context.channels == 1 else "stereo"  # stereo would be 3 dB quieter
        with writing():
            self._stream: AudioStream = output.add_stream("aac", rate=self._rate)
            self._stream.layout, self._stream.bit_rate = self._layout, _SOUND_BITS
        self._shift = Fraction(start)
        audio.codec_context.thread_count = 1
        self._filters = AdaptingFilters()
        self._next = 0
        self.end = 0.0

    def feed(self, packet: "Packet[Stream]") -> None:
        """Take one packet; what is damaged in it is left out."""
        self._convert(salvaged(partial(self._audio.codec_context.decode, packet)))

    def finish(self) -> None:
        """What decoder, filters and encoder still hold."""
        self._convert(salvaged(partial(self._audio.codec_context.decode, None)))
        with writing():
            for rest in self._filters.drained():
                self._encode(rest)
            if self._next:
                self._output.mux(self._stream.encode(None))

    def _convert(self, frames: Iterable[AudioFrame]) -> None:
        for frame in frames:
            shape = (frame.format.name, frame.layout.name, frame.sample_rate)
            with writing():
                for rest in self._filters.adapted(shape, partial(self._built, frame)):
                    self._encode(rest)
                if frame.pts is not None and frame.time_base is not None:
                    frame.pts = round((frame.pts * frame.time_base - self._shift) * frame.sample_rate)
                    frame.time_base = Fraction(1, frame.sample_rate)
                for converted in self._filters.passed(frame):
                    self._encode(converted)

    def _encode(self, frame: Frame) -> None:
        """Encode what follows without a gap; what comes far too late is preceded by silence, far too early left out."""
        if not isinstance(frame, AudioFrame):
            return
        stated = self._next if frame.pts is None else frame.pts
        late = stated - self._next
        if late > _LOST_SECONDS * self._rate and late < CUT_SECONDS * self._rate:
            nothing = np.zeros((len(self._stream.layout.channels), late), dtype=np.float32)
            silence = AudioFrame.from_ndarray(nothing, format="fltp", layout=self._layout)
            silence.sample_rate = self._rate
            self._append(silence)
        elif -late > _LOST_SECONDS * self._rate and -late < CUT_SECONDS * self._rate:
            return
        self._append(frame)

    def _append(self, frame: AudioFrame) -> None:
        frame.pts, frame.time_base = self._next, Fraction(1, self._rate)
        self._next += frame.samples
        self.end = self._next / self._rate
        self._output.mux(self._stream.encode(frame))

    def _built(self, frame: AudioFrame) -> Filters:
        graph = Graph()
        source = graph.add(
            "abuffer",
            f"sample_rate={frame.sample_rate}:sample_fmt={frame.format.name}:"
            f"channel_layout={frame.layout.name}:time_base=1/{frame.sample_rate}",
        )
        sink = graph.add("abuffersink")
        nodes = [
            source,
            graph.add("aresample", str(self._rate)),
            graph.add("aformat", f"sample_fmts=fltp:sample_rates={self._rate}:channel_layouts={self._layout}"),
            sink,
        ]
        link(nodes)
        graph.configure()
        return Filters(graph=graph, source=source, sink=sink)
