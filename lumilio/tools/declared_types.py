"""Whether a value that came from outside is what a signature declares, as far as signatures here go."""

from collections.abc import Callable, Mapping, Sequence, Set
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NewType, Union, get_args, get_origin, get_type_hints


def fits(value: object, declared: Any) -> bool:
    """Whether ``value`` is of the type, and all that it holds of the types, that ``declared`` names.

    A bool is no number, and a float no int; an int is a float. Fields of dataclasses are not looked at. Raises
    LookupError for a declaration of a kind that is not known here.
    """
    if declared is Any or declared is object:
        return True
    if isinstance(declared, NewType):
        return fits(value, declared.__supertype__)
    origin, inner = get_origin(declared), get_args(declared)
    if origin is Union or origin is UnionType:
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in inner)
    if origin is not None:
        return isinstance(value, origin) and _holds(value, inner)
    if declared is None or isinstance(declared, type):
        return value is None if declared is None else _is_one(value, declared)
    raise LookupError(f"{declared!r} is not known as a type")


@cache
def types_of_fields(declared: type) -> Mapping[str, Any]:
    """What the fields of a dataclass are declared as. Raises LookupError."""
    return _hints(declared)


@cache
def type_of_result(function: Callable[..., object]) -> Any:
    """What a function is declared to return; ``object`` where nothing is said. Raises LookupError."""
    declared = _hints(function).get("return", object)
    return NoneType if declared is None else declared


def _hints(owner: Callable[..., object]) -> Mapping[str, Any]:
    try:
        return get_type_hints(owner)
    except (NameError, TypeError) as exc:
        raise LookupError(f"the types of {owner!r} are not known: {exc}") from exc


def _is_one(value: object, declared: type) -> bool:
    if declared is float:
        return type(value) in (int, float)
    return isinstance(value, declared) and (declared is bool or not isinstance(value, bool))


def _holds(value: object, inner: tuple[Any, ...]) -> bool:
    """Whether the content of a collection fits; a string is no sequence of strings."""
    match value:
        case tuple() if len(inner) != 2 or inner[1] is not ...:
            return len(value) == len(inner) and all(map(fits, value, inner))
        case Mapping():
            return all(fits(key, inner[0]) and fits(each, inner[1]) for key, each in value.items())
        case str() | bytes():
            return False
        case Sequence() | Set():
            return all(fits(each, inner[0]) for each in value)
    raise LookupError(f"a {type(value).__name__} is not known as a collection")
