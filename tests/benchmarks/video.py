"""Posters, remuxing and transcoding: time, CPU and memory, each in a process of its own.

    python -m tests.benchmarks.video                        everything, modest sizes
    python -m tests.benchmarks.video --gigabytes 0.2 --seconds 4

The recordings are made here. ``cp`` and fsync of the same file in the same run stand beside the remux. Prints JSON.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from lumilio.errors import LumilioError
from lumilio.media.video import process_video
from lumilio.media.web_version import WebWish, make_web_version
from lumilio.model import Playback
from lumilio.tools.decoders import DecoderLimits, DecoderPool
from tests.benchmarks.measuring import MIB, machine
from tests.recordings import Film, Painter, Picture, gradient, make

HLG = (9, 18, 9)


def main() -> None:
    """Measure as the arguments say."""
    args = _arguments()
    if args.one:
        _one(args.one, args.files, args.threads)
        return
    with tempfile.TemporaryDirectory(prefix="lumilio-bench-", dir=args.scratch) as name:
        scratch = Path(name)
        report: dict[str, Any] = {"machine": machine()}
        for step in (_posters, _remux, _transcodes):
            report |= step(scratch, args)
    json.dump(report, sys.stdout, indent=2)
    print()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8, help="length of the recordings that are made")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the file that is remuxed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads of the encoder")
    parser.add_argument("--scratch", type=Path, help="where to write; a filesystem like that of a real library")
    parser.add_argument("--one", choices=["poster", "web"], help=argparse.SUPPRESS)
    parser.add_argument("files", nargs="*", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _one(what: str, files: list[Path], threads: int) -> None:
    """In the process that is measured."""
    before = _resident("VmRSS:")
    wall, cpu = time.monotonic(), time.process_time()
    if what == "poster":
        process_video(files[0])
    else:
        make_web_version(files[0], files[1], WebWish(playback=Playback.TRANSCODE, threads=threads))
    result = {
        "wall_s": round(time.monotonic() - wall, 3),
        "cpu_s": round(time.process_time() - cpu, 3),
        "peak_rss_mib": _resident("VmHWM:"),
        "rss_before_mib": before,
    }
    print(json.dumps(result))


def _resident(name: str) -> int:
    """MiB of this process by proc(5): the kernel's own high-water mark forgets what was before exec."""
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(name))
    return int(line.split()[1]) // 1024


def _measured(what: str, *files: Path, threads: int = 1) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.video", "--one", what, "--threads", str(threads)]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{what} of {files[0].name}:\n{done.stderr[-2000:]}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _median(rounds: list[dict[str, Any]]) -> dict[str, float]:
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}


def _scene(width: int, height: int, *, wide: bool = False) -> Painter:
    """Detail that moves, with grain, so that bit rates are those of a camera."""
    still = gradient(width, height)
    grain = np.random.default_rng(1).integers(0, 24, (height, width, 1), dtype=np.uint8)
    still = np.minimum(still, 230) + grain
    deep = still.astype(np.uint16) * 257 if wide else still

    def paint(second: float) -> Picture:
        return np.roll(deep, round(second * width / 8), axis=1)

    return paint


def _recordings(scratch: Path, seconds: float) -> dict[str, Path]:
    """4K as phones record it, and 1080p."""
    rate = Fraction(30)
    fast = {"preset": "ultrafast"}
    films = {
        "h264_4k": Film(
            paint=_scene(3840, 2160),
            rate=rate,
            seconds=seconds,
            keyframes=30,
            options={**fast, "b": "45M", "maxrate": "45M", "bufsize": "45M"},
        ),
        "hevc_4k_hlg": Film(
            paint=_scene(3840, 2160, wide=True),
            codec="libx265",
            pixels="yuv420p10le",
            tags=HLG,
            rate=rate,
            seconds=min(seconds, 4),
            keyframes=15,
            options={**fast, "x265-params": "log-level=none:bitrate=30000"},
        ),
        "hevc_1080p": Film(
            paint=_scene(1920, 1080),
            codec="libx265",
            rate=rate,
            seconds=seconds,
            keyframes=60,
            sound="aac",
            options={**fast, "x265-params": "log-level=none:bitrate=12000"},
        ),
    }
    made = {}
    for name, film in films.items():
        made[name] = scratch / f"{name}.mp4"
        if not made[name].exists():
            print(f"making {name}", file=sys.stderr, flush=True)
            make(made[name], film)
    return made


def _posters(scratch: Path, args: argparse.Namespace) -> dict[str, Any]:
    files = _recordings(scratch, args.seconds)
    result: dict[str, Any] = {}
    for name, path in files.items():
        rounds = [_measured("poster", path) for _ in range(args.rounds)]
        megabits = path.stat().st_size * 8 / 1e6 / _seconds(path)
        result[name] = {**_median(rounds), "megabits_a_second": round(megabits, 1)}
        result[name]["smallest_limit_mib"] = asyncio.run(_smallest_limit(path, None))
    return {"poster": result}


def _seconds(path: Path) -> float:
    with av.open(str(path)) as container:
        return (container.duration or 0) / av.time_base


async def _smallest_limit(path: Path, target: Path | None) -> int | None:
    """The least memory of a child, in MiB, with which it still succeeds."""
    for limit in (96, 128, 192, 256, 384, 512, 768, 1024, 1536):
        limits = DecoderLimits(memory=limit * MIB, file_bytes=None)
        async with DecoderPool(size=1, limits=limits) as pool:
            try:
                if target is None:
                    await pool.run(process_video, path, timeout=120)
                else:
                    wish = WebWish(playback=Playback.TRANSCODE, threads=1)
                    await pool.run(make_web_version, path, target, wish, timeout=600, target=target)
            except LumilioError:
                continue
            return limit
    return None


def _remux(scratch: Path, args: argparse.Namespace) -> dict[str, Any]:
    source, target, copy = scratch / "large.mkv", scratch / "large.mp4", scratch / "copy.mkv"
    _repeat(_recordings(scratch, args.seconds)["h264_4k"], source, int(args.gigabytes * 1e9))
    megabytes = source.stat().st_size / 1e6
    copied, remuxed = [], []
    for _ in range(args.rounds):
        copied.append(_copy_synced(source, copy))
        target.write_bytes(b"")
        began = time.monotonic()
        cost = _measured("web", source, target)
        _sync(target)
        remuxed.append({**cost, "wall_with_start_and_fsync_s": round(time.monotonic() - began, 2)})
    for path in (source, target, copy):
        path.unlink()
    cost = _median(remuxed)
    return {
        "remux": {
            "megabytes": round(megabytes),
            **cost,
            "megabytes_a_second": round(megabytes / cost["wall_with_start_and_fsync_s"]),
            "cp_and_fsync_megabytes_a_second": round(megabytes / statistics.median(copied)),
        }
    }


def _repeat(source: Path, path: Path, size: int) -> None:
    """The packets of a recording again and again, until the file is large enough."""
    with av.open(str(path), "w") as output, av.open(str(source)) as container:
        video = container.streams.video[0]
        stream = output.add_stream_from_template(video, opaque=True)
        length, start, written = video.duration or 0, 0, 0
        while written < size:
            for packet in container.demux(video):
                if packet.size and packet.pts is not None and packet.dts is not None:
                    written += packet.size
                    packet.pts, packet.dts, packet.stream = packet.pts + start, packet.dts + start, stream
                    output.mux(packet)
            start += length
            container.seek(0)
    _sync(path)


def _copy_synced(source: Path, target: Path) -> float:
    began = time.monotonic()
    shutil.copyfile(source, target)
    _sync(target)
    return time.monotonic() - began


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _transcodes(scratch: Path, args: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, path in _recordings(scratch, args.seconds).items():
        if not name.startswith("hevc"):
            continue
        target = scratch / "web.mp4"
        target.write_bytes(b"")
        seconds = _seconds(path)
        cost = _measured("web", path, target, threads=args.threads)
        megabits = target.stat().st_size * 8 / 1e6 / seconds
        result[name] = {
            **cost,
            "cpu_s_a_second": round(cost["cpu_s"] / seconds, 2),
            "megabits_a_second": round(megabits, 1),
            "smallest_limit_mib": asyncio.run(_smallest_limit(path, target)),
        }
    return {"transcode": result}


if __name__ == "__main__":
    main()
