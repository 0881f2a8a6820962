"""The images and texts of the verification: reproducible, and able to expose faults."""

from __future__ import annotations

import numpy as np
import pytest

from clip_core.images.processor import CLIPImageProcessor
from clip_core.tokenization.fast import CLIPTokenizerFast
from converters.verification.inputs import DRAWN, TEXTS, Preprocessing, drawn_texts, inputs_for, sample_images
from support.configs import tiny_config
from support.vocabulary import EOS, TOKENS, write_vocabulary

SILENT = Preprocessing("silent/", None, None)


@pytest.fixture
def config():
    return tiny_config({"vocab_size": len(TOKENS), "eos_token_id": EOS}, {"num_channels": 3})


@pytest.fixture
def own(tmp_path):
    processor = CLIPImageProcessor(size={"height": 30, "width": 30}, do_center_crop=False)
    return Preprocessing("own/", processor, CLIPTokenizerFast(**write_vocabulary(tmp_path)))


def test_pictures_are_the_same_each_time_and_one_is_blank():
    first, again = ([np.asarray(picture) for picture in sample_images()] for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))
    assert len(first) == len(TEXTS)
    assert len({one.shape for one in first}) == len(first)
    assert [one.std(axis=(0, 1)).max() == 0 for one in first] == [False, False, True, False]


@pytest.mark.parametrize("return_tensors", ["np", "pt", "tf", "jax"])
def test_arrays_are_the_same_by_way_of_every_framework(config, own, return_tensors):
    inputs = inputs_for("CLIPModel", config, [own], config)
    found, plain = inputs.arrays(return_tensors), inputs.arrays("np")
    assert list(found) == ["pixel_values", "input_ids", "attention_mask"]
    for name, array in found.items():
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, plain[name])
    ids, mask = found["input_ids"], found["attention_mask"]
    assert ids.shape == (4, config.text_config.max_position_embeddings)  # the longest is truncated
    assert ids[-1, -1] == EOS
    assert mask[0].sum() < mask[1].sum() <= mask[-1].sum() == ids.shape[1]


@pytest.mark.parametrize(
    ("class_name", "names"),
    [
        ("CLIPModel", ["pixel_values", "input_ids", "attention_mask"]),
        ("CLIPTextModelWithProjection", ["input_ids", "attention_mask"]),
        ("CLIPVisionModel", ["pixel_values"]),
        ("CLIPForImageClassification", ["pixel_values"]),
    ],
)
def test_a_class_gets_what_it_takes(config, own, class_name, names):
    for preprocessing in (own, SILENT):
        part = config
        if class_name in {"CLIPTextModelWithProjection", "CLIPVisionModel"}:
            part = config.text_config if "Text" in class_name else config.vision_config
        assert list(inputs_for(class_name, part, [preprocessing], part).arrays("np")) == names


def test_missing_preprocessing_is_taken_from_the_next_or_drawn(config, own):
    assert inputs_for("CLIPModel", config, [SILENT, own], config).origin == {
        "pixel_values": "own/",
        "input_ids": "own/",
    }
    half = Preprocessing("half/", own.image_processor, None)
    inputs = inputs_for("CLIPModel", config, [half, SILENT], config)
    assert inputs.origin == {"pixel_values": "half/", "input_ids": DRAWN}
    assert inputs.arrays("np")["pixel_values"].shape == (4, 3, 30, 30)


@pytest.mark.parametrize("eos", [2, 17, len(TOKENS) - 1])
def test_drawn_texts_end_in_the_token_that_the_model_pools_at(eos):
    config = tiny_config({"vocab_size": len(TOKENS), "eos_token_id": eos}).text_config
    found = drawn_texts(config)
    ids, mask = found["input_ids"], found["attention_mask"]
    pooled = ids.argmax(axis=-1) if eos == 2 else (ids == eos).argmax(axis=-1)  # 2 stands for the largest id
    assert list(pooled + 1) == list(mask.sum(axis=-1))
    assert len(set(pooled)) == len(TEXTS)
    assert ids.max() < config.vocab_size
