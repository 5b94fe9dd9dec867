"""The value types: what they refuse and what they make of edge cases."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumilio.errors import PathInvalid, RequestError
from lumilio.model import CaptureTime, CaptureTimeSource, Place, parse_content_hash, parse_repo_path


def test_a_digest_is_sixty_four_hexadecimal_digits_in_any_case() -> None:
    assert parse_content_hash(" AB" + "cd" * 31 + "\n") == "ab" + "cd" * 31
    for text in ("", "ab", "g" * 64, "a" * 65, "\N{FULLWIDTH LATIN SMALL LETTER A}" * 64, "../" + "a" * 61):
        with pytest.raises(RequestError, match="64 hexadecimal digits"):
            parse_content_hash(text)


@pytest.mark.parametrize("text", ["a", "a/b.jpg", "...", "a\\b", "name\nwith line", "emoji 📷.jpg", "x" * 255])
def test_a_path_inside_a_repository_is_kept_as_it_is(text: str) -> None:
    assert parse_repo_path(text) == text


@pytest.mark.parametrize(
    "text", ["", ".", "..", "/", "/etc/passwd", "a/../b", "../a", "a//b", "a/", "./a", "a\0b", "a/\udc80", "é" * 128]
)
def test_any_other_path_is_refused(text: str) -> None:
    with pytest.raises(PathInvalid):
        parse_repo_path(text)


def test_an_instant_needs_a_known_offset() -> None:
    local = datetime(2024, 5, 1, 12, 0, 0, 123456)  # noqa: DTZ001 - a wall clock
    unknown = CaptureTime(local=local, utc_offset=None, source=CaptureTimeSource.EXIF)
    assert unknown.utc() is None
    known = CaptureTime(local=local, utc_offset=timedelta(hours=5, minutes=30), source=CaptureTimeSource.EXIF)
    assert known.utc() == datetime(2024, 5, 1, 6, 30, 0, 123456, tzinfo=UTC)
    with pytest.raises(ValueError, match="naive"):
        CaptureTime(local=local.replace(tzinfo=UTC), utc_offset=None, source=CaptureTimeSource.EXIF)


@given(st.floats(), st.floats(), st.none() | st.floats())
def test_a_place_is_on_earth_and_finite_or_unknown(latitude: float, longitude: float, altitude: float | None) -> None:
    place = Place.of(latitude, longitude, altitude)
    if place is None:
        assert not (abs(latitude) <= 90 and abs(longitude) <= 180) or (latitude, longitude) == (0, 0)
    else:
        assert abs(place.latitude) <= 90
        assert abs(place.longitude) <= 180
        assert place.altitude is None or math.isfinite(place.altitude)


def test_no_fix_is_no_place_and_the_equator_is_one() -> None:
    assert Place.of(0, 0) is None
    assert Place.of(None, 5) is None
    assert Place.of(0, 5) == Place(latitude=0, longitude=5)
