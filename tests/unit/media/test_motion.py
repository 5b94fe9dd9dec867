"""Motion photos as phones write them, built here by Pillow and FFmpeg, and read by exiftool as it is installed."""

import io
import struct
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from lumilio.errors import StorageError
from lumilio.media.motion import find_video
from lumilio.model import MotionVideo
from lumilio.tools.exiftool import ExifTool
from tests.conformance.reference import FIXTURES, samples

_NAMESPACES = (
    'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" '
    'xmlns:Container="http://ns.google.com/photos/1.0/container/" '
    'xmlns:Item="http://ns.google.com/photos/1.0/container/item/"'
)


@pytest.fixture
async def exiftool() -> AsyncIterator[ExifTool]:
    async with ExifTool() as running:
        yield running


@pytest.fixture(scope="module")
def film() -> bytes:
    """Half a second of H.264 in MP4."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("h264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), shade * 40, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def xmp(attributes: str, inside: str = "") -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {_NAMESPACES} {attributes}>{inside}</rdf:Description></rdf:RDF></x:xmpmeta>'
    ).encode()


def micro_video(offset: int, *, version: str = "1") -> bytes:
    return xmp(f'GCamera:MicroVideo="{version}" GCamera:MicroVideoVersion="1" GCamera:MicroVideoOffset="{offset}"')


def motion_photo(*items: tuple[str, int, int], mime: str = "image/jpeg", is_one: int = 1) -> bytes:
    """XMP of the Motion Photo format: what is in the file as semantic, length and padding."""
    listed = "".join(
        '<rdf:li rdf:parseType="Resource"><Container:Item '
        f'Item:Mime="{mime if semantic == "Primary" else "video/mp4"}" Item:Semantic="{semantic}" '
        f'Item:Length="{length}" Item:Padding="{padding}"/></rdf:li>'
        for semantic, length, padding in items
    )
    directory = f"<Container:Directory><rdf:Seq>{listed}</rdf:Seq></Container:Directory>"
    return xmp(f'GCamera:MotionPhoto="{is_one}" GCamera:MotionPhotoVersion="1"', directory)


def picture(kind: str, description: bytes | None = None) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "teal").save(buffer, kind, **({"xmp": description} if description else {}))
    return buffer.getvalue()


def samsung(film: bytes, *, kind: int = 0x0A30, others: int = 1) -> bytes:
    """A JPEG with the trailer of a Samsung: the film in one block among others, and their directory."""
    blocks = [(0x0A01, b"Image_UTC_Data", b"1577836800000")] * others + [(kind, b"MotionPhoto_Data", film)]
    blocks += [(0x0AA1, b"MCC_Data", b"262")]
    data = [struct.pack("<HHI", 0, each, len(name)) + name + body for each, name, body in blocks]
    entries, distance = b"", sum(map(len, data))
    for (each, _, _), block in zip(blocks, data, strict=True):
        entries += struct.pack("<HHII", 0, each, distance, len(block))
        distance -= len(block)
    directory = b"SEFH" + struct.pack("<II", 106, len(blocks)) + entries
    return picture("JPEG") + b"".join(data) + directory + struct.pack("<I", len(directory)) + b"SEFT"


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


async def read(exiftool: ExifTool, path: Path) -> Mapping[str, object]:
    return await exiftool.read(path, name_hint=path.name)


def film_of(path: Path, motion: MotionVideo) -> bytes:
    return path.read_bytes()[motion.offset : motion.offset + motion.bytes]


async def test_a_micro_video_is_counted_from_the_end_of_the_file(
    exiftool: ExifTool, tmp_path: Path, film: bytes
) -> None:
    path = tmp_path / "MVIMG_20190101.jpg"
    path.write_bytes(picture("JPEG", micro_video(len(film))) + film)
    tags = await read(exiftool, path)

    assert tags["XMP-GCamera:MicroVideo"] == 1
    assert tags["XMP-GCamera:MicroVideoOffset"] == len(film)
    motion = find_video(path, tags, path.stat().st_size)

    assert motion is not None
    assert film_of(path, motion) == film


@pytest.mark.parametrize("padding", [0, 8, 100])
async def test_a_motion_photo_says_what_follows_the_picture(
    exiftool: ExifTool, tmp_path: Path, film: bytes, padding: int
) -> None:
    path = tmp_path / "PXL_20240101.MP.jpg"
    description = motion_photo(("Primary", 0, padding), ("MotionPhoto", len(film), 0))
    path.write_bytes(picture("JPEG", description) + bytes(padding) + film)
    tags = await read(exiftool, path)

    assert isinstance(tags["XMP-Container:Directory"], list)
    motion = find_video(path, tags, path.stat().st_size)

    assert motion is not None
    assert film_of(path, motion) == film


async def test_a_gain_map_before_and_a_padded_item_behind_the_film_are_counted(
    exiftool: ExifTool, tmp_path: Path, film: bytes
) -> None:
    path = tmp_path / "PXL_20240102.MP.jpg"
    gain_map = picture("JPEG")
    description = motion_photo(
        ("Primary", 0, 0), ("GainMap", len(gain_map), 0), ("MotionPhoto", len(film), 0), ("Depth", 40, 4)
    )
    path.write_bytes(picture("JPEG", description) + gain_map + film + bytes(44))

    motion = find_video(path, await read(exiftool, path), path.stat().st_size)

    assert motion is not None
    assert film_of(path, motion) == film


async def test_what_exiftool_writes_itself_is_read(exiftool: ExifTool, tmp_path: Path, film: bytes) -> None:
    """exiftool 12.57 can write the tags of a micro video, in an order of its own."""
    path = tmp_path / "written.jpg"
    path.write_bytes(picture("JPEG"))
    arguments = ["-XMP-GCamera:MicroVideo=1", f"-XMP-GCamera:MicroVideoOffset={len(film)}"]
    subprocess.run(["exiftool", "-config", "", "-q", "-overwrite_original", *arguments, str(path)], check=True)
    with path.open("ab") as file:
        file.write(film)

    motion = find_video(path, await read(exiftool, path), path.stat().st_size)

    assert motion is not None
    assert film_of(path, motion) == film


@pytest.mark.parametrize("others", [0, 1, 5])
async def test_the_trailer_of_a_samsung_is_searched_for_its_film(
    exiftool: ExifTool, tmp_path: Path, film: bytes, others: int
) -> None:
    path = tmp_path / "20200101_120000.jpg"
    path.write_bytes(samsung(film, others=others))
    tags = await read(exiftool, path)

    assert tags["Samsung:EmbeddedVideoType"] == "MotionPhoto_Data"
    motion = find_video(path, tags, path.stat().st_size)

    assert motion is not None
    assert film_of(path, motion) == film


async def test_the_box_of_an_heic_is_found_with_and_without_a_description(
    exiftool: ExifTool, tmp_path: Path, film: bytes
) -> None:
    described = motion_photo(("Primary", 0, 8), ("MotionPhoto", len(film), 0), mime="image/heic")
    for name, description, behind in (
        ("pixel", described, b""),
        ("samsung", None, b""),
        ("behind", described, box(b"free", bytes(20))),
        ("plain", None, box(b"free", bytes(20))),
    ):
        path = tmp_path / f"{name}.heic"
        path.write_bytes(picture("HEIF", description) + box(b"mpvd", film) + behind)
        motion = find_video(path, await read(exiftool, path), path.stat().st_size)

        assert motion is not None, name
        assert film_of(path, motion) == film, name


async def test_a_photo_without_a_film_has_none(exiftool: ExifTool) -> None:
    for sample in samples():
        tags, size = sample.exif, sample.path.stat().st_size
        assert find_video(sample.path, tags, size) is None, sample.name


async def test_a_film_that_an_editor_dropped_is_not_believed_in(
    exiftool: ExifTool, tmp_path: Path, film: bytes
) -> None:
    path = tmp_path / "edited.jpg"
    content = picture("JPEG", micro_video(len(film)))
    path.write_bytes(content + bytes(len(film)))
    tags, size = await read(exiftool, path), path.stat().st_size

    assert tags["XMP-GCamera:MicroVideoOffset"] == len(film)
    assert find_video(path, tags, size) is None
    path.write_bytes(content + film)
    assert find_video(path, tags, size) is not None


def directory(*items: object) -> dict[str, object]:
    return {"XMP-GCamera:MotionPhoto": 1, "XMP-Container:Directory": list(items)}


def item(length: object, semantic: object = "MotionPhoto", padding: object = 0) -> dict[str, object]:
    return {"Item": {"Length": length, "Padding": padding, "Semantic": semantic}}


PRIMARY = item(0, "Primary")
STATED = {"XMP-GCamera:MicroVideo": 1, "XMP-GCamera:MicroVideoOffset": 500}


@pytest.mark.parametrize(
    "tags",
    [
        {},
        *(
            {"XMP-GCamera:MicroVideo": 1, "XMP-GCamera:MicroVideoOffset": offset}
            for offset in (0, -5, 1000, 1001, 10**30, 5, 99.5, "500", "text", True, None, [500], {"Length": 500})
        ),
        {"XMP-GCamera:MicroVideo": 1},
        {"XMP-GCamera:MicroVideo": 0, "XMP-GCamera:MicroVideoOffset": 500},
        {"XMP-GCamera:MicroVideoOffset": 500},
        *(directory(PRIMARY, item(length)) for length in (0, -1, 1000, 2000, 10**30, "500", None, True, [500])),
        {**directory(PRIMARY, item(500)), "XMP-GCamera:MotionPhoto": 0},
        directory(item(500)),
        directory(PRIMARY, item(500, "GainMap")),
        directory(PRIMARY, item(500, ["MotionPhoto"])),
        directory(PRIMARY, item(500), "text"),
        directory(PRIMARY, {"Item": "text"}),
        directory(PRIMARY, item(500), item(600, "GainMap")),
        {"XMP-Container:Directory": "text"},
        {"XMP-Container:Directory": {"Item": {"Length": 500, "Semantic": "MotionPhoto"}}},
    ],
    ids=str,
)
def test_a_place_that_cannot_be_is_none(tmp_path: Path, tags: dict[str, object]) -> None:
    path = tmp_path / "films everywhere.jpg"
    path.write_bytes(b"ftyp" * 250)

    assert find_video(path, tags, 1000) is None
    for possible in (STATED, directory(PRIMARY, item(500))):
        assert find_video(path, possible, 1000) == MotionVideo(offset=500, bytes=500)


@pytest.mark.parametrize("cut", [1, 7, 8, 12, 40, 100, 500, 1500])
def test_a_damaged_samsung_trailer_has_no_film(tmp_path: Path, film: bytes, cut: int) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(samsung(film)[:-cut])

    assert find_video(path, {"Samsung:EmbeddedVideoType": "MotionPhoto_Data"}, path.stat().st_size) is None


def test_the_directory_of_a_samsung_may_state_nonsense(tmp_path: Path, film: bytes) -> None:
    path = tmp_path / "odd.jpg"
    whole = samsung(film)
    start = whole.index(b"SEFH")
    for at in range(start, len(whole)):
        for value in (0x00, 0x7F, 0xFF):
            changed = bytearray(whole)
            changed[at] = value
            path.write_bytes(changed)
            motion = find_video(path, {"Samsung:EmbeddedVideoType": "MotionPhoto_Data"}, len(whole))
            assert motion is None or film_of(path, motion).startswith(film[:8])


def test_boxes_that_lead_nowhere_end_the_search(tmp_path: Path) -> None:
    path = tmp_path / "boxes.heic"
    for content in (
        b"",
        b"\0\0\0",
        box(b"free", b"") * 1000 + box(b"mpvd", b"\0\0\0\x18ftypmp42" + bytes(20)),
        struct.pack(">I", 4) + b"mpvd" + bytes(40),
        struct.pack(">I4sQ", 1, b"free", 1 << 63) + bytes(40),
        struct.pack(">I4sQ", 1, b"mpvd", 5) + bytes(40),
        struct.pack(">I", 0) + b"free" + bytes(40),
        struct.pack(">I", 5000) + b"mpvd\0\0\0\x18ftypmp42" + bytes(20),
    ):
        path.write_bytes(content)
        assert find_video(path, {"File:FileType": "HEIC"}, len(content)) is None


def test_a_file_that_is_gone_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        find_video(tmp_path / "gone.jpg", STATED, 1000)


def test_a_photo_that_says_nothing_is_not_even_opened(tmp_path: Path) -> None:
    assert find_video(tmp_path / "gone.jpg", {"File:FileType": "JPEG"}, 1000) is None


def test_no_film_begins_beyond_the_end(tmp_path: Path) -> None:
    path = FIXTURES / "jpeg/digicamcor-POL_0136.JPG"

    assert find_video(path, STATED, 10**9) is None
