"""Which files beside photos and videos describe them: XMP files, and the JSON files of a Google Takeout.

Google cuts the names of its JSON files, moves the counters of duplicates within them, and writes one for an edited
picture and its original together, and for both halves of a Live Photo. What the rules stand on are the names that
exports have; Google documents none of it.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from lumilio.model import SidecarKind

SIDECAR_BYTES = 4 * 1024 * 1024
"""The largest sidecar that a daemon takes."""

SIDECAR_EXTENSIONS = frozenset({".xmp", ".json"})
"""Lower-case, with their dot."""

Matches = Mapping[str, Mapping[SidecarKind, str]]
"""For the name of a photo or video the names of its sidecars, at most one of each kind."""

_CUT = 46
"""Characters that Google leaves of a name before ``.json``, as UTF-16 counts them."""
_DETAILS = ".supplemental-metadata"
_COUNTER = re.compile(r"(.+?)(\(\d+\))", re.DOTALL)
_EDITED = tuple(
    f"-{word}"
    for word in (
        *("edited", "effects", "smile", "mix", "bearbeitet", "modifié", "modificato", "editado", "ha editado"),
        *("editada", "editat", "bewerkt", "redigerad", "redigeret", "redigert", "muokattu", "edytowane", "upraveno"),
        *("düzenlendi", "изменено", "編集済み", "已修改", "已編輯", "수정됨"),
    )
)
"""What Google appends to the stem of an edited picture, in the language of its account."""
_MOVING = frozenset({".mp4", ".mov"})
_STILLS = (".heic", ".jpg", ".jpeg", ".heif", ".png")


def match_sidecars(media: Sequence[str], names: Sequence[str]) -> Matches:
    """The sidecars of one directory's media files, of all ``names`` in it. Upper and lower case are the same, and so
    are the ways to compose an accented letter."""
    xmp = {_folded(name): name for name in reversed(names) if _extension(name) == ".xmp"}
    takeout = _by_title(name for name in reversed(names) if _extension(name) == ".json")
    found: dict[str, dict[SidecarKind, str]] = {}
    if not xmp and not takeout:
        return found
    for name in media:
        folded = _folded(name)
        mine = {
            SidecarKind.XMP: xmp.get(f"{folded}.xmp") or xmp.get(f"{_stem(folded)}.xmp"),
            SidecarKind.TAKEOUT: _of_takeout(folded, takeout) if takeout else None,
        }
        if chosen := {kind: sidecar for kind, sidecar in mine.items() if sidecar is not None}:
            found[name] = chosen
    return found


def _by_title(names: Iterator[str]) -> dict[tuple[str, str], str]:
    """JSON files by what stands before ``.json``: the title that it describes, maybe cut, and the counter."""
    found = {}
    for name in names:
        folded = _folded(name).removesuffix(".json")
        counted = _COUNTER.fullmatch(folded)
        found[(counted[1], counted[2]) if counted else (folded, "")] = name
    return found


def _of_takeout(folded: str, takeout: Mapping[tuple[str, str], str]) -> str | None:
    for title, counter in _titles(folded):
        for shown in _shown(title, counter):
            if sidecar := takeout.get((shown, counter)):
                return sidecar
    return None


def _titles(folded: str) -> Iterator[tuple[str, str]]:
    """The titles under which a file may be described, with the counter that stands elsewhere then; likeliest first."""
    stem, extension = _stem(folded), _extension(folded)
    counted = _COUNTER.fullmatch(stem)
    stems = [(stem, "")]
    if counted:
        stems.append((counted[1], counted[2]))
    for part, counter in tuple(stems):
        if edited := next((word for word in _EDITED if part.endswith(word) and part != word), None):
            unedited = part.removesuffix(edited)
            stems.append((unedited, counter))
            if not counter and (inner := _COUNTER.fullmatch(unedited)):
                stems.append((inner[1], inner[2]))
    yield from ((part + extension, counter) for part, counter in stems)
    if extension in _MOVING:
        yield from ((part + still, counter) for part, counter in stems for still in _STILLS)
    yield from stems


def _shown(title: str, counter: str) -> Iterator[str]:
    """How Google may have cut a title: not at all, within the word that it appends, or within the title itself."""
    whole = title + _DETAILS
    yield title
    yield from (whole[:end] for end in range(len(whole), len(title), -1))
    for end in range(len(title) - 1, 0, -1):
        if _units(title[:end]) + len(counter) < _CUT:
            return
        yield title[:end]


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _stem(name: str) -> str:
    return name.removesuffix(_extension(name)) if _extension(name) else name


def _extension(name: str) -> str:
    return PurePosixPath(name).suffix.casefold()
