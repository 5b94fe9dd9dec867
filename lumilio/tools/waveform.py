"""The picture of a sound that has no cover: its loudness over time as a row of rounded bars."""

import numpy as np
import numpy.typing as npt

BARS = 60
"""How many peaks ``draw`` wants, from the beginning of the sound to its end."""

_WIDTH, _HEIGHT = 1024, 576
_STEP = 16
_MARGIN = 2
"""Steps that stay empty on either side."""
_RADIUS = 5.0
_TALLEST = 0.36 * _HEIGHT
_GROUND = np.array([24, 28, 38], dtype=np.float32)
_FIRST, _LAST = np.array([64, 196, 178], dtype=np.float32), np.array([92, 142, 240], dtype=np.float32)
_FAINT = 0.02
"""Of full scale: what is no louder is drawn as silence, not enlarged to look like something."""


def draw(peaks: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """The picture as rows of sRGB pixels (576 x 1024 x 3) for BARS peaks from 0 to 1.

    The loudest bar has the full height, so that quiet recordings show their shape too; silence is a row of dots.
    """
    loud = np.nan_to_num(np.asarray(peaks, dtype=np.float32), nan=0.0, posinf=1.0, neginf=0.0).clip(0.0, 1.0)
    shares = np.sqrt(loud / max(float(loud.max(initial=0.0)), _FAINT))
    heights = np.full(_WIDTH // _STEP, -np.inf, dtype=np.float32)
    heights[_MARGIN:-_MARGIN] = shares * _TALLEST
    half = heights[np.arange(_WIDTH) // _STEP]
    across = np.abs(np.arange(_WIDTH) % _STEP + 0.5 - _STEP / 2)
    along = np.abs(np.arange(_HEIGHT) + 0.5 - _HEIGHT / 2)
    beyond = np.maximum(along[:, None] - half[None, :], 0.0)
    # The distance to a bar's middle line, less its radius, is how far a pixel lies outside: half a pixel is the edge.
    cover = (0.5 + _RADIUS - np.hypot(beyond, across[None, :])).clip(0.0, 1.0)[:, :, None]
    place = np.linspace(0.0, 1.0, _WIDTH, dtype=np.float32)[None, :, None]
    colour = _FIRST + (_LAST - _FIRST) * place
    picture: npt.NDArray[np.uint8] = np.rint(_GROUND + (colour - _GROUND) * cover).astype(np.uint8)
    return picture
