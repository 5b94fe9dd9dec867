"""Thumbnails of photos beside ``vipsthumbnail``: CPU and likeness of camera JPEGs; memory of large pictures.

    python -m tests.benchmarks.thumbnails

Prints JSON. Both make WebP of quality 80 at 1,024, 300 and 150 pixels; the peer runs once a size over all files, as
its users would. Likeness is PSNR in decibels against the whole picture, decoded, converted and shrunk by Lanczos.
Memory is that of a real decoder child beyond what it has after a first small photo.
"""

import argparse
import asyncio
import io
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import psutil
import pyvips
from PIL import Image

from lumilio.media.photo import process_photo
from lumilio.model import THUMBNAIL_SIZES, Rendition
from lumilio.tools.decoders import DecoderLimits, DecoderPool
from tests.benchmarks.measuring import MIB, machine, run_costed, wait_until_idle
from tests.benchmarks.peer import QUALITY, version
from tests.benchmarks.photos import camera_jpegs, media_directory
from tests.conformance.painting import photograph
from tests.conformance.reference import psnr, rendered

_WATCHED = ("VmData", "VmHWM", "RssAnon")
_INTERVAL = 0.002


def main() -> None:
    """Measure as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="how often each side makes all thumbnails")
    parser.add_argument("--effort", type=int, default=4, help="libwebp's method for the peer")
    parser.add_argument("--scratch", type=Path, help="where to write")
    parser.add_argument("--without-memory", action="store_true")
    parser.add_argument(
        "--wait-idle", type=float, default=0, metavar="SECONDS", help="how long an idle machine is waited for"
    )
    args = parser.parse_args()
    idle = wait_until_idle(args.wait_idle) if args.wait_idle else None
    report: dict[str, Any] = {"machine": machine(), "idle": idle, "peer": version(), "peer_effort": args.effort}
    with tempfile.TemporaryDirectory(prefix="lumilio-bench-", dir=args.scratch) as name:
        report["camera_jpegs"] = _jpegs(Path(name), args.rounds, args.effort)
        if not args.without_memory:
            report["memory"] = asyncio.run(_memory(Path(name)))
    json.dump(report, sys.stdout, indent=2)
    print()


def _jpegs(folder: Path, rounds: int, effort: int) -> dict[str, Any]:
    photos = camera_jpegs((0, 1000))
    ours: list[float] = []
    peers: list[float] = []
    for number in range(rounds):
        peers.append(_peer(photos, folder / f"peer-{number}", effort))
        began = time.process_time()
        renditions = [process_photo(path) for path in photos]
        ours.append((time.process_time() - began) / len(photos) * 1000)
    likeness = _likeness(photos, renditions, folder / "peer-0")
    mine, theirs = statistics.median(ours), statistics.median(peers)
    return {
        "photos": len(photos),
        "cpu_ms_a_photo": {"lumilio": round(mine, 1), "vipsthumbnail": round(theirs, 1)},
        "all_rounds": {
            "lumilio": [round(each, 1) for each in ours],
            "vipsthumbnail": [round(each, 1) for each in peers],
        },
        "ratio": round(mine / theirs, 3),
        "sizes": likeness,
    }


def _peer(photos: list[Path], folder: Path, effort: int) -> float:
    """CPU milliseconds a photo for all sizes."""
    spent = 0.0
    for size in THUMBNAIL_SIZES:
        target = folder / str(size)
        target.mkdir(parents=True)
        # No profile is asked for: these photos are sRGB, and 8.14 would write another black into them.
        command = ["vipsthumbnail", "--size", f"{size}x{size}>"]
        command += ["--output", f"{target}/%s.webp[Q={QUALITY},effort={effort},strip]", *map(str, photos)]
        spent += run_costed(command, log=folder / "peer.log").cpu
    return spent / len(photos) * 1000


def _likeness(photos: list[Path], renditions: list[Rendition], peer: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, list[float]]] = {}
    for path, rendition in zip(photos, renditions, strict=True):
        for thumbnail in rendition.thumbnails:
            file = peer / str(thumbnail.size) / f"{path.stem}.webp"
            values = found.setdefault(str(thumbnail.size), {})
            for side, data in (("lumilio", thumbnail.data), ("vipsthumbnail", file.read_bytes())):
                image = Image.open(io.BytesIO(data))
                values.setdefault(f"{side}_db", []).append(psnr(image, rendered(path, image.size)))
                values.setdefault(f"{side}_kib", []).append(len(data) / 1024)
    return {
        size: {name: round(statistics.mean(numbers), 2) for name, numbers in sorted(values.items())}
        for size, values in sorted(found.items(), key=lambda item: int(item[0]))
    }


class _Watch:
    """The most that the fields of a process's status reach beyond what they are at first."""

    def __init__(self, pid: int) -> None:
        self._path = Path(f"/proc/{pid}/status")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.first = self._look()
        self.most = dict(self.first)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            for name, value in self._look().items():
                self.most[name] = max(self.most[name], value)

    def _look(self) -> dict[str, int]:
        fields = (line.split() for line in self._path.read_text().splitlines())
        return {words[0][:-1]: int(words[1]) * 1024 for words in fields if words[0][:-1] in _WATCHED}


async def _memory(folder: Path) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    small = camera_jpegs((0, 1000))[0]
    for name, write in _LARGE.items():
        path = folder / name.replace(" ", "-")
        await asyncio.to_thread(write, path)
        async with DecoderPool(size=1, limits=DecoderLimits(memory=768 * MIB)) as pool:
            await pool.run(process_photo, small, timeout=60)
            child = psutil.Process(_newest_child())
            before = child.cpu_times()
            with _Watch(child.pid) as watch:
                rendition = await pool.run(process_photo, path, timeout=120)
            after = child.cpu_times()
        rows[name] = {
            "size": f"{rendition.width} x {rendition.height}",
            "cpu_s": round(after.user + after.system - before.user - before.system, 2),
            "data_growth_mib": round((watch.most["VmData"] - watch.first["VmData"]) / MIB),
            "anonymous_peak_mib": round(watch.most["RssAnon"] / MIB),
            "resident_peak_mib": round(watch.most["VmHWM"] / MIB),
        }
        path.unlink()
    return rows


def _newest_child() -> int:
    """The decoder is the fork server's child."""
    return max((each for server in psutil.Process().children() for each in server.children()), key=_started).pid


def _started(process: psutil.Process) -> float:
    return process.create_time()


def _saved(kind: str, size: tuple[int, int], **options: object) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        columns, rows = np.arange(size[0], dtype=np.uint32), np.arange(size[1], dtype=np.uint32)[:, None]
        pixels = np.empty((size[1], size[0], 3), np.uint8)
        pixels[..., 0], pixels[..., 1] = columns * 255 // size[0], rows * 255 // size[1]
        pixels[..., 2] = columns // 7 + rows // 5
        Image.fromarray(pixels).save(path, kind, **options)

    return write


def _heic(path: Path) -> None:
    path.write_bytes((media_directory() / "heic/digicamcor-IMG_8565.HEIC").read_bytes())


def _webp(path: Path) -> None:
    image = pyvips.Image.new_from_array(np.asarray(photograph(1600, 1250))).resize(10)
    image.copy(interpretation="srgb").webpsave(str(path), Q=50, effort=1)


_24, _100, _200 = (6000, 4000), (12_000, 8400), (16_000, 12_500)
_LARGE: dict[str, Callable[[Path], None]] = {
    "JPEG 24 MP": _saved("JPEG", _24, quality=90),
    "JPEG 100 MP": _saved("JPEG", _100, quality=85),
    "JPEG 100 MP progressive": _saved("JPEG", _100, quality=85, progressive=True),
    "JPEG 200 MP progressive": _saved("JPEG", _200, quality=85, progressive=True),
    "HEIC 12 MP": _heic,
    "PNG 100 MP": _saved("PNG", _100, compress_level=1),
    "PNG 200 MP": _saved("PNG", _200, compress_level=1),
    "TIFF 100 MP": _saved("TIFF", _100, compression="tiff_lzw"),
    "TIFF 200 MP": _saved("TIFF", _200),
    "WebP 100 MP": _saved("WEBP", _100, quality=50, method=0),
    "WebP 100 MP lossless": _saved("WEBP", _100, lossless=True, quality=0, method=0),
    "WebP 200 MP": _webp,
    "AVIF 24 MP": _saved("AVIF", _24, quality=50, speed=10),
    "JXL 24 MP": _saved("JXL", _24, quality=80, effort=1),
}

if __name__ == "__main__":
    main()
