"""The peer: ``vipsthumbnail``, one run a size over all files, and one pass of exiftool."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lumilio.model import THUMBNAIL_SIZES
from tests.benchmarks.measuring import Cost, run_costed

QUALITY = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """How the peer is run. ``effort`` is libwebp's method: 4 is what libvips and libwebp take when not told."""

    effort: int = 4

    def run(self, photos: list[Path], folder: Path) -> Cost:
        """Upright sRGB WebP thumbnails of every size, shrunk while loading, and all tags as JSON."""
        folder.mkdir(parents=True)
        parts = {str(size): self._thumbnails(photos, size, folder) for size in THUMBNAIL_SIZES}
        parts["exiftool"] = self._tags(photos, folder)
        total = Cost(wall=sum(part.wall for part in parts.values()), cpu=sum(part.cpu for part in parts.values()))
        total.parts = {name: round(part.cpu, 3) for name, part in parts.items()}
        return total

    def _thumbnails(self, photos: list[Path], size: int, folder: Path) -> Cost:
        target = folder / str(size)
        target.mkdir()
        # exiftool's -r walks a folder; vipsthumbnail takes names, of which the kernel allows 2 MiB.
        output = f"{target}/%s.webp[Q={QUALITY},effort={self.effort},strip]"
        command = ["vipsthumbnail", "--size", f"{size}x{size}>", "--export-profile", "srgb", "--output", output]
        cost = run_costed([*command, *map(str, photos)], log=folder / "peer.log")
        made = sum(1 for _ in target.glob("*.webp"))
        if made != len(photos):
            raise SystemExit(f"vipsthumbnail made {made} of {len(photos)} thumbnails, see {folder / 'peer.log'}")
        return cost

    def _tags(self, photos: list[Path], folder: Path) -> Cost:
        log = folder / "tags.json"
        cost = run_costed(["exiftool", "-q", "-q", "-json", "-n", "-G1", "-r", str(photos[0].parent)], log=log)
        found = len(json.loads(log.read_text(errors="replace")))
        if found != len(photos):
            raise SystemExit(f"exiftool read {found} of {len(photos)} files, see {log}")
        return cost


def version() -> str:
    """Such as ``vips-8.14.1``. Raises SystemExit when the peer is not installed."""
    if shutil.which("vips") is None or shutil.which("vipsthumbnail") is None:
        raise SystemExit("vipsthumbnail is not installed; install it with: apt-get install libvips-tools")
    return subprocess.run(["vips", "--version"], capture_output=True, text=True, check=True).stdout.strip()
