"""The further inputs of the verification are what their names say, and each finds a fault that the main ones miss."""

from __future__ import annotations

import numpy as np
import pytest

import clip_torch.plan
import clip_torch.text
import clip_torch.vision
from clip_core.modeling.trimming import hides_what_is_read, lengths_to_read, pooled_positions
from converters.verification.reference import IGNORED_LABEL, eos_positions
from converters.verification.variants import first_without_eos, labels, padded_otherwise, resized, variants
from converters.verification.verify import verify
from support.checkpoints import save_checkpoint
from support.configs import EOS_TOKEN_ID, SHALLOW, pixel_values, tiny_config, token_ids
from support.entries import part_of

EVERY = ["padding", "positions", "size", "dtypes"]
BOTH = ["reference", "torch"]


def main_inputs(class_name):
    ids, mask = token_ids()
    texts = {} if "Vision" in class_name or "Image" in class_name else {"input_ids": ids, "attention_mask": mask}
    return texts if "Text" in class_name else {"pixel_values": pixel_values(4), **texts}


@pytest.mark.parametrize(
    ("class_name", "names"),
    [
        ("CLIPModel", EVERY),
        ("CLIPTextModel", ["padding", "positions", "dtypes"]),
        ("CLIPVisionModelWithProjection", ["size", "dtypes"]),
        ("CLIPForImageClassification", ["labels", "targets", "size", "dtypes"]),
    ],
)
def test_a_class_gets_the_variants_of_what_it_takes(class_name, names):
    config = part_of(tiny_config(num_labels=3), class_name)
    inputs = main_inputs(class_name)
    found = variants(class_name, config, inputs)
    assert list(found) == names
    for own in found.values():
        assert own.keys() - {"position_ids", "interpolate_pos_encoding", "labels"} <= inputs.keys()


def test_rows_are_padded_left_with_holes_and_whole():
    ids, mask = token_ids()
    length = int(mask[0].sum())
    assert length < ids.shape[1]
    found = padded_otherwise(ids, mask)
    assert list(found["attention_mask"][0]) == [0] * (ids.shape[1] - length) + [1] * length
    np.testing.assert_array_equal(found["input_ids"][0, -length:], ids[0, :length])
    holes = found["attention_mask"][1]
    assert 0 < holes.sum() < mask[1].sum()
    assert holes[: int(mask[1].sum())].min() == 0  # within the text
    assert found["attention_mask"][2].sum() == 0
    np.testing.assert_array_equal(found["attention_mask"][-1], mask[-1])
    assert {name: (array.shape, array.dtype) for name, array in found.items()} == {
        "input_ids": (ids.shape, ids.dtype),
        "attention_mask": (mask.shape, mask.dtype),
    }


@pytest.mark.parametrize("eos_token_id", [EOS_TOKEN_ID, 2])  # 2 pools at the largest id
def test_the_first_text_has_no_eos(eos_token_id):
    ids, _ = token_ids()
    text = tiny_config({"eos_token_id": eos_token_id}).text_config
    found = first_without_eos(ids, text)
    assert EOS_TOKEN_ID not in found[0]
    np.testing.assert_array_equal((found[0] == np.roll(ids[0], 1)), np.roll(ids[0], 1) != EOS_TOKEN_ID)
    np.testing.assert_array_equal(found[1:], ids[1:])
    assert (eos_positions(text, found)[0] == 0) == (eos_token_id == EOS_TOKEN_ID)


def test_a_text_keeps_its_eos_if_a_checkpoint_rejects_one_without(tmp_path):
    save_checkpoint(tmp_path, tiny_config({**SHALLOW["text"], "missing_eos": "error"}), "CLIPTextModel")
    result = verify(tmp_path, backends=BOTH, own_processes=False)
    assert result.passed
    assert "positions: text.pooled" in {comparison.stage for comparison in result.comparisons}


def test_as_many_texts_as_images_or_not():
    found = variants("CLIPModel", tiny_config(), main_inputs("CLIPModel"))
    counts = {name: (len(own["input_ids"]), len(own["pixel_values"])) for name, own in found.items()}
    assert counts == {"padding": (4, 4), "positions": (3, 2), "size": (2, 2), "dtypes": (2, 2)}


def test_features_of_few_texts_are_read_in_part_with_and_without_a_mask():
    config = tiny_config()
    found = variants("CLIPModel", config, main_inputs("CLIPModel"))
    for variant in ("size", "dtypes"):
        ids, mask = found[variant]["input_ids"], found[variant].get("attention_mask")
        pooled_at = pooled_positions(ids, config.text_config)
        lengths = lengths_to_read(ids, pooled_at, mask, config.text_config)
        assert lengths is not None
        assert lengths.max() < ids.shape[1]
        assert (variant == "dtypes") == (mask is not None)
        assert mask is None or hides_what_is_read(mask, lengths)


@pytest.mark.parametrize(("image_size", "patch_size"), [(30, 6), (33, 8), (8, 8), (24, 1)])
def test_another_size_has_another_number_of_rows_and_columns(image_size, patch_size):
    pixels = np.random.default_rng(0).standard_normal((2, 3, image_size, image_size)).astype(np.float32)
    found = resized(pixels, image_size, patch_size)
    (height, width), side = found.shape[2:], image_size // patch_size
    assert height // patch_size == side + 1
    assert width // patch_size == max(side - 1, 1)
    assert (height % patch_size, width % patch_size) == (patch_size // 2, patch_size // 2)  # cut off by the model
    np.testing.assert_array_equal(found[:, :, :image_size, :image_size], pixels[:, :, :height, :width])


@pytest.mark.parametrize(
    ("count", "problem_type", "shape", "kind"),
    [
        (3, None, (2,), "i"),
        (1, None, (2,), "f"),
        (4, "regression", (2, 4), "f"),
        (4, "multi_label_classification", (2, 4), "f"),
        (4, "single_label_classification", (2,), "i"),
    ],
)
def test_labels_are_of_the_kind_that_the_classifier_learns(count, problem_type, shape, kind):
    found = labels(tiny_config(num_labels=count, problem_type=problem_type), 2)
    assert (found.shape, found.dtype.kind) == (shape, kind)
    assert (found.min() == IGNORED_LABEL) == (kind == "i")


def _transposed(interpolated):
    return lambda self, height, width: interpolated(self, width, height)


def _without_positions(forward):
    return lambda self, ids, positions=None, *rest: forward(self, ids, None, *rest)


def _last_without_eos(eos_positions):
    return lambda self, ids: eos_positions(self, ids) - 1 * (ids != EOS_TOKEN_ID).all(dim=-1)


VISION_EMBEDDINGS = clip_torch.vision.CLIPVisionEmbeddings
# The class and the first stage that differs, of each fault.
FAULTS = {
    ("CLIPModel", "size: vision.embeddings"): (VISION_EMBEDDINGS, "interpolated_positions", _transposed),
    ("CLIPModel", "positions: text.embeddings"): (clip_torch.text.CLIPTextEmbeddings, "forward", _without_positions),
    ("CLIPModel", "positions: text.pooled"): (clip_torch.text.CLIPTextTransformer, "eos_positions", _last_without_eos),
    ("CLIPModel", "padding: text_features"): (clip_torch.text, "hides_what_is_read", lambda _: lambda *_: False),
    ("CLIPForImageClassification", "size: vision.embeddings"): (
        VISION_EMBEDDINGS,
        "interpolated_positions",
        _transposed,
    ),
}


@pytest.mark.parametrize(("class_name", "stage"), FAULTS)
def test_a_fault_beyond_the_main_inputs_is_found_by_its_variant(class_name, stage, tmp_path, monkeypatch):
    save_checkpoint(tmp_path, tiny_config(), class_name)
    assert verify(tmp_path, backends=BOTH, own_processes=False).passed
    place, name, fault = FAULTS[class_name, stage]
    monkeypatch.setattr(place, name, fault(getattr(place, name)))
    result = verify(tmp_path, backends=BOTH, own_processes=False)
    assert result.first_drift == stage
    assert result.suspect is None  # it might be the reference
