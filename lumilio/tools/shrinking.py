"""How pictures are made smaller: in one step, or band by band where the whole would need too much memory."""

from collections.abc import Callable

from PIL import Image

_BAND_ROWS = 256
_GAP = 2.0
"""How many times too large a picture may be before a box filter goes ahead of the bicubic one."""


def fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """The size with its longest side at most ``longest``, each side at least one pixel."""
    scale = min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def shrunk(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture at another size."""
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=_GAP)


def shrunk_by_bands(
    band: Callable[[int, int], Image.Image], size: tuple[int, int], wanted: tuple[int, int]
) -> Image.Image:
    """The same of a picture of ``size`` whose rows from the first up to before the second argument ``band`` returns,
    so that it is never whole in a mode of Pillow, which takes four bytes a pixel for RGB."""
    width, height = size
    factor = max(1, int(min(width / wanted[0], height / wanted[1]) / _GAP))
    rows = height if factor == 1 else factor * max(1, _BAND_ROWS // factor)
    whole: Image.Image | None = None
    for top in range(0, height, rows):
        reduced = band(top, min(top + rows, height))
        if factor > 1:
            reduced = reduced.reduce(factor)
        if rows == height:
            return shrunk(reduced, wanted)
        if whole is None:
            whole = Image.new(reduced.mode, (reduced.width, -(-height // factor)))
        whole.paste(reduced, (0, top // factor))
    if whole is None:
        raise ValueError("a picture without rows")
    # Where the size is no multiple of the factor, the last box of a row or column reaches beyond the picture.
    return whole.resize(wanted, Image.Resampling.BICUBIC, box=(0, 0, width / factor, height / factor))
