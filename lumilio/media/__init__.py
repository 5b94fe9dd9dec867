"""From bytes to facts and derivatives. PROCESSORS says which formats are processed, and by what."""

from collections.abc import Callable, Mapping
from pathlib import Path

from lumilio.media.photo import process_photo
from lumilio.model import MediaType, Rendition

Processor = Callable[[Path], Rendition]
"""A function of a module, so that it can be sent to a decoder child, where alone it may run."""

PROCESSORS: Mapping[str, Processor] = {
    "jpeg": process_photo,
    "png": process_photo,
    "webp": process_photo,
}
"""The processor of each format; a format that is missing is stored and listed, but not processed yet."""


def processor_for(media_type: MediaType) -> Processor | None:
    return PROCESSORS.get(media_type.format)
