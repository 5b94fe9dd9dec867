"""The FFmpeg libraries, through PyAV."""

import importlib

from lumilio.errors import ToolMissing


def version() -> str:
    """The version of FFmpeg that PyAV carries, such as ``8.0``. Raises ToolMissing."""
    try:
        av = importlib.import_module("av")
    except ImportError as exc:
        raise ToolMissing(f"the FFmpeg libraries cannot be loaded ({exc}); install them with: pip install av") from exc
    return str(av.ffmpeg_version_info)
