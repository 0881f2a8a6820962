"""The attention implementations agree, forward and backward, under every mask."""

from __future__ import annotations

import warnings
from contextlib import nullcontext

import numpy as np
import pytest

from clip_core.modeling import attention as attention_names
from converters.verification import reference
from converters.verification.autodiff import Tracked, pull_back
from support.attention_masks import BATCH, MASKS, SEQ
from support.configs import SHALLOW, inputs_for, tiny_config, token_ids
from support.entries import part_of
from support.messages import naming
from support.tolerances import (
    FLOAT32,
    FLOAT32_OPERATION,
    FLOAT64,
    FLOAT64_OPERATION,
    GRADIENTS,
    MEAN_OF_DRAWS,
    SPREAD_OF_DRAWS,
)

HEADS, HEAD_DIM = 3, 8


def text_model(backend, dtype="float32", implementation=None, **text):
    return backend.build("CLIPTextModel", tiny_config(text, attn_implementation=implementation), dtype=dtype)


def assert_close(backend, found, expected):
    """Check that two results of a model agree in the dtype that `backend.precise` names."""
    np.testing.assert_allclose(found, expected, **(FLOAT64 if backend.precise == "float64" else FLOAT32))


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_float64_is_computed_in_float64(backend, implementation):
    attend, random = getattr(backend.module("attention"), f"{implementation}_attention"), np.random.default_rng(0)
    arrays = random.standard_normal((3, BATCH, SEQ, HEADS, HEAD_DIM))
    with backend.double_precision():
        plan = backend.module("plan").text_plan(implementation, None, backend.tensor(np.zeros((BATCH, SEQ, 1))))
        attended = np.asarray(attend(*map(backend.tensor, arrays), plan, scale=0.3, dropout=backend.no_dropout)[0])
    query, key, value = arrays
    scores = np.where(np.tri(SEQ, dtype=bool), np.einsum("bqhd,bkhd->bhqk", query, key) * 0.3, -np.inf)
    weights = np.exp(scores)
    expected = np.einsum("bhqk,bkhd->bqhd", weights / weights.sum(-1, keepdims=True), value)
    np.testing.assert_allclose(attended, expected, **FLOAT64_OPERATION)


@pytest.mark.parametrize("case", MASKS)
def test_sdpa_agrees_with_eager_forward_and_backward(backend, case):
    inputs = {"input_ids": np.random.default_rng(1).integers(1, 90, (BATCH, SEQ))}
    if MASKS[case] is not None:
        inputs["attention_mask"] = np.array(MASKS[case])
    found, expected = (
        backend.gradients(text_model(backend, backend.precise, name, num_hidden_layers=2), inputs)
        for name in ("sdpa", "eager")
    )
    assert found.keys() == expected.keys()
    states = "last_hidden_state"
    assert np.isfinite(expected[states]).all()
    assert_close(backend, found[states], expected[states])
    gradients = [name for name in expected if name.startswith("gradient.")]
    assert gradients
    largest = max(np.abs(expected[name]).max() for name in gradients)
    for name in gradients:
        if backend.precise == "float64":
            np.testing.assert_allclose(found[name], expected[name], **FLOAT64, err_msg=name)
        else:
            np.testing.assert_allclose(found[name], expected[name], rtol=GRADIENTS, atol=GRADIENTS * largest)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("case", MASKS)
def test_gradients_are_those_of_the_definition(backend, case, implementation):
    """Every token counts, also those that see no key: on the left of a padded text, and in a row of padding alone."""
    model = text_model(backend, backend.precise, implementation, num_hidden_layers=2)
    inputs = {"input_ids": np.random.default_rng(1).integers(1, 90, (BATCH, SEQ))}
    if MASKS[case] is not None:
        inputs["attention_mask"] = np.array(MASKS[case])
    found = backend.gradients(model, inputs)
    weights = {name: Tracked(array) for name, array in backend.weights(model).items()}
    trace = {}
    reference.text(
        reference.Weights(weights) / "text_model",
        model.config,
        inputs["input_ids"],
        inputs.get("attention_mask"),
        trace,
    )
    outputs = [trace["text.last_hidden_state"], trace["text.pooled"]]
    slopes = [np.linspace(-1.0, 2.0, output.value.size).reshape(output.shape) for output in outputs]
    expected = pull_back(sum((output * slope).sum() for output, slope in zip(outputs, slopes, strict=True)))
    largest = max(np.abs(expected[array.node]).max() for array in weights.values())
    for name, array in weights.items():
        tolerance = FLOAT64["rtol"] if backend.precise == "float64" else GRADIENTS
        np.testing.assert_allclose(
            found[f"gradient.{name}"], expected[array.node], rtol=tolerance, atol=tolerance * largest, err_msg=name
        )


@pytest.mark.parametrize("case", MASKS)
def test_queries_that_see_no_key_attend_evenly_to_keys_masked_once(backend, case):
    mask = MASKS[case]
    if mask is None:
        mask = [[1] * SEQ] * BATCH
    attention, random = backend.module("attention"), np.random.default_rng(0)
    query, key, value = (
        backend.tensor(random.standard_normal((BATCH, SEQ, HEADS, HEAD_DIM)), "float32") for _ in range(3)
    )
    states = backend.tensor(np.zeros((BATCH, SEQ, 1)), "float32")
    plan = backend.module("plan").text_plan("eager", backend.tensor(np.array(mask)), states)
    assert plan.keyless is None or tuple(plan.keyless.shape) == (BATCH, SEQ, 1, 1)
    _, weights = attention.attend(query, key, value, plan, scale=0.3, dropout=backend.no_dropout)
    masked = np.triu(np.ones((SEQ, SEQ)), k=1) + (np.array(mask) == 0)[:, None]  # (batch, seq, seq)
    keyless = (masked > 0).all(-1)
    assert keyless.any() == (case in {"left padding", "a row of padding alone"})
    once = (masked == 1) / (masked == 1).sum(-1, keepdims=True).clip(1)
    weights = np.asarray(backend.tensor(weights, "float32")).transpose(0, 2, 1, 3)  # (batch, seq, heads, seq)
    np.testing.assert_allclose(weights[keyless], once[keyless][:, None].repeat(HEADS, 1), **FLOAT32_OPERATION)


def test_a_padded_text_equals_the_same_text_alone(backend):
    model, (ids, mask) = text_model(backend, backend.precise), token_ids()
    together = backend.forward(model, {"input_ids": ids, "attention_mask": mask})
    for row, length in enumerate(mask.sum(-1)):
        alone = backend.forward(model, {"input_ids": ids[row : row + 1, :length]})
        assert_close(backend, together["last_hidden_state"][row, :length], alone["last_hidden_state"][0])
        assert_close(backend, together["pooler_output"][row], alone["pooler_output"][0])


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_what_follows_a_token_does_not_change_it(backend, implementation):
    model = text_model(backend, backend.precise, implementation)
    ids = np.random.default_rng(0).integers(1, 90, (2, 12))
    other = ids.copy()
    other[:, 7:] = 5
    states, changed = (backend.forward(model, {"input_ids": one})["last_hidden_state"] for one in (ids, other))
    tolerance = FLOAT64 if backend.precise == "float64" else FLOAT32_OPERATION
    np.testing.assert_allclose(states[:, :7], changed[:, :7], **tolerance)
    assert not np.allclose(states[:, 7:], changed[:, 7:], **tolerance)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_no_mask_makes_nan_in_any_dtype(backend, dtype, implementation):
    attention, random = backend.module("attention"), np.random.default_rng(0)
    attend = getattr(attention, f"{implementation}_attention")
    with backend.double_precision():
        states = [backend.tensor(random.standard_normal((BATCH, SEQ, HEADS, HEAD_DIM)), dtype) for _ in range(3)]
        for rows in MASKS.values():
            mask = None if rows is None else backend.tensor(np.array(rows))
            plan = backend.module("plan").text_plan(
                implementation, mask, backend.tensor(np.zeros((BATCH, SEQ, 1)), dtype)
            )
            attended, weights = attend(*states, plan, scale=0.3, dropout=backend.no_dropout)
            assert attended.dtype == states[0].dtype
            for tensor in (attended,) if weights is None else (attended, weights):
                assert np.isfinite(np.asarray(backend.tensor(tensor, "float32"))).all()


def test_the_bias_is_made_once_for_all_layers(backend):
    mask, states = np.ones((BATCH, SEQ)), backend.tensor(np.zeros((BATCH, SEQ, 4)), "float32")
    assert backend.module("plan").AttentionPlan().bias is None
    mask[0, -1] = 0
    plan = backend.module("plan").text_plan("sdpa", backend.tensor(mask), states)
    assert tuple(plan.bias.shape) == (BATCH, 1, SEQ, SEQ)
    assert not getattr(plan, "is_causal", False)  # already in the bias
    mask[0], mask[1, :2] = 0, 0
    keyless = np.asarray(backend.module("plan").text_plan("sdpa", backend.tensor(mask), states).keyless)
    assert keyless.shape == (BATCH, SEQ, 1, 1)
    assert keyless.reshape(BATCH, SEQ).sum(-1).tolist() == [SEQ, 2, 0, 0, 0]


@pytest.mark.parametrize("class_name", ["CLIPTextModel", "CLIPVisionModel"])
def test_asking_sdpa_for_attentions_falls_back_to_eager_with_one_warning(backend, class_name, monkeypatch):
    monkeypatch.setattr(attention_names, "_warned", set())
    model, inputs = backend.build(class_name, tiny_config()), inputs_for(class_name)
    with pytest.warns(UserWarning, match=naming("sdpa", "output_attentions")) as caught:
        first = backend.forward(model, inputs, output_attentions=True)
        backend.forward(model, inputs, output_attentions=True)
    assert len([warning for warning in caught if "output_attentions" in str(warning.message)]) == 1
    states = "last_hidden_state"
    np.testing.assert_allclose(first[states], backend.forward(model, inputs)[states], **FLOAT32)
    attentions = [array for name, array in first.items() if name.startswith("attentions.")]
    assert attentions
    for weights in attentions:
        np.testing.assert_allclose(weights.sum(-1), 1.0, **FLOAT32_OPERATION)


def test_eager_returns_attentions_without_a_warning(backend):
    model = text_model(backend, implementation="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outputs = backend.forward(model, {"input_ids": token_ids()[0]}, output_attentions=True)
    attentions = [array for name, array in outputs.items() if name.startswith("attentions.")]
    assert [weights.shape for weights in attentions] == [(4, 5, 11, 11)] * 3


@pytest.mark.parametrize("given", ["flex", {"vision_config": "flex"}])
def test_an_unknown_implementation_is_refused_by_name(backend, given):
    plan = backend.module("plan")
    assert {"eager", "sdpa"} <= set(plan.ATTENTION_IMPLEMENTATIONS)
    with pytest.raises(ValueError, match=naming('"flex"', *plan.ATTENTION_IMPLEMENTATIONS)):
        plan.check_implementation("flex")
    with pytest.raises(ValueError, match=naming('attn_implementation="flex"')):
        backend.build("CLIPModel", tiny_config(attn_implementation=given))


def test_flash_attention_is_in_pytorch_alone(backend):
    refused = pytest.raises(ValueError, match=naming('"flash_attention_2"', "clip_torch"))
    with nullcontext() if backend.name == "torch" else refused:
        backend.build("CLIPModel", tiny_config(attn_implementation="flash_attention_2"))


def test_the_towers_may_differ_in_implementation(backend):
    model = backend.build("CLIPModel", tiny_config(attn_implementation={"text_config": "eager"}))
    towers = model.config.text_config, model.config.vision_config
    assert [tower.attn_implementation for tower in towers] == ["eager", "sdpa"]
    model.set_attn_implementation({"text_config": "sdpa", "vision_config": "eager"})
    assert [tower.attn_implementation for tower in towers] == ["sdpa", "eager"]
    with pytest.raises(ValueError, match=naming('attn_implementation="flex"')):
        model.set_attn_implementation({"text_config": "eager", "vision_config": "flex"})
    assert [tower.attn_implementation for tower in towers] == ["sdpa", "eager"]
    model.set_attn_implementation("eager")
    assert [tower.attn_implementation for tower in towers] == ["eager", "eager"]
    model.config.vision_config.attn_implementation = "flex"
    with pytest.raises(ValueError, match=naming('attn_implementation="flex"')):
        backend.build("CLIPModel", model.config)


def test_a_mask_of_another_shape_is_refused_with_both_shapes(backend):
    inputs = {"input_ids": token_ids()[0], "attention_mask": np.ones((4, 12))}
    with pytest.raises(ValueError, match=naming("attention_mask", (4, 12), "input_ids", (4, 11))):
        backend.forward(text_model(backend), inputs)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_dropout_acts_in_training_alone(backend, implementation):
    model, inputs = (
        text_model(backend, implementation=implementation, attention_dropout=0.5),
        {"input_ids": token_ids()[0]},
    )
    first, second = (backend.forward(model, inputs)["pooler_output"] for _ in range(2))
    assert np.array_equal(first, second)
    one, same, other = (backend.train(model, inputs, seed)["pooler_output"] for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other, **FLOAT32)
    assert not np.allclose(one, first, **FLOAT32)


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPVisionModel", "CLIPForImageClassification"])
def test_dropout_acts_in_both_towers(backend, class_name):
    towers = ({**SHALLOW[tower], "attention_dropout": 0.5} for tower in ("text", "vision"))
    model = backend.build(class_name, part_of(tiny_config(*towers, num_labels=3), class_name))
    one, other = (backend.train(model, inputs_for(class_name), seed) for seed in (0, 1))
    states = [name for name in one if name.endswith("last_hidden_state")]
    states += [name for name in ("logits",) if class_name == "CLIPForImageClassification"]
    assert len(states) == (2 if class_name == "CLIPModel" else 1)
    assert all(not np.allclose(one[name], other[name], **FLOAT32) for name in states)


def test_dropout_acts_in_features(backend):
    dropout = {"attention_dropout": 0.5}
    model, inputs = backend.build("CLIPModel", tiny_config(dropout, dropout)), inputs_for("CLIPModel")
    pixels = {"pixel_values": inputs.pop("pixel_values")}
    for method, given in (("get_text_features", inputs), ("get_image_features", pixels)):
        one, other = (backend.train(model, given, seed, method)[""] for seed in (0, 1))
        assert not np.allclose(one, other, **FLOAT32)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_dropout_keeps_the_mean(backend, implementation):
    attention, random = backend.module("attention"), np.random.default_rng(0)
    attend = getattr(attention, f"{implementation}_attention")
    layer = text_model(backend, attention_dropout=0.5, num_hidden_layers=1).text_model.encoder.layers[0].self_attn
    arrays = *random.standard_normal((2, 2, SEQ, HEADS, HEAD_DIM)), np.ones((2, SEQ, HEADS, HEAD_DIM))
    query, key, value = (backend.tensor(array, "float32") for array in arrays)
    plan = backend.module("plan").AttentionPlan()
    draws = [attend(query, key, value, plan, scale=0.3, dropout=backend.dropout(layer, seed)) for seed in range(100)]
    attended = [np.asarray(one) for one, _ in draws]
    assert np.mean(attended) == pytest.approx(1.0, abs=MEAN_OF_DRAWS)
    assert np.std(attended) > SPREAD_OF_DRAWS
