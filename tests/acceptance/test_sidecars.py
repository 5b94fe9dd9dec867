"""Files that describe photos: through the API and with an import, as photo programs and Google Takeout write them."""

import asyncio
import gzip
import io
import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lumilio.model import Role
from tests.acceptance.callers import add_account, session_of, token_of
from tests.running import RunningDaemon, finished, upload

XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:exif="http://ns.adobe.com/exif/1.0/" xmp:Rating="4" exif:GPSLatitude="47,22.5N" exif:GPSLongitude="8,32.4E"
    exif:DateTimeOriginal="2019-07-14T18:30:15+02:00">
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">Am See</rdf:li></rdf:Alt></dc:description>
   <dc:subject><rdf:Bag><rdf:li>Zürich</rdf:li><rdf:li>Abend</rdf:li></rdf:Bag></dc:subject>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()

TAKEOUT: dict[str, Any] = {
    "title": "x.jpg",
    "description": "Lake in the evening",
    "imageViews": "3",
    "creationTime": {"timestamp": "1577000000", "formatted": "22.12.2019, 07:33:20 UTC"},
    "photoTakenTime": {"timestamp": "1563121815", "formatted": "14.07.2019, 16:30:15 UTC"},
    "geoData": {"latitude": 47.375, "longitude": 8.54, "altitude": 408.0, "latitudeSpan": 0.0, "longitudeSpan": 0.0},
    "people": [{"name": "Anna"}],
    "url": "https://photos.google.com/photo/x",
}


def takeout(**more: object) -> bytes:
    return json.dumps({**TAKEOUT, **more}, indent=2).encode()


async def stored(client: aiohttp.ClientSession, photo: bytes, name: str = "x.jpg") -> str:
    _, answer = await upload(client, name, photo, headers={"X-File-Modified": "2021-05-06T07:08:09Z"})
    return str((await finished(client, answer["task_id"]))["asset_id"])


async def put(
    client: aiohttp.ClientSession, asset_id: str, kind: str, content: bytes, name: str = "x.jpg.xmp"
) -> tuple[int, dict[str, Any]]:
    path = f"/api/v1/assets/{asset_id}/sidecars/{kind}"
    async with client.put(path, data=io.BytesIO(content), params={"file_name": name}) as response:
        return response.status, await response.json(content_type=None)


async def document(client: aiohttp.ClientSession, asset_id: str) -> dict[str, Any]:
    async with client.get(f"/api/v1/assets/{asset_id}") as response:
        found: dict[str, Any] = await response.json()
        return found


async def test_an_xmp_file_tells_rating_words_place_and_time_and_comes_back_bit_for_bit(
    shared_daemon: RunningDaemon, photo: bytes
) -> None:
    async with shared_daemon.session() as client:
        asset_id = await stored(client, photo)
        before = await document(client, asset_id)

        status, asset = await put(client, asset_id, "xmp", XMP)

        assert status == 201
        facts = asset["facts"]
        assert (facts["rating"], facts["description"]) == (4, "Am See")
        assert facts["position"]["latitude"] == pytest.approx(47.375)
        assert facts["position"]["longitude"] == pytest.approx(8.54)
        assert facts["captured"]["local"] == "2019-07-14T18:30:15"
        assert facts["captured"]["offset"] == 7200
        assert {tag["name"] for tag in asset["tags"]} == {"Zürich", "Abend"}
        (sidecar,) = asset["sidecars"]
        assert (sidecar["kind"], sidecar["file_name"]) == ("xmp", "x.jpg.xmp")
        async with client.get(sidecar["url"]) as response:
            assert await response.read() == XMP
            assert response.content_type == "application/octet-stream"
            assert response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''x.jpg.xmp"
        async with client.head(sidecar["url"]) as response:
            assert int(response.headers["Content-Length"]) == len(XMP)
        assert (await put(client, asset_id, "xmp", XMP))[0] == 200

        async with client.delete(sidecar["url"]) as response:
            assert response.status == 204
        after = await document(client, asset_id)
        assert after["facts"] == before["facts"]
        assert (after["tags"], after["sidecars"]) == ([], [])
        async with client.delete(sidecar["url"]) as response:
            assert (response.status, (await response.json())["code"]) == (404, "request.not_found")
        async with client.get(sidecar["url"]) as response:
            assert response.status == 404


async def test_a_takeout_file_tells_description_place_and_time(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        asset_id = await stored(client, photo)

        status, asset = await put(client, asset_id, "takeout", takeout(), "x.jpg.supplemental-me.json")

        assert status == 201
        facts = asset["facts"]
        assert facts["description"] == "Lake in the evening"
        assert facts["position"] == {"latitude": 47.375, "longitude": 8.54, "altitude": 408.0}
        assert datetime.fromisoformat(facts["captured"]["at"]).timestamp() == 1563121815
        (sidecar,) = asset["sidecars"]
        async with client.get(sidecar["url"]) as response:
            assert await response.read() == takeout()


async def test_both_kinds_tell_their_part_even_when_they_come_at_once(
    shared_daemon: RunningDaemon, photo: bytes, tmp_path: Path
) -> None:
    wordless = XMP.replace(b"Am See", b"")
    async with shared_daemon.session() as client:
        copies = photos_of(tmp_path / "p", photo, *(f"{number}.jpg" for number in range(12)))
        ids = [await stored(client, content, name) for name, content in copies.items()]
        for asset_id in ids:
            answers = await asyncio.gather(
                put(client, asset_id, "xmp", wordless), put(client, asset_id, "takeout", takeout())
            )
            assert [status for status, _ in answers] == [201, 201]
            asset = await document(client, asset_id)
            assert [each["kind"] for each in asset["sidecars"]] == ["takeout", "xmp"]
            assert (asset["facts"]["rating"], asset["facts"]["description"]) == (4, "Lake in the evening")


async def test_a_sidecar_takes_the_place_of_the_one_of_its_kind(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        asset_id = await stored(client, photo)
        await put(client, asset_id, "xmp", XMP)
        other = XMP.replace(b'xmp:Rating="4"', b'xmp:Rating="2"').replace(b"Abend", b"Morgen")
        status, asset = await put(client, asset_id, "xmp", other, "x.xmp")
        assert (status, asset["facts"]["rating"]) == (201, 2)
        assert {tag["name"] for tag in asset["tags"]} == {"Z\u00fcrich", "Morgen"}
        (sidecar,) = asset["sidecars"]
        assert sidecar["file_name"] == "x.xmp"
        async with client.get(sidecar["url"]) as response:
            assert await response.read() == other


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(12))
    + b"]><x>&m;</x>"
)
OUTSIDE = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>'
HOSTILE: dict[str, tuple[str, bytes | Callable[[], bytes], int, str]] = {
    "no xml": ("xmp", b"hello", 422, "syntax error"),
    "nothing": ("xmp", b"", 422, "no element found"),
    "cut off": ("xmp", XMP[:300], 422, "line"),
    "other xml": ("xmp", b"<a><b>1</b></a>", 422, "exiftool takes it for"),
    "a picture": ("xmp", b"\x89PNG\r\n\x1a\n" + bytes(100), 422, "not XMP"),
    "billion laughs": ("xmp", LAUGHS, 422, "document type"),
    "an entity from outside": ("xmp", OUTSIDE, 422, "document type"),
    "deep xml": ("xmp", b"<a>" * 100_000 + b"</a>" * 100_000, 422, "within one another"),
    "many names": ("xmp", lambda: b"<a>" + b"".join(b"<b%d/>" % n for n in range(200_000)) + b"</a>", 422, "different"),
    "large": ("xmp", lambda: XMP + bytes(5 << 20), 413, "at most 4 MiB"),
    "large json": ("takeout", lambda: takeout() + b" " * (5 << 20), 413, "at most 4 MiB"),
    "deep json": ("takeout", b"[" * 100_000 + b"]" * 100_000, 422, "JSON"),
    "deep members": ("takeout", takeout()[:-2] + b',"a":' + b'{"a":' * 200 + b"1" + b"}" * 201, 422, "nested"),
    "no json": ("takeout", XMP, 422, "JSON"),
    "no object": ("takeout", b"[1, 2]", 422, "Google Takeout"),
    "an album's": ("takeout", b'{"title": "Holidays", "date": {"timestamp": "1"}}', 422, "Google Takeout"),
    "only a number for a time": ("takeout", b'{"photoTakenTime": 5, "title": "x.jpg"}', 422, "photoTakenTime"),
    "only a word for a place": ("takeout", b'{"geoData": {"latitude": "north"}}', 422, "geoData.latitude"),
}


@pytest.mark.parametrize("what", HOSTILE)
async def test_a_hostile_sidecar_is_refused_with_a_reason_and_changes_nothing(
    shared_daemon: RunningDaemon, photo: bytes, what: str
) -> None:
    kind, made, wanted, reason = HOSTILE[what]
    async with shared_daemon.session() as client:
        asset_id = await stored(client, photo)
        await put(client, asset_id, kind, XMP if kind == "xmp" else takeout())
        before = await document(client, asset_id)

        status, problem = await put(client, asset_id, kind, made if isinstance(made, bytes) else made())

        assert (status, problem["code"]) == (wanted, {422: "media.damaged", 413: "request.too_large"}[wanted])
        assert reason in problem["detail"]
        assert "root:" not in json.dumps(problem)
        assert await document(client, asset_id) == before


BAD_MEMBERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a number for a time": ({"photoTakenTime": 5}, {"photoTakenTime": None}),
    "a list for a timestamp": ({"photoTakenTime": {"timestamp": ["1"], "formatted": "x"}}, {"photoTakenTime": None}),
    "a word for a number": ({"geoData": {"latitude": 47.375, "longitude": "NaN"}}, {"geoData": None}),
    "a word for an altitude": (
        {"geoData": {"latitude": 47.375, "longitude": 8.54, "altitude": "high"}},
        {"geoData": {"latitude": 47.375, "longitude": 8.54}},
    ),
    "a word for a place": ({"geoData": "Z\u00fcrich"}, {"geoData": None}),
    "words for people": (
        {"people": ["Anna", {"name": "Ada"}, 7, {"name": []}, {"name": "Bob"}]},
        {"people": [{"name": "Ada"}, {"name": "Bob"}]},
    ),
    "a list for a description": ({"description": ["a"]}, {"description": None}),
    "several at once": ({"favorited": "true", "title": 1, "people": {}}, {"title": None, "people": None}),
}
"""Members that are not Google's, and what is to be made of them."""


@pytest.mark.parametrize("what", BAD_MEMBERS)
async def test_a_bad_member_of_a_takeout_file_is_left_out_and_the_rest_counts(
    shared_daemon: RunningDaemon, photo: bytes, what: str
) -> None:
    bad, sound = BAD_MEMBERS[what]
    async with shared_daemon.session() as client:
        asset_id = await stored(client, photo)
        status, wanted = await put(client, asset_id, "takeout", takeout(**sound))
        assert status == 201
        status, asset = await put(client, asset_id, "takeout", takeout(**bad))
        assert status == 201
        assert asset["facts"] == wanted["facts"]
        assert [each["name"] for each in asset["tags"]] == [each["name"] for each in wanted["tags"]]
        async with client.get(asset["sidecars"][0]["url"]) as response:
            assert await response.read() == takeout(**bad)


async def test_odd_values_in_a_sound_sidecar_harm_nothing(shared_daemon: RunningDaemon, photo: bytes) -> None:
    odd = {
        "photoTakenTime": {"timestamp": "9" * 400},
        "creationTime": {"timestamp": -(10**17)},
        "geoData": {"latitude": 1e308, "longitude": -1e308, "altitude": 0.0},
        "description": "a\0b\ud800c" + "x" * 100_000,
        "people": [{"name": "\x1b[31m"}, {"name": ""}, {}],
        "title": "",
    }
    async with shared_daemon.session() as client:
        asset_id = await stored(client, photo)
        status, asset = await put(client, asset_id, "takeout", json.dumps(odd).encode())
        assert status == 201
        assert asset["facts"]["position"] is None
        assert "\0" not in asset["facts"]["description"]
        assert await document(client, asset_id) == asset


async def test_a_body_that_swells_is_refused_at_its_limit(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        path = f"/api/v1/assets/{await stored(client, photo)}/sidecars/xmp"
        for content, wanted in (
            (gzip.compress(bytes(200 << 20), 1), 413),
            (gzip.compress(XMP), 201),
            (b"no gzip", 400),
        ):
            async with client.put(
                path, data=io.BytesIO(content), params={"file_name": "x"}, headers={"Content-Encoding": "gzip"}
            ) as response:
                assert response.status == wanted, await response.text()
        async with client.get(path) as response:
            assert await response.read() == XMP


async def test_nothing_is_left_in_the_temporary_directory(shared_daemon: RunningDaemon, photo: bytes) -> None:
    async with shared_daemon.session() as client:
        asset_id = await stored(client, photo)
        assert (await put(client, asset_id, "xmp", XMP))[0] == 201
        assert (await put(client, asset_id, "xmp", b"<a/>"))[0] == 422
    directory = shared_daemon.data_dir / "tmp"
    assert list(directory.iterdir())
    assert not list(directory.glob("sidecar-*"))


@pytest.mark.parametrize(
    ("path", "params", "wanted"),
    [
        ("{asset_id}/sidecars/exif", {"file_name": "x"}, 404),
        ("00000000-0000-0000-0000-000000000000/sidecars/xmp", {"file_name": "x"}, 404),
        ("no-uuid/sidecars/xmp", {"file_name": "x"}, 404),
        ("{asset_id}/sidecars/xmp", {}, 400),
        ("{asset_id}/sidecars/xmp", {"file_name": ""}, 400),
        ("{asset_id}/sidecars/xmp", {"file_name": "../x"}, 400),
        ("{asset_id}/sidecars/xmp", {"file_name": "a\nb"}, 400),
        ("{asset_id}/sidecars/xmp", {"file_name": "a" * 256}, 400),
        ("{asset_id}/sidecars/xmp", {"file_name": "x", "kind": "y"}, 400),
    ],
)
async def test_what_is_asked_wrongly_is_refused(
    shared_daemon: RunningDaemon, photo: bytes, path: str, params: dict[str, str], wanted: int
) -> None:
    async with shared_daemon.session() as client:
        filled = "/api/v1/assets/" + path.format(asset_id=await stored(client, photo))
        async with client.put(filled, data=XMP, params=params) as response:
            assert response.status == wanted


@pytest.mark.parametrize("role", [Role.USER, Role.ADMIN])
async def test_others_find_no_sidecars_and_cannot_change_them(
    shared_daemon: RunningDaemon, photo: bytes, role: Role
) -> None:
    other_id, _ = await add_account(shared_daemon, role)
    async with shared_daemon.session() as client:
        asset_id = await stored(client, photo)
        await put(client, asset_id, "xmp", XMP)
        before = await document(client, asset_id)
        path = f"/api/v1/assets/{asset_id}/sidecars/xmp"
        async with session_of(shared_daemon, token_of(shared_daemon, other_id, role)) as other:
            assert (await put(other, asset_id, "xmp", b"<a/>"))[0] == 404
            for method in ("GET", "DELETE"):
                async with other.request(method, path) as response:
                    assert response.status == 404
        assert await document(client, asset_id) == before


def photos_of(directory: Path, photo: bytes, *names: str) -> dict[str, bytes]:
    """JPEGs that differ by a comment of their own."""
    directory.mkdir(parents=True, exist_ok=True)
    made = {}
    for number, name in enumerate(names):
        comment = f"{directory} {number}".encode()
        made[name] = photo[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + photo[2:]
        (directory / name).write_bytes(made[name])
    return made


def imported(daemon: RunningDaemon, *args: str) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, str]]:
    """The summary, the events of sidecars, and the assets by the names of their files."""
    result = daemon.run_cli("import", "--json", *args)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0, result.stdout + result.stderr
    assets = {Path(line["path"]).name: line["asset_id"] for line in lines if line.get("asset_id")}
    return lines[-1], [line for line in lines if line["event"] == "sidecar"], assets


async def test_a_takeout_comes_in_with_its_json_files(
    shared_daemon: RunningDaemon, photo: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "Takeout" / "Google Photos" / "Photos from 2019"
    names = ("x.jpg", "x(1).jpg", "x-edited.jpg", "lonely.jpg", "y-bearbeitet.jpg", "y.jpg")
    photos_of(folder, photo, *names)
    (folder / "x.jpg.json").write_bytes(takeout(description="first"))
    (folder / "x.jpg(1).json").write_bytes(takeout(description="second"))
    (folder / "y.jpg.supplemental-metada.json").write_bytes(takeout(description="third", photoTakenTime=None))
    (folder / "metadata.json").write_bytes(b'{"title": "Photos from 2019"}')
    os.utime(folder / "lonely.jpg", (1_600_000_000, 1_600_000_000))

    sums, _, assets = imported(shared_daemon, str(tmp_path / "Takeout"))

    assert (sums["sent"], sums["ready"], sums["sidecars_sent"], sums["sidecars_unreadable"]) == (6, 6, 5, 0)
    async with shared_daemon.session() as client:
        told = {name: (await document(client, assets[name]))["facts"] for name in names}
    assert {name: facts["description"] for name, facts in told.items()} == {
        "x.jpg": "first",
        "x(1).jpg": "second",
        "x-edited.jpg": "first",
        "lonely.jpg": None,
        "y-bearbeitet.jpg": "third",
        "y.jpg": "third",
    }
    assert datetime.fromisoformat(told["x(1).jpg"]["captured"]["at"]).timestamp() == 1563121815
    assert told["x(1).jpg"]["captured"]["source"] == "sidecar"
    assert told["lonely.jpg"]["captured"]["source"] == "modified"

    again, _, _ = imported(shared_daemon, str(tmp_path / "Takeout"))
    assert (again["duplicates"], again["sidecars_sent"], again["sidecars_unchanged"]) == (6, 0, 5)


async def test_xmp_files_come_in_and_one_that_is_refused_is_a_warning(
    shared_daemon: RunningDaemon, photo: bytes, tmp_path: Path
) -> None:
    photos_of(tmp_path / "p", photo, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "p" / "a.XMP").write_bytes(XMP)
    (tmp_path / "p" / "b.jpg.xmp").write_bytes(XMP.replace(b'Rating="4"', b'Rating="1"'))
    (tmp_path / "p" / "c.xmp").write_bytes(LAUGHS)

    sums, events, assets = imported(shared_daemon, "--no-wait", str(tmp_path / "p"))

    assert (sums["sent"], sums["failed"], sums["sidecars_sent"], sums["sidecars_unreadable"]) == (3, 0, 2, 1)
    (refused,) = (event for event in events if event["outcome"] == "refused")
    assert (Path(refused["path"]).name, refused["code"]) == ("c.xmp", "media.damaged")
    async with shared_daemon.session() as client:
        ratings = {name: (await document(client, assets[name]))["facts"]["rating"] for name in ("a.jpg", "b.jpg")}
    assert ratings == {"a.jpg": 4, "b.jpg": 1}

    result = shared_daemon.run_cli("import", str(tmp_path / "p"))
    assert result.returncode == 0
    assert "1  sidecars not used: they could not be read" in result.stdout
    assert f"sidecar not used: {tmp_path / 'p' / 'c.xmp'}: the file is not XMP: it has a document type" in result.stderr
