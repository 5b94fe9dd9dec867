"""Sound: its tags, its streams, and a picture for it: the cover that it carries, else its waveform."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lumilio.errors import MediaDamaged, MediaError
from lumilio.media.tags import as_text
from lumilio.model import Music, RenderSource, Rendition
from lumilio.tools import audio_tags, ffmpeg, imaging, waveform
from lumilio.tools.originals import open_original

_YEAR = re.compile(r"(?<!\d)(\d{4})(?!\d)")
_NUMBER = re.compile(r"(?<!\d)0*(\d{1,5})(?!\d)")


def process_audio(path: Path) -> Rendition:
    """Runs in a decoder child. Raises MediaDamaged when there is no sound that can be decoded, MediaOverBudget and
    StorageError."""
    with open_original(path) as file:
        tags = audio_tags.read_tags(file)
    with ffmpeg.open_media(path) as container:
        streams = ffmpeg.probe(container)
        stated = {key.lower(): value for key, value in container.metadata.items()}
    if streams.audio_codec is None:
        raise MediaDamaged("there is no sound in the file that can be decoded")
    picture = _cover(tags.covers) or _waveform(path)
    return replace(picture, width=None, height=None, streams=streams, music=_music(tags.texts or stated))


def _cover(covers: Sequence[bytes]) -> Rendition | None:
    """The first that can be decoded."""
    for data in covers:
        try:
            return imaging.render_bytes(data, orientation=None, source=RenderSource.COVER, size=None)
        except MediaError:
            continue
    return None


def _waveform(path: Path) -> Rendition:
    peaks = ffmpeg.read_samples(path, buckets=waveform.BARS)
    picture = imaging.render_pixels(waveform.draw(peaks), orientation=1, source=RenderSource.WAVEFORM, size=None)
    return replace(picture, perceptual_hash=None, thumbhash=None)


def _music(texts: Mapping[str, str]) -> Music | None:
    """What the tags say, cleaned; None when they say nothing."""
    music = Music(
        title=as_text(texts.get("title")),
        artist=as_text(texts.get("artist")),
        album=as_text(texts.get("album")),
        album_artist=as_text(texts.get("album_artist")),
        genre=as_text(texts.get("genre")),
        year=_counted(_YEAR, texts.get("year") or texts.get("date")),
        track=_counted(_NUMBER, texts.get("track")),
        disc=_counted(_NUMBER, texts.get("disc")),
    )
    return music if music != Music() else None


def _counted(form: re.Pattern[str], text: str | None) -> int | None:
    """The number in a year, in a date, or before the slash of ``2/3``; None for 0, which means unknown."""
    found = form.search(text) if text else None
    return (int(found[1]) if found and found[1].isascii() else 0) or None
