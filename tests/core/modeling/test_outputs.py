"""Outputs read like attributes, mappings and tuples, and pass through the compilers of all three frameworks."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from clip_core.configuration import CLIPConfig
from clip_core.modeling.outputs import (
    OUTPUT_CLASSES,
    BaseModelOutput,
    BaseModelOutputWithPooling,
    CLIPOutput,
    CLIPTextModelOutput,
    as_asked,
)
from support.messages import naming


@pytest.fixture
def output():
    tower = BaseModelOutputWithPooling(last_hidden_state="states", pooler_output="pooled")
    return CLIPOutput(logits_per_text="texts", image_embeds="images", text_model_output=tower)


def test_a_field_is_read_by_attribute_key_index_and_slice(output):
    assert output.logits_per_text == output["logits_per_text"] == output[0] == "texts"
    assert output[1] == output[:2][1] == "images"
    assert output[-1] == ("states", "pooled")
    assert output[:2] == ("texts", "images")


def test_none_fields_are_skipped_by_every_view_but_the_attribute(output):
    names = ["logits_per_text", "image_embeds", "text_model_output"]
    assert output.loss is None
    assert list(output) == list(output.keys()) == [name for name, _ in output.items()] == names
    assert len(output) == len(output.values()) == len(output.to_tuple()) == 3
    assert "loss" not in output
    assert output.get("loss", 5) == 5
    with pytest.raises(KeyError):
        output["loss"]


def test_to_tuple_unfolds_inner_outputs(output):
    assert output.to_tuple() == ("texts", "images", ("states", "pooled"))


def test_it_unpacks_as_keywords_and_into_a_dict(output):
    assert dict(**output) == dict(output) == dict(output.items())


def test_fields_can_be_set_by_key_and_unknown_ones_cannot(output):
    output["loss"] = 1.0
    assert output[0] == output.loss == 1.0
    with pytest.raises(KeyError, match=naming("CLIPOutput", "'los'")):
        output["los"] = 2.0


def test_it_survives_pickle_and_deepcopy(output):
    for twin in (pickle.loads(pickle.dumps(output)), copy.deepcopy(output)):  # noqa: S301
        assert type(twin) is CLIPOutput
        assert twin.to_tuple() == output.to_tuple()


@pytest.mark.parametrize(
    ("return_dict", "configured", "is_tuple"),
    [(None, True, False), (None, False, True), (True, False, False), (False, True, True)],
)
def test_the_call_decides_on_a_tuple_and_else_the_config(output, return_dict, configured, is_tuple):
    answer = as_asked(output, CLIPConfig(return_dict=configured), return_dict)
    assert isinstance(answer, tuple) is is_tuple


def nested(array):
    tower = BaseModelOutput(last_hidden_state=array + 1, hidden_states=(array, array * 2))
    return CLIPOutput(text_embeds=array * 3, vision_model_output=tower)


def assert_nested(found, array):
    assert type(found) is CLIPOutput
    assert list(found) == ["text_embeds", "vision_model_output"]
    assert list(found.vision_model_output) == ["last_hidden_state", "hidden_states"]
    assert np.array_equal(np.asarray(found.vision_model_output.hidden_states[1]), array * 2)


def test_torch_compile_returns_outputs():
    import torch

    compiled = torch.compile(nested, fullgraph=True, backend="eager")
    assert_nested(compiled(torch.ones(3)), np.ones(3))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_tf_function_returns_outputs(jit_compile):
    import tensorflow as tf

    assert_nested(tf.function(nested, jit_compile=jit_compile)(tf.ones(3)), np.ones(3))


def test_jax_jit_returns_outputs():
    import jax
    import jax.numpy as jnp

    import clip_flax  # noqa: F401  registers the outputs as pytrees

    assert_nested(jax.jit(nested)(jnp.ones(3)), np.ones(3))


@pytest.mark.parametrize("output_class", OUTPUT_CLASSES)
def test_the_fields_and_their_order_are_the_references(output_class, oracle):
    names = oracle("output_fields", class_name=output_class.__name__)
    assert list(output_class.__dataclass_fields__) == names
    assert output_class is not CLIPTextModelOutput or names[0] == "text_embeds"
