"""Members of what the daemon answers, read as what they are; every text is fit for a terminal."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from lumilio.client.library import not_understood
from lumilio.log import printable

Document = Mapping[str, object]


def needed(document: Document, key: str) -> str:
    """A member that has to be there. Raises ClientError."""
    value = words(document, key)
    if not value:
        raise not_understood(key)
    return value


def words(document: Document, key: str) -> str:
    """A member as text that no terminal obeys; empty when it is absent or null."""
    value = document.get(key)
    return "" if value is None else printable(str(value))


def number(document: Document, key: str) -> float | None:
    """A number, or None when it is absent or null. Raises ClientError."""
    match document.get(key):
        case None:
            return None
        case int() | float() as value if math.isfinite(value):
            return float(value)
        case _:
            raise not_understood(key)


def count(document: Document, key: str) -> int:
    """A whole number; 0 when it is absent or null. Raises ClientError."""
    return round(number(document, key) or 0)


def moment(document: Document, key: str) -> datetime | None:
    """An aware time, or None when it is absent or null. Raises ClientError."""
    value = document.get(key)
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError as exc:
        raise not_understood(key) from exc
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def cursor(document: Document) -> str | None:
    """What asks for the next page, or None on the last one. Raises ClientError."""
    match document.get("next_cursor"):
        case None:
            return None
        case str(text) if text:
            return text
        case _:
            raise not_understood("next_cursor")
