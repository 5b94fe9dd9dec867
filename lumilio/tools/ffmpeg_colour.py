"""From the colours of HDR and wide-gamut video to sRGB, by one rule for posters and for web versions.

Signal → light in nits of a BT.2020 display (BT.2100: PQ, or HLG with its OOTF for 1,000 nits) → tone curve of BT.2390
(EETF) from 1,000 nits to the 203 nits of a white page (BT.2408), applied to the largest component so that hues stay →
BT.709 primaries → sRGB. What is darker than 93 nits keeps its brightness.

FFmpeg's own conversion (swscale 9) is no faster, takes 2 to 4 s to prepare, and either clips all above 203 nits or
makes white grey; its ``haldclut`` filter, with a table from here, takes 37 ms for a frame of 1920 x 1080.
"""

from fractions import Fraction

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorTrc

Floats = npt.NDArray[np.float32]

WHITE = 203.0
"""Nits of a white page, BT.2408-7."""
_PEAK = 1000.0
"""Nits that HDR is taken to be graded for: what is brighter in PQ is shown as white."""
_SDR_GAMMA = 2.4
"""BT.1886."""
_HALD_LEVEL = 8
"""A cube of 64 colours a side: with a side of 36 dark greys are 2 of 255 off, with 64 none."""

_M1, _M2 = 2610 / 16384, 2523 / 32
_C1, _C2, _C3 = 3424 / 4096, 2413 / 128, 2392 / 128
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)
_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],  # BT.2087-0
    dtype=np.float32,
)


def is_hdr(transfer: int) -> bool:
    """Whether a transfer characteristic (H.273) is that of HDR: PQ or HLG."""
    return transfer in (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)


def needs_conversion(primaries: int, transfer: int) -> bool:
    """Whether colours would look wrong where sRGB or BT.709 is expected."""
    return is_hdr(transfer) or primaries == ColorPrimaries.BT2020


def to_srgb(signal: Floats, transfer: int) -> Floats:
    """Non-linear BT.2020 R'G'B' from 0 to 1, in the last axis, as sRGB from 0 to 1."""
    if transfer == ColorTrc.SMPTE2084:
        light = _from_pq(signal)
    elif transfer == ColorTrc.ARIB_STD_B67:
        light = _from_hlg(signal)
    else:
        return _encoded(np.power(signal, _SDR_GAMMA) @ _TO_709.T)
    brightest = light.max(axis=-1, keepdims=True)
    light *= _tone(brightest) / np.maximum(brightest, np.float32(1e-6)) / WHITE
    return _encoded(light @ _TO_709.T)


def hald(transfer: int) -> VideoFrame:
    """The same as a picture for FFmpeg's ``haldclut`` filter."""
    side = _HALD_LEVEL**2
    steps = np.linspace(0, 1, side, dtype=np.float32)
    blue, green, red = np.meshgrid(steps, steps, steps, indexing="ij")
    cube = np.stack([red, green, blue], axis=-1).reshape(_HALD_LEVEL**3, _HALD_LEVEL**3, 3)
    frame = VideoFrame.from_ndarray(np.rint(to_srgb(cube, transfer) * 65535).astype(np.uint16), format="rgb48le")
    frame.pts, frame.time_base = 0, Fraction(1, 1000)
    return frame


def _from_pq(signal: Floats) -> Floats:
    power = np.power(np.maximum(signal, 0), np.float32(1 / _M2))
    light: Floats = 10_000 * np.power(np.maximum(power - _C1, 0) / (_C2 - _C3 * power), np.float32(1 / _M1))
    return light


def _to_pq(light: Floats) -> Floats:
    power = np.power(np.clip(light / np.float32(10_000), 0, 1), np.float32(_M1))
    signal: Floats = np.power((_C1 + _C2 * power) / (1 + _C3 * power), np.float32(_M2))
    return signal


def _from_hlg(signal: Floats) -> Floats:
    scene = np.where(signal <= 0.5, signal * signal / 3, (np.exp((signal - _C) / _A) + _B) / 12).astype(np.float32)
    luminance = np.maximum(scene @ _LUMA_2020, np.float32(1e-9))[..., None]
    light: Floats = _PEAK * np.power(luminance, np.float32(0.2)) * scene
    return light


def _tone(light: Floats) -> Floats:
    """BT.2390-11, 5.4: a Hermite spline above the knee, in PQ."""
    peak, target = (float(_to_pq(np.array(nits, dtype=np.float32))) for nits in (_PEAK, WHITE))
    signal = np.minimum(_to_pq(light) / np.float32(peak), 1)
    highest = target / peak
    knee = 1.5 * highest - 0.5
    t = (signal - knee) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * highest
    return _from_pq(np.where(signal < knee, signal, spline).astype(np.float32) * np.float32(peak))


def _encoded(light: Floats) -> Floats:
    """Linear light as the non-linear sRGB of IEC 61966-2-1."""
    light = np.clip(light, 0, 1)
    curved = 1.055 * np.power(light, np.float32(1 / 2.4)) - 0.055
    encoded: Floats = np.where(light <= 0.0031308, 12.92 * light, curved).astype(np.float32)
    return encoded
