"""exiftool's output as typed values: whatever a file makes it print, the answer is a value of the asked type or None.

The keys are ``Group:Tag``. The same tag may stand in several groups: in the picture's own directory, in the embedded
preview's, in the maker's notes. A look-up names the groups that it believes, best first.
"""

import math
import re
import unicodedata
from collections.abc import Iterator, Mapping

Tags = Mapping[str, object]

_TEXT_LIMIT = 255
_LONG_TEXT_LIMIT = 10_000
_CLOCK = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def values(tags: Tags, tag: str, groups: tuple[str, ...]) -> Iterator[object]:
    """The values of a tag in the named groups that have it. ``*`` stands for all groups, in exiftool's order."""
    for group in groups:
        if group == "*":
            yield from (value for key, value in tags.items() if key.rpartition(":")[2] == tag)
        elif (key := f"{group}:{tag}") in tags:
            yield tags[key]


def first_text(tags: Tags, tag: str, *groups: str) -> str | None:
    return next((text for value in values(tags, tag, groups) if (text := as_text(value))), None)


def first_number(tags: Tags, tag: str, *groups: str) -> float | None:
    return next((number for value in values(tags, tag, groups) if (number := as_number(value)) is not None), None)


def first_positive(tags: Tags, tag: str, *groups: str) -> float | None:
    """The first number above zero: cameras write 0 for what they do not know."""
    return next((number for value in values(tags, tag, groups) if (number := as_number(value) or 0) > 0), None)


def as_text(value: object) -> str | None:
    """A printable line of at most 255 characters without space around it; numbers are spelled, None for nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    printable = "".join(each if unicodedata.category(each)[0] != "C" else " " for each in str(value)[: 4 * _TEXT_LIMIT])
    return " ".join(printable.split())[:_TEXT_LIMIT] or None


def as_paragraphs(value: object) -> str | None:
    """Printable lines, at most 10,000 characters, None for nothing; numbers are spelled."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    lines = str(value)[: 4 * _LONG_TEXT_LIMIT].replace("\r\n", "\n").replace("\r", "\n").split("\n")
    printable = (
        "".join(each if unicodedata.category(each)[0] != "C" else " " for each in line).rstrip() for line in lines
    )
    return "\n".join(printable).strip()[:_LONG_TEXT_LIMIT].rstrip() or None


def as_number(value: object) -> float | None:
    """A finite number; of a list or of text such as ``100 100`` the first one; ``0:01:02.5`` is 62.5 seconds."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, int | float):
            number = float(value)
        elif isinstance(value, str) and (clock := _CLOCK.fullmatch(value.strip()[:_TEXT_LIMIT])):
            number = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
        elif isinstance(value, str) and (words := value[:_TEXT_LIMIT].replace(",", " ").split()):
            number = float(words[0])
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
