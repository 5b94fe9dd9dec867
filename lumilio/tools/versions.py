"""Which programs read untrusted files, and their versions: another one may read what this one cannot."""

from collections.abc import Mapping
from contextlib import suppress

from lumilio.errors import ToolError
from lumilio.tools import exiftool, ffmpeg, imaging, libraw


async def tool_versions() -> Mapping[str, str]:
    """The version of each tool by its name, with those of the tools that it leans on; one that is missing is left out.

    LibRaw and FFmpeg come inside of other packages, so that only they themselves know theirs.
    """
    found: dict[str, str] = {}
    for name, version in (("pillow", imaging.version), ("libraw", libraw.version), ("ffmpeg", ffmpeg.version)):
        with suppress(ToolError):
            found[name] = version()
    with suppress(ToolError):
        found["exiftool"] = await exiftool.version()
    if "exiftool" in found and "libraw" in found:
        found["libraw"] += f", exiftool {found['exiftool']}"
    return found
