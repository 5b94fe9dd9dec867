"""DNG files out of a picture, so that tests know what a development must look like. The format is Adobe's DNG 1.4:
a TIFF whose first directory holds the preview and whose second holds the sensor's data."""

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

GAIN = 1.2
"""By how much Lumilio brightens: the scene is exposed so much darker, and comes out as it was."""

_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _SRATIONAL = 1, 2, 3, 4, 5, 10
_CODES = {_BYTE: "B", _ASCII: "B", _SHORT: "H", _LONG: "I", _RATIONAL: "I", _SRATIONAL: "i"}
_BLACK, _WHITE = 512, 16383
_XYZ_TO_SRGB = (3.2406, -1.5372, -0.4986, -0.9689, 1.8758, 0.0415, 0.0557, -0.2040, 1.0570)

Entry = tuple[int, int, Sequence[int]]


def light(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """What a sensor with three layers sees of sRGB pixels. Its first corner is overexposed, which tells LibRaw where
    white is."""
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4) / GAIN
    table = (_BLACK + linear * (_WHITE - _BLACK)).astype(np.uint16)
    seen = table[pixels]
    seen[:4, :4] = _WHITE
    return seen


def mosaic(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
    """The same for a sensor with the pattern RGGB."""
    layers = light(pixels)
    seen = layers[..., 1].copy()
    seen[0::2, 0::2] = layers[0::2, 0::2, 0]
    seen[1::2, 1::2] = layers[1::2, 1::2, 2]
    return seen


def seen(picture: Image.Image) -> npt.NDArray[np.uint16]:
    """The mosaic of a picture."""
    return mosaic(np.asarray(picture))


def jpeg(picture: Image.Image) -> tuple[bytes, int, int]:
    """A preview for ``dng``."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95)
    return buffer.getvalue(), picture.width, picture.height


def written(path: Path, content: bytes) -> Path:
    """The path, which has the content now."""
    path.write_bytes(content)
    return path


def dng(
    sensor: npt.NDArray[np.uint16],
    *,
    orientation: int = 1,
    preview: tuple[bytes, int, int] | None = None,
    crop: tuple[int, int, int, int] | None = None,
) -> bytes:
    """A DNG of a mosaic (H x W) or of layers (H x W x 3) of 14 bits, not compressed. ``preview`` is a JPEG, or RGB
    bytes, with its width and height; ``crop`` left, top, width and height of the camera's frame."""
    height, width = sensor.shape[:2]
    left, top, frame_width, frame_height = crop or (0, 0, width, height)
    camera: list[Entry] = [
        (271, _ASCII, b"Lumilio\0"),
        (272, _ASCII, b"Testcamera\0"),
        (274, _SHORT, [orientation]),
        (50706, _BYTE, [1, 4, 0, 0]),
        (50708, _ASCII, b"Lumilio Testcamera\0"),
        (50721, _SRATIONAL, [part for value in _XYZ_TO_SRGB for part in (round(value * 10_000), 10_000)]),
        (50728, _RATIONAL, [1, 1, 1, 1, 1, 1]),
        (50778, _SHORT, [21]),
    ]
    pattern: list[Entry] = [(262, _SHORT, [32803]), (33421, _SHORT, [2, 2]), (33422, _BYTE, [0, 1, 1, 2])]
    channels = 1 if sensor.ndim == 2 else 3
    data: list[Entry] = [
        *_picture(width, height, bits=[16] * channels, compression=1, kind=0),
        *(pattern if channels == 1 else [(262, _SHORT, [34892])]),
        (50713, _SHORT, [1, 1]),
        (50714, _SHORT, [_BLACK] * channels),
        (50717, _SHORT, [_WHITE] * channels),
        (50719, _LONG, [left, top]),
        (50720, _LONG, [frame_width, frame_height]),
    ]
    samples = sensor.astype("<u2").tobytes()
    if preview is None:
        return _file([([*camera, *data], samples)])
    shown, *size = preview
    compression, colours = (7, 6) if shown.startswith(b"\xff\xd8") else (1, 2)
    shell = [*_picture(*size, bits=[8, 8, 8], compression=compression, kind=1), (262, _SHORT, [colours])]
    return _file([([*camera, *shell], shown), (data, samples)])


def _picture(width: int, height: int, *, bits: list[int], compression: int, kind: int) -> list[Entry]:
    return [
        (254, _LONG, [kind]),
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, bits),
        (259, _SHORT, [compression]),
        (277, _SHORT, [len(bits)]),
        (278, _LONG, [height]),
    ]


def _file(directories: list[tuple[list[Entry], bytes]]) -> bytes:
    """The directories one after another, the second a SubIFD of the first; the smaller strips first."""
    lengths = [0, 0]
    for _ in range(2):  # the first round tells how long the directories are
        at = 8
        starts = []
        for length in lengths[: len(directories)]:
            starts.append(at)
            at += length
        blocks = []
        strip = at
        for number, (entries, data) in enumerate(directories):
            placed: list[Entry] = [*entries, (273, _LONG, [strip]), (279, _LONG, [len(data)])]
            if number == 0 and len(directories) > 1:
                placed.append((330, _LONG, [starts[1]]))
            blocks.append(_directory(placed, starts[number]))
            strip += len(data)
        lengths = [len(block) for block in blocks]
    return b"".join([b"II*\0", struct.pack("<I", 8), *blocks, *(data for _, data in directories)])


def _directory(entries: list[Entry], start: int) -> bytes:
    behind = start + 2 + 12 * len(entries) + 4
    rows, values = b"", b""
    for tag, kind, content in sorted(entries, key=lambda each: each[0]):
        packed = struct.pack(f"<{len(content)}{_CODES[kind]}", *content)
        count = len(content) // 2 if kind in (_RATIONAL, _SRATIONAL) else len(content)
        if len(packed) > 4:
            place = struct.pack("<I", behind + len(values))
            values += packed + bytes(len(packed) % 2)
        else:
            place = packed.ljust(4, b"\0")
        rows += struct.pack("<HHI", tag, kind, count) + place
    return struct.pack("<H", len(entries)) + rows + bytes(4) + values
