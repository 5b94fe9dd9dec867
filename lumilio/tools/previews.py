"""The previews that a RAW file carries, by an exiftool of their own: for files that LibRaw has no preview of.

Runs in decoder children only. exiftool gets the file as its standard input, so that it opens no path and no name can
matter, and one request brings all previews at once: starting exiftool costs 160 ms of CPU, each preview a few. It
inherits the fence and the limits of the child, and ends with its output's reader should the child be killed.
"""

import base64
import binascii
import json
import os
import selectors
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from lumilio.errors import MediaDamaged, ToolError, ToolMissing, ToolTimedOut
from lumilio.tools.exiftool import INSTALL

PREVIEW_LIMIT = 64 * 1024 * 1024
"""Bytes that all previews of a file together may have."""

_TAGS = ("JpgFromRaw", "PreviewImage", "OtherImage", "ThumbnailImage")
_COMMAND = ("exiftool", "-config", "", "-json", "-b", "-n", "-a", "-G4", "-q", "-q", "-api", "largefilesupport=1")
_OUTPUT_LIMIT = PREVIEW_LIMIT * 4 // 3 + 64 * 1024
_SECONDS = 30.0
_BURIAL_SECONDS = 5.0
_FAIR_ENDS = (0, 1)
"""One is for files that exiftool does not know."""

_BASE64 = "base64:"

_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Previews:
    """The JPEG previews of a file, the one with most pixels first, and the file's EXIF orientation, None if unsaid."""

    jpegs: tuple[bytes, ...]
    orientation: int | None


def embedded_previews(file: BinaryIO) -> Previews:
    """Ask exiftool for every JPEG that a RAW file carries; ``file`` has a descriptor, whose place is moved.

    Raises ToolMissing, ToolTimedOut, ToolError when exiftool gave no usable answer, and MediaDamaged for previews of
    more than PREVIEW_LIMIT bytes.
    """
    entry = _parsed(_printed(file))
    found = [each for value in entry.values() if (each := _decoded(value)) and jpeg_size(each)]
    orientation = next((value for key, value in entry.items() if key.rpartition(":")[2] == "Orientation"), None)
    return Previews(
        jpegs=tuple(sorted(set(found), key=_pixels, reverse=True)),
        orientation=orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else None,
    )


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that the first frame header of a JPEG states (ITU-T T.81, B.2.2); None for what is no JPEG."""
    if not data.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            return (width, height) if width and height else None
        if marker == 0xFF:
            at += 1
        elif marker in _ALONE:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def _pixels(jpeg: bytes) -> tuple[int, int]:
    width, height = jpeg_size(jpeg) or (0, 0)
    return width * height, len(jpeg)


def _decoded(value: object) -> bytes | None:
    """The bytes of a binary value: exiftool writes base64 for what is not text."""
    if not isinstance(value, str) or not value.startswith(_BASE64):
        return None
    with suppress(binascii.Error, ValueError):
        return base64.b64decode(value[len(_BASE64) :])
    return None


def _parsed(printed: bytes) -> dict[str, object]:
    """What exiftool prints of one file. It prints nothing of a file that it does not know."""
    try:
        entries = json.loads(printed.decode(errors="replace") or "[{}]")
        return dict(entries[0])
    except (ValueError, TypeError, LookupError, RecursionError) as exc:
        raise ToolError(f"exiftool gave no usable answer: {exc}") from exc


def _printed(file: BinaryIO) -> bytes:
    """Run exiftool to its end. Its answer is empty rather than an error where it cannot read the file."""
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    arguments = [*_COMMAND, "-Orientation", *(f"-{tag}" for tag in _TAGS), "-"]
    reader, writer = os.pipe()
    try:
        process = _started(arguments, file.fileno(), writer)
        try:
            printed = b"".join(_chunks(reader, time.monotonic() + _SECONDS))
            if (status := process.wait(_BURIAL_SECONDS)) not in _FAIR_ENDS:
                raise ToolError(f"exiftool ended with status {status}")
            return printed
        except subprocess.TimeoutExpired as exc:
            raise ToolTimedOut("exiftool did not end and was killed") from exc
        finally:
            process.kill()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_BURIAL_SECONDS)
    finally:
        os.close(reader)


def _started(arguments: list[str], stdin: int, stdout: int) -> "subprocess.Popen[bytes]":
    """Start exiftool; ``stdout`` is its own from here on, so that its end is seen."""
    try:
        return subprocess.Popen(arguments, stdin=stdin, stdout=stdout, stderr=subprocess.DEVNULL)
    except (FileNotFoundError, PermissionError) as exc:
        raise ToolMissing(f"'exiftool' is not installed; install it with: {INSTALL}") from exc
    except OSError as exc:
        raise ToolError(f"exiftool cannot be started: {exc.strerror}") from exc
    finally:
        os.close(stdout)


def _chunks(pipe: int, deadline: float) -> Iterator[bytes]:
    left = _OUTPUT_LIMIT
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            chunk = os.read(pipe, 1 << 18)
            if not chunk:
                return
            left -= len(chunk)
            if left < 0:
                raise MediaDamaged(f"the previews in the file have more than {PREVIEW_LIMIT >> 20} MiB")
            yield chunk
    raise ToolTimedOut("exiftool did not answer in time and was killed")
