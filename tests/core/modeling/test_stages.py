"""Stages have the same names for every class, in order of computation, and each output has one objective."""

from __future__ import annotations

import numpy as np
import pytest

from clip_core.modeling import stages
from clip_core.modeling.outputs import (
    BaseModelOutputWithPooling,
    CLIPOutput,
    CLIPTextModelOutput,
    CLIPVisionModelOutput,
    ImageClassifierOutput,
)
from support.tolerances import FLOAT64_ROUNDING, HARDLY_MOVED, ROUNDING

_TOWER = {"hidden_states": ("embedded", "first", "second"), "last_hidden_state": "last"}
_ATTENTIONS = {"attentions": ("seen", "seen next")}


def _layers(tower):
    return {
        f"{tower}.embeddings": "embedded",
        f"{tower}.layers.0.attention": "seen",
        f"{tower}.layers.0": "first",
        f"{tower}.layers.1.attention": "seen next",
        f"{tower}.layers.1": "second",
    }


_TEXT = {**_layers("text"), "text.last_hidden_state": "last"}
_CASES = {
    "CLIPTextModel": (BaseModelOutputWithPooling, {"pooler_output": "pool"}, {**_TEXT, "text.pooled": "pool"}),
    "CLIPVisionModel": (
        BaseModelOutputWithPooling,
        {"pooler_output": "pool"},
        {**_layers("vision"), "vision.pooled": "pool"},
    ),
    "CLIPTextModelWithProjection": (CLIPTextModelOutput, {"text_embeds": "e"}, {**_TEXT, "text_features": "e"}),
    "CLIPVisionModelWithProjection": (
        CLIPVisionModelOutput,
        {"image_embeds": "e"},
        {**_layers("vision"), "image_features": "e"},
    ),
    "CLIPForImageClassification": (
        ImageClassifierOutput,
        {"loss": "l", "logits": "scores"},
        {**_layers("vision"), "logits": "scores", "loss": "l"},
    ),
}


@pytest.mark.parametrize("class_name", _CASES)
def test_the_stages_of_one_tower(class_name):
    output, fields, expected = _CASES[class_name]
    # A classifier's output has no last hidden state.
    tower = {name: value for name, value in _TOWER.items() if name in output.__dataclass_fields__}
    found = stages.stages(class_name, output(**tower, **fields), output(**_ATTENTIONS))
    assert list(found.items()) == list(expected.items())


@pytest.mark.parametrize("loss", [{}, {"loss": "l"}], ids=["without loss", "with loss"])
def test_the_stages_of_both_towers(loss):
    def output(**tower):
        return {f"{name}_model_output": BaseModelOutputWithPooling(**tower) for name in ("vision", "text")}

    scores = {"logits_per_image": "i", "logits_per_text": "t", "text_embeds": "te", "image_embeds": "ie"}
    found = stages.stages(
        "CLIPModel",
        CLIPOutput(**loss, **scores, **output(**_TOWER, pooler_output="pool")),
        CLIPOutput(**output(**_ATTENTIONS)),
        {"image_features": "if", "text_features": "tf"},
    )
    expected = {
        **_layers("vision"),
        "vision.pooled": "pool",
        **_TEXT,
        "text.pooled": "pool",
        "image_features": "if",
        "text_features": "tf",
        "image_embeds": "ie",
        "text_embeds": "te",
        "logits_per_text": "t",
        "logits_per_image": "i",
        **loss,
    }
    assert list(found.items()) == list(expected.items())


def test_attentions_are_left_out_where_none_were_asked_for():
    output = BaseModelOutputWithPooling(**_TOWER, pooler_output="pool")
    assert not [name for name in stages.stages("CLIPVisionModel", output, output) if "attention" in name]


def test_the_loss_is_the_objective_where_there_is_one():
    assert stages.objective(CLIPOutput(loss=np.ones(()), text_embeds=np.ones((2, 3)))) == ("loss", None)


@pytest.mark.parametrize(
    ("output", "name"),
    [
        (CLIPOutput(text_embeds=np.ones((2, 3)), image_embeds=np.ones((3, 3))), "text_embeds"),
        (CLIPVisionModelOutput(image_embeds=np.ones((2, 3)), last_hidden_state=np.ones((2, 5, 4))), "image_embeds"),
        (ImageClassifierOutput(logits=np.ones((2, 3))), "logits"),
        (
            BaseModelOutputWithPooling(last_hidden_state=np.ones((2, 5, 4)), pooler_output=np.ones((2, 3))),
            "pooler_output",
        ),
    ],
)
def test_else_it_is_a_weighted_sum_of_what_comes_last(output, name):
    found, weights = stages.objective(output)
    assert found == name
    np.testing.assert_allclose(weights, [[-1, -0.4, 0.2], [0.8, 1.4, 2]], rtol=ROUNDING)
    assert weights.dtype == np.float32


def test_the_first_step_of_adamw():
    value, gradient = np.array([1.0, -2.0, 3.0]), np.array([0.5, -0.25, 0.0])
    names = ("mlp.fc1.weight", "mlp.fc1.bias", "idle.weight")
    found = stages.adamw(dict.fromkeys(names, value), dict.fromkeys(names[:2], gradient))
    # By hand: the moments are m = (1 - b1) g and v = (1 - b2) g^2, which their corrections bring to g and g^2.
    moved = stages.LEARNING_RATE * gradient / (np.sqrt(gradient**2) + stages.EPSILON)
    decayed = value - stages.LEARNING_RATE * stages.WEIGHT_DECAY * value
    np.testing.assert_allclose(found["mlp.fc1.weight"], decayed - moved, rtol=FLOAT64_ROUNDING)
    np.testing.assert_allclose(found["mlp.fc1.bias"], value - moved, rtol=FLOAT64_ROUNDING)
    np.testing.assert_array_equal(found["idle.weight"], value)


def test_a_gradient_that_is_zero_but_for_rounding_hardly_moves_a_parameter():
    found = stages.adamw({"k_proj.bias": np.zeros(2)}, {"k_proj.bias": np.array([1e-9, -1e-9])})
    assert np.abs(found["k_proj.bias"]).max() < HARDLY_MOVED * stages.LEARNING_RATE
