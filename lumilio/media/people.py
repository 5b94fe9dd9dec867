"""Named people in a picture: the face regions of the Metadata Working Group and of Microsoft's photo programs."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from lumilio.media.tags import Tags, as_number, as_text
from lumilio.model import PersonRegion

_MOST = 200
_Box = tuple[float, float, float, float]

_TURNS: Mapping[int, Callable[[float, float], tuple[float, float]]] = {
    1: lambda x, y: (x, y),
    2: lambda x, y: (1 - x, y),
    3: lambda x, y: (1 - x, 1 - y),
    4: lambda x, y: (x, 1 - y),
    5: lambda x, y: (y, x),
    6: lambda x, y: (1 - y, x),
    7: lambda x, y: (1 - y, 1 - x),
    8: lambda x, y: (y, 1 - x),
}
"""Where a point of the stored picture is shown, by EXIF's orientation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """How a picture is shown: EXIF's orientation, and the width and height after it where they are known."""

    orientation: int
    width: int | None
    height: int | None


def people_in(tags: Tags, shown: Display) -> tuple[PersonRegion, ...]:
    """The faces with a name, at most 200, one for each person; regions of pets, bar codes and focus are passed over.

    Both standards count in shares of the stored picture, before orientation. A program that has turned the regions
    already says so by the dimensions that it applied them to. Never raises on odd values.
    """
    found: dict[str, PersonRegion] = {}
    for name, box, applied_to in (*_working_group(tags), *_microsoft(tags)):
        region = _shown(name, box, 1 if _is_turned(applied_to, shown) else shown.orientation)
        if region is not None:
            found.setdefault(name.casefold(), region)
    return tuple(found.values())[:_MOST]


def _working_group(tags: Tags) -> Iterator[tuple[str, _Box, tuple[float, float] | None]]:
    info = tags.get("XMP-mwg-rs:RegionInfo")
    regions = info.get("RegionList") if isinstance(info, dict) else None
    applied_to = _dimensions(info.get("AppliedToDimensions")) if isinstance(info, dict) else None
    for region in regions if isinstance(regions, list) else ():
        if not isinstance(region, dict) or region.get("Type", "Face") != "Face":
            continue
        name, box = as_text(region.get("Name")), _area(region.get("Area"), applied_to)
        if name and box:
            yield name, box, applied_to


def _microsoft(tags: Tags) -> Iterator[tuple[str, _Box, None]]:
    info = tags.get("XMP-MP:RegionInfoMP")
    regions = info.get("Regions") if isinstance(info, dict) else None
    for region in regions if isinstance(regions, list) else ():
        if not isinstance(region, dict):
            continue
        name, rectangle = as_text(region.get("PersonDisplayName")), region.get("Rectangle")
        corner = [as_number(part) for part in rectangle.split(",")] if isinstance(rectangle, str) else []
        numbers = [number for number in corner if number is not None]
        if name and len(numbers) == len(corner) == 4:
            left, top, width, height = numbers
            yield name, (left + width / 2, top + height / 2, width, height), None


def _dimensions(value: object) -> tuple[float, float] | None:
    width, height = (as_number(value.get(side)) if isinstance(value, dict) else None for side in ("W", "H"))
    return (width, height) if width and height and width > 0 and height > 0 else None


def _area(value: object, applied_to: tuple[float, float] | None) -> _Box | None:
    """Centre and size. A circle's diameter is taken for both sides."""
    if not isinstance(value, dict):
        return None
    x, y, width, height, across = (as_number(value.get(name)) for name in ("X", "Y", "W", "H", "D"))
    width, height = width or across, height or across
    if x is None or y is None or width is None or height is None:
        return None
    if value.get("Unit", "normalized") == "normalized":
        return x, y, width, height
    if value.get("Unit") != "pixel" or applied_to is None:
        return None
    return x / applied_to[0], y / applied_to[1], width / applied_to[0], height / applied_to[1]


def _is_turned(applied_to: tuple[float, float] | None, shown: Display) -> bool:
    if applied_to is None or shown.orientation < 5 or not shown.width or not shown.height:
        return False
    return (applied_to[0] - applied_to[1]) * (shown.width - shown.height) > 0


def _shown(name: str, box: _Box, orientation: int) -> PersonRegion | None:
    """None for what is not within the picture."""
    x, y = _TURNS[orientation](box[0], box[1])
    width, height = (box[3], box[2]) if orientation >= 5 else (box[2], box[3])
    if not (0 <= x <= 1 and 0 <= y <= 1 and 0 < width <= 1 and 0 < height <= 1):
        return None
    x, y, width, height = (math.floor(each * 1e6 + 0.5) / 1e6 for each in (x, y, width, height))
    return PersonRegion(name=name, x=x, y=y, width=width, height=height)
