"""The image processor's interface; tests/parity compares its values with the reference."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from clip_core.images.processor import CLIPFeatureExtractor, CLIPImageProcessor
from support.messages import naming
from support.tolerances import ROUNDING

RAW = {"do_rescale": False, "do_normalize": False}


@pytest.fixture
def processor():
    return CLIPImageProcessor(size=16, crop_size=12)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_a_picture_becomes_what_pillow_and_arithmetic_make_of_it():
    picture = Image.fromarray(noise(300, 400, 3))
    cropped = picture.resize((298, 224), Image.Resampling.BICUBIC).crop((37, 0, 261, 224))
    raw = CLIPImageProcessor()(picture, return_tensors="np", data_format="channels_last", **RAW).pixel_values
    np.testing.assert_array_equal(raw[0], np.asarray(cropped))

    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    found = CLIPImageProcessor()(picture, return_tensors="np").pixel_values
    assert (found.shape, found.dtype) == ((1, 3, 224, 224), np.float32)
    np.testing.assert_allclose(found[0].transpose(1, 2, 0), (np.asarray(cropped) / 255 - mean) / std, atol=ROUNDING)


def test_without_tensors_asked_for_there_is_a_list_of_arrays_of_the_callers_own(processor):
    images = [noise(20, 30, 3), noise(30, 20, 3)]
    found = processor(images, do_resize=False, do_center_crop=False, data_format="channels_last").pixel_values
    assert [array.shape for array in found] == [(20, 30, 3), (30, 20, 3)]
    picture = processor(Image.fromarray(images[0]), do_center_crop=False, **RAW).pixel_values[0]
    assert picture.flags.writeable
    assert picture.flags.c_contiguous


@pytest.mark.parametrize(
    ("name", "kind"), [("np", "numpy"), ("pt", "torch"), ("tf", "tensorflow.python.framework.ops"), ("jax", "jaxlib")]
)
def test_tensors_are_of_the_framework_asked_for(processor, name, kind):
    pixel_values = processor(noise(20, 30, 3), return_tensors=name)["pixel_values"]
    assert type(pixel_values).__module__.startswith(kind)
    assert tuple(pixel_values.shape) == (1, 3, 12, 12)


@pytest.mark.parametrize("seed", range(4))
def test_the_same_pixels_come_from_every_kind_of_input(processor, tmp_path, seed):
    image = noise(25, 40, 3, seed=seed)
    Image.fromarray(image).save(tmp_path / "image.png")
    expected = processor(Image.fromarray(image), return_tensors="np").pixel_values
    for same in (
        image,
        image.transpose(2, 0, 1),
        image.astype(np.int64),
        image.astype(np.float32),
        torch.from_numpy(image),
        torch.from_numpy(image).permute(2, 0, 1),
        np.asfortranarray(image),
        tmp_path / "image.png",
        [[str(tmp_path / "image.png")]],
        image[None],
    ):
        np.testing.assert_array_equal(processor(same, return_tensors="np").pixel_values, expected)


def test_attributes_may_be_set_and_a_call_goes_before_them(processor):
    processor.size = {"height": 30, "width": 32}
    processor.do_center_crop = False
    assert processor(noise(9, 8, 3)).pixel_values[0].shape == (3, 30, 32)
    assert processor(noise(9, 8, 3), size=10).pixel_values[0].shape == (3, 11, 10)
    assert processor.preprocess(noise(9, 8, 3), None, None, None, True).pixel_values[0].shape == (3, 12, 12)


def test_the_result_has_the_layout_asked_for_or_that_of_the_input(processor):
    image = noise(20, 30, 3)
    first = processor(image, return_tensors="np").pixel_values
    last = processor(image, return_tensors="np", data_format="channels_last").pixel_values
    np.testing.assert_array_equal(first, last.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(processor(image, data_format=None).pixel_values[0], last[0])
    np.testing.assert_array_equal(processor(image.transpose(2, 0, 1), data_format=None).pixel_values[0], first[0])


@pytest.mark.parametrize("input_data_format", [None, "none"])
def test_an_image_of_two_axes_has_one_channel(processor, input_data_format):
    found = processor([noise(20, 30), noise(9, 8)], image_mean=0.5, image_std=0.5, input_data_format=input_data_format)
    assert [array.shape for array in found.pixel_values] == [(1, 12, 12)] * 2
    same = processor(noise(20, 30, 1), image_mean=0.5, image_std=0.5)
    np.testing.assert_array_equal(found.pixel_values[0], same.pixel_values[0])
    grey = processor(Image.fromarray(noise(20, 30)), do_convert_rgb=False, image_mean=0.5, image_std=0.5)
    np.testing.assert_array_equal(grey.pixel_values[0], same.pixel_values[0])


def test_only_pictures_are_converted_to_rgb(processor):
    rgba = Image.fromarray(noise(20, 30, 4))
    assert processor(rgba).pixel_values[0].shape == (3, 12, 12)
    options = {"input_data_format": "channels_last", "do_normalize": False}
    assert processor(np.asarray(rgba), **options).pixel_values[0].shape == (4, 12, 12)
    assert processor(rgba, do_convert_rgb=False, **options).pixel_values[0].shape == (4, 12, 12)


@pytest.mark.parametrize("shape", [(3, 30), (30, 3), (1, 30), (30, 1), (1, 1), (3, 3), (3, 1), (1, 3), (30, 4)])
def test_a_picture_or_a_file_always_has_its_channels_last(processor, tmp_path, shape):
    picture = Image.fromarray(noise(*shape, 3))
    picture.save(tmp_path / "x.png")
    expected = processor(np.asarray(picture), input_data_format="channels_last").pixel_values[0]
    channels_first = noise(3, 20, 30)
    other = processor(channels_first).pixel_values[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for image in (picture, tmp_path / "x.png", str(tmp_path / "x.png")):
            for given in ({}, {"input_data_format": "channels_first"}, {"input_data_format": "channels_last"}):
                np.testing.assert_array_equal(processor(image, **given).pixel_values[0], expected)
            for num_threads in (1, 2):
                found = processor([channels_first, image, image], num_threads=num_threads).pixel_values
                np.testing.assert_array_equal(found, [other, expected, expected])
                found = processor([image, channels_first], num_threads=num_threads).pixel_values
                np.testing.assert_array_equal(found, [expected, other])


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA"])
def test_a_picture_kept_in_its_mode_has_its_channels_last_too(processor, mode):
    picture = Image.new(mode, (5, 3), {"L": 9, "LA": (9, 255), "RGBA": (9, 8, 7, 255)}[mode])
    found = processor(picture, do_convert_rgb=False, **RAW).pixel_values[0]
    assert found.shape == (len(picture.getbands()), 12, 12)
    np.testing.assert_array_equal(found[:, 0, 0], np.ravel(picture.getpixel((0, 0))))


def test_a_resized_picture_of_height_3_is_the_one_of_pillow(processor):
    picture = Image.fromarray(noise(3, 30, 3))
    found = processor(picture, **RAW).pixel_values[0]
    expected = np.asarray(picture.resize((160, 16), Image.Resampling.BICUBIC))[2:14, 74:86]
    np.testing.assert_array_equal(found.transpose(1, 2, 0), expected)


def test_an_array_of_height_3_is_ambiguous_unless_its_layout_is_given(processor):
    array = noise(3, 30, 3)
    with pytest.warns(UserWarning, match=naming((3, 30, 3), "input_data_format='channels_last'")) as caught:
        processor(array)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("values", [np.float32([0, 0.5, 1]), np.float64([0, 0.25, 0.5]), np.array([0, 1, 1])])
def test_values_that_seem_rescaled_already_bring_a_warning(processor, values):
    image = np.broadcast_to(values, (20, 30, 3))
    with pytest.warns(UserWarning, match=naming("do_rescale=False")):
        processor([image, image])
    processor(image, do_rescale=False)
    processor(image.astype(np.uint8))
    processor(image * 200 if image.max() > 0.5 else image * 400)


def test_unknown_keywords_bring_a_warning_that_names_them(processor):
    with pytest.warns(UserWarning, match=naming("device", "do_pad")):
        processor(noise(9, 8, 3), do_pad=True, device="cpu")


def test_any_number_of_threads_gives_the_same(processor):
    images = [noise(20 + seed, 30, 3, seed=seed) for seed in range(5)]
    expected = np.stack([processor(image).pixel_values[0] for image in images])
    for num_threads in (None, 1, 3):
        found = processor(images, return_tensors="np", num_threads=num_threads).pixel_values
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match=naming("num_threads=0", 1)):
        processor(images, num_threads=0)


@pytest.mark.parametrize("images", [[], [[]], ()])
def test_there_must_be_an_image(processor, images):
    with pytest.raises(ValueError, match=naming("images")):
        processor(images)


def test_a_bad_image_is_named_by_its_place(processor, tmp_path):
    good = Image.new("RGB", (9, 8))
    with pytest.raises(ValueError, match=naming("images[1]", 1, "image_mean", 3)):
        processor([noise(9, 8, 3), noise(9, 8, 1)])
    with pytest.raises(ValueError, match=naming("images[0][1]", 0, 8)):
        processor([[good, Image.new("RGB", (0, 8))]])
    with pytest.raises(ValueError, match=naming("images[1]", "-1.0", "7.0")):
        processor([noise(9, 8, 3), np.full((9, 8, 3), 7.0) - 8 * np.eye(8)[[0] * 9, :, None]])
    with pytest.raises(TypeError, match=naming("images[1]", "NoneType")):
        processor([good, None])
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=naming("images[1]", tmp_path / "text.png", "Pillow")):
        processor([good, tmp_path / "text.png"])


def test_a_picture_that_breaks_off_or_was_closed_is_named(processor, tmp_path):
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-2000])
    with Image.open(tmp_path / "cut.png") as picture, pytest.raises(ValueError, match=naming("images[1]", "truncated")):
        processor([Image.new("RGB", (9, 8)), picture])
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "whole.png")
    with Image.open(tmp_path / "whole.png") as picture:
        pass
    with pytest.raises(ValueError, match=naming("images[0]", "closed")):
        processor([picture])


def test_images_that_come_out_in_different_sizes_make_no_tensor(processor):
    images = [noise(9, 8, 3), [noise(20, 30, 3)]]
    assert len(processor(images, do_center_crop=False).pixel_values) == 2
    with pytest.raises(ValueError, match=naming("images[0]", (3, 18, 16), "images[1][0]", (3, 16, 24))):
        processor(images, do_center_crop=False, return_tensors="np")


def test_bad_arguments_are_named_before_any_image_is_looked_at(processor):
    for argument in ("data_format", "input_data_format", "return_tensors", "size", "crop_size", "resample"):
        with pytest.raises(ValueError, match=naming(f"{argument}='bad'")):
            processor(["no such file"], **{argument: "bad"})


def test_the_old_name_warns_and_writes_the_new_one():
    with pytest.warns(FutureWarning, match=naming("CLIPFeatureExtractor", "CLIPImageProcessor")):
        old = CLIPFeatureExtractor(size=20)
    assert isinstance(old, CLIPImageProcessor)
    assert old.to_dict() == CLIPImageProcessor(size=20).to_dict()


def test_a_subclass_can_ask_for_the_keywords_of_its_own_preprocess():
    class Mine(CLIPImageProcessor):
        def preprocess(self, images, contrast=1, **kwargs):
            return self._valid_processor_keys

    assert Mine()(None) == ["images", "contrast"]
    assert {"images", "do_resize", "input_data_format"} <= set(CLIPImageProcessor()._valid_processor_keys)


def test_defaults_are_not_shared_between_processors():
    CLIPImageProcessor().image_mean[0] = 7
    assert CLIPImageProcessor().image_mean[0] != 7
    assert CLIPImageProcessor.model_input_names == ["pixel_values"]
    assert not CLIPImageProcessor.is_fast
