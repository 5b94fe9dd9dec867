"""Real files of many cameras and formats through the real daemon, held against what other tools say of them."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lumilio.media import PROCESSORS
from tests.acceptance.evidence import all_assets, assert_tidy, digest, rows_of, settled
from tests.conformance.reference import CORPUS, FIXTURES, samples
from tests.running import RunningDaemon

KINDS = {"video": "video", "audio": "audio"}
"""By the folder of a sample; everything else is photos."""
PICTURES = ("JPEG", "MPO", "PNG", "WEBP")
ROOTS = [root for root in (FIXTURES, CORPUS) if root.is_dir()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A library after the import, with every asset by the hash of its content."""

    daemon: RunningDaemon
    events: list[dict[str, Any]]
    assets: Mapping[str, dict[str, Any]]

    def asset(self, path: Path) -> dict[str, Any]:
        return self.assets[digest(path.read_bytes())]


def _import(daemon: RunningDaemon) -> list[dict[str, Any]]:
    ended = daemon.run_cli("import", "--json", *map(str, ROOTS), timeout=100)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


async def test_real_files_are_kept_shown_and_described_as_other_tools_describe_them(daemon: RunningDaemon) -> None:
    """One test, so that the corpus is imported once however the tests are distributed."""
    events = await asyncio.to_thread(_import, daemon)
    await settled(daemon, hasten=True)
    async with daemon.session() as client:
        found = await all_assets(client)
    imported = Imported(daemon=daemon, events=events, assets={asset["content_hash"]: asset for asset in found})
    await every_file_is_stored_bit_for_bit_and_once(imported)
    await every_picture_is_ready_upright_and_has_its_thumbnails(imported)
    what_cannot_be_shown_yet_is_listed_all_the_same(imported)
    the_facts_are_those_that_exiftool_reads(imported)
    positions_are_those_that_exiftool_reads(imported)
    capture_times_are_those_of_the_camera(imported)
    await a_second_import_sends_nothing(imported)


def _paths(events: list[dict[str, Any]], *outcomes: str) -> list[Path]:
    return [Path(event["path"]) for event in events if event.get("outcome") in outcomes]


async def every_file_is_stored_bit_for_bit_and_once(imported: Imported) -> None:
    paths = _paths(imported.events, "sent", "duplicate")
    assert {sample.path for sample in samples()} <= set(paths)
    contents = {digest(path.read_bytes()): path for path in paths}
    assert set(contents) == set(imported.assets)
    async with imported.daemon.session() as client:
        for content_hash, path in contents.items():
            async with client.get(imported.assets[content_hash]["original_url"]) as response:
                assert await response.read() == path.read_bytes(), path
    async with rows_of(imported.daemon) as rows:
        assert await rows.fetchval("SELECT count(*) FROM assets") == len(contents)
        places = await rows.fetch("SELECT asset_id, path, state FROM locations")
    assert len({place["asset_id"] for place in places}) == len(places) == len(contents)
    inbox = imported.daemon.library / "inbox"
    assert sum(path.is_file() for path in inbox.rglob("*")) == len(contents)
    assert_tidy(imported.daemon)


async def a_second_import_sends_nothing(imported: Imported) -> None:
    again = await asyncio.to_thread(_import, imported.daemon)
    summary = again[-1]
    assert (summary["sent"], summary["sent_bytes"], summary["failed"]) == (0, 0, 0)
    assert summary["duplicates"] == len(_paths(imported.events, "sent", "duplicate"))
    async with rows_of(imported.daemon) as rows:
        assert await rows.fetchval("SELECT count(*) FROM assets") == len(imported.assets)


async def every_picture_is_ready_upright_and_has_its_thumbnails(imported: Imported) -> None:
    seen = 0
    async with imported.daemon.session() as client:
        for sample in samples():
            if not sample.pillow or sample.pillow[0] not in PICTURES:
                continue
            asset = imported.asset(sample.path)
            width, height = sample.pillow[2:4]
            turned = sample.exif.get("IFD0:Orientation", 1) in (5, 6, 7, 8)
            assert asset["state"] == "ready", sample.name
            assert (asset["width"], asset["height"]) == ((height, width) if turned else (width, height)), sample.name
            assert [thumbnail["size"] for thumbnail in asset["thumbnails"]] == ["small", "medium", "large"]
            for thumbnail, longest in zip(asset["thumbnails"], (150, 300, 1024), strict=True):
                assert max(thumbnail["width"], thumbnail["height"]) == min(longest, max(width, height)), sample.name
                async with client.get(thumbnail["url"]) as response:
                    assert response.status == 200
                    assert (await response.read())[8:12] == b"WEBP"
            seen += 1
    assert seen >= 7


def what_cannot_be_shown_yet_is_listed_all_the_same(imported: Imported) -> None:
    for sample in samples():
        asset = imported.asset(sample.path)
        film = sample.path.suffix.lower() in (".mov", ".mp4")
        kind = "video" if film else KINDS.get(sample.path.parent.name, "photo")
        assert asset["kind"] == kind, sample.name
        if asset["format"] not in PROCESSORS:
            assert asset["state"] == "unsupported" or (asset["state"] == "problem" and asset["problems"]), sample.name


FACTS = {
    "make": ("IFD0:Make", str),
    "model": ("IFD0:Model", str),
    "iso": ("ExifIFD:ISO", int),
    "f_number": ("ExifIFD:FNumber", float),
    "exposure_time": ("ExifIFD:ExposureTime", float),
    "focal_length": ("ExifIFD:FocalLength", float),
    "orientation": ("IFD0:Orientation", int),
}


def the_facts_are_those_that_exiftool_reads(imported: Imported) -> None:
    compared = dict.fromkeys(FACTS, 0)
    for sample in samples():
        facts = imported.asset(sample.path)["facts"]
        for name, (tag, kind) in FACTS.items():
            told = _usable(sample.exif.get(tag), kind)
            if told is not None:
                assert facts[name] == (told if kind is str else pytest.approx(told)), (sample.name, name)
                compared[name] += 1
    assert all(compared.values()), compared


def _usable(value: object, kind: type) -> str | float | None:
    """What a tag says, unless it says nothing: cameras write blanks and zeros for what they do not know."""
    if kind is str:
        return " ".join(str(value).split()) or None if isinstance(value, str | int | float) else None
    return value if isinstance(value, int | float) and value > 0 else None


def positions_are_those_that_exiftool_reads(imported: Imported) -> None:
    compared = 0
    for sample in samples():
        latitude, longitude = (sample.exif.get(f"Composite:GPS{name}") for name in ("Latitude", "Longitude"))
        position = imported.asset(sample.path)["facts"]["position"]
        if isinstance(latitude, int | float) and isinstance(longitude, int | float) and (latitude or longitude):
            assert position is not None, sample.name
            assert (position["latitude"], position["longitude"]) == pytest.approx((latitude, longitude), abs=1e-6)
            compared += 1
        else:
            assert position is None, sample.name
    assert compared > 0


def capture_times_are_those_of_the_camera(imported: Imported) -> None:
    compared = 0
    for sample in samples():
        stamp = sample.exif.get("ExifIFD:DateTimeOriginal")
        match = re.fullmatch(r"(\d{4}):(\d\d):(\d\d) (\d\d):(\d\d):(\d\d)", str(stamp))
        if match is None or match[1] == "0000":
            continue
        captured = imported.asset(sample.path)["facts"]["captured"]
        local = datetime(*map(int, match.groups()))  # type: ignore[arg-type]  # noqa: DTZ001
        assert datetime.fromisoformat(captured["local"]).replace(microsecond=0) == local, sample.name
        zone = sample.exif.get("ExifIFD:OffsetTimeOriginal") or sample.exif.get("ExifIFD:OffsetTime")
        if zone:
            assert captured["offset"] == _seconds(zone), sample.name
        elif captured["offset"] is not None:
            assert captured["offset_source"] in ("gps", "coordinates", "stated"), sample.name
        compared += 1
    assert compared > 0


def _seconds(zone: object) -> float | None:
    match = re.fullmatch(r"([+-])(\d\d):(\d\d)", str(zone).strip())
    if match is None:
        return 0 if zone == "Z" else None
    seconds = timedelta(hours=int(match[2]), minutes=int(match[3])).total_seconds()
    return -seconds if match[1] == "-" else seconds
