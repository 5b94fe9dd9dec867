"""How loud a sound is along its length, for waveforms."""

from pathlib import Path

import av
import numpy as np
import pytest

from lumilio.errors import MediaDamaged
from lumilio.tools import ffmpeg
from tests.recordings import Film, make, moving


def test_loudness_follows_the_sound(tmp_path: Path) -> None:
    path = make(tmp_path / "voice.m4a", Film(sound="aac", container="ipod", seconds=3))

    peaks = ffmpeg.read_samples(path, buckets=30)

    assert peaks.shape == (30,)
    assert np.abs(peaks[2:-2] - 0.5).max() < 0.05


def test_the_end_of_a_sound_may_be_missing(tmp_path: Path) -> None:
    path = make(tmp_path / "voice.mp3", Film(sound="libmp3lame", seconds=3))
    path.write_bytes(path.read_bytes()[:-9000])

    assert ffmpeg.read_samples(path, buckets=10)[:9].min() > 0.4


def test_a_sound_of_an_hour_is_sampled(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    rate = 8000
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_u8", rate=rate)
        stream.layout = "mono"
        for minute in range(60):
            level = 128 + (100 if minute >= 30 else 10)
            frame = av.AudioFrame.from_ndarray(np.full((1, rate * 60), level, np.uint8), format="u8", layout="mono")
            frame.sample_rate, frame.pts = rate, minute * rate * 60
            output.mux(stream.encode(frame))

    peaks = ffmpeg.read_samples(path, buckets=60)

    assert np.abs(peaks[:29] - 10 / 128).max() < 0.01
    assert np.abs(peaks[31:] - 100 / 128).max() < 0.01


def test_a_file_with_no_sound_has_no_loudness(tmp_path: Path) -> None:
    with pytest.raises(MediaDamaged, match="no sound"):
        ffmpeg.read_samples(make(tmp_path / "film.mp4", Film(paint=moving(), seconds=0.2)), buckets=10)
