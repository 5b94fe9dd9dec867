"""How FFmpeg comes to read recordings that nobody has vouched for.

FFmpeg reads through a Python file object and is handed nothing else: whatever a playlist, a concatenation script or a
reference track names, the attempt to open it fails, and no protocol of FFmpeg's own is allowed. Only the demuxers and
decoders of what Lumilio keeps may look at the bytes. libav prints nothing; its last error becomes part of the reason,
in plain words where they are known.

What reads originals runs in decoder and encoder children only.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NoReturn, TypeVar

import av
import av.logging
from av.container.input import InputContainer
from av.packet import Packet
from av.stream import Stream

from lumilio.errors import MediaDamaged, MediaOverBudget, StorageError
from lumilio.tools.ffmpeg_playback import DECODERS, DEMUXERS
from lumilio.tools.originals import open_original

T = TypeVar("T")

BUFFER_BYTES = 256 * 1024
"""How much FFmpeg asks of a file at once: the larger, the more rarely is Python called."""

_OPTIONS = {
    "format_whitelist": DEMUXERS,
    "codec_whitelist": ",".join(sorted(DECODERS)),
    "protocol_whitelist": "",
    "enable_drefs": "0",
    "probesize": "5000000",
    "max_streams": "100",
    "max_pixels": str(100_000_000),
}

_FOREIGN = "the content is not a video or sound that Lumilio reads"
_PLAIN = (
    (
        "moov atom not found",
        "the file has no table of contents (moov): it ends early, as after an interrupted copy or a camera that lost "
        "power",
    ),
    ("Format not on whitelist", _FOREIGN),
    ("Not detecting m3u8/hls", _FOREIGN),
    ("not on whitelist", "its codec is none that Lumilio reads"),
    ("error reading header", "its header is damaged or ends early"),
    ("Invalid data found", "its data are damaged, or no video or sound"),
    ("End of file", "it ends early"),
)
"""What FFmpeg's words, or a part of them, mean to who has only the file; the first that fits counts."""

av.logging.set_level(av.logging.PANIC)  # nothing is printed, but errors have their reason


@contextmanager
def open_media(path: Path, *, window: tuple[int, int] | None = None) -> Iterator[InputContainer]:
    """Open a recording for reading, or the part of a file that ``window`` says by offset and length in bytes.

    Within the context errors of FFmpeg become MediaDamaged, and MediaOverBudget where memory is short. Raises
    StorageError when the file itself cannot be read.
    """
    with open_original(path) as file, media_errors():
        source = Source(file, window)
        with av.open(
            source,
            "r",
            options=_OPTIONS,
            buffer_size=BUFFER_BYTES,
            metadata_errors="replace",
            io_open=_refuse,
        ) as container:
            yield container


@contextmanager
def media_errors() -> Iterator[None]:
    """Translate what PyAV raises about a file."""
    try:
        yield
    except MemoryError as exc:
        raise MediaOverBudget("decoding needs more memory than a decoder may use") from exc
    except av.FFmpegError as exc:
        raise MediaDamaged(f"the recording cannot be decoded: {reason(exc)}") from exc
    except UnicodeError as exc:  # in the name of a file that is referred to
        raise MediaDamaged("the recording refers to another file") from exc
    except OSError as exc:
        raise StorageError(f"the file cannot be read: {exc.strerror}") from exc


@contextmanager
def no_logging() -> Iterator[None]:
    """For codecs with threads: one that wants to log waits for the interpreter, which may be waiting for it."""
    av.logging.set_level(None)
    try:
        yield
    finally:
        av.logging.set_level(av.logging.PANIC)


def reason(error: av.FFmpegError) -> str:
    """What FFmpeg says of an error, on one line and in plain words where they are known: its last words where there are
    some, else the name of the error."""
    last: tuple[object, ...] = error.log or ()  # level, source and words, whatever PyAV's stubs say
    text = str(last[2] if len(last) == 3 else error.strerror)
    said = "".join(char if char.isprintable() else " " for char in text).strip()[:200] or type(error).__name__
    return next((plain for words, plain in _PLAIN if words in said), said)


def read_packets(container: InputContainer, *streams: Stream) -> "Iterator[Packet[Stream]]":
    """The packets of some streams, up to the end or to a place where the file cannot be read any more.

    Raises MemoryError, and OSError when the file system fails.
    """
    packets = container.demux(streams)
    while True:
        try:
            packet = next(packets)
        except MemoryError:
            raise
        except (StopIteration, IndexError, av.FFmpegError):  # PyAV stumbles over streams that appear on the way
            return
        if packet.size:
            yield packet


def salvaged(decode: Callable[[], list[T]]) -> list[T]:
    """What a decoder returns, nothing where it finds damage. Raises MemoryError."""
    try:
        return decode()
    except MemoryError:
        raise
    except av.FFmpegError:
        return []


class Source:
    """A file, or a part of it, as PyAV reads files. ``name`` is ``webm`` for a Matroska file that calls itself so,
    which FFmpeg does not tell: never a path, from which FFmpeg would guess formats."""

    def __init__(self, file: BinaryIO, window: tuple[int, int] | None = None) -> None:
        size = file.seek(0, os.SEEK_END)
        self._file = file
        self._start, length = window or (0, size)
        self._length = max(0, min(length, size - self._start))
        self._place = 0
        head = self.read(64)
        self.name = "webm" if head.startswith(b"\x1a\x45\xdf\xa3") and b"webm" in head else "recording"
        self.seek(0)

    def read(self, count: int) -> bytes:
        """At most ``count`` bytes, none at the end."""
        left = self._length - self._place
        if left <= 0:
            return b""
        self._file.seek(self._start + self._place)
        data = self._file.read(min(count, left))
        self._place += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new place, or a negative number for one before the beginning, as FFmpeg wants it."""
        place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._length}[whence]
        if place < 0:
            return -1
        self._place = place
        return place

    def tell(self) -> int:
        """The place in the window."""
        return self._place

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _refuse(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise MediaDamaged("the recording refers to another file")
