"""Writing MP4 and WebM: FFmpeg writes through a Python file object, as it reads.

For a quick start the table of an MP4 goes before its data: FFmpeg writes it last and then moves everything, for which
it opens its own output once more. It is handed a second reader of the same file instead.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.container.output import OutputContainer
from av.packet import Packet
from av.stream import Stream

from lumilio.errors import DiskFull, StorageError, ToolError
from lumilio.tools.ffmpeg_input import BUFFER_BYTES, Source, reason
from lumilio.tools.originals import open_target

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_UNFIT = (av.error.InvalidDataError, av.error.PatchWelcomeError, av.error.ArgumentError)
"""What FFmpeg says of a single packet that it cannot bring into the container: it is left out."""
CUT_SECONDS = 60
"""Where times jump by more, a clock was set anew or is damaged: nothing is missing."""
_REORDERED_SECONDS = 10
"""How long after it was decoded a picture may be shown; more is a damaged number."""


@contextmanager
def open_output(path: Path, container: str) -> Iterator[OutputContainer]:
    """An ``mp4`` or ``webm`` in the place of what the file holds now; it is complete when the context ends well.

    Raises DiskFull and StorageError when the file cannot be written, ToolError when FFmpeg does not want to.
    """
    file = open_target(path)
    target = _Target(file, path)
    try:
        with writing():
            file.truncate(0)
            output = av.open(
                target,
                "w",
                format=container,
                options={"movflags": "+faststart"} if container == "mp4" else {},
                buffer_size=BUFFER_BYTES,
                io_open=target.reopen,
            )
        yield output
        with writing():
            output.close()
            file.close()
    finally:
        target.closed = True  # or PyAV would complete what was given up
        with suppress(OSError):  # what could not be written is still held, and closing tries it once more
            file.close()


@contextmanager
def writing() -> Iterator[None]:
    """Translate what PyAV raises while it encodes or writes: nothing of that is the recording's fault."""
    try:
        yield
    except MemoryError:
        raise
    except (av.FFmpegError, OSError) as exc:
        if exc.errno in _FULL:
            raise DiskFull(f"no space is left for the web version ({exc.strerror})") from exc
        if isinstance(exc, av.FFmpegError):
            raise ToolError(f"the web version cannot be made: {reason(exc)}") from exc
        raise StorageError(f"the web version cannot be written: {exc.strerror}") from exc


class CopiedTrack:
    """A stream whose packets go into the output as they are, from its first keyframe on.

    ``start`` is the time in seconds that becomes 0. Times that do not grow are mended, which no MP4 allows.
    """

    def __init__(self, output: OutputContainer, stream: Stream, start: float) -> None:
        self._output = output
        self._stream = output.add_stream_from_template(stream, opaque=True)
        base = stream.time_base or Fraction(1, 1000)
        self._shift = int(start / base)
        self._base = base
        self._last: int | None = None
        self._begun = stream.type != "video"
        self.end = 0.0

    def feed(self, packet: "Packet[Stream]") -> None:
        """Write one packet."""
        self._begun = self._begun or packet.is_keyframe
        if not self._begun or (packet.pts is None and packet.dts is None):
            return
        dts = (packet.dts if packet.dts is not None else packet.pts or 0) - self._shift
        pts = (packet.pts if packet.pts is not None else packet.dts or 0) - self._shift
        duration = min(packet.duration or 0, int(CUT_SECONDS / self._base))
        if self._last is not None and abs(dts - self._last) > CUT_SECONDS / self._base:
            jump = dts - self._last - max(1, duration)
            self._shift, dts, pts = self._shift + jump, dts - jump, pts - jump
        if self._last is not None and dts <= self._last:
            dts = self._last + 1
        packet.dts, packet.pts = dts, pts if dts <= pts < dts + _REORDERED_SECONDS / self._base else dts
        packet.stream = self._stream
        try:
            with writing():
                self._output.mux(packet)
        except ToolError as exc:
            if isinstance(exc.__cause__, _UNFIT):
                return
            raise
        self._last = dts
        self.end = max(self.end, float((dts + duration) * self._base))

    def finish(self) -> None:
        """Nothing is held back."""


class _Target:
    """The output as PyAV writes files."""

    name = "web version"

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self.closed = False

    def write(self, data: bytes) -> int:
        """All of it."""
        return self._file.write(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place now."""
        return self._file.tell()

    def reopen(self, url: str, flags: int, options: dict[str, str]) -> Source:
        """What FFmpeg opens by the name of its output is a reader of it."""
        self._file.flush()
        return Source(open_target(self._path))
