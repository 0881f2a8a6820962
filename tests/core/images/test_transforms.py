"""Each step against Pillow and against explicit arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from clip_core.images.transforms import (
    byte_table,
    center_crop,
    check_channel_format,
    from_channels_last,
    infer_channel_format,
    look_up,
    normalize,
    rescale,
    resize,
    resized_shape,
    to_channels_last,
)
from support.messages import naming
from support.tolerances import ROUNDING_BELOW_ONE


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


edges = st.integers(1, 5000)


@given(edges, edges, st.integers(1, 1000))
def test_the_shortest_edge_becomes_what_is_asked_and_the_other_keeps_the_proportion_rounded_down(height, width, size):
    new_height, new_width = resized_shape(height, width, {"shortest_edge": size})
    assert min(new_height, new_width) == size
    assert (new_height >= new_width) == (height >= width) or new_height == new_width
    exact = size * max(height, width) / min(height, width)
    assert max(new_height, new_width) == int(exact)


def test_height_and_width_are_taken_as_they_are():
    assert resized_shape(10, 20, {"height": 7, "width": 3}) == (7, 3)


@pytest.mark.parametrize("size", [{"longest_edge": 5}, {"max_height": 5, "max_width": 5}])
def test_a_size_that_means_nothing_to_clip_is_an_error(size):
    with pytest.raises(ValueError, match=naming(f"size={size}", "'shortest_edge'", "'height'", "'width'")):
        resized_shape(10, 20, size)


@pytest.mark.parametrize("resample", list(Image.Resampling))
@pytest.mark.parametrize("shape", [(224, 300), (40, 30), (31, 57), (500, 3)])
def test_bytes_are_resized_to_the_bit_as_pillow_does(resample, shape):
    image = noise(61, 83, 3)
    expected = np.asarray(Image.fromarray(image).resize((shape[1], shape[0]), resample))
    np.testing.assert_array_equal(resize(image, shape, resample), expected)
    np.testing.assert_array_equal(resize(Image.fromarray(image), shape, resample), expected)
    np.testing.assert_array_equal(resize(image.astype(np.float64), shape, int(resample)), expected)


@pytest.mark.parametrize("resample", [2, 3])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("middle", [(7, 11), (31, 40), (64, 9), (1, 1)])
def test_the_middle_alone_is_what_cropping_would_leave_or_as_much_as_there_is(resample, channels, middle):
    image = noise(61, 83, channels)
    whole = resize(image, (31, 57), resample)
    found = resize(image, (31, 57), resample, middle=middle)
    assert found.shape == (min(31, middle[0]), min(57, middle[1]), channels)
    np.testing.assert_array_equal(center_crop(found, middle), center_crop(whole, middle))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_channels_stay(channels):
    assert resize(noise(9, 8, channels), (4, 5), 3).shape == (4, 5, channels)


def test_unit_floats_are_cut_to_256_levels_and_come_back_between_0_and_1():
    image = np.random.default_rng(0).random((20, 30, 3))
    levels = np.floor(image * 255).astype(np.uint8)
    expected = np.asarray(Image.fromarray(levels).resize((12, 8), 3)) / 255
    found = resize(image, (8, 12), 3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=ROUNDING_BELOW_ONE)


@pytest.mark.parametrize(
    "image",
    [
        np.full((4, 4, 3), -1),
        np.full((4, 4, 3), 256),
        np.full((4, 4, 3), 0.5) + np.eye(4)[..., None],
        np.full((4, 4, 3), np.nan),
        np.full((4, 4, 3), np.inf),
    ],
)
def test_values_that_pillow_cannot_hold_are_an_error_that_tells_their_range(image):
    with pytest.raises(ValueError, match=naming(image.min(), image.max(), "do_resize=False")):
        resize(image, (2, 2), 3)


def test_more_than_four_channels_cannot_be_resized():
    with pytest.raises(ValueError, match=naming(5, "Pillow", 1, 4)):
        resize(noise(4, 4, 5), (2, 2), 3)


@pytest.mark.parametrize(
    ("length", "crop", "expected"),
    [
        (6, 2, [3, 4]),
        (7, 4, [2, 3, 4, 5]),  # of three that go, one off the start
        (7, 2, [3, 4]),
        (3, 3, [1, 2, 3]),
        (2, 3, [0, 1, 2]),  # of one that comes, one at the start
        (2, 5, [0, 0, 1, 2, 0]),
        (1, 4, [0, 0, 1, 0]),
    ],
)
def test_the_middle_is_cut_out_and_what_is_missing_is_zero(length, crop, expected):
    row = np.arange(1, length + 1)
    np.testing.assert_array_equal(center_crop(row[:, None, None], (crop, 1))[:, 0, 0], expected)
    np.testing.assert_array_equal(center_crop(row[None, :, None], (1, crop))[0, :, 0], expected)


@given(st.tuples(*[st.integers(1, 12)] * 4))
def test_a_crop_has_the_size_asked_for_and_keeps_the_dtype(sizes):
    height, width, crop_height, crop_width = sizes
    cropped = center_crop(noise(height, width, 2), (crop_height, crop_width))
    assert (cropped.shape, cropped.dtype) == ((crop_height, crop_width, 2), np.uint8)


def test_rescaling_is_done_in_double_precision_and_gives_single():
    values = np.arange(256, dtype=np.uint8)
    found = rescale(values, 1 / 255)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.float32([value * (1 / 255) for value in range(256)]))


@pytest.mark.parametrize(
    ("dtype", "expected"), [(np.uint8, np.float32), (np.int64, np.float32), (np.float16,) * 2, (np.float64,) * 2]
)
def test_normalising_keeps_floating_dtypes(dtype, expected):
    image = np.arange(12).reshape(2, 2, 3).astype(dtype)
    found = normalize(image, [1, 2, 3], [2, 4, 8])
    assert found.dtype == expected
    np.testing.assert_array_equal(found, (np.arange(12).reshape(2, 2, 3) - [1, 2, 3]) / [2, 4, 8])
    np.testing.assert_array_equal(normalize(image, 1, 2), (np.arange(12).reshape(2, 2, 3) - 1) / 2)


def test_there_must_be_a_mean_and_a_deviation_for_each_channel():
    with pytest.raises(ValueError, match=naming(1, "image_mean", 3)):
        normalize(noise(2, 2, 1), [1, 2, 3], 1)
    with pytest.raises(ValueError, match=naming(4, "image_std", 1)):
        normalize(noise(2, 2, 4), 1, [1])


@given(st.integers(1, 5), st.integers(0, 9))
def test_looking_bytes_up_gives_to_the_bit_what_the_function_does(channels, seed):
    rng = np.random.default_rng(seed)
    mean, std = rng.random(channels).tolist(), (rng.random(channels) + 0.1).tolist()
    image = noise(7, 9, channels, seed=seed)

    def function(pixels):
        return normalize(rescale(pixels, 1 / 255), mean, std)

    found = look_up(byte_table(function, channels), image)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, function(image))
    assert found.transpose(2, 0, 1).flags.c_contiguous


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 9, 8), "channels_first"),
        ((1, 9, 8), "channels_first"),
        ((9, 8, 3), "channels_last"),
        ((9, 3, 1), "channels_last"),
        ((9, 8), "channels_last"),
        ((3, 3), "channels_last"),
    ],
)
def test_channels_are_where_there_are_1_or_3(shape, expected):
    assert infer_channel_format(shape) == expected


def test_channels_on_either_side_are_taken_to_be_first_with_a_warning():
    with pytest.warns(UserWarning, match=naming((3, 20, 3), "'channels_first'", "'channels_last'")):
        assert infer_channel_format((3, 20, 3)) == "channels_first"


@pytest.mark.parametrize("shape", [(4, 9, 8), (9, 8, 4), (2, 3, 2)])
def test_channels_on_neither_side_are_an_error_that_says_what_to_pass(shape):
    with pytest.raises(ValueError, match=naming(shape, "input_data_format='channels_first'", "'channels_last'")):
        infer_channel_format(shape)


def test_the_layout_goes_there_and_back():
    image = noise(3, 4, 5)
    assert to_channels_last(image, "channels_first").shape == (4, 5, 3)
    assert to_channels_last(image, "channels_last").shape == (3, 4, 5)
    assert to_channels_last(image[0], "channels_first").shape == (4, 5, 1)
    for layout in ("channels_first", "channels_last"):
        np.testing.assert_array_equal(from_channels_last(to_channels_last(image, layout), layout), image)


def test_a_layout_may_be_an_enum_or_none_and_must_be_known():
    class Enum:
        value = "channels_last"

    assert check_channel_format(Enum(), "data_format") == "channels_last"
    assert check_channel_format(None, "data_format") is None
    assert check_channel_format("none", "input_data_format") == "channels_last"
    for bad in ("none", "NCHW", 1):
        with pytest.raises(ValueError, match=naming(f"data_format={bad!r}")):
            check_channel_format(bad, "data_format")
