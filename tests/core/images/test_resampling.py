"""Matrix products give the same bytes as Pillow's loops, for every part and size."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from clip_core.images import resampling
from clip_core.images.resampling import goes_down_first, resample_bicubic, resampling_axis
from clip_core.images.transforms import resize
from support.tolerances import HALF_A_BYTE, ROUNDING

BICUBIC = Image.Resampling.BICUBIC
PILLOW = Image.Image.resize


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def extremes(*shape, seed=0):
    """Black and white only, which overshoot the most."""
    return 255 * np.random.default_rng(seed).integers(0, 2, shape, dtype=np.uint8)


def chessboard(*shape, seed=0):
    """Grey between two levels nearly everywhere, at half its size."""
    return np.broadcast_to(255 * ((np.indices(shape[:2]).sum(axis=0) + seed) % 2).astype(np.uint8)[..., None], shape)


def by_pillow(image, shape):
    return np.asarray(Image.fromarray(image).resize(shape[::-1], BICUBIC))


def ours(image, shape, rows=None, columns=None):
    old_shape = np.asarray(image).shape[:2]
    rows, columns = rows or range(shape[0]), columns or range(shape[1])
    return resample_bicubic(image, shape, rows, columns, down_first=goes_down_first(old_shape, shape))


@st.composite
def parts(draw):
    """Return sizes before and after, and a part of the latter."""
    shape = draw(st.tuples(*[st.integers(1, 130)] * 2))
    new_shape = draw(st.tuples(*[st.integers(1, 70)] * 2))
    starts = [draw(st.integers(0, length - 1)) for length in new_shape]
    stops = [draw(st.integers(start + 1, length)) for start, length in zip(starts, new_shape, strict=True)]
    return shape, new_shape, *map(range, starts, stops)


@settings(max_examples=300, deadline=None)
@given(parts(), st.sampled_from([noise, extremes, chessboard]), st.integers(0, 99))
@example(((61, 83), (61, 40), range(61), range(40)), noise, 0)  # one axis stays as it is
@example(((61, 83), (20, 83), range(20), range(83)), noise, 0)
@example(((130, 40), (20, 30), range(3, 9), range(7, 8)), noise, 0)  # down first, with Pillow 13
@example(((1, 1), (70, 70), range(70), range(70)), noise, 0)
def test_any_part_of_any_size_is_pillows_to_the_bit(part, kind, seed):
    shape, new_shape, rows, columns = part
    image = kind(*shape, 3, seed=seed)
    expected = by_pillow(image, new_shape)[rows.start : rows.stop, columns.start : columns.stop]
    for same in (image, Image.fromarray(image), image.transpose(1, 0, 2).copy().transpose(1, 0, 2)):
        np.testing.assert_array_equal(ours(same, new_shape, rows, columns), expected)


@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (333, 500), (1080, 1920), (900, 225), (150, 1100)])
@pytest.mark.parametrize("kind", [noise, extremes, chessboard])
def test_pictures_of_common_sizes_come_out_as_from_pillow(shape, kind):
    image = kind(*shape, 3)
    short = min(shape)
    new_shape = tuple(224 * length // short for length in shape)
    found = ours(Image.fromarray(image), new_shape)
    np.testing.assert_array_equal(found, by_pillow(image, new_shape))
    assert found.transpose(2, 0, 1).flags.c_contiguous


@pytest.mark.parametrize("strip", [1, 100, 1000])
@pytest.mark.parametrize("new_shape", [(20, 30), (5, 60)])
def test_the_strips_in_which_an_image_is_read_do_not_show(monkeypatch, strip, new_shape):
    image = noise(61, 83, 3)
    monkeypatch.setattr(resampling, "_STRIP", strip)
    np.testing.assert_array_equal(ours(Image.fromarray(image), new_shape), by_pillow(image, new_shape))


@pytest.mark.parametrize("few", [0, 1])  # doubtful sums are recomputed together, or one by one
@pytest.mark.parametrize("kind", [noise, chessboard])
def test_sums_in_doubt_are_taken_again(monkeypatch, few, kind):
    monkeypatch.setattr(resampling, "_FEW", few)
    image = kind(120, 160, 3)
    for new_shape in ((60, 80), (33, 44), (250, 300)):
        np.testing.assert_array_equal(ours(Image.fromarray(image), new_shape), by_pillow(image, new_shape))


def test_what_float32_can_tell_nothing_of_is_summed_in_float64():
    image = extremes(2, 60_000, 3)
    assert resampling_axis(60_000, 5, 0, 5).doubt > 0.5
    np.testing.assert_array_equal(ours(image, (2, 5)), by_pillow(image, (2, 5)))


@pytest.mark.parametrize(("length", "new_length"), [(640, 298), (480, 224), (7, 90), (5000, 3)])
@pytest.mark.parametrize("kind", [noise, extremes])
def test_no_sum_is_further_off_than_what_is_called_doubt(length, new_length, kind):
    axis = resampling_axis(length, new_length, 0, new_length)
    values = kind(3, 200, length)[..., axis.start : axis.stop].astype(np.float32)
    found, exact = np.empty((3, 200, new_length), np.float32), np.empty((3, 200, new_length))
    resampling._multiply(values, axis, found)
    resampling._multiply(values.astype(np.float64), axis, exact)
    assert 0 < np.abs(found - exact).max() < axis.doubt < HALF_A_BYTE


def test_threads_do_not_write_into_one_anothers_memory():
    images = [noise(40 + 9 * seed, 200 - 7 * seed, 3, seed=seed) for seed in range(12)] * 4
    with ThreadPoolExecutor(4) as pool:
        for image, found in zip(images, pool.map(lambda image: ours(image, (33, 35)), images), strict=True):
            np.testing.assert_array_equal(found, by_pillow(image, (33, 35)))


def test_no_input_is_read_that_no_wanted_output_is_made_of():
    axis = resampling_axis(1000, 100, 40, 60)
    assert (axis.start, axis.stop) == (385, 615)  # two outputs' width beyond the outermost centers
    assert axis.outputs == 20
    assert (axis.starts.tolist(), axis.stops.tolist()) == ([0, 160], [190, 230])
    np.testing.assert_allclose(axis.weights.sum(axis=1).ravel()[:20], 1, atol=ROUNDING)
    assert not axis.weights[1, 70:].any()
    assert not axis.weights[1, :, 4:].any()


@pytest.fixture
def unchecked():
    """The check of Pillow runs again, and once more after the test."""
    resampling._checked_with_pillow.cache_clear()
    yield
    resampling._checked_with_pillow.cache_clear()


def test_a_pillow_that_always_goes_along_first_is_followed(monkeypatch, unchecked):
    def along_first(picture, size, resample):
        return PILLOW(PILLOW(picture, (size[0], picture.height), resample), size, resample)

    monkeypatch.setattr(Image.Image, "resize", along_first)
    image = noise(90, 30, 3)
    assert goes_down_first(image.shape[:2], (20, 25)) is False
    np.testing.assert_array_equal(resize(image, (20, 25), BICUBIC), by_pillow(image, (20, 25)))


def test_a_pillow_that_goes_down_first_where_the_height_shrinks_most_is_followed(monkeypatch, unchecked):
    def down_first(picture, size, resample):
        along, down = picture.width - size[0], picture.height - size[1]
        between = (picture.width, size[1]) if down > 0 and down > 2 * along else (size[0], picture.height)
        return PILLOW(PILLOW(picture, between, resample), size, resample)

    monkeypatch.setattr(Image.Image, "resize", down_first)
    image = noise(90, 30, 3)
    assert goes_down_first(image.shape[:2], (20, 25)) is True
    assert goes_down_first((90, 90), (20, 55)) is False  # 70 is not more than twice 35
    np.testing.assert_array_equal(resize(image, (20, 25), BICUBIC), by_pillow(image, (20, 25)))


def test_a_pillow_with_other_numbers_does_the_work_itself(monkeypatch, unchecked):
    def other(picture, size, resample):
        return PILLOW(picture, size, Image.Resampling.LANCZOS)

    monkeypatch.setattr(Image.Image, "resize", other)
    image = noise(90, 30, 3)
    assert goes_down_first(image.shape[:2], (20, 25)) is None
    np.testing.assert_array_equal(resize(image, (20, 25), BICUBIC), by_pillow(image, (20, 25)))
    np.testing.assert_array_equal(
        resize(image, (20, 25), BICUBIC, middle=(10, 9)), by_pillow(image, (20, 25))[5:15, 8:17]
    )
