"""One report lists everything that does not fit."""

from __future__ import annotations

import pickle

import ml_dtypes
import numpy as np
import pytest

from clip_core.modeling.parameters import parameter_table
from converters.checkpoint import Checkpoint, CheckpointError
from converters.naming.matching import check_fit
from converters.tensors import TensorEntry
from support.configs import tiny_config
from support.messages import mentions, naming


def checkpoint(shapes, dtype=np.float32):
    dtype = np.dtype(dtype)
    entries = {
        name: TensorEntry(shape, dtype, lambda shape=shape: np.zeros(shape, dtype)) for name, shape in shapes.items()
    }
    return Checkpoint(entries, "some/model")


@pytest.fixture
def shapes():
    return parameter_table(tiny_config(), "CLIPModel")


def test_a_whole_checkpoint_fits(shapes):
    report, fresh = check_fit(checkpoint(shapes), tiny_config(), "CLIPModel")
    assert list(report.matched) == list(shapes)
    assert fresh == []
    assert str(report) == ""


def test_the_other_tower_is_not_a_fault(shapes):
    report, _ = check_fit(checkpoint(shapes), tiny_config().text_config, "CLIPTextModel")
    assert "vision_model.pre_layrnorm.weight" in report.other_parts
    assert "vision_model.pre_layrnorm.weight" in report.loading_info()["unexpected_keys"]


def test_everything_wrong_stands_in_one_report(shapes):
    del shapes["logit_scale"]
    shapes |= {"text_model.encoder.layers.9.mlp.fc1.bias": (3,), "lora_A": (2, 2), "text_projection.weight": (7, 40)}
    with pytest.raises(CheckpointError) as caught:
        check_fit(checkpoint(shapes), tiny_config(), "CLIPModel")
    message = str(caught.value)
    assert mentions(message, "some/model", "CLIPModel", "1 missing", "logit_scale", "2 unexpected", "lora_A")
    (sizes,) = [line for line in message.splitlines() if "text_projection.weight" in line]
    assert mentions(sizes, (7, 40), (24, 40))
    assert mentions(message, "strict=False", "ignore_mismatched_sizes=True")


@pytest.mark.parametrize(
    ("text", "vision", "top", "field", "expected", "found"),
    [
        ({"max_position_embeddings": 77}, {}, {}, "text_config.max_position_embeddings", 77, 19),
        ({"vocab_size": 49408}, {}, {}, "text_config.vocab_size", 49408, 99),
        ({"hidden_size": 45}, {}, {}, "text_config.hidden_size", 45, 40),
        ({"intermediate_size": 60}, {}, {}, "text_config.intermediate_size", 60, 52),
        ({"num_hidden_layers": 5}, {}, {}, "text_config.num_hidden_layers", 5, 3),
        ({}, {"num_hidden_layers": 1}, {}, "vision_config.num_hidden_layers", 1, 2),
        ({}, {"num_channels": 3}, {}, "vision_config.num_channels", 3, 2),
        ({}, {"hidden_size": 42}, {}, "vision_config.hidden_size", 42, 36),
        ({}, {"patch_size": 5}, {}, "vision_config.patch_size", 5, 6),
        ({}, {"intermediate_size": 48}, {}, "vision_config.intermediate_size", 48, 44),
        ({}, {"image_size": 42}, {}, "vision_config.image_size", 50, 26),
        ({}, {}, {"projection_dim": 32}, "projection_dim", 32, 24),
    ],
)
def test_the_field_of_the_configuration_that_is_at_fault_is_named(shapes, text, vision, top, field, expected, found):
    with pytest.raises(CheckpointError) as caught:
        check_fit(checkpoint(shapes), tiny_config(text, vision, **top), "CLIPModel")
    fields = str(caught.value).partition("at fault in the configuration:")[2].partition("If this is")[0]
    (line,) = [line for line in fields.splitlines() if mentions(line, field)]
    assert mentions(line, expected, found)


def test_tensors_of_stable_diffusions_safety_checker_are_of_another_part(shapes):
    shapes |= {"concept_embeds": (17, 24), "special_care_embeds_weights": (3,)}
    report, _ = check_fit(checkpoint(shapes), tiny_config(), "CLIPModel")
    assert report.other_parts == ["concept_embeds", "special_care_embeds_weights"]


def test_a_long_list_is_cut(shapes):
    with pytest.raises(CheckpointError, match=naming(98, 78)):
        check_fit(checkpoint({f"block.{number}": (1,) for number in range(98)}), tiny_config(), "CLIPModel")


def test_one_line_names_a_few_tensors_of_each_kind_and_counts_the_rest(shapes):
    del shapes["logit_scale"]
    wrong = tiny_config({"hidden_size": 45}, {"num_hidden_layers": 1})
    with pytest.raises(CheckpointError) as caught:
        check_fit(checkpoint(shapes), wrong, "CLIPModel")
    summary = pickle.loads(pickle.dumps(caught.value)).summary  # noqa: S301  as `verify` passes it between processes
    assert "\n" not in summary
    assert mentions(summary, "some/model", "CLIPModel", "1 missing", "logit_scale", "16 unexpected", "13 more")
    assert mentions(summary, "text_config.hidden_size", 45, 40)
    assert mentions(summary, "text_model.embeddings.token_embedding.weight", (99, 40), (99, 45))


def test_parameters_that_options_excuse_are_initialized(shapes):
    del shapes["logit_scale"]
    shapes |= {"lora_A": (2, 2), "text_projection.weight": (7, 40)}
    _, fresh = check_fit(checkpoint(shapes), tiny_config(), "CLIPModel", strict=False, ignore_mismatched_sizes=True)
    assert fresh == ["logit_scale", "text_projection.weight"]


def test_a_new_head_is_the_only_thing_that_may_be_missing(shapes):
    config = tiny_config(num_labels=3)
    _, fresh = check_fit(checkpoint(shapes), config, "CLIPForImageClassification", new_head=True)
    assert fresh == ["classifier.weight", "classifier.bias"]
    with pytest.raises(CheckpointError, match=naming(2, "classifier.weight", "classifier.bias")):
        check_fit(checkpoint(shapes), config, "CLIPForImageClassification")
    del shapes["vision_model.pre_layrnorm.weight"]
    with pytest.raises(CheckpointError, match=naming(1, "vision_model.pre_layrnorm.weight")):
        check_fit(checkpoint(shapes), config, "CLIPForImageClassification", new_head=True)


def test_a_projection_that_no_file_states_has_its_weights_size(shapes):
    config = tiny_config().text_config
    config.projection_dim, config.projection_dim_stated = 512, False
    check_fit(checkpoint(shapes), config, "CLIPTextModelWithProjection")
    assert config.projection_dim == 24
    config.projection_dim, config.projection_dim_stated = 512, True
    with pytest.raises(CheckpointError, match=naming("text_projection.weight", (24, 40), (512, 40))):
        check_fit(checkpoint(shapes), config, "CLIPTextModelWithProjection")


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int64", "bool"])
def test_integers_are_not_weights(shapes, dtype):
    with pytest.raises(CheckpointError, match=naming("some/model", len(shapes), "logit_scale", dtype)) as caught:
        check_fit(checkpoint(shapes, dtype), tiny_config(), "CLIPModel", strict=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "float8_e4m3fn"])
def test_floats_of_every_size_are_weights(shapes, dtype):
    report, _ = check_fit(checkpoint(shapes, getattr(ml_dtypes, dtype, dtype)), tiny_config(), "CLIPModel")
    assert list(report.matched) == list(shapes)
