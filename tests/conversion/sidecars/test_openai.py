"""The configuration that OpenAI's code derives from shapes, and models that it would run differently."""

from __future__ import annotations

import numpy as np
import pytest

from clip_core.configuration import CLIPConfig
from converters.checkpoint import Checkpoint
from converters.sidecars.openai import check_openai, config_from_shapes, pools_at_largest_id, token_ids
from support.checkpoints import openai_config
from support.configs import CLASSES, tiny_config
from support.entries import entry, random_entries
from support.messages import naming
from support.real_configs import FULL_CONFIGS

TOWERS = ("text_config", "vision_config")
FIELDS = ["hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act"]
FIELDS += ["layer_norm_eps"]


def checkpoint_of(config, **changes):
    entries = random_entries(config)
    for name, shape in changes.items():
        canonical = name.replace("__", ".")
        if shape is None:
            del entries[canonical]
        else:
            entries[canonical] = entry(np.zeros(shape, np.float32))
    return Checkpoint(entries, "model.pt")


def test_a_configuration_comes_back_from_the_shapes_of_its_weights():
    config = openai_config({"num_hidden_layers": 4, "max_position_embeddings": 21}, {"patch_size": 5, "image_size": 35})
    found = config_from_shapes(checkpoint_of(config))
    for tower in TOWERS:
        for field in FIELDS:
            assert getattr(getattr(found, tower), field) == getattr(getattr(config, tower), field), field
    assert found.text_config.vocab_size == 99
    assert found.text_config.max_position_embeddings == 21
    assert found.vision_config.patch_size == 5
    assert found.vision_config.image_size == 35
    assert found.projection_dim == 24
    check_openai(found)


@pytest.mark.parametrize("class_name", CLASSES)
def test_a_part_of_clip_has_its_sizes_too(class_name):
    config = openai_config({"num_hidden_layers": 4}, {"patch_size": 5, "image_size": 35})
    config.num_labels = 4
    found = config_from_shapes(Checkpoint(random_entries(config, class_name), "model.safetensors"))
    towers = {"CLIPText": TOWERS[:1], "CLIPModel": TOWERS}
    for tower in next((kept for name, kept in towers.items() if class_name.startswith(name)), TOWERS[1:]):
        for field in FIELDS:
            assert getattr(getattr(found, tower), field) == getattr(getattr(config, tower), field), field
    if "Projection" in class_name:
        assert found.projection_dim == 24
    if "Classification" in class_name:
        assert found.num_labels == 4


@pytest.mark.parametrize(("vocab_size", "eos"), [(49408, 49407), (49411, 2), (99, 2)])
def test_the_largest_id_is_pooled_at_whatever_the_vocabulary(vocab_size, eos):
    """With OpenAI's own vocabulary the eos token is the largest; with another, the legacy 2 says so."""
    ids = token_ids(vocab_size)
    assert ids["eos_token_id"] == eos
    assert ids["pad_token_id"] == 0
    assert pools_at_largest_id(CLIPConfig(text_config={"vocab_size": vocab_size, **ids}).text_config)


@pytest.mark.parametrize(
    "name",
    [
        "text_model__embeddings__token_embedding__weight",
        "visual_projection__weight",
        "vision_model__encoder__layers__0__mlp__fc1__weight",
    ],
)
def test_a_tensor_that_would_tell_and_is_not_there_is_named(name):
    with pytest.raises(ValueError, match=naming("model.pt", name.replace("__", "."), "config.json")):
        config_from_shapes(checkpoint_of(openai_config(), **{name: None}))


@pytest.mark.parametrize(
    ("name", "shape", "named"),
    [
        ("vision_model__embeddings__position_embedding__weight", (25, 128), [25]),
        ("vision_model__embeddings__position_embedding__weight", (0, 128), [0]),
        ("vision_model__embeddings__patch_embedding__weight", (100, 3, 6, 6), ["vision_model", 100, 64]),
        ("vision_model__embeddings__patch_embedding__weight", (128, 108), ["patch_embedding.weight", (128, 108)]),
        ("text_model__embeddings__token_embedding__weight", (99, 40), ["text_model", 40, 64]),
        ("text_model__embeddings__token_embedding__weight", (99,), ["token_embedding.weight", (99,)]),
        ("visual_projection__weight", (), ["visual_projection.weight", ()]),
    ],
)
def test_a_shape_that_its_code_does_not_support_is_named(name, shape, named):
    with pytest.raises(ValueError, match=naming(*named)):
        config_from_shapes(checkpoint_of(openai_config(), **{name: shape}))


def test_every_field_that_differs_is_in_one_message():
    with pytest.raises(ValueError, match=naming("OpenAI")) as caught:
        check_openai(tiny_config())
    told = str(caught.value)
    for tower in TOWERS:
        for field in ("hidden_act", "layer_norm_eps", "num_attention_heads", "intermediate_size"):
            assert f"{tower}.{field} is " in told
    assert "eos_token_id is 97" in told
    assert "num_channels is 2" in told


def test_openais_published_configurations_pass():
    found = [name for name in FULL_CONFIGS if name.startswith("openai")]
    assert found
    for name in found:
        check_openai(CLIPConfig.from_dict(FULL_CONFIGS[name]))
