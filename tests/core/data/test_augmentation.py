"""Random crops: the requested size, the permitted parts of the image, and the same for the same random numbers."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clip_core.data import RandomCrop, RandomResizedCrop
from support.messages import naming
from support.tolerances import SHARE_OF_DRAWS, SHARE_OF_FEW_DRAWS

BICUBIC = Image.Resampling.BICUBIC
NEAREST = Image.Resampling.NEAREST


def gradient(width, height):
    """Return an image whose red encodes the column and whose green encodes the row."""
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    return Image.fromarray(np.stack([columns, rows, 0 * rows], -1).astype(np.uint8))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("augmentation", [RandomCrop(), RandomResizedCrop(), RandomResizedCrop((0.1, 0.2), (5, 9))])
@pytest.mark.parametrize("size", [(200, 20), (20, 200), (64, 64), (1, 1), (3, 250)])
def test_the_size_is_always_that_asked_for(augmentation, size):
    for seed in range(20):
        assert augmentation(gradient(*size), (24, 16), BICUBIC, rng(seed)).size == (16, 24)


def test_the_papers_crop_is_a_square_of_the_whole_short_edge():
    starts = set()
    for seed in range(200):
        pixels = np.asarray(RandomCrop()(gradient(60, 20), (20, 20), NEAREST, rng(seed)))
        assert np.array_equal(pixels[:, 0, 1], np.arange(20))
        assert np.array_equal(np.diff(pixels[0, :, 0]), np.ones(19))
        starts.add(int(pixels[0, 0, 0]))
    assert {0, 40} <= starts <= set(range(41))


def test_the_resized_crop_takes_areas_and_proportions_from_the_ranges():
    augmentation = RandomResizedCrop(scale=(0.2, 0.5), ratio=(0.5, 2))
    parts = [augmentation._part(200, 200, rng(seed)) for seed in range(500)]
    areas = np.array([width * height / 40000 for _, _, width, height in parts])
    ratios = np.array([width / height for _, _, width, height in parts])
    assert areas.min() > 0.19
    assert areas.max() < 0.51
    assert ratios.min() > 0.48
    assert ratios.max() < 2.1
    assert np.ptp(areas) > 0.25
    assert np.mean(ratios > 1) == pytest.approx(0.5, abs=SHARE_OF_DRAWS)  # as many wide as tall
    for left, top, width, height in parts:
        assert 0 <= left <= 200 - width
        assert 0 <= top <= 200 - height


def test_where_no_part_fits_it_is_the_middle():
    assert RandomResizedCrop(scale=(1, 1))._part(100, 10, rng()) == (43, 0, 13, 10)
    assert RandomResizedCrop(scale=(1, 1))._part(10, 100, rng()) == (0, 43, 10, 13)


def test_by_default_nine_tenths_are_kept_as_open_clip_trains():
    areas = [np.prod(RandomResizedCrop()._part(100, 100, rng(seed))[2:]) for seed in range(200)]
    assert min(areas) > 8900
    assert RandomResizedCrop() == RandomResizedCrop((0.9, 1.0), (3 / 4, 4 / 3), flip=0.0)


@pytest.mark.parametrize("kind", [RandomCrop, RandomResizedCrop])
def test_flips_are_as_frequent_as_asked_for(kind):
    def flips(probability):
        pixels = [np.asarray(kind(flip=probability)(gradient(9, 9), (9, 9), NEAREST, rng(n))) for n in range(200)]
        return np.mean([one[0, 0, 0] > one[0, -1, 0] for one in pixels])

    assert flips(0) == 0
    assert flips(1) == 1
    assert flips(0.5) == pytest.approx(0.5, abs=SHARE_OF_FEW_DRAWS)


def test_the_same_numbers_give_the_same_picture():
    first, again, other = (
        np.asarray(RandomResizedCrop((0.1, 1))(gradient(50, 50), (8, 8), BICUBIC, rng(n))) for n in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: RandomCrop(flip=1.5), ["flip=1.5", 0, 1]),
        (lambda: RandomResizedCrop(scale=(0, 1)), ["scale=(0, 1)", 0, 1]),
        (lambda: RandomResizedCrop(scale=(0.5, 0.4)), ["scale=(0.5, 0.4)", 0, 1]),
        (lambda: RandomResizedCrop(ratio=(2, 1)), ["ratio=(2, 1)"]),
    ],
)
def test_ranges_that_are_none_are_refused(make, named):
    with pytest.raises(ValueError, match=naming(*named)):
        make()
