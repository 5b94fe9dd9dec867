"""What goes over the pipe between the daemon and a decoder child.

The daemon is trusted by its children: tasks travel by pickle. A child that a hostile file has taken over is not, and
unpickling what it sends would hand it the daemon: answers travel as JSON, out of which only plain values and the frozen
dataclasses and enumerations of Lumilio are built. Every field is of the type that its class declares, and the result of
the type that its function declares: what reads them believes them.
"""

import base64
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from lumilio.errors import LumilioError, ToolError
from lumilio.tools.declared_types import fits, type_of_result, types_of_fields

_MOST_VALUES = 100_000
"""Values in one message; some 20 are usual. Each may take 64 bytes of memory for two of the message."""

_LARGEST_INT = 1 << 64
_MOST_WORDS = 4000
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One request to a child. ``seconds`` is the CPU time after which the kernel kills it, should the daemon not.
    ``files`` are opened by the daemon, in the order in which their descriptors follow, with whether for writing."""

    function: Callable[..., object]
    arguments: tuple[object, ...]
    seconds: int
    files: tuple[tuple[Path, bool], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a task: a result, or the error to raise. ``grown`` is how many bytes of private memory the child has
    beyond those at its start."""

    result: object = None
    error: LumilioError | None = None
    grown: int = 0

    def to_bytes(self) -> bytes:
        """Raises TypeError for a result that cannot be sent."""
        message: dict[str, object] = {"grown": self.grown}
        if self.error is None:
            message["result"] = _packed(self.result)
        else:
            message["error"] = [self.error.code, str(self.error), _packed(dict(self.error.details))]
        return json.dumps(message).encode()

    @classmethod
    def of(cls, message: Mapping[str, Any]) -> Self:
        """Raises ValueError, TypeError and LookupError for what no child of ours has sent."""
        grown = _expected(message["grown"], int)
        if "error" not in message:
            return cls(result=_unpacked(message["result"]), grown=grown)
        code, words, details = message["error"]
        named = _expected(_unpacked(details), dict[str, object])
        reason = _expected(words, str)[:_MOST_WORDS]
        return cls(error=_ERRORS.get(code, ToolError)(reason, details=named), grown=grown)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How much of the task is done, from 0 to 1."""

    fraction: float

    def to_bytes(self) -> bytes:
        return json.dumps({"progress": self.fraction}).encode()


def parse_message(data: bytes) -> Answer | Progress:
    """What a child has sent. Raises EOFError when it is no message: the child is not to be talked to any more."""
    if sum(map(data.count, (b"[", b"{", b","))) > _MOST_VALUES:
        raise EOFError("not an answer: it consists of too many values")
    try:
        message = json.loads(data)
        if "progress" in message:
            fraction: float = _expected(message["progress"], float)
            return Progress(fraction=min(1.0, max(0.0, fraction)) if math.isfinite(fraction) else 0.0)
        return Answer.of(message)
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError) as exc:
        raise EOFError(f"not an answer: {exc}") from exc


def check_result(answer: Answer, task: Task) -> None:
    """Raise EOFError for a result that is none of the task's function."""
    try:
        if answer.error is None:
            _expected(answer.result, type_of_result(task.function))
    except (TypeError, LookupError) as exc:
        raise EOFError(f"not an answer: {exc}") from exc


def _expected(value: Any, declared: Any) -> Any:
    if not fits(value, declared):
        raise TypeError(f"a {type(value).__name__} in place of {declared}")
    return value


def _error_classes(root: type[LumilioError]) -> dict[str, type[LumilioError]]:
    found = {root.code: root}
    for each in root.__subclasses__():
        found |= _error_classes(each)
    return found


_ERRORS = _error_classes(LumilioError)


def _packed(value: object) -> object:
    """``value`` in terms of JSON: plain values and lists as they are, all else as an object with one member that names
    its type. Raises TypeError."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, list):
        return [_packed(each) for each in value]
    if isinstance(value, Enum):
        return {"enum": [type(value).__module__, type(value).__qualname__, value.value]}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {each.name: _packed(getattr(value, each.name)) for each in dataclasses.fields(value)}
        return {"dataclass": [type(value).__module__, type(value).__qualname__, fields]}
    for base, name, pack in _PACKERS:
        if isinstance(value, base):
            return {name: pack(value)}
    raise TypeError(f"a {type(value).__name__} cannot be sent from a decoder")


_PACKERS: tuple[tuple[Any, str, Callable[[Any], object]], ...] = (
    (tuple, "tuple", lambda value: [_packed(each) for each in value]),
    (Mapping, "dict", lambda value: [[_packed(key), _packed(each)] for key, each in value.items()]),
    (frozenset, "frozenset", lambda value: [_packed(each) for each in value]),
    (set, "set", lambda value: [_packed(each) for each in value]),
    (bytes | bytearray | memoryview, "bytes", lambda value: base64.b64encode(value).decode()),
    (datetime, "datetime", lambda value: value.isoformat()),
    (date, "date", lambda value: value.isoformat()),
    (timedelta, "timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    (timezone, "timezone", lambda value: value.utcoffset(None).total_seconds()),
    (Path, "path", str),
    (UUID, "uuid", str),
    (float, "float", float),  # a subclass, as numpy has one
    (str, "str", str),
)

_UNPACKERS: dict[str, Callable[[Any], object]] = {
    "tuple": lambda items: tuple(_unpacked(each) for each in items),
    "dict": lambda pairs: {_unpacked(key): _unpacked(each) for key, each in pairs},
    "frozenset": lambda items: frozenset(_unpacked(each) for each in items),
    "set": lambda items: {_unpacked(each) for each in items},
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "timedelta": lambda parts: timedelta(days=parts[0], seconds=parts[1], microseconds=parts[2]),
    "timezone": lambda seconds: timezone(timedelta(seconds=seconds)),
    "path": Path,
    "uuid": UUID,
    "float": float,
    "str": str,
    "enum": lambda parts: _lumilio_class(parts[0], parts[1], Enum)(parts[2]),
    "dataclass": lambda parts: _dataclass(_lumilio_class(parts[0], parts[1], object), parts[2]),
}


def _unpacked(value: object) -> Any:
    if isinstance(value, list):
        return [_unpacked(each) for each in value]
    if isinstance(value, dict):
        ((name, packed),) = value.items()
        return _UNPACKERS[name](packed)
    if isinstance(value, int) and abs(value) >= _LARGEST_INT:
        raise ValueError("a number is too large")
    return value


def _dataclass(found: type, fields: Mapping[str, object]) -> object:
    types = types_of_fields(found)
    return found(**{name: _expected(_unpacked(each), types[name]) for name, each in fields.items()})


def _lumilio_class(module: str, name: str, base: type) -> Any:
    """A class of Lumilio that only holds values. Nothing is imported for it. Raises LookupError."""
    found: Any = getattr(sys.modules.get(module) if module.startswith("lumilio.") else None, name, None)
    if not isinstance(found, type) or not issubclass(found, base):
        raise LookupError(f"there is no {name!r}")
    if not issubclass(found, Enum) and not (dataclasses.is_dataclass(found) and vars(found)[_PARAMS].frozen):
        raise LookupError(f"{name!r} is not a value")
    return found


_PARAMS = "__dataclass_params__"
