"""Previews as exiftool hands them out."""

import io
from pathlib import Path

import pytest
from PIL import Image

from lumilio.errors import MediaDamaged
from lumilio.tools.previews import embedded_previews, jpeg_size
from tests.conformance.dng import dng, jpeg, seen, written

BLUE, RED = Image.new("RGB", (2080, 800), (40, 60, 160)), Image.new("RGB", (2080, 800), (160, 60, 40))


def test_a_flood_of_previews_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = written(tmp_path / "exiftool", b"#!/bin/sh\nexec cat /dev/zero\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")

    with program.open("rb") as file, pytest.raises(MediaDamaged, match="more than 64 MiB"):
        embedded_previews(file)


def test_exiftool_hands_out_every_preview_largest_first(tmp_path: Path) -> None:
    path = written(tmp_path / "photo.dng", dng(seen(BLUE), orientation=5, preview=jpeg(RED.resize((1040, 400)))))

    with path.open("rb") as file:
        file.read(100)
        previews = embedded_previews(file)

    assert previews.orientation == 5
    assert [jpeg_size(each) for each in previews.jpegs] == [(1040, 400)]


def test_the_size_of_a_jpeg_is_read_from_its_frame() -> None:
    for options in ({}, {"progressive": True}, {"exif": Image.Exif()}, {"comment": b"x" * 5000}):
        buffer = io.BytesIO()
        Image.new("RGB", (123, 45)).save(buffer, "JPEG", **options)
        assert jpeg_size(buffer.getvalue()) == (123, 45)
        for cut in range(0, 200, 7):
            assert jpeg_size(buffer.getvalue()[:cut]) in (None, (123, 45))
    assert jpeg_size(b"\xff\xd8" + b"\xff" * 1000) is None
    assert jpeg_size(b"\xff\xd8\xff\xe0\0\0" * 100) is None
