"""A model prepared for inference gives the same outputs, and refuses operations that it no longer supports."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.nn import Linear

from clip_torch import inference
from clip_torch.attention import CLIPAttention
from clip_torch.backend import ModelEncoder
from clip_torch.inference import PackedLinear, PreparedEncoderLayer, unpacked_parameters
from clip_torch.layers import ACTIVATION_FUNCTIONS, quick_gelu
from support.configs import CLASSES, token_ids
from support.messages import naming
from support.tolerances import BFLOAT16_OUTPUTS, FLOAT32, FLOAT32_OPERATION, ONE_DTYPE_BY_ANOTHER_KERNEL
from support.torch_models import build, tensors


def assert_prepared_is_same(model, inputs, **options):
    with torch.inference_mode():
        expected = model(**inputs, **options)
        prepared = model.prepare_for_inference()
        output = prepared(**inputs, **options)
    assert prepared is model
    assert any(isinstance(module, PreparedEncoderLayer) for module in model.modules())
    for ours, theirs in zip(output.to_tuple(), expected.to_tuple(), strict=True):
        torch.testing.assert_close(ours, theirs, **FLOAT32)


@pytest.mark.parametrize("class_name", CLASSES)
@pytest.mark.parametrize("batch", [1, 4])
def test_a_prepared_model_gives_the_same_outputs(class_name, batch):
    assert_prepared_is_same(build(class_name), tensors(class_name, batch))


def test_features_of_texts_come_as_before():
    model, inputs = build(), tensors("CLIPTextModel")
    with torch.inference_mode():
        expected = model.get_text_features(**inputs)
        torch.testing.assert_close(model.prepare_for_inference().get_text_features(**inputs), expected, **FLOAT32)


@pytest.mark.parametrize("hidden_act", ACTIVATION_FUNCTIONS)
def test_every_activation_is_the_same_fused_or_not(hidden_act):
    model = build("CLIPVisionModel", vision={"hidden_act": hidden_act})
    assert model.vision_model.encoder.layers[0].mlp.activation_fn.name == hidden_act
    assert_prepared_is_same(model, tensors("CLIPVisionModel"))


def test_hidden_states_and_attentions_come_as_before():
    model = build(attn_implementation="eager")
    inputs = tensors("CLIPModel")
    with torch.inference_mode():
        expected = model(**inputs, output_hidden_states=True, output_attentions=True)
        output = model.prepare_for_inference()(**inputs, output_hidden_states=True, output_attentions=True)
    for tower in ("text_model_output", "vision_model_output"):
        for name in ("hidden_states", "attentions"):
            for ours, theirs in zip(output[tower][name], expected[tower][name], strict=True):
                torch.testing.assert_close(ours, theirs, **FLOAT32)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("tokens", [1, 21, 40])
def test_a_batch_in_parts_gives_the_same_outputs(implementation, tokens, monkeypatch):
    monkeypatch.setattr(inference, "TOKENS_AT_ONCE", tokens)
    model, inputs = build(attn_implementation=implementation), tensors("CLIPModel", batch=7)
    inputs["attention_mask"][2], inputs["attention_mask"][5, 3:] = 0, 0
    options = {"output_hidden_states": True, "output_attentions": implementation == "eager"}
    with torch.inference_mode():
        expected = model(**inputs, **options)
        output = model.prepare_for_inference()(**inputs, **options)
    torch.testing.assert_close(output.logits_per_image, expected.logits_per_image, **FLOAT32)
    for tower in ("text_model_output", "vision_model_output"):
        ours, theirs = output[tower], expected[tower]
        torch.testing.assert_close(ours.last_hidden_state, theirs.last_hidden_state, **FLOAT32)
        torch.testing.assert_close(ours.hidden_states, theirs.hidden_states, **FLOAT32)
        torch.testing.assert_close(ours.attentions, theirs.attentions, **FLOAT32)


def test_a_large_batch_does_go_in_parts(monkeypatch):
    monkeypatch.setattr(inference, "TOKENS_AT_ONCE", 30)
    model, inputs = build("CLIPTextModel").prepare_for_inference(), tensors("CLIPTextModel", batch=7)
    rows = []
    model.text_model.encoder.layers[0].register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    model(**inputs)
    assert sum(rows) == 7
    assert max(rows) * inputs["input_ids"].shape[1] <= 30


def test_pictures_of_another_size_come_as_before():
    model = build("CLIPVisionModel")
    height, width = model.config.image_size + model.config.patch_size + 1, model.config.image_size + 2
    pixels = torch.randn(2, model.config.num_channels, height, width)
    assert_prepared_is_same(model, {"pixel_values": pixels}, interpolate_pos_encoding=True)


def test_bfloat16_is_as_near_prepared_as_not():
    if not inference.multiplies_bfloat16():
        pytest.skip("this CPU lacks instructions for bfloat16")
    inputs, model = tensors("CLIPModel"), build()
    with torch.inference_mode():
        expected = model(**inputs).logits_per_image
        plain = build().to(torch.bfloat16)
        plainly = (plain(**inputs).logits_per_image.float() - expected).abs().max()
        prepared = plain.prepare_for_inference()(**inputs).logits_per_image
    assert prepared.dtype == torch.bfloat16
    limit = max(ONE_DTYPE_BY_ANOTHER_KERNEL * plainly, BFLOAT16_OUTPUTS * expected.abs().max())
    assert (prepared.float() - expected).abs().max() <= limit
    assert plain.to(torch.bfloat16) is plain
    with pytest.raises(ValueError, match=naming("prepare_for_inference", "dtype")):
        plain.float()


def test_a_cpu_without_bfloat16_and_mixed_dtypes_are_refused(monkeypatch):
    model = build().to(torch.bfloat16)
    monkeypatch.setattr(inference, "multiplies_bfloat16", lambda: False)
    with pytest.raises(ValueError, match=naming("CPU", "bfloat16", "float32")):
        model.prepare_for_inference()
    model = build()
    model.visual_projection.to(torch.bfloat16)
    with pytest.raises(ValueError, match=naming("visual_projection.weight", "torch.bfloat16", "torch.float32")):
        model.prepare_for_inference()


def test_rows_that_are_all_padding_pruned_heads_and_missing_biases_come_as_before():
    model = build("CLIPTextModel")
    model.prune_heads({0: [1], 2: [0, 2]})
    layer = model.text_model.encoder.layers[1]
    layer.self_attn.k_proj.bias = layer.self_attn.out_proj.bias = layer.mlp.fc1.bias = layer.mlp.fc2.bias = None
    ids, mask = (torch.from_numpy(array) for array in token_ids(3))
    mask[1] = 0
    assert_prepared_is_same(model, {"input_ids": ids, "attention_mask": mask})


def test_preparing_twice_or_outside_of_inference_mode_changes_nothing():
    model, inputs = build(), tensors("CLIPModel")
    once = model.prepare_for_inference()(**inputs).logits_per_image
    again = model.prepare_for_inference()(**inputs).logits_per_image
    assert torch.equal(once, again)


def test_a_copy_gives_the_same():
    model, inputs = build().prepare_for_inference(), tensors("CLIPModel")
    with torch.inference_mode():
        assert torch.equal(copy.deepcopy(model)(**inputs).logits_per_image, model(**inputs).logits_per_image)


def test_a_layer_is_in_memory_once():
    model = build("CLIPVisionModel")
    old = [id(layer.mlp.fc1.weight) for layer in model.vision_model.encoder.layers]
    model.prepare_for_inference()
    assert not {id(parameter) for parameter in model.parameters()} & set(old)
    names = [name for name, _ in model.named_parameters() if ".layers." in name]
    assert all("layer_norm" in name for name in names)


@pytest.mark.parametrize(
    ("act", "what"),
    [
        (lambda model, folder: model.train(), "train"),
        (lambda model, folder: model.save_pretrained(folder), "save"),
        (lambda model, folder: model.state_dict(), "save"),
        (lambda model, folder: pickle.dumps(model), "pickle"),
        (lambda model, folder: model.half(), "dtype"),
        (lambda model, folder: model.to("meta"), "dtype"),
        (lambda model, folder: model.prune_heads({"vision_model": {0: [0]}}), "heads"),
    ],
)
def test_what_it_can_no_longer_do_is_refused(act, what, tmp_path):
    model, inputs = build().prepare_for_inference(), tensors("CLIPModel")
    with torch.inference_mode():
        before = model(**inputs).logits_per_image
        with pytest.raises(ValueError, match=naming("prepare_for_inference", what)):
            act(model, tmp_path / "saved")
        assert torch.equal(model(**inputs).logits_per_image, before)
    assert not (tmp_path / "saved").exists()


def test_moving_it_to_where_it_is_does_nothing():
    model, inputs = build(), tensors("CLIPModel")
    expected = model.prepare_for_inference()(**inputs).logits_per_image
    assert torch.equal(model.to("cpu").float().eval()(**inputs).logits_per_image, expected)


def test_other_dtypes_are_refused_before_anything_changes():
    model = build().to(torch.float16)
    with pytest.raises(ValueError, match=naming("logit_scale", "torch.float16", "cpu", "float32", "bfloat16")):
        model.prepare_for_inference()
    assert not any(isinstance(module, (PackedLinear, PreparedEncoderLayer)) for module in model.modules())


def test_a_build_without_onednn_is_refused(monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(ValueError, match=naming("oneDNN")):
        build().prepare_for_inference()


def quantized(weight):
    return torch.nn.Parameter(weight.detach().as_subclass(type("Quantized", (torch.Tensor,), {})))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("", lambda layer: setattr(layer, "__class__", type("OwnLayer", (type(layer),), {}))),
        (".self_attn", lambda layer: setattr(layer.self_attn, "__class__", type("Own", (CLIPAttention,), {}))),
        (".mlp", lambda layer: setattr(layer.mlp, "forward", lambda states: states)),
        (".mlp.activation_fn", lambda layer: layer.mlp.activation_fn.register_forward_hook(lambda *given: given[2])),
        # PEFT's adapters have the base layer's weight, but compute more.
        (".self_attn.v_proj", lambda layer: setattr(layer.self_attn.v_proj, "__class__", type("Own", (Linear,), {}))),
        (".mlp.fc1.weight", lambda layer: setattr(layer.mlp.fc1, "weight", quantized(layer.mlp.fc1.weight))),
    ],
)
def test_parts_that_compute_something_else_are_refused_and_stay(name, change):
    model = build()
    change(model.text_model.encoder.layers[1])
    with pytest.raises(ValueError, match=naming(f"text_model.encoder.layers.1{name} ")):
        model.prepare_for_inference()
    assert ModelEncoder(model).prepared().model is model
    assert not any(isinstance(module, (PackedLinear, PreparedEncoderLayer)) for module in model.modules())


def test_convolutions_of_users_stay_as_they_are():
    options = [{"padding": 1}, {"dilation": 2}, {"groups": 3}, {"stride": 2}, {"kernel_size": (3, 5), "stride": (3, 5)}]
    for one in options:
        model = build("CLIPVisionModel")
        model.adapter = torch.nn.Conv2d(3, 3, 3, padding=1)
        model.vision_model.embeddings.patch_embedding = torch.nn.Conv2d(3, 6, **{"kernel_size": 3, "stride": 3, **one})
        model.prepare_for_inference()
        assert type(model.adapter) is type(model.vision_model.embeddings.patch_embedding) is torch.nn.Conv2d


def test_an_encoder_for_many_inputs_shares_the_weights_and_is_prepared():
    encoder = ModelEncoder(build())
    prepared = encoder.prepared()
    shared = {id(parameter) for parameter in encoder.model.parameters()}
    assert {id(parameter) for parameter in prepared.model.parameters()} <= shared
    assert any(isinstance(module, PreparedEncoderLayer) for module in prepared.model.modules())
    assert not any(isinstance(module, (PackedLinear, PreparedEncoderLayer)) for module in encoder.model.modules())


def test_a_packed_layer_is_a_linear_layer_on_any_number_of_axes():
    layer = torch.nn.Linear(7, 5)
    packed = PackedLinear(layer.weight, layer.bias)
    for shape in ((3, 7), (2, 3, 7), (2, 3, 4, 7)):
        states, residual = torch.randn(shape), torch.randn(*shape[:-1], 5)
        expected = layer(states).detach().numpy()
        np.testing.assert_allclose(packed(states).numpy(), expected, **FLOAT32_OPERATION)
        assert packed(states.bfloat16(), residual).dtype == torch.float32  # attention under autocast is in bfloat16
        np.testing.assert_allclose(packed(states, residual).numpy(), expected + residual.numpy(), **FLOAT32_OPERATION)


def test_its_weights_still_have_a_fingerprint_which_is_computed_once(monkeypatch):
    model, other = build(), build()
    other.text_model.encoder.layers[0].self_attn.v_proj.weight.data[1, 2] += 1e-3
    encoders = [ModelEncoder(one.prepare_for_inference()) for one in (model, build(), other)]
    keys = [one.text_fingerprint() for one in encoders]
    assert keys[0] == keys[1] != keys[2]
    monkeypatch.setattr(PackedLinear, "unpacked", None)
    assert [one.text_fingerprint() for one in encoders] == keys


def test_packed_weights_come_out_as_they_went_in():
    model = build(vision={"hidden_act": "quick_gelu"})
    layer = model.vision_model.encoder.layers[0]
    names = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    expected = torch.cat([layer.get_submodule(name).weight for name in names]), layer.mlp.fc1.weight * 1.702
    assert dict(unpacked_parameters(model)).keys() == model.state_dict().keys()
    prepared = dict(unpacked_parameters(model.prepare_for_inference()))
    prefix = "vision_model.encoder.layers.0"
    assert torch.equal(prepared[f"{prefix}.qkv_proj.weight"], expected[0])
    assert torch.equal(prepared[f"{prefix}.fc1.weight"], expected[1])


def test_quick_gelu_is_the_same_with_gradients_and_without_and_leaves_its_input():
    states = torch.linspace(-9, 9, 101)
    before = states.clone()
    expected = quick_gelu(states.clone().requires_grad_())
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert torch.equal(quick_gelu(states), expected.detach())
            assert torch.equal(states, before)
