"""The exception tree: what clients and scripts compare is stable, and drawn as it is."""

import inspect
import pickle
import re
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from lumilio import errors
from lumilio.errors import LumilioError


def _tree(parent: type[LumilioError] = LumilioError, depth: int = 0) -> Iterator[tuple[int, type[LumilioError]]]:
    yield depth, parent
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _tree(child, depth + 1)


CLASSES = [found for _, found in _tree()]


def test_the_drawing_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^([│├└─ ]*)(\w+) +(\w+(?:\.\w+)+)(?: |$)", line)
        if match is not None:
            drawn.append((len(match[1]) // 4, match[2], match[3]))
    assert drawn == [(depth, found.__name__, found.code) for depth, found in _tree()]


def test_every_exception_of_the_module_is_in_the_tree_or_is_flow_control() -> None:
    defined = {found for _, found in inspect.getmembers(errors, inspect.isclass) if found.__module__ == errors.__name__}
    assert defined - set(CLASSES) == {errors.JobSnoozed, errors.JobDiscarded, errors.JobCancelled}


def test_codes_are_unique_and_well_formed() -> None:
    codes = [found.code for found in CLASSES]
    assert len(set(codes)) == len(codes)
    assert [code for code in codes if not re.fullmatch(r"[a-z]+\.[a-z_]+", code)] == []


@pytest.mark.parametrize("found", CLASSES, ids=lambda found: found.__name__)
def test_a_class_says_what_it_means_its_status_and_whether_to_try_again(found: type[LumilioError]) -> None:
    assert found.__doc__
    assert found.__doc__ != LumilioError.__doc__ or found is LumilioError
    assert 400 <= HTTPStatus(found.status) < 600
    assert isinstance(found.retryable, bool)


@pytest.mark.parametrize("found", CLASSES, ids=lambda found: found.__name__)
def test_an_error_survives_the_way_out_of_a_child_process(found: type[LumilioError]) -> None:
    error = pickle.loads(pickle.dumps(found("too big", details={"limit": 5})))  # noqa: S301 - our own bytes
    assert type(error) is found
    assert str(error) == "too big"
    assert error.details == {"limit": 5}


def test_what_is_the_files_or_the_clients_fault_is_not_tried_again_by_itself() -> None:
    for found in CLASSES:
        if issubclass(found, errors.MediaError):
            assert not found.retryable
        if issubclass(found, errors.RequestError) and found not in (errors.NotReady, errors.TooManyRequests):
            assert not found.retryable
