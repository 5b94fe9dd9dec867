"""The film within a motion photo."""

from pathlib import Path

from lumilio.model import MotionVideo, Streams
from lumilio.tools.ffmpeg import probe
from lumilio.tools.ffmpeg_input import open_media


def probe_motion(path: Path, motion: MotionVideo) -> Streams:
    """What plays when the photo is held. Runs in a decoder child. Raises MediaDamaged and StorageError."""
    with open_media(path, window=(motion.offset, motion.bytes)) as container:
        return probe(container)
