"""LibRaw, through rawpy."""

import importlib

from lumilio.errors import ToolMissing


def version() -> str:
    """The version of LibRaw, such as ``0.22.0``. Raises ToolMissing."""
    try:
        rawpy = importlib.import_module("rawpy")
    except ImportError as exc:
        raise ToolMissing(f"LibRaw cannot be loaded ({exc}); install it with: pip install rawpy") from exc
    return ".".join(str(part) for part in rawpy.libraw_version)
