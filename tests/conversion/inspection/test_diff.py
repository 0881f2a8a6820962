"""Differences between two checkpoints across formats: names, shapes, dtypes, values and computation."""

from __future__ import annotations

import json
import math

import ml_dtypes
import numpy as np
import pytest

from converters.checkpoint import Checkpoint, CheckpointError
from converters.conversion import convert
from converters.formats import target_names
from converters.inspection import values
from converters.inspection.diff import compare_tensors, diff
from support.checkpoints import ODD_STEPS, odd_config, openai_config, save_checkpoint
from support.configs import tiny_config
from support.entries import entry
from support.messages import naming


def checkpoint(**arrays):
    """Return a checkpoint of a few tensors; `logit_scale` and the projections are names that it may have."""
    return Checkpoint({f"{name}.weight": entry(np.asarray(array)) for name, array in arrays.items()}, "state dict")


def one_tensor(first, second):
    return compare_tensors(checkpoint(text_projection=first), checkpoint(text_projection=second))


NAME = "text_projection.weight"


def test_equal_tensors_do_not_differ():
    found = one_tensor(np.arange(6.0), np.arange(6.0))
    assert not found
    assert (found.identical, found.largest, found.to_dict()["same"]) == (1, None, True)


def test_names_that_only_one_has():
    found = compare_tensors(checkpoint(text_projection=[1.0]), checkpoint(visual_projection=[1.0]))
    assert (found.only_in_a, found.only_in_b) == ([NAME], ["visual_projection.weight"])
    assert found


def test_different_shapes_are_reported_and_their_values_not_compared():
    found = one_tensor(np.zeros((2, 3)), np.ones((3, 2)))
    assert found.shapes == {NAME: ((2, 3), (3, 2))}
    assert not found.values


def test_the_largest_difference_and_how_many_numbers_differ():
    first = np.array([1.0, -8.0, 3.0, 4.0], np.float32)
    second = np.array([1.0, -8.0, 3.5, 3.75], np.float32)
    change = one_tensor(first, second).values[NAME]
    assert (change.absolute, change.count, change.relative) == (0.5, 2, 0.5 / 8)


def test_the_tensor_that_differs_most_is_named():
    a = checkpoint(text_projection=[1.0, 2.0], visual_projection=[1.0, 2.0], classifier=[5.0])
    b = checkpoint(text_projection=[1.0, 2.5], visual_projection=[1.0, 4.0], classifier=[5.0])
    found = compare_tensors(a, b)
    assert found.largest == "visual_projection.weight"
    assert found.identical == 1


def test_another_dtype_with_the_same_values_is_reported_but_not_a_difference():
    found = one_tensor(np.array([0.5, 2.0], np.float32), np.array([0.5, 2.0], ml_dtypes.bfloat16))
    assert found.dtypes == {NAME: ("float32", "bfloat16")}
    assert not found
    assert found.identical == 1


def test_rounding_to_another_dtype_is_a_difference():
    found = one_tensor(np.array([0.1], np.float32), np.array([0.1], np.float16))
    assert found.values[NAME].absolute == abs(np.float32(0.1) - float(np.float16(0.1)))


@pytest.mark.parametrize(
    ("first", "second", "absolute"),
    [
        ([math.nan], [1.0], math.inf),
        ([1.0], [math.nan], math.inf),
        ([math.inf], [1.0], math.inf),
        ([math.inf], [-math.inf], math.inf),
        ([math.nan, 1.0], [math.nan, 3.0], 2.0),
        ([math.inf, 1.0], [math.inf, 3.0], 2.0),
        ([0.0], [-0.0], None),
        ([0.0], [1.0], 1.0),
    ],
)
def test_nan_differs_from_infinity_but_not_from_itself(first, second, absolute):
    found = one_tensor(first, second)
    assert found.values[NAME].absolute == absolute if absolute is not None else not found


def test_nan_with_other_bits_is_still_nan():
    first, second = np.array([math.nan, 1.0]), np.array([math.nan, 1.0])
    second.view(np.uint64)[0] += 1
    assert not one_tensor(first, second)


def test_against_zeros_a_difference_is_relatively_without_end():
    change = one_tensor([0.0, 0.0], [0.0, 1e-3]).values[NAME]
    assert change.relative == math.inf


@pytest.mark.parametrize("block", [1, 3, 4, 100])
def test_blocks_change_nothing(monkeypatch, block):
    first = np.random.default_rng(0).standard_normal((5, 4))
    second = first.copy()
    second[0, 1] += 1
    second[4, 3] -= 2
    monkeypatch.setattr(values, "BLOCK", block)
    change = one_tensor(first, second).values[NAME]
    assert (change.absolute, change.count) == (2.0, 2)
    assert change.relative == 2 / np.abs(first).max()


@pytest.mark.parametrize("to", target_names())
def test_a_converted_checkpoint_is_the_same_in_every_format(tmp_path, to):
    """Equal computations are no difference: OpenAI's legacy eos, and the two names of the tanh gelu."""
    arrays = save_checkpoint(tmp_path / "source", openai_config())
    convert(tmp_path / "source", tmp_path / to, to)
    found = diff(tmp_path / "source", tmp_path / to)
    assert not found, found
    assert found.identical == len(arrays)


def test_the_odd_configuration_survives_open_clip(tmp_path):
    save_checkpoint(tmp_path / "source", odd_config(), steps=ODD_STEPS)
    convert(tmp_path / "source", tmp_path / "open_clip", "open_clip")
    found = diff(tmp_path / "source", tmp_path / "open_clip")
    assert not found, found


CHANGES = [
    ("config.json", ("text_config", "hidden_act"), "quick_gelu", "text_config.hidden_act"),
    ("config.json", ("vision_config", "layer_norm_eps"), 1e-6, "vision_config.layer_norm_eps"),
    ("config.json", ("text_config", "eos_token_id"), 2, "text_config.eos_token_id"),
    ("config.json", ("vision_config", "num_attention_heads"), 6, "vision_config.num_attention_heads"),
    ("preprocessor_config.json", ("image_mean",), [0.5, 0.5, 0.5], "preprocessing.image_mean"),
    ("preprocessor_config.json", ("do_center_crop",), True, "preprocessing.do_center_crop"),
]


@pytest.mark.parametrize(("file", "path", "value", "told"), CHANGES)
def test_the_same_weights_that_compute_otherwise_differ(tmp_path, file, path, value, told):
    for folder in ("a", "b"):
        save_checkpoint(tmp_path / folder, odd_config(), steps=ODD_STEPS)
    content = json.loads((tmp_path / "b" / file).read_text())
    *parents, field = path
    (content[parents[0]] if parents else content)[field] = value
    (tmp_path / "b" / file).write_text(json.dumps(content))
    found = diff(tmp_path / "a", tmp_path / "b")
    assert found
    assert not found.values
    assert list(found.config) == [told]
    assert found.config[told][1] == value


@pytest.mark.parametrize("field", ["bos_token_id", "pad_token_id", "initializer_range", "dropout"])
def test_fields_that_compute_nothing_do_not_count(tmp_path, field):
    for folder in ("a", "b"):
        save_checkpoint(tmp_path / folder, odd_config())
    content = json.loads((tmp_path / "b" / "config.json").read_text())
    content["text_config"][field] = 1
    (tmp_path / "b" / "config.json").write_text(json.dumps(content))
    assert not diff(tmp_path / "a", tmp_path / "b")


def test_weights_alone_can_be_compared(tmp_path):
    save_checkpoint(tmp_path / "a", tiny_config())
    save_checkpoint(tmp_path / "b", tiny_config())
    (tmp_path / "b" / "config.json").unlink()
    assert not diff(tmp_path / "a", tmp_path / "b")


def test_a_tower_against_the_whole_model(tmp_path):
    save_checkpoint(tmp_path / "whole", tiny_config())
    save_checkpoint(tmp_path / "part", tiny_config(), "CLIPTextModel")
    found = diff(tmp_path / "part", tmp_path / "whole")
    assert found.only_in_a == []
    assert all(not name.startswith("text_model.") for name in found.only_in_b)
    assert not found.shapes


def test_a_damaged_checkpoint_is_named(tmp_path):
    save_checkpoint(tmp_path / "a", tiny_config())
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=naming("b/model.safetensors")):
        diff(tmp_path / "a", tmp_path / "b")
