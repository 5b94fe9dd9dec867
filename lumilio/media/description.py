"""What people wrote of a picture: title, description, stars and keywords, wherever their programs keep them."""

import re
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from lumilio.media.tags import Tags, as_number, as_paragraphs, as_text, values

_MOST_KEYWORDS = 200
_CAMERAS_OWN = re.compile(
    r"[A-Z0-9 .-]*DIGITAL CAMERA|SONY DSC|DCIM[\\/].*|(?i:exif[_ ]jpeg[_ ]picture|default|untitled|none)"
    # the name that the camera gave the file: IMG_0001, DSC00006, P1010001, DC0010S.JPG
    r"|[A-Z]{1,5}[_-]?\d{3,9}[A-Z]?(?:\.\w{3,4})?"
)
_HUAWEIS_OWN = re.compile(r"[a-z]{3,6}(?:_[a-z]+)?")
"""``dav``, ``oznor``, ``sdr``: the camera's mode."""

_TITLES = (
    ("Title", ("XMP-dc",)),
    ("ObjectName", ("IPTC",)),
    ("XPTitle", ("IFD0",)),
    ("Headline", ("XMP-photoshop", "IPTC")),
    ("Title", ("Keys", "ItemList", "UserData", "Matroska", "ASF", "RIFF", "PNG")),
    ("Title", ("ID3v2_4", "ID3v2_3", "ID3v2_2", "Vorbis", "APE", "ID3v1")),
)
_DESCRIPTIONS = (
    ("Description", ("XMP-dc",)),
    ("ImageDescription", ("IFD0",)),
    ("Caption-Abstract", ("IPTC",)),
    ("ImageDescription", ("XMP-tiff",)),
    ("XPComment", ("IFD0",)),
    ("Description", ("Keys", "ItemList", "UserData", "Matroska", "ASF", "Vorbis", "PNG")),
)
_RATINGS = (("Rating", "XMP-xmp"), ("Rating", "IFD0"))
_PERCENT = (("RatingPercent", "XMP-microsoft"), ("RatingPercent", "IFD0"))


def title_of(tags: Tags) -> str | None:
    """A line of at most 255 characters."""
    return next((text for value in _told(tags, _TITLES) if (text := as_text(value))), None)


def description_of(tags: Tags, *, name: str, make: str | None) -> str | None:
    """The caption; what cameras write by themselves, such as ``OLYMPUS DIGITAL CAMERA`` or the file's name, is none."""
    stem = PurePath(name).stem.casefold()
    for value in _told(tags, _DESCRIPTIONS):
        text = as_paragraphs(value)
        if text is None or _CAMERAS_OWN.fullmatch(text) or text.casefold() in (stem, name.casefold()):
            continue
        if make and make.upper().startswith(("HUAWEI", "HONOR")) and _HUAWEIS_OWN.fullmatch(text):
            continue
        return text
    return None


def rating_of(tags: Tags) -> int | None:
    """-1 for rejected, 0 to 5 stars; cameras write 0 beside what a program wrote elsewhere, which then counts."""
    stars = [as_number(tags.get(f"{group}:{tag}")) for tag, group in _RATINGS]
    found = [round(value) for value in stars if value is not None and -1 <= value <= 5]
    percent = [as_number(tags.get(f"{group}:{tag}")) for tag, group in _PERCENT]
    found += [_stars(value) for value in percent if value is not None and 0 <= value <= 100]
    return next((each for each in found if each), 0 if found else None)


def _stars(percent: float) -> int:
    """Microsoft's scale: 1, 25, 50, 75 and 99 per cent are one to five stars."""
    return 0 if percent < 1 else min(5, round(percent / 25) + 1)


def keywords_of(tags: Tags) -> tuple[str, ...]:
    """Flat keywords first. Of a hierarchy the path, its levels parted by ``/``, and the last level by itself."""
    return distinct((*_flat(tags), *_hierarchical(tags)))


def distinct(keywords: Iterable[object]) -> tuple[str, ...]:
    """At most 200, each at most 255 characters long, in the spelling that comes first."""
    found: dict[str, str] = {}
    for keyword in keywords:
        if len(found) < _MOST_KEYWORDS and (text := as_text(keyword)):
            found.setdefault(text.casefold(), text)
    return tuple(found.values())


def _flat(tags: Tags) -> Iterator[object]:
    for key in ("XMP-dc:Subject", "IPTC:Keywords"):
        yield from _listed(tags.get(key))
    windows = tags.get("IFD0:XPKeywords")
    yield from windows.split(";") if isinstance(windows, str) else _listed(windows)
    for key in ("Keys:Keywords", "ItemList:Keyword"):
        for each in _listed(tags.get(key)):
            yield from each.split(",") if isinstance(each, str) else (each,)


def _hierarchical(tags: Tags) -> Iterator[str]:
    for key, parting in (
        ("XMP-digiKam:TagsList", "/"),
        ("XMP-lr:HierarchicalSubject", "|"),
        ("XMP-microsoft:LastKeywordXMP", "/"),
    ):
        for path in _listed(tags.get(key)):
            levels = [level for part in (as_text(path) or "").split(parting) if (level := part.strip())]
            if levels:
                yield "/".join(levels)
                yield levels[-1]


def _listed(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else (value,)


def _told(tags: Tags, table: tuple[tuple[str, tuple[str, ...]], ...]) -> Iterator[object]:
    """XMP's texts come in languages: the default one, then any."""
    for tag, groups in table:
        for group in groups:
            yield from values(tags, tag, (group,))
            if group == "XMP-dc":
                yield from (value for key, value in tags.items() if key.startswith(f"XMP-dc:{tag}-"))
