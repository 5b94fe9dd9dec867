"""Short films of which nobody has another copy, as bytes to be uploaded."""

import tempfile
from pathlib import Path

from tests.recordings import Film, make, moving


def film(
    form: str = "mp4",
    *,
    video: str | None = "libx264",
    audio: str | None = "aac",
    seconds: float = 1.0,
    size: tuple[int, int] = (320, 240),
    seed: int = 0,
) -> bytes:
    """Colours that move and a tone, in any container and codecs that FFmpeg can write; ``seed`` makes others."""
    paint = moving(*size)
    quiet = {"x265-params": "log-level=none"} if video == "libx265" else {}
    wanted = Film(
        paint=(lambda second: paint(second + seed / 7)) if video else None,
        codec=video or "",
        seconds=seconds,
        options=quiet,
        sound=audio,
        container=form,
    )
    with tempfile.TemporaryDirectory() as directory:
        return make(Path(directory) / "film", wanted).read_bytes()
