"""What tells pictures apart, and a picture's blur: a perceptual hash and a ThumbHash, from a few pixels by numpy."""

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.float64]

HASH_SIDE = 32
"""Pixels a side of the grey picture that ``perceptual_hash`` takes."""

BLUR_SIDE = 100
"""The longest side, in pixels, of the picture that ``thumbhash`` takes."""

_LOW = 8
_NOISE = 1e-9
"""An amplitude that comes from rounding, not from the picture."""


def perceptual_hash(grey: npt.NDArray[np.uint8]) -> int:
    """64 bits of a grey picture of 32 x 32 pixels, most significant first: one for each of the 8 x 8 lowest
    frequencies of its DCT-II that is above their median. Copies of a picture differ in few bits.

    The scheme is Neal Krawetz's pHash (hackerfactor.com, "Looks Like It", 2011). The mean, which is the frequency 0,
    takes no part in the median but has a bit, always set by all but black pictures.
    """
    rows = _cosines(HASH_SIDE, _LOW)
    low = (rows @ grey.astype(np.float64) @ rows.T).ravel()
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def thumbhash(pixels: npt.NDArray[np.uint8]) -> bytes:
    """The ThumbHash of H x W x 4 pixels, RGBA, at most 100 a side: 5 or 6 bytes of header, then 4 bits a frequency.

    The format is Evan Wallace's (evanw.github.io/thumbhash): brightness, yellow to blue, red to green and opacity,
    each as the lowest frequencies of its DCT, scaled by the greatest of them. Clients draw the blur from it.
    """
    height, width = pixels.shape[:2]
    colours, alpha = pixels[..., :3] / 255, pixels[..., 3] / 255
    opaque = alpha.sum()
    transparent = bool(opaque < alpha.size)
    mean = (colours * alpha[..., None]).sum(axis=(0, 1)) / opaque if opaque else np.zeros(3)
    red, green, blue = np.moveaxis(mean + (colours - mean) * alpha[..., None], -1, 0)

    longest, most = max(width, height), 5 if transparent else 7
    across, down = (max(1, _rounded(most * side / longest)) for side in (width, height))
    light = _channel((red + green + blue) / 3, max(3, across), max(3, down))
    yellow, redness = _channel((red + green) / 2 - blue, 3, 3), _channel(red - green, 3, 3)
    landscape = bool(width > height)
    first = _rounded(63 * light[0]) | _rounded(31.5 + 31.5 * yellow[0]) << 6 | _rounded(31.5 + 31.5 * redness[0]) << 12
    first |= _rounded(31 * light[1]) << 18 | transparent << 23
    second = (down if landscape else across) | _rounded(63 * yellow[1]) << 3 | _rounded(63 * redness[1]) << 9
    second |= landscape << 15
    header = first.to_bytes(3, "little") + second.to_bytes(2, "little")
    channels = [light, yellow, redness]
    if transparent:
        opacity = _channel(alpha, 5, 5)
        header += bytes([_rounded(15 * opacity[0]) | _rounded(15 * opacity[1]) << 4])
        channels.append(opacity)
    return header + _nibbles(np.concatenate([waves for *_, waves in channels]))


def _channel(values: Reals, across: int, down: int) -> tuple[float, float, Reals]:
    """The mean, the greatest amplitude, and the amplitudes below the diagonal as shares of it between 0 and 1."""
    height, width = values.shape
    waves = _cosines(height, down) @ values @ _cosines(width, across).T / values.size
    x, y = np.meshgrid(np.arange(across), np.arange(down))
    kept = waves[x * down < across * (down - y)]
    scale = float(np.abs(kept[1:]).max(initial=0.0))
    if scale < _NOISE:
        return float(kept[0]), 0.0, np.zeros_like(kept[1:])
    return float(kept[0]), scale, 0.5 + 0.5 / scale * kept[1:]


def _nibbles(shares: Reals) -> bytes:
    """Two numbers a byte, the first in its lower half."""
    numbers = np.zeros(len(shares) + len(shares) % 2, np.uint8)
    numbers[: len(shares)] = np.floor(15 * shares + 0.5)
    packed: npt.NDArray[np.uint8] = np.asarray(numbers[0::2] | numbers[1::2] << 4, np.uint8)
    return packed.tobytes()


def _rounded(value: float) -> int:
    """Half up, as the format's other implementations round."""
    return math.floor(value + 0.5)


@lru_cache(maxsize=256)
def _cosines(length: int, count: int) -> Reals:
    """The first ``count`` rows of a DCT-II of so many samples, not normalised."""
    return np.cos(np.pi / length * np.outer(np.arange(count), np.arange(length) + 0.5))
