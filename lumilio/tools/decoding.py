"""What decoders hand over, how much memory they may take, and how their libraries are loaded."""

import importlib
from dataclasses import dataclass
from typing import Any

from PIL import Image

from lumilio.errors import MediaOverBudget, ToolMissing

DECODE_BUDGET = 640 * 1024 * 1024
"""Bytes that decoding one picture may take where no limit is set, which is outside of decoder children; what one of
the usual 768 MiB has."""

_budget = DECODE_BUDGET


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePoints:
    """Primaries and transfer characteristics as video codecs number them (ITU-T H.273)."""

    primaries: int
    transfer: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """A picture in L, LA, RGB, RGBA, CMYK or LAB, already shrunk.

    ``size`` is the width and height of the original before the EXIF ``orientation`` turns it, which is still to do.
    ``profile`` is ICC, ``code_points`` count where there is none; without both the colours are sRGB.
    """

    image: Image.Image
    size: tuple[int, int]
    orientation: int = 1
    profile: bytes | None = None
    code_points: CodePoints | None = None


def confine_to(memory: int) -> None:
    """In a decoder child that may have ``memory`` bytes beyond its start: keep a sixth of them for what the estimates
    leave out, so that most bombs are told apart from their header alone.

    What earlier files have left behind does not count: whether a picture is refused must not depend on those before it.
    """
    global _budget  # a limit is its process's
    _budget = memory * 5 // 6


def decode_budget() -> int:
    """Bytes that decoding one picture may take in this process."""
    return _budget


def check_budget(need: int, size: tuple[int, int]) -> None:
    """Refuse a picture that needs so many bytes before it is decoded. Raises MediaOverBudget."""
    if need > _budget:
        raise MediaOverBudget(
            f"a picture of {size[0]} x {size[1]} pixels needs about {need >> 20} MiB to decode; "
            f"the limit is {_budget >> 20} MiB"
        )


def library(module: str, package: str) -> Any:
    """A library that few files need: a decoder child loads it when the first of them comes, the daemon never.

    Raises ToolMissing.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as exc:
        raise ToolMissing(f"{module} cannot be loaded ({exc}); install it with: pip install {package}") from exc
