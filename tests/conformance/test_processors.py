"""What the processor of a picture owes: the right size, the right picture, thumbnails of the agreed sizes."""

from datetime import UTC, datetime

import pytest

from lumilio.media import PROCESSORS
from lumilio.media.detect import sniff
from lumilio.media.facts import facts_from_exif
from lumilio.media.formats import FORMATS
from lumilio.model import THUMBNAIL_SIZES, RenderSource
from tests.conformance.painting import both, encoded, render, thumbnail
from tests.conformance.reference import Sample, pictures, psnr, rendered

PICTURES = list(pictures())
SHRINKING = 35.0
"""Decibels that a thumbnail may differ from the reference before it is encoded: measured, the worst file has 36 and
the average 48 (150 px) to 76 (1024 px)."""


def test_every_processor_is_of_a_known_format() -> None:
    assert set(PROCESSORS) <= set(FORMATS)


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
