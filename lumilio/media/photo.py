"""Photos that are pictures as they stand, in every format but the RAW ones of cameras."""

from pathlib import Path

from lumilio.model import Rendition
from lumilio.tools import imaging


def process_photo(path: Path) -> Rendition:
    """Runs in a decoder child. Raises MediaDamaged, MediaOverBudget, StorageError and ToolMissing, see
    ``imaging.render``."""
    return imaging.render(path)
