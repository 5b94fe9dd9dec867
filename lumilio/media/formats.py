"""The formats that Lumilio keeps: short name, kind, media type, the extensions they go by."""

from pathlib import PurePath

from lumilio.model import MediaKind, MediaType

_TABLE: tuple[tuple[MediaKind, str, str, str], ...] = (
    (MediaKind.PHOTO, "jpeg", "image/jpeg", "jpg jpeg jpe jfif mpo"),
    (MediaKind.PHOTO, "png", "image/png", "png apng"),
    (MediaKind.PHOTO, "webp", "image/webp", "webp"),
    (MediaKind.PHOTO, "gif", "image/gif", "gif"),
    (MediaKind.PHOTO, "bmp", "image/bmp", "bmp dib"),
    (MediaKind.PHOTO, "tiff", "image/tiff", "tif tiff"),
    (MediaKind.PHOTO, "heic", "image/heic", "heic hif"),
    (MediaKind.PHOTO, "heif", "image/heif", "heif"),
    (MediaKind.PHOTO, "avif", "image/avif", "avif"),
    (MediaKind.PHOTO, "jxl", "image/jxl", "jxl"),
    (MediaKind.PHOTO, "cr2", "image/x-canon-cr2", "cr2"),
    (MediaKind.PHOTO, "cr3", "image/x-canon-cr3", "cr3"),
    (MediaKind.PHOTO, "crw", "image/x-canon-crw", "crw"),
    (MediaKind.PHOTO, "nef", "image/x-nikon-nef", "nef"),
    (MediaKind.PHOTO, "nrw", "image/x-nikon-nrw", "nrw"),
    (MediaKind.PHOTO, "arw", "image/x-sony-arw", "arw"),
    (MediaKind.PHOTO, "sr2", "image/x-sony-sr2", "sr2"),
    (MediaKind.PHOTO, "dng", "image/x-adobe-dng", "dng"),
    (MediaKind.PHOTO, "orf", "image/x-olympus-orf", "orf"),
    (MediaKind.PHOTO, "rw2", "image/x-panasonic-rw2", "rw2 raw"),
    (MediaKind.PHOTO, "rwl", "image/x-leica-rwl", "rwl"),
    (MediaKind.PHOTO, "pef", "image/x-pentax-pef", "pef"),
    (MediaKind.PHOTO, "raf", "image/x-fujifilm-raf", "raf"),
    (MediaKind.PHOTO, "mrw", "image/x-minolta-mrw", "mrw"),
    (MediaKind.PHOTO, "srw", "image/x-samsung-srw", "srw"),
    (MediaKind.PHOTO, "x3f", "image/x-sigma-x3f", "x3f"),
    (MediaKind.PHOTO, "kdc", "image/x-kodak-kdc", "kdc"),
    (MediaKind.PHOTO, "dcr", "image/x-kodak-dcr", "dcr"),
    (MediaKind.PHOTO, "erf", "image/x-epson-erf", "erf"),
    (MediaKind.PHOTO, "3fr", "image/x-hasselblad-3fr", "3fr"),
    (MediaKind.PHOTO, "iiq", "image/x-raw", "iiq"),
    (MediaKind.VIDEO, "mp4", "video/mp4", "mp4"),
    (MediaKind.VIDEO, "mov", "video/quicktime", "mov qt"),
    (MediaKind.VIDEO, "m4v", "video/x-m4v", "m4v"),
    (MediaKind.VIDEO, "3gp", "video/3gpp", "3gp 3g2"),
    (MediaKind.VIDEO, "avi", "video/x-msvideo", "avi"),
    (MediaKind.VIDEO, "mkv", "video/x-matroska", "mkv"),
    (MediaKind.VIDEO, "webm", "video/webm", "webm"),
    (MediaKind.VIDEO, "flv", "video/x-flv", "flv"),
    (MediaKind.VIDEO, "wmv", "video/x-ms-wmv", "wmv asf"),
    (MediaKind.VIDEO, "mts", "video/m2ts", "mts m2ts m2t ts"),
    (MediaKind.VIDEO, "mpg", "video/mpeg", "mpg mpeg vob"),
    (MediaKind.VIDEO, "ogv", "video/ogg", "ogv"),
    (MediaKind.AUDIO, "mp3", "audio/mpeg", "mp3"),
    (MediaKind.AUDIO, "aac", "audio/aac", "aac"),
    (MediaKind.AUDIO, "m4a", "audio/mp4", "m4a m4b"),
    (MediaKind.AUDIO, "flac", "audio/flac", "flac"),
    (MediaKind.AUDIO, "wav", "audio/x-wav", "wav"),
    (MediaKind.AUDIO, "ogg", "audio/ogg", "ogg oga"),
    (MediaKind.AUDIO, "opus", "audio/ogg", "opus"),
    (MediaKind.AUDIO, "aiff", "audio/x-aiff", "aiff aif aifc"),
    (MediaKind.AUDIO, "wma", "audio/x-ms-wma", "wma"),
    (MediaKind.AUDIO, "mka", "audio/x-matroska", "mka"),
)

FORMATS: dict[str, MediaType] = {name: MediaType(kind=kind, format=name, mime=mime) for kind, name, mime, _ in _TABLE}
"""Every format by its short name."""

RAW_FORMATS = frozenset(
    {
        *("cr2", "cr3", "crw", "nef", "nrw", "arw", "sr2", "dng", "orf", "rw2", "rwl", "pef", "raf", "mrw", "srw"),
        *("x3f", "kdc", "dcr", "erf", "3fr", "iiq"),
    }
)
"""What sensors saw, before a picture is developed from it."""

_BY_EXTENSION = {
    f".{extension}": FORMATS[name] for _, name, _, extensions in _TABLE for extension in extensions.split()
}

MEDIA_EXTENSIONS: frozenset[str] = frozenset(_BY_EXTENSION)
"""Lower-case extensions, with their dot, under which media is looked for. Damaged files that bear one are kept and
listed as problems; whether anything else is media, its content decides."""


def guess_by_name(name: str) -> MediaType | None:
    """What a file says it is: for damaged ones only, whose content does not tell."""
    return _BY_EXTENSION.get(PurePath(name).suffix.lower())
