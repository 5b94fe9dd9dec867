"""What a file is, by its content.

``sniff`` looks at the first 4096 bytes alone, which settles everything but formats that share a container: the many
RAW formats that are TIFF inside, sound or pictures in MP4, ASF, Matroska and Ogg. Of sound behind a long ID3v2 tag
``read_head`` finds those bytes behind the tag: exiftool takes all of it for MP3. Else ``refine`` takes exiftool's
word, which has read the container's tables. A client's media type is never asked, and an extension only where two
formats have the same bytes.
"""

import os
from collections.abc import Callable
from pathlib import PurePath
from typing import BinaryIO

from lumilio.media.formats import FORMATS, MEDIA_EXTENSIONS
from lumilio.model import MediaType

__all__ = ["HEAD_BYTES", "MEDIA_EXTENSIONS", "read_head", "refine", "sniff"]

HEAD_BYTES = 4096
"""How many bytes from the beginning of a file ``sniff`` wants."""

_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "jxl"),
    (b"\xff\x0a", "jxl"),
    (b"II\x1a\x00\x00\x00HEAPCCDR", "crw"),
    (b"IIRO", "orf"),
    (b"IIRS", "orf"),
    (b"MMOR", "orf"),
    (b"IIU\x00", "rw2"),
    (b"FUJIFILMCCD-RAW", "raf"),
    (b"\x00MRM", "mrw"),
    (b"\x00MRI", "mrw"),
    (b"FOVb", "x3f"),
    (b"FLV\x01", "flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c", "wmv"),
    (b"\x00\x00\x01\xba", "mpg"),
    (b"\x00\x00\x01\xb3", "mpg"),
    (b"fLaC", "flac"),
)

_BRANDS = {
    b"crx ": "cr3",
    b"avif": "avif",
    b"avis": "avif",
    b"qt  ": "mov",
    b"M4V ": "m4v",
    b"M4VH": "m4v",
    b"M4VP": "m4v",
    b"M4A ": "m4a",
    b"M4B ": "m4a",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"), "heic"),
}
_QUICKTIME_ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_BMP_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)

_TAG_HEADER_BYTES = 10
_HAS_FOOTER = 0x10
_EMPTY_TAG = b"ID3\x04" + bytes(6)

_EXIFTOOL_TYPES = {
    "3G2": "3gp",
    "APNG": "png",
    "ASF": "wmv",
    "EXTENDED WEBP": "webp",
    "HEICS": "heic",
    "HEIFS": "heif",
    "HIF": "heic",
    "JXL CODESTREAM": "jxl",
    "M2TS": "mts",
    "M4B": "m4a",
    "MPEG": "mpg",
    "MPO": "jpeg",
    "RAW": "rw2",
}
"""exiftool's File:FileType in capitals where it is not our short name in capitals."""

_CONTAINERS: tuple[frozenset[str], ...] = (
    frozenset({"tiff", "cr2", "nef", "nrw", "arw", "sr2", "dng", "pef", "srw", "kdc", "dcr", "erf", "3fr", "iiq"}),
    frozenset({"rw2", "rwl"}),
    frozenset({"heic", "heif"}),
    frozenset({"mp4", "mov", "m4v", "3gp", "m4a"}),
    frozenset({"wmv", "wma"}),
    frozenset({"mkv", "webm", "mka"}),
    frozenset({"ogg", "opus", "ogv", "flac"}),
)
"""Formats that the first bytes alone do not tell apart."""


def read_head(file: BinaryIO) -> bytes:
    """What ``sniff`` wants of a file that is open at its beginning: the first HEAD_BYTES. Of an ID3v2 tag,
    which with a cover is longer than those, the header of an empty one stands before what follows it."""
    head = file.read(HEAD_BYTES)
    length = _tag_length(head)
    if not length:
        return head
    file.seek(length - len(head), os.SEEK_CUR)
    return _EMPTY_TAG + file.read(HEAD_BYTES - len(_EMPTY_TAG))


def sniff(head: bytes) -> MediaType | None:
    """The type that the first HEAD_BYTES of a file show, or None when they are of nothing that Lumilio keeps."""
    head = head[:HEAD_BYTES]
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return FORMATS[name]
    for look in _LOOKS:
        if found := look(head):
            return FORMATS[found]
    return None


def refine(sniffed: MediaType | None, exiftool_file_type: str | None, name: str) -> MediaType | None:
    """Settle what ``sniff`` had to leave open, by exiftool's ``File:FileType``.

    exiftool is heard only where it names a format of the container that was sniffed, or where nothing was.
    """
    if exiftool_file_type is None:
        told = None
    else:
        word = exiftool_file_type.upper()
        told = FORMATS.get(_EXIFTOOL_TYPES.get(word, word.lower()))
    if sniffed is None:
        return told
    extension = PurePath(name).suffix.lower().removeprefix(".")
    if sniffed.format == "rw2" and extension == "rwl":  # the same bytes from another maker
        return FORMATS["rwl"]
    container = next((each for each in _CONTAINERS if sniffed.format in each), frozenset({sniffed.format}))
    return told if told is not None and told.format in container else sniffed


def _tiff(head: bytes) -> str | None:
    if head[:4] not in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return None
    return "cr2" if head[8:10] == b"CR" else "tiff"


def _riff(head: bytes) -> str | None:
    if head[:4] not in (b"RIFF", b"RF64"):
        return None
    return {b"WEBP": "webp", b"AVI ": "avi", b"WAVE": "wav"}.get(head[8:12])


def _iso_media(head: bytes) -> str | None:
    kind = head[4:8]
    if kind in _QUICKTIME_ATOMS:
        return "mov"
    if kind != b"ftyp":
        return None
    major = head[8:12]
    if major in _BRANDS:
        return _BRANDS[major]
    if major in (b"mif1", b"msf1"):
        end = min(int.from_bytes(head[:4], "big"), len(head))
        compatible = {head[at : at + 4] for at in range(16, end, 4)}
        return "avif" if compatible & {b"avif", b"avis"} else "heif"
    return "3gp" if major[:2] == b"3g" else "mp4"


def _matroska(head: bytes) -> str | None:
    if not head.startswith(b"\x1a\x45\xdf\xa3"):
        return None
    return "webm" if b"webm" in head[:64] else "mkv" if b"matroska" in head[:64] else None


def _ogg(head: bytes) -> str | None:
    if not head.startswith(b"OggS"):
        return None
    if b"\x80theora" in head[:512]:
        return "ogv"
    if b"OpusHead" in head[:512]:
        return "opus"
    return "ogg"


def _aiff(head: bytes) -> str | None:
    return "aiff" if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC") else None


def _bmp(head: bytes) -> str | None:
    if head[:2] != b"BM" or int.from_bytes(head[14:18], "little") not in _BMP_HEADER_SIZES:
        return None
    return "bmp"


def _transport_stream(head: bytes) -> str | None:
    """Packets of 188 bytes that begin with 0x47, in M2TS behind four bytes of time."""
    for first, step in ((0, 188), (4, 192)):
        if len(head) > first + 4 * step and all(head[first + step * n] == 0x47 for n in range(5)):
            return "mts"
    return None


def _tagged_audio(head: bytes) -> str | None:
    """What follows an ID3v2 tag and the zeros that some write behind it; MP3 when the tag is longer than the head."""
    length = _tag_length(head)
    if not length:
        return None
    rest = head[length:].lstrip(b"\0")
    return "flac" if rest.startswith(b"fLaC") else _adts(rest) or "mp3"


def _tag_length(head: bytes) -> int:
    """Bytes of the ID3v2 tag that a file begins with, with header and footer (ID3v2.4.0 structure, 3.1); 0 for none."""
    if not head.startswith(b"ID3") or len(head) < _TAG_HEADER_BYTES:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return size + _TAG_HEADER_BYTES * (2 if head[3] == 4 and head[5] & _HAS_FOOTER else 1)


def _adts(head: bytes) -> str | None:
    return "aac" if len(head) >= 7 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 15 < 13 else None


def _mpeg_audio(head: bytes) -> str | None:
    """A frame header with no reserved value: version, layer III, bit rate and sampling rate (ISO 11172-3, 2.4.2.3)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    bit_rate, sampling_rate = head[2] >> 4, head[2] >> 2 & 3
    valid = version != 1 and layer == 1 and 0 < bit_rate < 15 and sampling_rate != 3
    return "mp3" if valid else None


_LOOKS: tuple[Callable[[bytes], str | None], ...] = (
    _tiff,
    _riff,
    _iso_media,
    _matroska,
    _ogg,
    _aiff,
    _bmp,
    _tagged_audio,
    _adts,
    _mpeg_audio,
    _transport_stream,
)
