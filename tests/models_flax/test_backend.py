"""Flax behind the tasks and the verification: the functions of the entry point."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import clip_flax
from clip_core.backends import load_backend
from clip_core.modeling import stages
from clip_core.modeling.parameters import MODEL_CLASSES, parameter_table
from support.configs import inputs_for, pixel_values, tiny_config, token_ids
from support.entries import part_of
from support.flax_models import build
from support.messages import naming
from support.tolerances import BFLOAT16_EMBEDDINGS, EMBEDDINGS, HIDDEN_STATES

IDS, MASK = token_ids()


@pytest.fixture
def folder(tmp_path):
    build().save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("dtype", [None, "float32", "bfloat16"])
def test_the_encoder_gives_what_the_model_gives(folder, dtype):
    encoder = load_backend("flax").load(folder, device="cpu", dtype=dtype)
    images, texts = encoder.encode_images(pixel_values(3)), encoder.encode_texts(IDS, MASK)
    expected = encoder.model(IDS, pixel_values(3), MASK)
    tolerance = BFLOAT16_EMBEDDINGS if dtype == "bfloat16" else EMBEDDINGS
    assert encoder.model.param_dtype == jnp.dtype(dtype or "float32")
    for ours, theirs in ((images, expected.image_embeds), (texts, expected.text_embeds)):
        assert ours.dtype == np.float32
        assert np.abs(ours - theirs.astype("float32")).max() < tolerance
    logits = encoder.logits_per_image(images, texts)
    assert logits.dtype == np.float32
    assert np.abs(logits - expected.logits_per_image.astype("float32")).max() < 10 * tolerance


def test_a_device_that_is_not_there_is_refused(folder):
    for device in ("gpu9", "cpu:7", "cpu:x"):
        with pytest.raises(ValueError, match=naming(f"device={device!r}", "cpu:0")):
            load_backend("flax").load(folder, device=device)


def test_it_tells_its_versions_and_its_tensors():
    backend = load_backend("flax")
    assert backend.return_tensors == "jax"
    assert backend.versions()["jax"] == jax.__version__


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_a_trace_holds_every_stage_gradient_and_step(class_name, tmp_path):
    config = part_of(tiny_config(num_labels=3), class_name)
    model = getattr(clip_flax, class_name)(config)
    model.save_pretrained(tmp_path)
    trace = load_backend("flax").trace
    found = trace(tmp_path, inputs_for(class_name), class_name=class_name, gradients=True, train_step=True)
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in found.values())

    def part(prefix):
        return {name.removeprefix(prefix): array for name, array in found.items() if name.startswith(prefix)}

    gradients, updated = part("gradient."), part("updated.")
    table = parameter_table(config, class_name)
    assert {name: array.shape for name, array in updated.items()} == table
    # A classifier does not use the pooled state.
    unused = {f"vision_model.post_layernorm.{kind}" for kind in ("weight", "bias")}
    assert table.keys() - gradients.keys() == (unused if class_name == "CLIPForImageClassification" else set())
    before = {name: entry.load() for name, entry in clip_flax.tensors.canonical_entries(model.params).items()}
    for name, expected in stages.adamw(before, gradients).items():
        assert np.abs(updated[name] - expected).max() <= HIDDEN_STATES * np.abs(expected).max(), name
    layers = [name for name in found if name.endswith("layers.1.attention")]
    assert layers == [f"{tower}.layers.1.attention" for tower in ("vision", "text") if _has(class_name, tower)]
    assert trace(tmp_path, inputs_for(class_name), class_name=class_name).keys() == {
        name for name in found if not name.startswith(("gradient.", "updated."))
    }


def _has(class_name, tower):
    return class_name == "CLIPModel" or ("Text" in class_name) == (tower == "text")
