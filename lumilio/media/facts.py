"""From exiftool's tags and sidecars to the facts of an asset. What nothing says, or says absurdly, is None."""

from collections.abc import Sequence
from datetime import datetime

from lumilio.media.capture_time import capture_time
from lumilio.media.description import description_of, distinct, keywords_of, rating_of, title_of
from lumilio.media.people import Display, people_in
from lumilio.media.sidecar import layers, people_by_google, place_by_google, takeouts
from lumilio.media.tags import Tags, as_number, as_paragraphs, first_number, first_positive, first_text
from lumilio.model import Facts, MediaKind, MediaType, PersonRegion, Place, Sidecar
from lumilio.tools.geography import locate

_OWN = ("IFD0", "ExifIFD", "Keys", "QuickTime", "UserData", "CanonRaw", "SigmaRaw", "XMP-tiff")
_EXPOSURE = ("ExifIFD", "IFD0", "XMP-exif", "SubIFD", "SigmaRaw")
_LENS = ("ExifIFD", "IFD0", "XMP-exifEX", "XMP-aux", "Canon", "Keys")
_SIZE_GROUP = {"jpeg": "File", "png": "PNG", "webp": "RIFF", "gif": "GIF", "tiff": "IFD0", "bmp": "File", "jxl": "File"}
_TURNED_BY_CONTAINER = ("heic", "heif", "avif")
_LARGEST_SIDE = 1_000_000
_LARGEST_ISO = 10_000_000


def facts_from_exif(
    tags: Tags, media_type: MediaType | None, *, name: str, modified: datetime, sidecars: Sequence[Sidecar] = ()
) -> Facts:
    """Read make, model, lens, exposure, size, time, place and what people wrote, of what exiftool printed with ``-n
    -G1 -struct``.

    ``name`` is the original file name and ``modified`` the file's aware modification time, the last resorts for the
    capture time. Field by field, a sidecar's word comes before the file's; Google's favourites count as five stars
    where nothing else gives any, and the people whom it names as keywords. ``motion`` is left None.

    Never raises on odd values: exiftool prints strings, numbers, lists and structures as files have them. Raises
    ToolMissing and ToolError when the data for ``whereabouts`` is not there; the first call with a place reads it.
    """
    kind = media_type.kind if media_type else None
    width, height = _displayed_size(tags, media_type) if kind is not MediaKind.AUDIO else (None, None)
    orientation = _orientation(tags)
    iso = first_positive(tags, "ISO", *_EXPOSURE, "Composite", "*")
    make = first_text(tags, "Make", *_OWN, "*")
    place = _place(tags, sidecars)
    told = layers(tags, sidecars)
    return Facts(
        media_type=media_type,
        width=width,
        height=height,
        orientation=orientation,
        make=make,
        model=first_text(tags, "Model", *_OWN, "*"),
        lens=first_text(tags, "LensModel", *_LENS, "*"),
        iso=round(iso) if iso is not None and 1 <= iso <= _LARGEST_ISO else None,
        f_number=first_positive(tags, "FNumber", *_EXPOSURE, "*"),
        exposure_time=first_positive(tags, "ExposureTime", *_EXPOSURE, "*"),
        focal_length=first_positive(tags, "FocalLength", *_EXPOSURE, "*"),
        duration=_duration(tags) if kind in (MediaKind.VIDEO, MediaKind.AUDIO) else None,
        capture_time=capture_time(tags, name=name, modified=modified, place=place, sidecars=sidecars),
        place=place,
        whereabouts=locate(place.latitude, place.longitude) if place else None,
        title=next((title for each in told if (title := title_of(each))), None),
        description=_description(tags, sidecars, name=name, make=make),
        rating=_rating(tags, sidecars),
        keywords=_keywords(tags, sidecars),
        people=_people(told, Display(orientation=orientation or 1, width=width, height=height)),
        content_identifier=first_text(tags, "ContentIdentifier", "Keys", "Apple")
        or first_text(tags, "MediaGroupUUID", "Apple"),
        exif=dict(tags),
    )


def _place(tags: Tags, sidecars: Sequence[Sidecar]) -> Place | None:
    *corrected, own = (_position(each) for each in layers(tags, sidecars))
    return next((place for place in corrected if place), None) or place_by_google(own, sidecars)


def _position(tags: Tags) -> Place | None:
    """XMP keeps signed degrees, of which exiftool makes no composite."""
    altitude = first_number(tags, "GPSAltitude", "Composite", "XMP-exif")
    places = (
        Place.of(first_number(tags, "GPSLatitude", group), first_number(tags, "GPSLongitude", group), altitude)
        for group in ("Composite", "XMP-exif")
    )
    return next((place for place in places if place), None)


def _description(tags: Tags, sidecars: Sequence[Sidecar], *, name: str, make: str | None) -> str | None:
    *corrected, own = (description_of(each, name=name, make=make) for each in layers(tags, sidecars))
    googles = (as_paragraphs(members.get("description")) for members in takeouts(sidecars))
    return next((text for text in (*corrected, *googles) if text), own)


def _rating(tags: Tags, sidecars: Sequence[Sidecar]) -> int | None:
    told = next((rating for each in layers(tags, sidecars) if (rating := rating_of(each)) is not None), None)
    favourite = any(members.get("favorited") is True for members in takeouts(sidecars))
    return 5 if favourite and not told else told


def _keywords(tags: Tags, sidecars: Sequence[Sidecar]) -> tuple[str, ...]:
    written = next((found for each in layers(tags, sidecars) if (found := keywords_of(each))), ())
    return distinct((*written, *people_by_google(sidecars)))


def _people(told: Sequence[Tags], shown: Display) -> tuple[PersonRegion, ...]:
    return next((people for each in told if (people := people_in(each, shown))), ())


def _orientation(tags: Tags) -> int | None:
    value = first_number(tags, "Orientation", "IFD0")
    return int(value) if value is not None and value in range(1, 9) else None


def _duration(tags: Tags) -> float | None:
    groups = ("Composite", "QuickTime", "Matroska", "ASF", "RIFF", "Flash", "*")
    return first_positive(tags, "Duration", *groups)


def _displayed_size(tags: Tags, media_type: MediaType | None) -> tuple[int | None, int | None]:
    """Width and height after orientation. Where a format keeps the size of its picture in one place, that place is
    asked; a RAW file and a film have several pictures, of which the largest counts."""
    form = media_type.format if media_type else ""
    if form in _TURNED_BY_CONTAINER:
        size, turned = _size(tags, "File"), first_number(tags, "Rotation", "QuickTime") in (90, 270)
    elif media_type is not None and media_type.kind is MediaKind.VIDEO:
        size, turned = _largest_size(tags), first_number(tags, "Rotation", "Composite") in (90, 270)
    else:
        group = _SIZE_GROUP.get(form)
        size, turned = _size(tags, group) if group else _largest_size(tags), (_orientation(tags) or 1) >= 5
    if size is None:
        return None, None
    return size[::-1] if turned else size


def _size(tags: Tags, group: str) -> tuple[int, int] | None:
    width, height = as_number(tags.get(f"{group}:ImageWidth")), as_number(tags.get(f"{group}:ImageHeight"))
    if width is None or height is None or not (1 <= width <= _LARGEST_SIDE and 1 <= height <= _LARGEST_SIDE):
        return None
    return int(width), int(height)


def _largest_size(tags: Tags) -> tuple[int, int] | None:
    groups = {key.partition(":")[0] for key in tags if key.endswith(":ImageWidth")}
    sizes = [size for group in sorted(groups) if (size := _size(tags, group))]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)
