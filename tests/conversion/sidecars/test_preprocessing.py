"""Preprocessing, to and from open_clip's preprocess_cfg and OpenAI's code."""

from __future__ import annotations

import numpy as np
import pytest

from clip_core.images.processor import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD, CLIPImageProcessor
from converters.sidecars.preprocessing import (
    check_openai_preprocessing,
    open_clip_from_preprocessing,
    openai_preprocessing,
    preprocessing_from_open_clip,
)
from support.messages import naming

SQUARE = {"height": 30, "width": 30}
# laion L/14: Inception's numbers. DFN: both sides to the size.
INCEPTION = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic", "resize_mode": "shortest"}
SQUASH = {"mean": OPENAI_CLIP_MEAN, "std": OPENAI_CLIP_STD, "interpolation": "bicubic", "resize_mode": "squash"}
ODD = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear", "resize_mode": "squash"}


@pytest.mark.parametrize("preprocess_cfg", [INCEPTION, SQUASH, ODD])
def test_open_clips_settings_go_there_and_back(preprocess_cfg):
    processor = preprocessing_from_open_clip(preprocess_cfg, 30)
    assert open_clip_from_preprocessing(processor, 30) == preprocess_cfg
    assert processor.image_mean == preprocess_cfg["mean"]
    assert processor.image_std == preprocess_cfg["std"]


def test_squash_makes_both_sides_the_size_and_cuts_nothing_off():
    processor = preprocessing_from_open_clip(SQUASH, 30)
    assert processor.size == SQUARE
    assert not processor.do_center_crop
    picture = np.zeros((20, 90, 3), np.uint8)
    picture[:, 60:] = 255
    pixels = processor(picture, return_tensors="np")["pixel_values"]
    assert pixels.shape == (1, 3, 30, 30)
    assert pixels[0, 0, :, 22:].min() > 0 > pixels[0, 0, :, :18].max()


def test_what_is_left_out_is_as_in_open_clips_code():
    processor = preprocessing_from_open_clip({}, 30)
    assert (processor.image_mean, processor.image_std) == (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
    assert processor.size == {"shortest_edge": 30}
    assert processor.crop_size == SQUARE
    assert processor.resample == 3
    same = preprocessing_from_open_clip({"mean": None, "interpolation": None, "fill_color": 0, "mode": "RGB"}, 30)
    assert same.to_dict() == processor.to_dict()


def test_openais_way_is_open_clips_default():
    assert openai_preprocessing(30).to_dict() == preprocessing_from_open_clip({}, 30).to_dict()
    check_openai_preprocessing(openai_preprocessing(30), 30)


def test_one_number_stands_for_all_channels():
    processor = preprocessing_from_open_clip({"mean": 0.5, "std": 0.25}, 30)
    assert processor.image_mean == [0.5] * 3
    assert processor.image_std == [0.25] * 3
    assert (
        open_clip_from_preprocessing(CLIPImageProcessor(size=30, crop_size=30, image_mean=0.5), 30)["mean"] == [0.5] * 3
    )


@pytest.mark.parametrize(
    ("preprocess_cfg", "named"),
    [
        ({"resize_mode": "longest"}, ["preprocess_cfg.resize_mode", "'longest'", "'shortest'", "'squash'"]),
        ({"interpolation": "nearest"}, ["preprocess_cfg.interpolation", "'nearest'", "bilinear"]),
        ({"crop_pct": 0.9}, ["preprocess_cfg", "crop_pct"]),
        ({"mode": "L"}, ["preprocess_cfg.mode", "'L'"]),
        ({"mean": "grey"}, ["preprocess_cfg.mean", "'grey'"]),
        ({"std": [0.5, 0.5]}, ["preprocess_cfg.std", [0.5, 0.5]]),
        ({"std": [0.5, 0.0, 0.5]}, ["preprocess_cfg.std", [0.5, 0.0, 0.5]]),
    ],
)
def test_what_no_image_processor_can_do_is_refused_by_field(preprocess_cfg, named):
    with pytest.raises(ValueError, match=naming(*named)):
        preprocessing_from_open_clip(preprocess_cfg, 30)


@pytest.mark.parametrize("size", [30, 36, [3, 30, 30], None])
def test_the_size_is_the_models_whatever_the_settings_say(size):
    """As in open_clip's code."""
    assert preprocessing_from_open_clip({"size": size}, 30).size == {"shortest_edge": 30}


def test_a_filter_drawn_at_random_is_bicubic_outside_of_training():
    assert preprocessing_from_open_clip({"interpolation": "random"}, 30).resample == 3
    assert open_clip_from_preprocessing(preprocessing_from_open_clip({}, 30), 30)["interpolation"] == "bicubic"


CANNOT = [
    ({"do_resize": False}, ["do_resize=False"]),
    ({"do_rescale": False}, ["do_rescale=False"]),
    ({"do_normalize": False}, ["do_normalize=False"]),
    ({"rescale_factor": 1 / 128}, ["rescale_factor"]),
    ({"size": {"shortest_edge": 36}}, [30, "size", {"shortest_edge": 36}]),
    ({"do_center_crop": False}, [30, "do_center_crop", False]),
    ({"crop_size": 24}, [30, "crop_size"]),
    ({"resample": 1}, ["open_clip", 1, "resample", 2, 3]),
]


@pytest.mark.parametrize(("changes", "named"), CANNOT)
def test_what_open_clip_cannot_do_is_refused_by_field(changes, named):
    processor = CLIPImageProcessor(**{"size": {"shortest_edge": 30}, "crop_size": 30, **changes})
    with pytest.raises(ValueError, match=naming(*named)):
        open_clip_from_preprocessing(processor, 30)


@pytest.mark.parametrize("crops", [True, False])
def test_a_square_that_is_then_cut_to_itself_is_a_squash_too(crops):
    processor = CLIPImageProcessor(size=SQUARE, crop_size=30, do_center_crop=crops)
    assert open_clip_from_preprocessing(processor, 30)["resize_mode"] == "squash"


def test_everything_that_openais_code_would_do_otherwise_is_in_one_message():
    processor = CLIPImageProcessor(size=SQUARE, crop_size=24, image_mean=[0.5] * 3, resample=2, do_rescale=False)
    with pytest.raises(ValueError, match=naming("OpenAI")) as caught:
        check_openai_preprocessing(processor, 30)
    for field in ("size", "crop_size", "image_mean", "resample", "do_rescale"):
        assert f"{field} is " in str(caught.value)


def test_rounding_in_a_file_is_not_a_difference():
    mean = [round(number, 7) for number in OPENAI_CLIP_MEAN]
    check_openai_preprocessing(CLIPImageProcessor(size=30, crop_size=30, image_mean=mean, do_convert_rgb=False), 30)
