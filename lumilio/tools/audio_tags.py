"""mutagen: the tags and the covers of sound files. The only module that imports mutagen.

Runs in decoder children only, on bytes that nobody has vouched for. The reader is chosen by the first bytes, and gets
the file through a gate that counts: tags state their own lengths, and mutagen believes them.
"""

import base64
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import mutagen
from mutagen.aiff import AIFF
from mutagen.asf import ASF
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, ID3, TCON, TextFrame
from mutagen.mp4 import MP4
from mutagen.oggflac import OggFLAC
from mutagen.oggopus import OggOpus
from mutagen.oggspeex import OggSpeex
from mutagen.oggvorbis import OggVorbis
from mutagen.wave import WAVE

COVER_BYTES = 32 * 1024 * 1024
"""The largest cover that is looked at; real ones have up to some megabytes."""

_READ_BYTES = 2 * COVER_BYTES
_ALL_READ_BYTES = 4 * COVER_BYTES
_READS = 200_000
_COVERS = 8
_TEXT = 4096
_FRONT = 3
_ASF_HEADER = b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"
_ODD_TAGS = (
    mutagen.MutagenError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What mutagen raises on hostile bytes, its compressed frames among them; they can ask for any amount of memory."""

_ID3_NAMES = {
    "title": ("TIT2",),
    "artist": ("TPE1",),
    "album": ("TALB",),
    "album_artist": ("TPE2",),
    "genre": ("TCON",),
    "year": ("TDRC", "TDRL", "TDOR"),
    "track": ("TRCK",),
    "disc": ("TPOS",),
}
_VORBIS_NAMES = {
    "title": ("title",),
    "artist": ("artist",),
    "album": ("album",),
    "album_artist": ("albumartist", "album artist", "album_artist"),
    "genre": ("genre",),
    "year": ("date", "year", "originaldate"),
    "track": ("tracknumber", "track"),
    "disc": ("discnumber", "disc"),
}
_MP4_NAMES = {
    "title": ("\xa9nam",),
    "artist": ("\xa9ART",),
    "album": ("\xa9alb",),
    "album_artist": ("aART",),
    "genre": ("\xa9gen",),
    "year": ("\xa9day",),
    "track": ("trkn",),
    "disc": ("disk",),
}
_ASF_NAMES = {
    "title": ("Title",),
    "artist": ("Author", "WM/AlbumArtist"),
    "album": ("WM/AlbumTitle",),
    "album_artist": ("WM/AlbumArtist",),
    "genre": ("WM/Genre",),
    "year": ("WM/Year", "WM/OriginalReleaseYear"),
    "track": ("WM/TrackNumber",),
    "disc": ("WM/PartOfSet",),
}
_SEVERAL = frozenset({"artist", "album_artist", "genre"})


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTags:
    """``texts`` are the words of the file, uncleaned, by the names of Music's members; several artists and genres are
    one text with commas, ``track`` and ``disc`` may be ``2/3``. ``covers`` are encoded pictures, a front cover first.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    covers: tuple[bytes, ...] = ()


def version() -> str:
    """The version of mutagen."""
    return str(mutagen.version_string)


def read_tags(file: BinaryIO) -> AudioTags:
    """The tags of an MP3, AAC, FLAC, Ogg, MP4, ASF, WAV or AIFF file, from its beginning; empty where they cannot be
    read: a file with odd tags is still a sound. Reads at most 128 MiB."""
    try:
        file.seek(0)
        head = file.read(512)
        file.seek(0)
        return _reader_of(head)(_Gate(file))
    except _ODD_TAGS:
        return AudioTags()


class _Gate:
    """A file that can be read only so much and so often."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._bytes = _ALL_READ_BYTES
        self._reads = _READS

    def read(self, size: int = -1) -> bytes:
        """Raises ValueError beyond the limits."""
        wanted = min(_READ_BYTES + 1, self._bytes + 1) if size is None or size < 0 else size
        data = b"" if wanted == 0 else self._file.read(min(wanted, _READ_BYTES + 1))
        self._bytes -= len(data)
        self._reads -= 1
        if len(data) > _READ_BYTES or self._bytes < 0 or self._reads < 0:
            raise ValueError("the tags are larger than tags are")
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def _reader_of(head: bytes) -> Callable[[_Gate], AudioTags]:
    if head[4:8] == b"ftyp":
        return _mp4
    if head.startswith(b"OggS"):
        return _ogg_of(head)
    if head.startswith(_ASF_HEADER):
        return _asf
    if head.startswith(b"fLaC"):
        return _flac
    if head[:4] in (b"RIFF", b"RF64"):
        return lambda gate: _id3(_opened(WAVE, gate).tags)
    if head.startswith(b"FORM"):
        return lambda gate: _id3(_opened(AIFF, gate).tags)
    return _tagged


def _opened(kind: Any, gate: _Gate) -> Any:
    """mutagen's classes have no types."""
    return kind(gate)


def _tagged(gate: _Gate) -> AudioTags:
    """MP3 and AAC, and FLAC behind an ID3 tag, whose own tags count then."""
    found = _id3(_opened(ID3, gate))
    gate.seek(0)
    size = 0
    for byte in gate.read(10)[6:10]:
        size = size << 7 | byte & 0x7F
    gate.seek(10 + size)
    if gate.read(4) != b"fLaC":
        return found
    gate.seek(0)
    own = _flac(gate)
    return AudioTags(texts={**found.texts, **own.texts}, covers=own.covers + found.covers)


def _id3(tags: Any) -> AudioTags:
    if tags is None:
        return AudioTags()
    texts = {}
    for name, frames in _ID3_NAMES.items():
        found: Any = next((frame for key in frames if isinstance(frame := tags.get(key), TextFrame)), None)
        if found is not None:
            values = found.genres if isinstance(found, TCON) else found.text
            texts[name] = _joined(name, (str(value) for value in values))
    pictures: Iterable[Any] = (frame for frame in tags.values() if isinstance(frame, APIC))
    return AudioTags(texts=texts, covers=_chosen((int(each.type), each.data) for each in pictures))


def _flac(gate: _Gate) -> AudioTags:
    flac = _opened(FLAC, gate)
    pictures = ((each.type, each.data) for each in flac.pictures)
    return AudioTags(texts=_texts(flac.tags, _VORBIS_NAMES), covers=_chosen(pictures))


def _ogg_of(head: bytes) -> Callable[[_Gate], AudioTags]:
    kinds = {b"OpusHead": OggOpus, b"\x7fFLAC": OggFLAC, b"Speex   ": OggSpeex}
    kind = next((kinds[mark] for mark in kinds if mark in head[:80]), OggVorbis)

    def read(gate: _Gate) -> AudioTags:
        tags = _opened(kind, gate).tags
        return AudioTags(texts=_texts(tags, _VORBIS_NAMES), covers=_chosen(_vorbis_pictures(tags)))

    return read


def _vorbis_pictures(tags: Mapping[str, list[str]]) -> Iterator[tuple[int, bytes]]:
    """The pictures in FLAC's format, and the bare ones of the custom that came before it."""
    for key in ("metadata_block_picture", "coverart"):
        for text in (tags.get(key) or [])[:_COVERS]:
            try:
                data = base64.b64decode(text)
                picture = _picture(data) if key == "metadata_block_picture" else None
            except _ODD_TAGS:
                continue
            yield (picture.type, picture.data) if picture is not None else (_FRONT, data)


def _picture(data: bytes) -> Any:
    kind: Any = Picture
    return kind(data)


def _mp4(gate: _Gate) -> AudioTags:
    tags = _opened(MP4, gate).tags or {}
    return AudioTags(
        texts=_texts(tags, _MP4_NAMES), covers=_chosen((_FRONT, bytes(each)) for each in tags.get("covr") or ())
    )


def _asf(gate: _Gate) -> AudioTags:
    tags = _opened(ASF, gate).tags
    by_name: dict[str, list[str]] = {}
    for name, value in tags:
        by_name.setdefault(name, []).append(str(value))
    pictures = (_asf_picture(each.value) for each in tags.get("WM/Picture", []) if isinstance(each.value, bytes))
    return AudioTags(texts=_texts(by_name, _ASF_NAMES), covers=_chosen(each for each in pictures if each))


def _asf_picture(value: bytes) -> tuple[int, bytes] | None:
    """WM_PICTURE as ASF has it: type, length, media type and description as UTF-16 that ends with a NUL, the bytes."""
    if len(value) < 9:
        return None
    kind, size = struct.unpack_from("<BI", value)
    at = 5
    for _ in range(2):
        while value[at : at + 2] not in (b"\0\0", b""):
            at += 2
        at += 2
    return kind, value[at : at + size]


def _texts(tags: Mapping[str, Iterable[object]] | None, names: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    texts = {}
    for name, keys in names.items():
        for key in keys:
            values = tags.get(key) if tags is not None else None
            if isinstance(values, list) and values:
                texts[name] = _joined(name, (_spelled(value) for value in values))
                break
    return texts


def _spelled(value: object) -> str:
    """MP4 has pairs of numbers for track and disc."""
    return "/".join(str(each) for each in value) if isinstance(value, tuple) else str(value)


def _joined(name: str, values: Iterable[str]) -> str:
    several = [value[:_TEXT] for value in values if value]
    return ", ".join(several)[:_TEXT] if name in _SEVERAL else next(iter(several), "")


def _chosen(pictures: Iterable[tuple[int, bytes]]) -> tuple[bytes, ...]:
    sound = [(kind, data) for kind, data in pictures if 0 < len(data) <= COVER_BYTES]
    return tuple(data for _, data in sorted(sound, key=lambda each: each[0] != _FRONT)[:_COVERS])
