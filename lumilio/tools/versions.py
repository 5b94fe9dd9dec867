"""Which programs read untrusted files, and their versions: another one may read what this one cannot."""

from collections.abc import Mapping
from contextlib import suppress

from lumilio.errors import ToolError
from lumilio.tools import exiftool, ffmpeg, imaging, libraw


async def tool_versions() -> Mapping[str, str]:
    """The version of each tool by its name; one that is missing is left out."""
    found: dict[str, str] = {}
    for name, version in (("pillow", imaging.version), ("libraw", libraw.version), ("ffmpeg", ffmpeg.version)):
        with suppress(ToolError):
            found[name] = version()
    with suppress(ToolError):
        found["exiftool"] = await exiftool.version()
    return found
