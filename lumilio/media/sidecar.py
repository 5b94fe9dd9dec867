"""What files beside a file tell of it: XMP of photo programs, and the JSON of Google Takeout.

A sidecar's word comes before the file's own, and that of XMP, which people and their programs write, before Google's,
which is in part a copy of the file and in part guessed.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence

from lumilio.errors import MediaDamaged
from lumilio.media.tags import Tags, as_number
from lumilio.model import Place, Sidecar, SidecarKind

_LARGEST = 1 << 20
_DEEPEST = 32
_LONGEST_INTEGER = 18
TELLING = ("photoTakenTime", "creationTime", "geoData", "geoDataExif")
"""One of these is in every JSON about a picture; those about albums and accounts have none."""

_SAME_PLACE = 0.001
"""Degrees, about 100 m: Google rounds, and leaves out the altitude."""


def read_takeout(content: bytes) -> dict[str, object]:
    """The members of the JSON that Google Takeout puts beside a picture, safe to keep as PostgreSQL jsonb.

    Raises MediaDamaged for anything else, for more than 1 MiB and for more than 32 levels.
    """
    if len(content) > _LARGEST:
        raise MediaDamaged(f"the file is not from Google Takeout: it has {len(content)} bytes, over {_LARGEST}")
    try:
        found = json.loads(content, parse_float=_finite, parse_int=_bounded, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as exc:
        raise MediaDamaged("the file is not from Google Takeout: it is not readable as JSON") from exc
    if not isinstance(found, dict) or not any(name in found for name in TELLING):
        raise MediaDamaged(f"the file is not from Google Takeout: it has none of {', '.join(TELLING)}")
    return {_clean(name): _plain(value, 1) for name, value in found.items()}


def layers(tags: Tags, sidecars: Sequence[Sidecar]) -> tuple[Tags, ...]:
    """exiftool's tags of the XMP sidecars and of the file, the most trusted first."""
    return (*(each.tags for each in sidecars if each.kind is SidecarKind.XMP), tags)


def takeouts(sidecars: Sequence[Sidecar]) -> Iterator[Tags]:
    return (each.tags for each in sidecars if each.kind is SidecarKind.TAKEOUT)


def place_by_google(own: Place | None, sidecars: Sequence[Sidecar]) -> Place | None:
    """Where Google puts the picture: the file's own place while both are the same, to about 100 m."""
    for members in takeouts(sidecars):
        told = _position(members.get("geoData"))
        if told is None or (own is not None and _is_near(own, told)):
            continue
        return told
    if own is not None:
        return own
    return next((place for each in takeouts(sidecars) if (place := _position(each.get("geoDataExif")))), None)


def people_by_google(sidecars: Sequence[Sidecar]) -> Iterator[object]:
    """The names of those in the picture; Takeout does not say where in it they are."""
    for members in takeouts(sidecars):
        people = members.get("people")
        for person in people if isinstance(people, list) else ():
            if isinstance(person, dict):
                yield person.get("name")


def _position(value: object) -> Place | None:
    if not isinstance(value, Mapping):
        return None
    latitude, longitude, altitude = (as_number(value.get(name)) for name in ("latitude", "longitude", "altitude"))
    return Place.of(latitude, longitude, altitude or None)


def _is_near(one: Place, other: Place) -> bool:
    apart = max(abs(one.latitude - other.latitude), abs(one.longitude - other.longitude))
    return apart <= _SAME_PLACE


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _bounded(text: str) -> int | str:
    """Digits that a 64-bit integer cannot hold are an identifier, not a number."""
    return int(text) if len(text) <= _LONGEST_INTEGER else text


def _plain(value: object, depth: int) -> object:
    if depth > _DEEPEST:
        raise MediaDamaged(f"the file is not from Google Takeout: it is nested deeper than {_DEEPEST} levels")
    if isinstance(value, dict):
        return {_clean(name): _plain(each, depth + 1) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, depth + 1) for each in value]
    return _clean(value) if isinstance(value, str) else value


def _clean(text: str) -> str:
    """Without NUL and lone surrogates, which PostgreSQL's jsonb refuses."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
