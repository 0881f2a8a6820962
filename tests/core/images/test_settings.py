"""Arguments are checked when needed, and applied in order."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from clip_core.images.settings import ARGUMENTS, settings_of, size_dict
from support.messages import naming
from support.tolerances import ROUNDING

PROCESSOR = SimpleNamespace(
    do_resize=True,
    size=6,
    resample=3,
    do_center_crop=True,
    crop_size=4,
    do_rescale=True,
    rescale_factor=1 / 255,
    do_normalize=True,
    image_mean=[0.1, 0.2, 0.3],
    image_std=[0.4, 0.5, 0.6],
    do_convert_rgb=True,
)


def settings(**given):
    return settings_of(PROCESSOR, given)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ({"shortest_edge": 5}, {"shortest_edge": 5}),
        ({"height": 5, "width": 6}, {"height": 5, "width": 6}),
        ({"shortest_edge": 5, "longest_edge": 9}, {"shortest_edge": 5, "longest_edge": 9}),
        ({"shortest_edge": 5, "longest_edge": None}, {"shortest_edge": 5}),
        ((5, 6), {"height": 5, "width": 6}),
        ([5, 6], {"height": 5, "width": 6}),
        (np.int64(5), {"shortest_edge": 5}),
    ],
)
def test_a_size_may_be_written_in_many_ways(size, expected):
    assert size_dict(size, "size", square=False) == expected


def test_one_number_is_the_shortest_edge_or_both():
    assert size_dict(5, "size", square=False) == {"shortest_edge": 5}
    assert size_dict(5, "crop_size", square=True) == {"height": 5, "width": 5}


@pytest.mark.parametrize(
    "size", [0, -3, 5.5, "224", None, (1, 2, 3), (1,), {}, {"height": 5}, {"edge": 5}, {"shortest_edge": "5"}, (4, 0)]
)
def test_what_is_no_size_is_named(size):
    with pytest.raises(ValueError, match=naming(f"crop_size={size!r}", "'shortest_edge'")):
        size_dict(size, "crop_size", square=True)


def test_what_is_given_goes_before_the_attributes():
    assert settings(size=9).size == {"shortest_edge": 9}
    assert settings(size=None).size == {"shortest_edge": 6}
    assert settings(do_resize=False).do_resize is False
    assert set(ARGUMENTS) == set(vars(PROCESSOR))


@pytest.mark.parametrize(
    ("argument", "value", "step", "named"),
    [
        ("resample", 9, "do_resize", ["resample=9", "Pillow", 0]),
        ("resample", "bicubic", "do_resize", ["resample='bicubic'", "Pillow"]),
        (
            "crop_size",
            {"shortest_edge": 5},
            "do_center_crop",
            ["crop_size={'shortest_edge': 5}", "'height'", "'width'"],
        ),
    ],
)
def test_an_argument_is_checked_where_its_step_is_wanted(argument, value, step, named):
    with pytest.raises(ValueError, match=naming(*named)):
        settings(**{argument: value})
    assert getattr(settings(**{argument: value, step: False}), step) is False


@pytest.mark.parametrize("argument", ["resample", "rescale_factor", "image_mean", "image_std"])
def test_an_argument_that_a_step_needs_must_be_there(argument):
    without = SimpleNamespace(**{**vars(PROCESSOR), argument: None})
    with pytest.raises(ValueError, match=naming(f"{argument}=None") + ".*do_[a-z_]+=True"):
        settings_of(without, {})


def test_the_steps_go_one_after_another():
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    resized = Image.fromarray(image).resize((8, 6), Image.Resampling.BICUBIC)
    cropped = np.asarray(resized.crop((2, 1, 6, 5)))
    expected = (cropped / 255 - [0.1, 0.2, 0.3]) / [0.4, 0.5, 0.6]
    found = settings().apply(image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=ROUNDING)
    np.testing.assert_array_equal(settings().apply(Image.fromarray(image)), found)


def test_a_step_that_is_not_wanted_is_left_out():
    image = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    none = {"do_resize": False, "do_center_crop": False, "do_rescale": False, "do_normalize": False}
    np.testing.assert_array_equal(settings(**none).apply(image), image)
    assert settings(**{**none, "do_rescale": True}).apply(image).max() <= 1
    assert settings(**{**none, "do_center_crop": True}).apply(image).shape == (4, 4, 3)
    assert settings(**{**none, "do_resize": True}).apply(image).shape == (6, 8, 3)
    found = settings(**{**none, "do_normalize": True}).apply(image)
    np.testing.assert_allclose(found, (image - np.array([0.1, 0.2, 0.3])) / [0.4, 0.5, 0.6], rtol=ROUNDING)
