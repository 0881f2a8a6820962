"""The further inputs of the verification are what their names say, and each finds a fault that the main ones miss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import clip_torch.plan
import clip_torch.text
import clip_torch.vision
from clip_core.modeling.trimming import hides_what_is_read, lengths_to_read, pooled_positions
from converters.verification.reference import IGNORED_LABEL, eos_positions
from converters.verification.variants import first_without_eos, labels, other_grid, padded_otherwise, variants
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
        ("CLIPTextModel", ["padding", "positions", "unmasked", "dtypes"]),
        ("CLIPVisionModelWithProjection", ["height", "size", "dtypes"]),
        ("CLIPForImageClassification", ["height", "size", "dtypes", "labels", "targets"]),
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


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPTextModelWithProjection"])
def test_masks_come_in_several_dtypes_and_texts_without_one(class_name):
    inputs = main_inputs(class_name)
    found = variants(class_name, part_of(tiny_config(), class_name), inputs)
    masks = [own["attention_mask"] for own in (inputs, *found.values()) if "attention_mask" in own]
    assert {mask.dtype for mask in masks} == {np.dtype(name) for name in ("int64", "int32", "float32", "bool")}
    assert all(mask.min() == 0 for mask in masks)
    assert {mask.max() for mask in masks} == {1, 0.5}
    assert len(masks) == len(found)  # all but one have a mask


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPVisionModel"])
def test_images_come_in_several_dtypes(class_name):
    inputs = main_inputs(class_name)
    found = variants(class_name, part_of(tiny_config(), class_name), inputs)
    dtypes = {own["pixel_values"].dtype for own in (inputs, *found.values())}
    assert dtypes == {np.dtype(name) for name in ("float16", "float32", "float64")}


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
    assert counts == {"padding": (4, 4), "positions": (3, 2), "size": (2, 2), "dtypes": (1, 2)}


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


@pytest.mark.parametrize(
    ("image_size", "patch_size", "class_name"),
    [
        (30, 6, "CLIPModel"),
        (32, 8, "CLIPVisionModel"),
        (8, 8, "CLIPVisionModelWithProjection"),
        (24, 1, "CLIPForImageClassification"),
    ],
)
def test_images_of_another_size_differ_in_both_sides_and_in_each_alone(image_size, patch_size, class_name):
    config = tiny_config({}, {"image_size": image_size, "patch_size": patch_size})
    pixels = np.random.default_rng(0).standard_normal((2, 2, image_size, image_size)).astype(np.float32)
    inputs = {**main_inputs(class_name), "pixel_values": pixels}
    found = variants(class_name, part_of(config, class_name), inputs)
    side = image_size // patch_size
    height = (side + 1) * patch_size + patch_size // 2  # the partial patches are cut off by the model
    width = max(side - 1, 1) * patch_size + patch_size // 2
    taller = "positions" if class_name == "CLIPModel" else "height"
    rows, columns = other_grid(side)
    grid = rows * patch_size, columns * patch_size
    shapes = {taller: (height, image_size), "size": grid, "dtypes": (image_size, width)}
    assert {name: found[name]["pixel_values"].shape[2:] for name in shapes} == shapes
    for name, shape in shapes.items():
        assert found[name]["interpolate_pos_encoding"]
        resized, (rows, columns) = found[name]["pixel_values"], np.minimum(shape, image_size)
        same = pixels[:, :, :rows, :columns].astype(resized.dtype)
        np.testing.assert_array_equal(resized[:, :, :rows, :columns], same)


@pytest.mark.parametrize(
    ("side", "grid"), [(1, (2, 1)), (2, (4, 1)), (5, (25, 1)), (7, (49, 1)), (16, (32, 8)), (24, (32, 18))]
)
def test_another_grid_has_as_many_patches_as_the_square(side, grid):
    assert other_grid(side) == grid


def test_each_text_has_its_own_positions_within_the_table():
    found = variants("CLIPTextModel", tiny_config().text_config, main_inputs("CLIPTextModel"))["positions"]
    ids, positions = found["input_ids"], found["position_ids"]
    assert positions.shape == ids.shape
    assert len({tuple(row) for row in positions}) == len(positions)
    for row in positions:
        np.testing.assert_array_equal(np.sort(row), np.arange(ids.shape[1]))


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


def _transposed_at_the_model_s_height(interpolated):
    def faulty(self, height, width):
        return interpolated(self, *((width, height) if height == self.image_size else (height, width)))

    return faulty


def _transposed_at_the_model_s_width(interpolated):
    def faulty(self, height, width):
        return interpolated(self, *((width, height) if width == self.image_size else (height, width)))

    return faulty


def _uninterpolated_for_as_many_patches(interpolated):
    def faulty(self, height, width):
        count = (height // self.patch_size) * (width // self.patch_size)
        table = self.position_embedding.weight[None]
        return table if count == self.num_patches else interpolated(self, height, width)

    return faulty


def _of_ones_only(text_plan):
    return lambda implementation, mask, states: text_plan(implementation, None if mask is None else mask == 1, states)


def _without_masks_of(dtype):
    def wrapped(text_plan):
        def faulty(implementation, mask, states):
            return text_plan(implementation, None if mask is not None and mask.dtype == dtype else mask, states)

        return faulty

    return wrapped


def _by_first_row(forward):
    def faulty(self, input_ids, position_ids=None):
        return forward(self, input_ids, None if position_ids is None else position_ids[:1])

    return faulty


def _from_the_end(forward):
    def faulty(self, input_ids, position_ids=None):
        from_the_end = self.position_ids[:, -input_ids.shape[1] :]
        return forward(self, input_ids, from_the_end if position_ids is None else position_ids)

    return faulty


def _without_positions(forward):
    return lambda self, input_ids, position_ids=None: forward(self, input_ids)


def _last_without_eos(eos_positions):
    return lambda self, ids: eos_positions(self, ids) - 1 * (ids != EOS_TOKEN_ID).all(dim=-1)


VISION_EMBEDDINGS = clip_torch.vision.CLIPVisionEmbeddings
# The class and the first stage that differs, of each fault.
FAULTS = {
    ("CLIPModel", "positions: vision.embeddings"): (VISION_EMBEDDINGS, "interpolated_positions", _transposed),
    ("CLIPModel", "dtypes: vision.embeddings"): (
        VISION_EMBEDDINGS,
        "interpolated_positions",
        _transposed_at_the_model_s_height,
    ),
    ("CLIPModel", "size: vision.embeddings"): (
        VISION_EMBEDDINGS,
        "interpolated_positions",
        _uninterpolated_for_as_many_patches,
    ),
    ("CLIPModel", "positions: text.layers.0.attention"): (clip_torch.text, "text_plan", _of_ones_only),
    ("CLIPModel", "positions: text.embeddings"): (clip_torch.text.CLIPTextEmbeddings, "forward", _without_positions),
    ("CLIPTextModel", "positions: text.embeddings"): (clip_torch.text.CLIPTextEmbeddings, "forward", _by_first_row),
    ("CLIPTextModel", "dtypes: text.embeddings"): (clip_torch.text.CLIPTextEmbeddings, "forward", _from_the_end),
    ("CLIPModel", "positions: text.pooled"): (clip_torch.text.CLIPTextTransformer, "eos_positions", _last_without_eos),
    ("CLIPModel", "padding: text_features"): (clip_torch.text, "hides_what_is_read", lambda _: lambda *_: False),
    ("CLIPForImageClassification", "height: vision.embeddings"): (
        VISION_EMBEDDINGS,
        "interpolated_positions",
        _transposed_at_the_model_s_width,
    ),
    ("CLIPModel", "padding: text.layers.0.attention"): (clip_torch.text, "text_plan", _without_masks_of(torch.int32)),
    ("CLIPTextModel", "positions: text.layers.0.attention"): (
        clip_torch.text,
        "text_plan",
        _without_masks_of(torch.float32),
    ),
    ("CLIPTextModel", "unmasked: text.layers.0.attention"): (
        clip_torch.plan,
        "_causal_plan",
        lambda _: lambda implementation, states: clip_torch.plan.AttentionPlan(implementation),
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
