"""The functions of each backend's entry point, behind the tasks and the verification."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

from clip_core import BatchFeature, backends
from clip_core.backends import load_backend
from clip_core.modeling import stages
from clip_core.modeling.parameters import MODEL_CLASSES, parameter_table
from clip_core.processing import frameworks
from support.backends import assert_same_weights
from support.configs import SHALLOW, inputs_for, pixel_values, tiny_config, token_ids
from support.entries import part_of
from support.messages import naming
from support.tolerances import BFLOAT16_EMBEDDINGS, EMBEDDINGS, HIDDEN_STATES, LOGITS_BY_EMBEDDINGS

IDS, MASK = token_ids()


@pytest.mark.parametrize("dtype", [None, "float32", "bfloat16"])
def test_the_encoder_gives_what_the_model_gives(backend, saved, dtype):
    encoder = load_backend(backend.name).load(saved(backend), device="cpu", dtype=dtype)
    images, texts = encoder.encode_images(pixel_values(3)), encoder.encode_texts(IDS, MASK)
    inputs = {"input_ids": IDS, "attention_mask": MASK, "pixel_values": pixel_values(3)}
    expected = backend.forward(encoder.model, inputs)
    tolerance = BFLOAT16_EMBEDDINGS if dtype == "bfloat16" else EMBEDDINGS
    assert set(backend.dtypes(encoder.model).values()) == {dtype or "float32"}
    for ours, theirs in ((images, expected["image_embeds"]), (texts, expected["text_embeds"])):
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs.astype("float32")).max() < tolerance
    logits = encoder.logits_per_image(images, texts)
    assert logits.dtype == np.float32
    assert np.abs(logits - expected["logits_per_image"].astype("float32")).max() < LOGITS_BY_EMBEDDINGS * tolerance


def test_an_encoder_for_many_inputs_gives_the_same_and_leaves_the_other_whole(backend, saved):
    encoder = load_backend(backend.name).load(saved(backend), device="cpu")
    before = backend.weights(encoder.model)
    prepared = encoder.prepared()
    for one in (prepared, prepared.prepared()):
        for ours, theirs in (
            (one.encode_images(pixel_values(3)), encoder.encode_images(pixel_values(3))),
            (one.encode_texts(IDS, MASK), encoder.encode_texts(IDS, MASK)),
        ):
            assert np.abs(ours - theirs).max() < EMBEDDINGS
    after = backend.weights(encoder.model)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    inputs = pixel_values(1), IDS[:1], MASK[:1]
    gradients = encoder.logit_gradients(*inputs, first_image_layer=0, first_text_layer=0)
    assert np.isfinite(gradients.image[0].gradients).all()


def test_an_encoder_for_many_inputs_keeps_hooks_attributes_and_what_a_subclass_does(backend, saved):
    encoder = load_backend(backend.name).load(saved(backend), device="cpu")
    encoder.__class__ = type("Own", (type(encoder),), {"encode_images": lambda self, pixels: (self.added, len(pixels))})
    encoder.added = threading.Lock()  # cannot be copied
    calls = []
    if backend.name == "torch":
        encoder.model.train().lock = encoder.added
        encoder.model.vision_model.post_layernorm.register_forward_hook(lambda *_: calls.append(encoder.added))
    prepared = encoder.prepared()
    assert prepared.encode_images(pixel_values(3)) == (encoder.added, 3)
    if backend.name == "torch":
        type(encoder).__mro__[1].encode_images(prepared, pixel_values(1))
        assert calls == [encoder.added]
        assert prepared.model.lock is encoder.added
        assert all(module.training for module in encoder.model.modules())
        assert not any(module.training for module in prepared.model.modules())
        from torch.nn.modules.module import register_module_forward_hook

        handle = register_module_forward_hook(lambda *_: None)  # a prepared layer would not call it for its parts
        assert encoder.prepared() is encoder
        handle.remove()


def test_a_device_that_is_not_there_is_refused(backend, saved):
    others = () if backend.name == "torch" else ("cpu:7",)  # PyTorch calls its one CPU by any number
    for device in ("gpu9", "cpu:x", *others):
        with pytest.raises(ValueError, match=naming(repr(device), "cpu")):
            load_backend(backend.name).load(saved(backend), device=device)


def test_it_tells_its_versions_and_its_tensors(backend):
    package, tensors = {"torch": ("torch", "pt"), "tf": ("tensorflow", "tf"), "flax": ("jax", "jax")}[backend.name]
    found = load_backend(backend.name)
    assert found.return_tensors == tensors
    assert found.versions()[package] == __import__(package).__version__


def test_a_copy_that_is_not_installed_is_known_once_imported(backend, built, tmp_path, monkeypatch):
    tensors = load_backend(backend.name).return_tensors
    monkeypatch.setattr(backends, "entry_points", lambda group: [])
    frameworks.forget()
    try:
        assert load_backend(backend.name).return_tensors == tensors
        batch = BatchFeature({"pixel_values": pixel_values(2)}, tensor_type=tensors)
        assert type(batch["pixel_values"]) is type(backend.tensor(pixel_values(2)))
        built(backend).save_pretrained(tmp_path)
        assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["CLIPModel"]
        assert_same_weights(backend, backend.load("CLIPModel", tmp_path), built(backend))
    finally:
        frameworks.forget()


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_a_trace_holds_every_stage_gradient_and_step(backend, class_name, tmp_path):
    config = part_of(tiny_config(num_labels=3, **SHALLOW), class_name)
    model, inputs = backend.build(class_name, config), inputs_for(class_name)
    model.save_pretrained(tmp_path)
    trace = load_backend(backend.name).trace
    found = trace(tmp_path, inputs, class_name=class_name, gradients=True, train_step=True)
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in found.values())

    def part(prefix):
        return {name.removeprefix(prefix): array for name, array in found.items() if name.startswith(prefix)}

    gradients, updated = part("gradient."), part("updated.")
    table = parameter_table(config, class_name)
    assert {name: array.shape for name, array in updated.items()} == table
    # A classifier does not use the pooled state.
    unused = {f"vision_model.post_layernorm.{kind}" for kind in ("weight", "bias")}
    assert table.keys() - gradients.keys() == (unused if class_name == "CLIPForImageClassification" else set())
    for name, expected in stages.adamw(backend.weights(model), gradients).items():
        assert np.abs(updated[name] - expected).max() <= HIDDEN_STATES * np.abs(expected).max(), name
    layers = [name for name in found if name.endswith("layers.0.attention")]
    assert layers == [f"{tower}.layers.0.attention" for tower in ("vision", "text") if _has(class_name, tower)]
    plain = trace(tmp_path, inputs, class_name=class_name)
    assert plain.keys() == {name for name in found if not name.startswith(("gradient.", "updated."))}


def _has(class_name, tower):
    return class_name == "CLIPModel" or ("Text" in class_name) == (tower == "text")
