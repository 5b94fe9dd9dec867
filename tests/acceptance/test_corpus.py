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
from tests.conformance.reference import CORPUS, FIXTURES, Sample, samples
from tests.running import RunningDaemon

KINDS = {"video": "video", "audio": "audio"}
"""By the folder of a sample; everything else is photos."""
TURNED_BY_DECODER = ("heic", "heif", "avif", "jxl")
SMALL_ONLY = {
    "raw-header/exiftool-FujiFilm.raf",
    "raw-header/exiftool-Panasonic.rw2",
    "raw-header/exiftool-SigmaDP2.x3f",
}
"""Headers without the data of the sensor, but with a small picture."""
UNDECODABLE = {
    "raw-header/exiftool-CanonRaw.cr2",
    "raw-header/exiftool-CanonRaw.cr3",
    "raw-header/exiftool-Minolta.mrw",
    "audio/mediafile-full.wma",
}
"""Headers without the data of the sensor, and tags without sound."""
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
    await every_file_is_ready_and_shown_or_says_why_not(imported)
    await every_picture_has_the_size_that_other_tools_see(imported)
    await recordings_are_described_and_play(imported)
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


async def every_file_is_ready_and_shown_or_says_why_not(imported: Imported) -> None:
    ready = 0
    async with imported.daemon.session() as client:
        for sample in samples():
            asset = imported.asset(sample.path)
            assert asset["kind"] == _kind(sample), sample.name
            assert asset["format"] in PROCESSORS, sample.name
            if sample.name in UNDECODABLE | SMALL_ONLY:
                assert asset["state"] == "problem", sample.name
                assert ("render", "media.damaged") in {(each["step"], each["code"]) for each in asset["problems"]}
                if sample.name in UNDECODABLE:
                    continue
            else:
                assert (asset["state"], asset["problems"]) == ("ready", []), sample.name
            assert [thumbnail["size"] for thumbnail in asset["thumbnails"]] == ["small", "medium", "large"]
            for thumbnail in asset["thumbnails"]:
                async with client.get(thumbnail["url"]) as response:
                    assert response.status == 200
                    assert (await response.read())[8:12] == b"WEBP"
            ready += 1
    assert ready >= 15


def _kind(sample: Sample) -> str:
    film = sample.path.suffix.lower() in (".mov", ".mp4")
    return "video" if film else KINDS.get(sample.path.parent.name, "photo")


async def every_picture_has_the_size_that_other_tools_see(imported: Imported) -> None:
    for sample in samples():
        if not sample.pillow or sample.path.parent.name.startswith("raw"):
            continue
        asset = imported.asset(sample.path)
        width, height = sample.pillow[2:4]
        turned = asset["format"] not in TURNED_BY_DECODER and sample.exif.get("IFD0:Orientation", 1) in (5, 6, 7, 8)
        assert (asset["width"], asset["height"]) == ((height, width) if turned else (width, height)), sample.name
        for thumbnail, longest in zip(asset["thumbnails"], (150, 300, 1024), strict=True):
            assert max(thumbnail["width"], thumbnail["height"]) == min(longest, max(width, height)), sample.name


async def recordings_are_described_and_play(imported: Imported) -> None:
    played = 0
    async with imported.daemon.session() as client:
        for root in ROOTS:
            for entry in json.loads((root / "truth.json").read_text()):
                told = (entry.get("ffprobe") or {}).get("format")
                if not told or "duration" not in told or f"{entry['path']}" in UNDECODABLE:
                    continue
                asset = imported.asset(root / entry["path"])
                streams = asset["facts"]["streams"]
                assert streams["duration"] == pytest.approx(float(told["duration"]), abs=0.3), entry["path"]
                kinds = {stream["codec_type"]: stream for stream in entry["ffprobe"]["streams"]}
                if "audio" in kinds:
                    assert streams["audio_codec"].startswith(kinds["audio"]["codec_name"][:4]), entry["path"]
                    assert streams["sample_rate"] == int(kinds["audio"]["sample_rate"]), entry["path"]
                assert asset["playback"]["state"] == "ready", entry["path"]
                async with client.get(asset["playback"]["url"], headers={"Range": "bytes=0-99"}) as response:
                    assert (response.status, len(await response.read())) == (206, 100), entry["path"]
                played += 1
    assert played > 3


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
