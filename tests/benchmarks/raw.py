"""What thumbnails of RAW photos cost, beside dcraw and beside exiftool's previews.

    python -m tests.benchmarks.raw

Prints JSON. The files are DNGs made here, for the corpus has no RAW of today's cameras that is complete: photos of the
corpus enlarged to 24 and 45 megapixels, as a mosaic of 14 bits that is not compressed, with a full-size JPEG preview.
A compressed mosaic would cost dcraw more, and Lumilio, which does not look at it, less to read.

Costs are CPU seconds a file, of user and system together. Lumilio's is ``process_raw`` within one process, warm;
dcraw's a process a file at its defaults, to a PPM that is thrown away; exiftool's one process over all files, which
writes the previews, and then thumbnails of these by Lumilio's own code.
"""

import argparse
import asyncio
import gc
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lumilio.media.raw import process_raw
from lumilio.model import RenderSource, Rendition
from lumilio.tools.decoders import DecoderLimits, DecoderPool
from lumilio.tools.imaging import render, render_pixels
from lumilio.tools.libraw import RawFile
from lumilio.tools.originals import open_original
from tests.benchmarks.measuring import MIB, Memory, machine, run_costed, wait_until_idle
from tests.benchmarks.photos import camera_jpegs
from tests.conformance.dng import dng, mosaic

SIZES = {24: (6000, 4000), 45: (8256, 5504)}
CHILD_MEMORY = 768 * MIB
TARGETS = {"dcraw_over_lumilio_at_least": 20.0, "lumilio_over_exiftool_at_most": 1.5}


def main() -> None:
    """Measure as the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=4, help="files of each size")
    parser.add_argument("--rounds", type=int, default=3, help="how often Lumilio does them; the median counts")
    parser.add_argument("--scratch", type=Path, help="where to write, about 80 MB a file")
    parser.add_argument(
        "--wait-idle", type=float, default=0, metavar="SECONDS", help="how long an idle machine is waited for"
    )
    args = parser.parse_args()
    report: dict[str, Any] = {"targets": TARGETS}
    with tempfile.TemporaryDirectory(prefix="lumilio-bench-", dir=args.scratch) as name:
        files = {megapixels: _written(Path(name), megapixels, args.files) for megapixels in SIZES}
        report = {"machine": machine(), "idle": wait_until_idle(args.wait_idle), **report}
        report["megapixels"] = {str(each): _compared(paths, args.rounds) for each, paths in files.items()}
        report["child_peak_rss_mib"] = asyncio.run(_peaks(files[max(SIZES)][0]))
    json.dump(report, sys.stdout, indent=2)
    print()


def _written(folder: Path, megapixels: int, count: int) -> list[Path]:
    """Distinct DNGs of so many megapixels, out of the largest photos of the corpus."""
    paths = []
    for number, source in zip(range(count), cycle(camera_jpegs((8, 26))[::-1]), strict=False):
        with Image.open(source) as photo:
            picture = photo.convert("RGB").resize(SIZES[megapixels], Image.Resampling.BICUBIC)
        preview = io.BytesIO()
        picture.save(preview, "JPEG", quality=90)
        content = dng(mosaic(np.asarray(picture)), preview=(preview.getvalue(), *picture.size), orientation=1)
        paths.append(folder / f"{megapixels}-{number}.dng")
        paths[-1].write_bytes(content)
    return paths


def _compared(paths: Sequence[Path], rounds: int) -> dict[str, Any]:
    shown = _cost(process_raw, paths, rounds, RenderSource.EMBEDDED_PREVIEW)
    half = _cost(_half_size, paths, 1, RenderSource.HALF_SIZE)
    dcraw = _dcraw(paths)
    extracting, rendering = _exiftool(paths, rounds)
    exiftool = extracting + rendering
    return {
        "file_mib": round(sum(path.stat().st_size for path in paths) / len(paths) / MIB, 1),
        "cpu_s_a_file": {
            "lumilio_preview": round(shown, 4),
            "lumilio_half_size": round(half, 3),
            "dcraw": round(dcraw, 3),
            "exiftool_and_thumbnails": round(exiftool, 4),
            "of_which_thumbnails": round(rendering, 4),
        },
        "dcraw_over_lumilio": round(dcraw / shown, 1),
        "dcraw_over_half_size": round(dcraw / half, 1),
        "lumilio_over_exiftool": round(shown / exiftool, 2),
    }


def _half_size(path: Path) -> Rendition:
    """What ``process_raw`` makes of a file without a preview, but for asking exiftool for one."""
    with open_original(path) as file, RawFile(file) as raw:
        pixels = raw.develop(half=True)
        return render_pixels(pixels, orientation=raw.orientation, source=RenderSource.HALF_SIZE, size=raw.size)


def _cost(function: Callable[[Path], Rendition], paths: Sequence[Path], rounds: int, source: RenderSource) -> float:
    """Median of the rounds, CPU seconds a file. The first file is done once more, before the clock runs."""
    if (found := function(paths[0]).source) is not source:
        raise SystemExit(f"{paths[0].name} was rendered from {found}, not from {source}")
    costs = []
    for _ in range(rounds):
        gc.collect()
        began = time.process_time()
        for path in paths:
            function(path)
        costs.append((time.process_time() - began) / len(paths))
    return sorted(costs)[len(costs) // 2]


def _dcraw(paths: Sequence[Path]) -> float:
    return sum(run_costed(["dcraw", "-c", str(path)], log=Path(os.devnull)).cpu for path in paths) / len(paths)


def _exiftool(paths: Sequence[Path], rounds: int) -> tuple[float, float]:
    """CPU seconds a file of getting the previews out, and of thumbnails of them."""
    folder = paths[0].parent
    arguments = ["exiftool", "-config", "", "-q", "-b", "-PreviewImage", "-w!", f"{folder}/%f.jpg"]
    cost = run_costed([*arguments, *map(str, paths)], log=folder / "log").cpu
    previews = [path.with_suffix(".jpg") for path in paths]
    return cost / len(paths), _cost(render, previews, rounds, RenderSource.ORIGINAL)


async def _peaks(path: Path) -> dict[str, float]:
    """The most memory that a decoder child has for the photo, its own start and libraries included."""
    peaks = {}
    for name, function in (("preview", process_raw), ("half_size", _half_size)):
        async with DecoderPool(size=1, limits=DecoderLimits(memory=CHILD_MEMORY)) as pool:
            with Memory(os.getpid(), interval=0.5) as memory:
                await pool.run(function, path, timeout=120)
        peaks[name] = round(memory.peaks["decoder"].rss / MIB, 1)
    return peaks


if __name__ == "__main__":
    main()
