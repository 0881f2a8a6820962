"""Parts of a model called alone agree with the tower they come from."""

from __future__ import annotations

import numpy as np
import pytest

from support import pieces
from support.configs import inputs_for, tiny_config
from support.messages import naming
from support.oracle import flatten
from support.tolerances import FLOAT32


@pytest.mark.parametrize("form", ["bias", "-inf", "bool", "rows"])
def test_masks_of_every_form_are_those_of_the_tower(backend, form):
    model = backend.build("CLIPTextModel", tiny_config())
    rows, causal = pieces.masks()
    ids = np.random.default_rng(0).integers(1, 90, rows.shape)
    expected = backend.forward(model, {"input_ids": ids, "attention_mask": rows}, output_hidden_states=True)
    seen = np.broadcast_to(rows[:, None, None, :] != 0, (*rows.shape[:1], 1, *2 * rows.shape[1:]))
    padding, future = {
        "bias": (np.where(seen, 0, pieces.LOWEST), causal),
        "-inf": (np.where(seen, 0, -np.inf), np.where(causal == 0, 0, -np.inf)),
        "bool": (seen.copy(), causal == 0),
        "rows": (rows, causal),
    }[form]
    states = backend.tensor(expected["hidden_states.0"])
    masks = [backend.tensor(mask, "float32" if mask.dtype.kind == "f" else None) for mask in (padding, future)]
    found = flatten(model.text_model.encoder(states, *masks))["last_hidden_state"]
    np.testing.assert_allclose(found, expected["hidden_states.3"], **FLOAT32)


def test_a_layer_returns_weights_only_where_they_are_asked_for(backend):
    model = backend.build("CLIPVisionModel", tiny_config(attn_implementation="eager"))
    states = backend.forward(model, inputs_for("CLIPVisionModel"), output_hidden_states=True, output_attentions=True)
    layer, first = model.vision_model.encoder.layers[0], backend.tensor(states["hidden_states.0"])
    (alone,) = layer(first)
    together, weights = layer(first, output_attentions=True)
    for found, name in ((alone, "hidden_states.1"), (together, "hidden_states.1"), (weights, "attentions.0")):
        np.testing.assert_allclose(flatten(found)[""], states[name], **FLOAT32)
    assert layer.self_attn(first)[1] is None


def test_the_configuration_decides_what_an_encoder_returns(backend):
    model = backend.build("CLIPVisionModel", tiny_config(None, {"output_hidden_states": True}))
    states = backend.tensor(np.zeros((1, 5, model.config.hidden_size)), "float32")
    assert len(model.vision_model.encoder(states).hidden_states) == len(model.vision_model.encoder.layers) + 1
    assert model.vision_model.encoder(states, output_hidden_states=False).hidden_states is None
    assert model.vision_model.encoder(states, output_attentions=False).attentions is None


def test_the_eos_of_the_text_tower_is_the_configurations(backend):
    model = backend.build("CLIPTextModel", tiny_config())
    model.text_model.eos_token_id = 7
    assert model.config.eos_token_id == model.text_model.eos_token_id == 7


def test_embeddings_of_nothing_are_an_error(backend):
    embeddings = backend.build("CLIPTextModel", tiny_config()).text_model.embeddings
    with pytest.raises(ValueError, match=naming("input_ids")):
        embeddings()
    longest = embeddings.position_embedding
    count = getattr(longest, backend.embedding_size)
    with pytest.raises(ValueError, match=naming(count + 1, count)):
        embeddings(inputs_embeds=backend.tensor(np.zeros((1, count + 1, 4)), "float32"))
