"""Which files have lost their end, by what their own containers state."""

import random
from pathlib import Path

import pytest

from lumilio.media.completeness import shortfall
from lumilio.media.detect import refine, sniff
from lumilio.model import MediaType
from tests.conformance.reference import samples
from tests.films import film

FORMS = [("mp4", "libx264", "aac"), ("mov", "libx264", "aac"), ("avi", "mpeg4", "mp2"), ("matroska", "libx264", "aac")]
ALL = [sample for sample in samples() if sample.exif.get("File:FileType")]


def _type(data: bytes, name: str, told: object = None) -> MediaType:
    found = refine(sniff(data), str(told) if told else None, name)
    assert found is not None
    return found


@pytest.mark.parametrize("sample", ALL, ids=lambda sample: sample.name)
def test_no_real_file_that_is_whole_is_said_to_lack_something(sample) -> None:  # type: ignore[no-untyped-def]
    data = sample.path.read_bytes()
    media_type = refine(sniff(data), str(sample.exif["File:FileType"]), sample.path.name)
    assert media_type is None or shortfall(sample.path, media_type) is None


@pytest.mark.parametrize(("form", "video", "audio"), FORMS)
def test_a_recording_that_was_cut_off_says_how_much_is_there(tmp_path: Path, form: str, video: str, audio: str) -> None:
    whole = film(form, video=video, audio=audio)
    path = tmp_path / "cut"
    for share in (0.5, 0.9, 0.999):
        cut = whole[: int(len(whole) * share)]
        path.write_bytes(cut)
        reason = shortfall(path, _type(whole, f"x.{form}"))
        assert reason is not None, share
        assert f"{len(cut):,} of " in reason


def test_what_follows_the_last_box_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "trailer.mp4"
    whole = film("mp4")
    path.write_bytes(whole + b"\0" * 20 + b"SEFT")
    assert shortfall(path, _type(whole, path.name)) is None


def test_noise_behind_a_good_head_never_raises(tmp_path: Path) -> None:
    path = tmp_path / "noise"
    noise = random.Random(4)
    for form, video, audio in FORMS:
        whole = film(form, video=video, audio=audio, seconds=0.2)
        media_type = _type(whole, f"x.{form}")
        for _ in range(50):
            data = bytearray(whole[: noise.randrange(4, 200)])
            data[noise.randrange(len(data))] = noise.randrange(256)
            path.write_bytes(bytes(data) + noise.randbytes(noise.randrange(100)))
            shortfall(path, media_type)
