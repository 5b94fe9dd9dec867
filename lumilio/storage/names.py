"""File names: made safe by one rule, shortened by one rule, numbered by one rule.

A name that came from a client is kept as its owner wrote it as far as every Linux filesystem can hold it and every
program can print it: path separators and control characters become ``_``, undecodable bytes U+FFFD, text is NFC,
trailing dots and spaces go, and a name over 255 bytes loses the end of its stem, never its extension.
"""

import re
import unicodedata

from lumilio.model import ContentHash

NAME_BYTES = 255
"""NAME_MAX of Linux."""

_EXTENSION_BYTES = 32
"""A longer "extension" is a sentence with a dot in it."""

_UNSAFE = re.compile(r"[/\x00-\x1f\x7f-\x9f\u2028\u2029]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_FALLBACK = "unnamed"


def clean_name(name: str) -> str:
    """Make one safe path component out of any text; never empty, stable under a second cleaning."""
    text = unicodedata.normalize("NFC", _SURROGATE.sub("\ufffd", name))
    text = _UNSAFE.sub("_", text).rstrip(". ")
    stem, extension = split_extension(text)
    return _fitted(stem, "", extension).rstrip(". ") or _FALLBACK


def split_extension(name: str) -> tuple[str, str]:
    """Stem and extension with its dot; the extension is empty for dot files and for implausibly long ones."""
    dot = name.rfind(".")
    if dot <= 0 or len(name[dot:].encode()) > _EXTENSION_BYTES:
        return name, ""
    return name[:dot], name[dot:]


def numbered_name(name: str, number: int) -> str:
    """The ``number``-th alternative of a clean name: ``name (1).ext``."""
    stem, extension = split_extension(name)
    return _fitted(stem, f" ({number})", extension)


def marked_name(name: str, mark: str) -> str:
    """The alternative of a clean name with ``mark``, a UUID, before its extension."""
    stem, extension = split_extension(name)
    return _fitted(stem, f" {mark}", extension)


def hash_name(content_hash: ContentHash, name: str) -> str:
    """The hash as name, with the lower-case extension of ``name``."""
    return f"{content_hash}{split_extension(clean_name(name))[1].lower()}"


def _fitted(stem: str, mark: str, extension: str) -> str:
    room = NAME_BYTES - len(mark.encode()) - len(extension.encode())
    return stem.encode()[:room].decode(errors="ignore") + mark + extension
