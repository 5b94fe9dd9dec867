"""What a file is, told from its bytes."""

import io
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumilio.media.detect import HEAD_BYTES, read_head, refine, sniff
from lumilio.media.formats import FORMATS, MEDIA_EXTENSIONS
from lumilio.model import MediaKind
from tests.conformance.reference import Sample, samples

TYPES = {
    "Extended WEBP": "webp",
    "JXL Codestream": "jxl",
    "RAW": "rw2",
}
"""exiftool's names that are not ours in capitals."""

AGAINST_EXIFTOOL = {
    "libavif-colors-animated-8bpc.avif": "avif",  # exiftool 12.57 takes an animated AVIF for MP4
    "filetype-fixture-adts-mpeg4.aac": "aac",  # and does not know ADTS
    "filetype-fixture-id3v2.aac": "aac",  # nor what follows a tag
    "synth-rwl.rwl": "rwl",  # Leica's name for Panasonic's bytes
}


def file_type(sample: Sample) -> str | None:
    value = sample.exif.get("File:FileType")
    return value if isinstance(value, str) else None


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.name)
def test_every_sample_is_recognised_as_what_it_is(sample: Sample) -> None:
    with sample.path.open("rb") as file:
        sniffed = sniff(read_head(file))

    found = refine(sniffed, file_type(sample), sample.path.name)

    told = file_type(sample)
    expected = AGAINST_EXIFTOOL.get(sample.path.name) or TYPES.get(told or "", (told or "").lower())
    assert found is not None
    assert found.format == expected


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.name)
def test_photo_video_and_audio_are_kept_apart(sample: Sample) -> None:
    with sample.path.open("rb") as file:
        found = refine(sniff(read_head(file)), file_type(sample), sample.path.name)

    kinds = {"video": MediaKind.VIDEO, "audio": MediaKind.AUDIO}
    folder = "video" if sample.path.suffix == ".mov" else sample.path.parent.name
    assert found is not None
    assert found.kind is kinds.get(folder, MediaKind.PHOTO)


@pytest.mark.parametrize("sample", samples(), ids=lambda sample: sample.name)
def test_the_extension_of_a_sample_is_one_of_media(sample: Sample) -> None:
    assert sample.path.suffix.lower() in MEDIA_EXTENSIONS


def test_a_wrong_extension_changes_nothing() -> None:
    jpeg = b"\xff\xd8\xff\xe0" + bytes(100)
    for name in ("photo.nef", "film.mp4", "sound.aac", "sound.mp3", "leica.rwl", "noname"):
        assert refine(sniff(jpeg), "JPEG", name) is FORMATS["jpeg"]


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"hello world, this is text",
        b"%PDF-1.4",
        b"PK\x03\x04",
        b"<html>",
        b"BM is how a letter may begin, too",
        b"RIFF\x00\x00\x00\x00ACON",
        b"FORM\x00\x00\x00\x00ILBM",
        b"\xff\xff\xff\xff",
        b"MZ\x90\x00",
        b"\x1a\x45\xdf\xa3 something else",
    ],
)
def test_what_is_not_media_is_not_taken_for_it(head: bytes) -> None:
    assert refine(sniff(head), "TXT", "photo.jpg") is None


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", "avif"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic", "heif"),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ", "mov"),
        (b"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat", "mov"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2", "mp4"),
        (b"\x00\x00\x00\x18ftypM4A \x00\x00\x02\x00M4A mp42", "m4a"),
        (b"\x00\x00\x00\x18ftyp3gp5\x00\x00\x02\x003gp5", "3gp"),
        (b"OggS" + bytes(24) + b"\x80theora", "ogv"),
        (b"OggS" + bytes(24) + b"OpusHead", "opus"),
        (b"\x00\x00\x01\xba\x44", "mpg"),
        (b"".join(b"G" + bytes(187) for _ in range(6)), "mts"),
        (b"".join(bytes(4) + b"G" + bytes(187) for _ in range(6)), "mts"),
        (b"II*\x00\x10\x00\x00\x00CR\x02\x00", "cr2"),
        (b"MM\x00*\x00\x00\x00\x08", "tiff"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x02xxfLaC", "flac"),
        (b"ID3\x04\x00\x00\x00\x00\x7f\x7f", "mp3"),
        (b"\xff\xfb\x90\x64" + bytes(8), "mp3"),
        (b"\xff\xf1\x50\x80\x00\x1f\xfc", "aac"),
    ],
)
def test_signatures_of_formats_that_the_samples_lack(head: bytes, expected: str) -> None:
    found = sniff(head)

    assert found is not None
    assert found.format == expected


def tag(length: int, *, footer: bool = False) -> bytes:
    """An ID3v2.4 tag with so many bytes between its header and its end."""
    size = bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0))
    end = b"3DI\4\0\x10" + size if footer else b""
    return b"ID3\4\0" + (b"\x10" if footer else b"\0") + size + b"\xaa" * length + end


FRAMES = {
    "aac": (b"\xff\xf1\x50\x80\x01\xbf\xfc" + bytes(6)) * 400,
    "mp3": (b"\xff\xfb\x90\x64" + bytes(413)) * 12,
    "flac": b"fLaC" + bytes(5000),
}


@pytest.mark.parametrize("format_", FRAMES)
@pytest.mark.parametrize("length", [0, 1000, 4076, 4086, 4090, 6 * 1024, 200_000])
def test_what_follows_a_tag_of_any_length_decides_whatever_exiftool_and_the_name_say(length: int, format_: str) -> None:
    for start in (tag(length), tag(length, footer=True), tag(length) + bytes(300)):
        head = read_head(io.BytesIO(start + FRAMES[format_]))

        assert len(head) <= HEAD_BYTES
        for told, name in (("MP3", "song.aac"), ("MP3", "song.mp3"), (None, "song.aac"), (None, "song")):
            assert refine(sniff(head), told, name) is FORMATS[format_]


def test_a_tag_that_the_file_ends_in_is_taken_for_mp3() -> None:
    assert sniff(read_head(io.BytesIO(tag(9000)[:5000]))) is FORMATS["mp3"]


@given(st.binary(max_size=2 * HEAD_BYTES))
def test_of_what_has_no_tag_the_head_is_its_beginning(content: bytes) -> None:
    if not content.startswith(b"ID3"):
        assert read_head(io.BytesIO(content)) == content[:HEAD_BYTES]


@pytest.mark.parametrize(
    ("sniffed", "told", "expected"),
    [
        ("tiff", "NEF", "nef"),
        ("tiff", "DNG", "dng"),
        ("tiff", "JPEG", "tiff"),
        ("mp4", "M4A", "m4a"),
        ("wmv", "WMA", "wma"),
        ("mkv", "MKA", "mka"),
        ("jpeg", "MPO", "jpeg"),
        ("jpeg", "NEF", "jpeg"),
        ("png", "APNG", "png"),
        ("mp4", None, "mp4"),
    ],
)
def test_exiftool_settles_only_what_shares_a_container(sniffed: str, told: str | None, expected: str) -> None:
    found = refine(FORMATS[sniffed], told, "name")

    assert found is FORMATS[expected]


@given(st.binary(max_size=HEAD_BYTES), st.one_of(st.none(), st.text()), st.text())
def test_no_bytes_and_no_words_upset_it(head: bytes, told: str | None, name: str) -> None:
    found = refine(sniff(head), told, name)

    assert found is None or found == FORMATS[found.format]
    assert all(PurePath(f"x{each}").suffix == each for each in MEDIA_EXTENSIONS)
