"""Perceptual hash and ThumbHash, held against what they promise."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lumilio.tools.likeness import HASH_SIDE, perceptual_hash, thumbhash

Pixels = npt.NDArray[np.uint8]


def scene(width: int, height: int, seed: int = 1) -> Image.Image:
    """A few soft blobs of colour: low frequencies, as photos have."""
    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def hashed(image: Image.Image) -> int:
    grey = image.convert("L").resize((HASH_SIDE, HASH_SIDE), Image.Resampling.BILINEAR)
    return perceptual_hash(np.asarray(grey))


def distance(one: Image.Image, other: Image.Image) -> int:
    return (hashed(one) ^ hashed(other)).bit_count()


def blurred(image: Image.Image) -> bytes:
    return thumbhash(np.asarray(image.convert("RGBA")))


def mean_of(hash_: bytes) -> tuple[float, float, float]:
    """Red, green and blue from 0 to 1 as the header of a ThumbHash says them, read as the format's text tells."""
    header = int.from_bytes(hash_[:3], "little")
    light, yellow, redness = (header & 63) / 63, (header >> 6 & 63) / 31.5 - 1, (header >> 12 & 63) / 31.5 - 1
    blue = light - 2 / 3 * yellow
    red = (3 * light - blue + redness) / 2
    return red, red - redness, blue


def ratio_of(hash_: bytes) -> float:
    """Width by height, as far as the numbers of frequencies tell."""
    transparent, landscape = hash_[2] >> 7, hash_[4] >> 7
    most, other = 5 if transparent else 7, hash_[3] & 7
    return most / other if landscape else other / most


def length_of(hash_: bytes) -> int:
    """Bytes that a decoder expects: a header, and a nibble for each frequency below the diagonal."""
    transparent, landscape, other = hash_[2] >> 7, hash_[4] >> 7, hash_[3] & 7
    most = 5 if transparent else 7
    across, down = (most, other) if landscape else (other, most)
    sides = [(max(3, across), max(3, down)), (3, 3), (3, 3), *([(5, 5)] if transparent else [])]
    waves = sum(x * n < m * (n - y) for m, n in sides for y in range(n) for x in range(m)) - len(sides)
    return (6 if transparent else 5) + (waves + 1) // 2


def test_a_copy_made_smaller_and_worse_has_nearly_the_same_hash() -> None:
    picture = scene(800, 600)
    worse = io.BytesIO()
    picture.resize((400, 300)).save(worse, "JPEG", quality=30)

    assert distance(picture, Image.open(worse)) <= 4


def test_other_pictures_have_other_hashes() -> None:
    pictures = [scene(200, 150, seed) for seed in range(12)]

    nearest = min(distance(one, other) for n, one in enumerate(pictures) for other in pictures[:n])

    assert nearest >= 12


def test_a_hash_does_not_depend_on_brightness_and_contrast() -> None:
    picture = scene(400, 300)

    assert distance(picture, picture.point(lambda value: value * 0.7 + 40)) <= 3


def test_a_mirrored_picture_is_another_one() -> None:
    picture = scene(400, 300)

    assert distance(picture, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) >= 16


def test_a_hash_is_the_sign_of_64_cosine_waves() -> None:
    """Against the sum that defines the DCT-II, written out."""
    grey = np.asarray(scene(HASH_SIDE, HASH_SIDE).convert("L"))
    x = np.arange(HASH_SIDE)
    waves = [
        (grey * np.outer(*(np.cos(np.pi / HASH_SIDE * (x + 0.5) * wave) for wave in (down, across)))).sum()
        for down in range(8)
        for across in range(8)
    ]
    expected = "".join("1" if wave > np.median(waves[1:]) else "0" for wave in waves)

    assert perceptual_hash(grey) == int(expected, 2)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_an_empty_picture_has_a_hash_that_fits(level: int) -> None:
    assert 0 <= perceptual_hash(np.full((HASH_SIDE, HASH_SIDE), level, np.uint8)) < 1 << 64


@pytest.mark.parametrize("size", [(100, 75), (75, 100), (100, 100), (100, 1), (1, 100), (1, 1), (37, 100)])
@pytest.mark.parametrize("transparent", [False, True])
def test_a_thumbhash_is_as_long_as_its_header_says_and_tells_the_shape(
    size: tuple[int, int], transparent: bool
) -> None:
    picture = scene(*size).convert("RGBA")
    if transparent:
        picture.putalpha(Image.linear_gradient("L").resize(size))
        picture.putpixel((0, 0), (0, 0, 0, 0))

    hash_ = blurred(picture)

    assert len(hash_) == length_of(hash_)
    assert 5 < len(hash_) <= 25
    assert hash_[2] >> 7 == transparent
    most = 5 if transparent else 7
    assert 1 / ratio_of(hash_) == pytest.approx(max(1 / most, min(most, size[1] / size[0])), rel=0.25, abs=0.1)


def test_a_thumbhash_tells_the_mean_colour() -> None:
    picture = scene(100, 70)

    expected = np.asarray(picture, dtype=np.float64).mean(axis=(0, 1)) / 255

    assert mean_of(blurred(picture)) == pytest.approx(tuple(expected), abs=0.04)


def test_what_is_transparent_has_no_part_in_the_mean_colour() -> None:
    pixels: Pixels = np.zeros((50, 80, 4), np.uint8)
    pixels[:, :40] = (255, 0, 0, 255)
    pixels[:, 40:] = (0, 255, 0, 0)

    hash_ = thumbhash(pixels)

    assert mean_of(hash_) == pytest.approx((1, 0, 0), abs=0.04)
    assert hash_[5] & 15 == 8  # half of it is opaque


def test_a_thumbhash_of_one_colour_has_no_waves() -> None:
    hash_ = blurred(Image.new("RGB", (90, 60), (10, 200, 30)))

    assert not any(hash_[5:])
    assert hash_[2] & 0b01111100 == 0


def test_waves_are_scaled_by_the_greatest_of_them() -> None:
    """A slope from left to right is its first cosine wave, downwards: 0, while all others are about the middle."""
    slope = np.repeat(np.linspace(0, 255, 100)[None], 100, axis=0).astype(np.uint8)

    hash_ = thumbhash(np.dstack([slope, slope, slope, np.full_like(slope, 255)]))
    first, second = hash_[5] & 15, hash_[5] >> 4

    assert first == 0
    assert second in (7, 8)


def test_nothing_but_transparency_has_a_thumbhash() -> None:
    assert len(thumbhash(np.zeros((10, 10, 4), np.uint8))) <= 25
