"""CLIPModel: shapes, forms of input and output, and options from the call or the config."""

from __future__ import annotations

import numpy as np
import pytest

from support.configs import CLASSES, SHALLOW, inputs_for, pixel_values, tiny_config
from support.messages import naming
from support.oracle import flatten
from support.tolerances import DRAWN_WEIGHTS, EMBEDDINGS, FEW_DRAWN_WEIGHTS, FLOAT32_OPERATION, ONE_LAYER


def test_logits_are_scaled_cosines_and_each_others_transpose(backend):
    model = backend.build("CLIPModel", tiny_config())
    outputs = backend.forward(model, inputs_for("CLIPModel") | {"pixel_values": pixel_values(3)})
    text, image = outputs["text_embeds"], outputs["image_embeds"]
    assert outputs["logits_per_image"].shape == (3, 4)
    assert np.abs(np.linalg.norm(text, axis=-1) - 1).max() < EMBEDDINGS
    scale = np.exp(np.float32(1.7))
    assert np.abs(outputs["logits_per_image"] - scale * image @ text.T).max() < ONE_LAYER * scale
    assert np.array_equal(outputs["logits_per_image"], outputs["logits_per_text"].T)


def test_features_are_the_embeddings_before_normalising(backend):
    model = backend.build("CLIPModel", tiny_config())
    inputs = inputs_for("CLIPModel")
    pixels = {"pixel_values": inputs.pop("pixel_values")}
    outputs = backend.forward(model, inputs | pixels)
    for method, some, name in ((model.get_text_features, inputs, "text"), (model.get_image_features, pixels, "image")):
        features = backend.call(method, some)
        normed = features / np.linalg.norm(features, axis=-1, keepdims=True)
        assert np.abs(normed - outputs[f"{name}_embeds"]).max() < EMBEDDINGS


def test_features_ignore_the_rest_of_a_processors_output_with_a_warning(backend):
    model = backend.build("CLIPModel", tiny_config())
    with pytest.warns(UserWarning, match=naming("get_text_features", "'pixel_values'")):
        backend.call(model.get_text_features, inputs_for("CLIPModel"))


@pytest.mark.parametrize("class_name", CLASSES)
def test_return_dict_false_gives_the_same_as_a_tuple(backend, class_name):
    inputs = inputs_for(class_name)
    model = backend.build(class_name, tiny_config(num_labels=3))
    as_output = list(backend.forward(model, inputs).values())
    as_tuple = list(backend.forward(model, inputs, return_dict=False).values())
    assert len(as_output) == len(as_tuple)
    assert all(np.array_equal(one, other) for one, other in zip(as_output, as_tuple, strict=True))


@pytest.mark.parametrize("option", ["output_hidden_states", "output_attentions"])
@pytest.mark.parametrize("class_name", CLASSES)
def test_states_and_attentions_can_be_asked_for_in_the_config(backend, class_name, option):
    config = tiny_config(num_labels=3, attn_implementation="eager", **{option: True})
    for tower in (config.text_config, config.vision_config):
        setattr(tower, option, True)
    model = backend.build(class_name, config)
    asked = backend.forward(model, inputs_for(class_name))
    refused = backend.forward(model, inputs_for(class_name), **{option: False})
    name = option.removeprefix("output_")
    assert any(name in key for key in asked)
    assert not any(name in key for key in refused)


def test_the_loss_is_there_when_asked_for(backend):
    model = backend.build("CLIPModel", tiny_config())
    assert "loss" not in backend.forward(model, inputs_for("CLIPModel"))
    outputs = backend.forward(model, inputs_for("CLIPModel"), return_loss=True)
    logits = outputs["logits_per_text"].astype(np.float64)

    def cross_entropy(rows):
        return (np.log(np.exp(rows).sum(axis=-1)) - rows.diagonal()).mean()

    assert abs(outputs["loss"] - (cross_entropy(logits) + cross_entropy(logits.T)) / 2) < ONE_LAYER


@pytest.mark.parametrize("class_name", CLASSES)
def test_the_parameters_are_those_of_the_canonical_table_in_its_order(backend, class_name):
    from clip_core.modeling.parameters import parameter_table

    config = tiny_config(num_labels=3)
    model = backend.build(class_name, config)
    table = parameter_table(model.config, class_name)
    assert {name: array.shape for name, array in backend.weights(model).items()} == table
    assert list(backend.weights(model)) == list(table)


def test_a_config_of_another_kind_is_refused(backend):
    with pytest.raises(TypeError, match=naming(backend.module("model").CLIPModel, "CLIPConfig", "CLIPTextConfig")):
        backend.build("CLIPModel", tiny_config().text_config)


def drawn(deviation, tolerance=DRAWN_WEIGHTS):
    return pytest.approx(deviation, rel=tolerance)


def test_fresh_weights_have_the_references_standard_deviations(backend):
    text = {"hidden_size": 200, "intermediate_size": 300, "vocab_size": 999, "num_attention_heads": 5}
    text |= {"initializer_range": 0.07, "max_position_embeddings": 40}  # the range has no effect on texts
    vision = {"hidden_size": 180, "intermediate_size": 300, "patch_size": 5}
    config = tiny_config(text, vision, projection_dim=170)
    config.initializer_factor = 2.5  # of the projections; as in the reference, an argument of this name has no effect
    weights = backend.weights(backend.build("CLIPModel", config))
    for tower, width, layers in (("text_model", 200, 3), ("vision_model", 180, 2)):
        expected = {
            **dict.fromkeys(
                ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"), width**-0.5 * (2 * layers) ** -0.5
            ),
            "self_attn.out_proj": width**-0.5,
            "mlp.fc1": (2 * width) ** -0.5,
            "mlp.fc2": width**-0.5 * (2 * layers) ** -0.5,
        }
        for name, std in expected.items():
            assert weights[f"{tower}.encoder.layers.1.{name}.weight"].std() == drawn(1.5 * std)
            assert not weights[f"{tower}.encoder.layers.1.{name}.bias"].any()
    assert weights["text_model.embeddings.token_embedding.weight"].std() == drawn(1.5 * 0.02)
    assert weights["text_model.embeddings.position_embedding.weight"].std() == drawn(1.5 * 0.02)
    assert weights["vision_model.embeddings.patch_embedding.weight"].std() == drawn(1.5 * 0.05)
    assert weights["vision_model.embeddings.position_embedding.weight"].std() == drawn(1.5 * 0.05)
    assert weights["vision_model.embeddings.class_embedding"].std() == drawn(1.5 * 180**-0.5, FEW_DRAWN_WEIGHTS)
    assert weights["visual_projection.weight"].std() == drawn(2.5 * 180**-0.5)
    assert weights["text_projection.weight"].std() == drawn(2.5 * 200**-0.5)
    assert weights["logit_scale"] == np.float32(1.7)


def test_two_seeds_give_two_models_and_one_the_same(backend):
    one, same, other = (backend.weights(backend.build("CLIPModel", tiny_config(), seed=seed)) for seed in (0, 0, 1))
    name = "visual_projection.weight"
    assert np.array_equal(one[name], same[name])
    assert not np.array_equal(one[name], other[name])
    assert not np.array_equal(one[name], one["text_projection.weight"][:, :36])


@pytest.mark.parametrize("count", [3, 5])
def test_texts_and_pictures_that_make_no_pairs_are_refused_with_both_numbers(backend, count):
    model, inputs = backend.build("CLIPModel", tiny_config()), inputs_for("CLIPModel")
    inputs["pixel_values"] = pixel_values(count)
    with pytest.raises(ValueError, match=naming("return_loss=True", 4, count)):
        backend.forward(model, inputs, return_loss=True)


def test_missing_inputs_are_named(backend, built):
    inputs = inputs_for("CLIPModel")
    with pytest.raises(ValueError, match=naming("pixel_values")):
        backend.forward(built(backend), {"input_ids": inputs["input_ids"]})
    with pytest.raises(ValueError, match=naming("input_ids")):
        backend.forward(built(backend, "CLIPTextModel"), {"attention_mask": inputs["attention_mask"]})


def test_inputs_by_position_and_as_tensors_mean_the_same(backend, built):
    model, inputs = built(backend), inputs_for("CLIPModel")
    expected = backend.forward(model, inputs)
    tensors = [backend.tensor(inputs[name]) for name in ("input_ids", "pixel_values", "attention_mask")]
    found = flatten(model(*tensors))
    assert list(found) == list(expected)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, **FLOAT32_OPERATION, err_msg=name)


def test_a_change_of_the_configuration_counts_at_the_next_call(backend):
    model = backend.build("CLIPTextModel", tiny_config(**SHALLOW))
    inputs = {"input_ids": np.array([[96, 98, 5, 97, 0]])}
    before = backend.forward(model, inputs)
    assert np.array_equal(before["pooler_output"], before["last_hidden_state"][:, 3])
    model.config.eos_token_id = 2  # which stands for the largest id
    model.config.output_hidden_states = True
    after = backend.forward(model, inputs)
    assert np.array_equal(after["pooler_output"], before["last_hidden_state"][:, 1])
    assert after.keys() - before.keys() == {"hidden_states.0", "hidden_states.1"}
