"""What exiftool prints, as values to keep: nothing of the server, nothing binary, nothing that jsonb refuses."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

_FACTS_LIMIT = 256 * 1024


def parsed(printed: bytes) -> dict[str, Mapping[str, object]]:
    """The entries of exiftool's JSON by the path that it was given. Raises ValueError, LookupError and TypeError."""
    if not printed.strip():
        return {}
    entries = json.loads(
        printed.decode(errors="replace"), parse_constant=lambda _: None, parse_float=_finite, parse_int=_bounded
    )
    return {str(entry["SourceFile"]): entry for entry in entries}


def cleaned(entry: Mapping[str, object]) -> dict[str, object]:
    """What of an entry is kept: at most 256 KiB of JSON, the largest values left out first."""
    kept = {_text(key): _plain(value) for key, value in entry.items() if _is_about_content(key, value)}
    size = len(json.dumps(kept))
    for key in sorted(kept, key=lambda each: len(json.dumps(kept[each])), reverse=True) if size > _FACTS_LIMIT else ():
        size -= len(json.dumps(key)) + len(json.dumps(kept.pop(key))) + 4
        if size <= _FACTS_LIMIT:
            break
    return kept


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _bounded(text: str) -> int | str:
    """Digits that a 64-bit integer cannot hold are an identifier, not a number."""
    return int(text) if len(text) <= 18 else text


def _is_about_content(key: str, value: object) -> bool:
    return key != "SourceFile" and not key.startswith("System:") and not _is_binary(value)


def _is_binary(value: object) -> bool:
    """exiftool's stand-in for a binary value, such as ``(Binary data 5412 bytes, use -b option to extract)``."""
    return isinstance(value, str) and value.startswith("(Binary data ") and value.endswith(" to extract)")


def _plain(value: object) -> object:
    rules: dict[type, Callable[[Any], object]] = {
        str: _text,
        list: lambda items: [_plain(item) for item in items if not _is_binary(item)],
        dict: lambda items: {_text(key): _plain(item) for key, item in items.items() if not _is_binary(item)},
    }
    rule = rules.get(type(value))
    return rule(value) if rule else value


def _text(value: str) -> str:
    """Without NUL and lone surrogates, which PostgreSQL's jsonb refuses."""
    return value.replace("\0", "").encode("utf-8", "replace").decode()
