import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lumilio.storage.names import NAME_BYTES, clean_name, marked_name, numbered_name, split_extension

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=400)


@given(ANY_TEXT)
@example("..")
@example("a" * 300 + ".jpeg")
@example("é" * 200 + ".jpg")
@example("a" * 254 + ". " + "b" * 20)
@example("x." + "e" * 300)
@example("\ud800.jpg")
def test_any_text_becomes_one_safe_component_that_stays_as_it_is(text: str) -> None:
    name = clean_name(text)
    assert 0 < len(name.encode()) <= NAME_BYTES
    assert name not in {".", ".."}
    assert "/" not in name
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in name)
    assert not name.endswith((".", " "))
    assert clean_name(name) == name


@given(ANY_TEXT, st.integers(1, 100_000))
def test_alternatives_fit_keep_the_extension_and_differ(text: str, number: int) -> None:
    name = clean_name(text)
    for other in (numbered_name(name, number), marked_name(name, "01234567-89ab-cdef-0123-456789abcdef")):
        assert other != name
        assert len(other.encode()) <= NAME_BYTES
        assert split_extension(other)[1] == split_extension(name)[1]


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("IMG_0001.JPG", "IMG_0001.JPG"),
        ("日本の写真 📷.jpg", "日本の写真 📷.jpg"),
        ("-rf.jpg", "-rf.jpg"),
        (".hidden.jpg", ".hidden.jpg"),
        ("a|b;c$(d)`e`'f\".jpg", "a|b;c$(d)`e`'f\".jpg"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("/etc/passwd", "_etc_passwd"),
        ("a\0b.jpg", "a_b.jpg"),
        ("line\nbreak\x1b[31m.jpg", "line_break_[31m.jpg"),
        ("cafe\u0301.jpg", "café.jpg"),
        ("bad\udcff.jpg", "bad\ufffd.jpg"),
        ("trailing. . ", "trailing"),
        ("", "unnamed"),
        (".", "unnamed"),
        ("..", "unnamed"),
        ("   ", "unnamed"),
    ],
)
def test_names_are_kept_as_far_as_they_are_safe(given_name: str, kept: str) -> None:
    assert clean_name(given_name) == kept


def test_a_long_name_is_cut_between_characters_and_keeps_its_extension() -> None:
    name = clean_name("ä" * 200 + ".jpeg")
    assert name == "ä" * 125 + ".jpeg"
    assert numbered_name(name, 12) == "ä" * 122 + " (12).jpeg"


def test_numbers_go_before_the_extension() -> None:
    assert numbered_name("IMG.JPG", 1) == "IMG (1).JPG"
    assert numbered_name("archive.tar.gz", 2) == "archive.tar (2).gz"
    assert numbered_name(".hidden", 3) == ".hidden (3)"
    assert numbered_name("no extension", 4) == "no extension (4)"
