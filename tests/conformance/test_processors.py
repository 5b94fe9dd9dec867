"""What every processor owes: thumbnails of the agreed sizes, of a picture its size and looks, or an honest error."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lumilio.errors import MediaDamaged, MediaError
from lumilio.media import PROCESSORS, TOOLS, processor_for
from lumilio.media.detect import read_head, refine, sniff
from lumilio.media.facts import facts_from_exif
from lumilio.media.formats import FORMATS
from lumilio.model import THUMBNAIL_SIZES, MediaKind, MediaType, RenderSource
from tests.conformance.painting import both, encoded, render, thumbnail
from tests.conformance.reference import Sample, pictures, psnr, rendered, samples

PICTURES = list(pictures())
SHRINKING = 35.0
"""Decibels that a thumbnail may differ from the reference before it is encoded: measured, the worst file has 36 and
the average 48 (150 px) to 76 (1024 px)."""


def test_every_processor_is_of_a_known_format() -> None:
    assert set(PROCESSORS) <= set(FORMATS)
    assert set(PROCESSORS.values()) == set(TOOLS)


@pytest.mark.parametrize("sample", PICTURES, ids=lambda sample: sample.name)
def test_a_real_picture_gets_thumbnails_that_look_like_it(sample: Sample) -> None:
    rendition = render(sample.path)
    facts = facts_from_exif(
        sample.exif, sniff(sample.path.read_bytes()), name=sample.path.name, modified=datetime(2026, 1, 1, tzinfo=UTC)
    )

    assert rendition.width is not None
    assert rendition.height is not None
    assert facts.width is None or (rendition.width, rendition.height) == (facts.width, facts.height)
    assert sample.pillow is not None
    assert {rendition.width, rendition.height} == {*sample.pillow[2:4]}
    assert rendition.source is RenderSource.ORIGINAL
    assert rendition.perceptual_hash is not None
    assert rendition.thumbhash is not None
    assert tuple(each.size for each in rendition.thumbnails) == THUMBNAIL_SIZES
    for size in THUMBNAIL_SIZES:
        image = thumbnail(rendition, size)
        longest = max(rendition.width, rendition.height)
        assert max(image.size) == min(size, longest)
        scale = max(image.size) / longest
        assert image.size == pytest.approx((rendition.width * scale, rendition.height * scale), abs=1)
        reference = rendered(sample.path, image.size)
        assert psnr(image, reference) >= both(psnr(encoded(reference), reference), SHRINKING) - 0.2


@pytest.mark.parametrize("sample", list(samples()), ids=lambda sample: sample.name)
def test_every_processor_gives_three_thumbnails_or_says_why_not(sample: Sample) -> None:
    """Photos, RAW, videos and sound alike: what the flow and the API rely on, whoever made it."""
    media_type = refine(_head(sample.path), str(sample.exif.get("File:FileType") or ""), sample.path.name)
    assert media_type is not None
    processor = processor_for(media_type)
    assert processor is not None
    try:
        rendition = processor(sample.path)
    except MediaError as exc:
        assert isinstance(exc, MediaDamaged)
        assert len(str(exc)) > 10
        assert "\n" not in str(exc)
        return
    assert tuple(each.size for each in rendition.thumbnails) == THUMBNAIL_SIZES
    for each in rendition.thumbnails:
        image = thumbnail(rendition, each.size)
        assert 1 <= max(image.size) <= each.size
    is_sound = media_type.kind is MediaKind.AUDIO
    assert (rendition.width is None) == (rendition.height is None) == is_sound
    assert (rendition.streams is not None) == (media_type.kind is not MediaKind.PHOTO)
    drawn = rendition.source is RenderSource.WAVEFORM
    assert (rendition.perceptual_hash is None) == (rendition.thumbhash is None) == drawn
    assert rendition.thumbhash is None or len(rendition.thumbhash) <= 64


def _head(path: Path) -> MediaType | None:
    with path.open("rb") as file:
        return sniff(read_head(file))
