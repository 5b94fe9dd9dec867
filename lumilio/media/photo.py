"""Photos whose format Pillow reads by itself: JPEG, PNG and WebP."""

from pathlib import Path

from lumilio.model import Rendition
from lumilio.tools import imaging


def process_photo(path: Path) -> Rendition:
    """Runs in a decoder child. Raises MediaDamaged, MediaOverBudget and StorageError, see ``imaging.render``."""
    return imaging.render(path)
