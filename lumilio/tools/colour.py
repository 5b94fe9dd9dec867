"""Colours as a browser shows them: from a file's ICC profile, or the code points of a video codec, to sRGB.

Done on the few pixels of a thumbnail, so that its cost does not depend on the size of the original.
"""

import io
import struct
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from lumilio.tools.decoding import CodePoints

Reals = npt.NDArray[np.float64]

_PROFILE_ERRORS = (ImageCms.PyCMSError, OSError, ValueError, TypeError, RuntimeError, struct.error)
_BT709, _BT2020, _P3 = 1, 9, 12
_CHROMATICITIES = {
    _BT709: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    _BT2020: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    _P3: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
"""x and y of red, green and blue (ITU-T H.273, table 2); white is D65 for all of them."""
_D65 = (0.3127, 0.3290)
_LINEAR, _PQ, _HLG = 8, 16, 18
_WHITE = 203.0
"""Candelas a square metre of diffuse white in high dynamic range (ITU-R BT.2408)."""
_HLG_PEAK = 1000.0
_KNEE = 0.75
_STEPS = 4096


def in_srgb(image: Image.Image, profile: bytes | None, code_points: CodePoints | None = None) -> Image.Image:
    """RGB, or RGBA when some of it is transparent, of a picture in L, LA, RGB, RGBA, CMYK or LAB.

    A profile that is broken or of another colour model is ignored; what has none counts as sRGB.
    """
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = image if alpha is None else image.convert("L" if image.mode == "LA" else "RGB")
    transform = _transform(profile, colours.mode)
    rgb = ImageCms.applyTransform(colours, transform) if transform else None
    if rgb is None:
        rgb = colours.convert("RGB")
    if profile is None and code_points is not None:
        rgb = _from_code_points(rgb, code_points)
    if alpha is not None and alpha.getextrema() != (255, 255):
        rgb.putalpha(alpha)
    rgb.info.clear()
    return rgb


@lru_cache(maxsize=8)
def _transform(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """The way from a profile to sRGB; None when there is none, or when the profile says that it is sRGB already."""
    try:
        if mode == "LAB":
            return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), mode, "RGB")
        if profile is None:
            return None
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if mode == "RGB" and "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except _PROFILE_ERRORS:
        return None


def _from_code_points(rgb: Image.Image, code_points: CodePoints) -> Image.Image:
    """Wide primaries are cut to what sRGB has; light above diffuse white is rolled off towards white."""
    bright = code_points.transfer in (_PQ, _HLG)
    wide = code_points.primaries in (_BT2020, _P3)
    if not wide and not bright and code_points.transfer != _LINEAR:
        return rgb
    light = _to_light(code_points.transfer)[np.asarray(rgb)]
    if wide:
        light = light @ (np.linalg.inv(_to_xyz(_BT709)) @ _to_xyz(code_points.primaries)).T
    if bright:
        light = _rolled_off(light)
    steps = np.clip(light, 0, 1) * (_STEPS - 1) + 0.5
    return Image.fromarray(_from_light()[steps.astype(np.intp)])


def _to_light(transfer: int) -> Reals:
    """Light by code, 1 for diffuse white. What is neither linear nor of high dynamic range is shown as sRGB is."""
    signal = np.arange(256) / 255
    if transfer == _LINEAR:
        return signal
    if transfer == _PQ:  # ITU-R BT.2100, table 4
        power = signal ** (32 / 2523)
        ratio = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
        return np.asarray(10_000 / _WHITE * ratio ** (16384 / 2610))
    if transfer == _HLG:  # ITU-R BT.2100, table 5, with the system gamma of 1.2 of its nominal display
        scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        return np.asarray(_HLG_PEAK / _WHITE * scene**1.2)
    return np.where(signal <= 0.04045, signal / 12.92, ((signal + 0.055) / 1.055) ** 2.4)


@lru_cache(maxsize=1)
def _from_light() -> npt.NDArray[np.uint8]:
    """sRGB codes of light in equal steps from 0 to 1 (IEC 61966-2-1)."""
    light = np.arange(_STEPS) / (_STEPS - 1)
    signal = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (signal * 255 + 0.5).astype(np.uint8)


def _rolled_off(light: Reals) -> Reals:
    """Everything up to the knee as it is, what is brighter ever closer to 1; the hue stays."""
    brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    above = np.maximum(brightest - _KNEE, 0)
    rolled = np.minimum(brightest, _KNEE) + (1 - _KNEE) * above / (above + 1 - _KNEE)
    return np.asarray(light * (rolled / brightest))


def _to_xyz(primaries: int) -> Reals:
    """The matrix from linear RGB to XYZ, in which white has a luminance of 1."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in _CHROMATICITIES[primaries]]).T
    white = np.array([_D65[0] / _D65[1], 1, (1 - _D65[0] - _D65[1]) / _D65[1]])
    return np.asarray(columns * np.linalg.solve(columns, white))
