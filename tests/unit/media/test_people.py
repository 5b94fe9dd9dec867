"""Where named people are in a picture, as it is shown."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumilio.media.people import Display, people_in
from lumilio.model import PersonRegion

UPRIGHT = Display(orientation=1, width=4000, height=3000)


def face(name: object = "Ada", x: object = 0.3, y: object = 0.2, width: object = 0.1, height: object = 0.15) -> Any:
    """As exiftool prints a structure of XMP-mwg-rs."""
    area = {"X": x, "Y": y, "W": width, "H": height, "Unit": "normalized"}
    return {"Name": name, "Type": "Face", "Area": area}


def group(*regions: Any, width: int = 4000, height: int = 3000) -> dict[str, object]:
    applied_to = {"W": width, "H": height, "Unit": "pixel"}
    return {"XMP-mwg-rs:RegionInfo": {"AppliedToDimensions": applied_to, "RegionList": list(regions)}}


def microsoft(name: object, rectangle: object) -> dict[str, object]:
    return {"XMP-MP:RegionInfoMP": {"Regions": [{"PersonDisplayName": name, "Rectangle": rectangle}]}}


def test_a_face_has_its_name_centre_and_size() -> None:
    expected = PersonRegion(name="Ada", x=0.3, y=0.2, width=0.1, height=0.15)

    assert people_in(group(face()), UPRIGHT) == (expected,)


@pytest.mark.parametrize(
    ("orientation", "box"),
    [
        (1, (0.3, 0.2, 0.1, 0.15)),
        (2, (0.7, 0.2, 0.1, 0.15)),
        (3, (0.7, 0.8, 0.1, 0.15)),
        (4, (0.3, 0.8, 0.1, 0.15)),
        (5, (0.2, 0.3, 0.15, 0.1)),
        (6, (0.8, 0.3, 0.15, 0.1)),
        (7, (0.8, 0.7, 0.15, 0.1)),
        (8, (0.2, 0.7, 0.15, 0.1)),
    ],
)
def test_regions_turn_with_the_picture(orientation: int, box: tuple[float, float, float, float]) -> None:
    sides = (3000, 4000) if orientation >= 5 else (4000, 3000)
    shown = Display(orientation=orientation, width=sides[0], height=sides[1])
    (found,) = people_in(group(face()), shown)

    assert (found.x, found.y, found.width, found.height) == box


def test_regions_that_were_applied_to_the_turned_picture_are_not_turned_again() -> None:
    shown = Display(orientation=6, width=3000, height=4000)
    (found,) = people_in(group(face(), width=3000, height=4000), shown)

    assert (found.x, found.y) == (0.3, 0.2)


def test_microsofts_rectangles_begin_at_the_corner() -> None:
    (found,) = people_in(microsoft("Cy Young", "0.1, 0.2, 0.3, 0.4"), UPRIGHT)

    assert found == PersonRegion(name="Cy Young", x=0.25, y=0.4, width=0.3, height=0.4)


def test_a_person_whom_both_standards_name_comes_once() -> None:
    both = group(face("Ada")) | microsoft("ADA", "0.5, 0.5, 0.1, 0.1")

    assert [(person.name, person.x) for person in people_in(both, UPRIGHT)] == [("Ada", 0.3)]


def test_circles_and_pixels_are_understood() -> None:
    circle = {"Name": "Bob", "Area": {"X": 0.5, "Y": 0.5, "D": 0.2}}
    pixels = {"Name": "Cy", "Area": {"X": 1000, "Y": 1500, "W": 400, "H": 300, "Unit": "pixel"}}

    assert people_in(group(circle, pixels), UPRIGHT) == (
        PersonRegion(name="Bob", x=0.5, y=0.5, width=0.2, height=0.2),
        PersonRegion(name="Cy", x=0.25, y=0.5, width=0.1, height=0.1),
    )


@pytest.mark.parametrize(
    "region",
    [
        {**face(), "Type": "Pet"},
        face(name=""),
        face(name=None),
        face(x=1.2),
        face(width=0),
        face(height=-0.1),
        face(y="left"),
        {"Name": "Ada"},
        {"Name": "Ada", "Area": {"X": 0.5, "Y": 0.5}},
        {"Name": "Ada", "Area": {"X": 5, "Y": 5, "W": 1, "H": 1, "Unit": "inch"}},
        "Ada",
        None,
    ],
)
def test_what_is_no_named_face_within_the_picture_is_passed_over(region: Any) -> None:
    assert people_in(group(region), UPRIGHT) == ()


def test_people_are_bounded() -> None:
    assert len(people_in(group(*(face(f"p{number}") for number in range(300))), UPRIGHT)) == 200


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "RegionList",
                    "AppliedToDimensions",
                    "Area",
                    "Name",
                    "Type",
                    "X",
                    "Y",
                    "W",
                    "H",
                    "D",
                    "Unit",
                    "Regions",
                ]
            ),
            inner,
        ),
    ),
    max_leaves=20,
)


@given(ANYTHING, ANYTHING, st.integers(1, 8))
def test_no_structure_upsets_it(working_group: object, other: object, orientation: int) -> None:
    tags = {"XMP-mwg-rs:RegionInfo": working_group, "XMP-MP:RegionInfoMP": other}
    for person in people_in(tags, Display(orientation=orientation, width=None, height=None)):
        assert 0 <= person.x <= 1
        assert 0 <= person.y <= 1
