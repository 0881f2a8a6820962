"""Names of every Hugging Face layout come out canonical."""

from __future__ import annotations

import pytest

from clip_core.parameters import MODEL_CLASSES, parameter_table
from converters.canonical import canonical_names
from support.configs import tiny_config


def table(class_name: str) -> list[str]:
    config = tiny_config(num_labels=3)
    if "Text" in class_name:
        config = config.text_config
    elif "Vision" in class_name:
        config = config.vision_config
    return list(parameter_table(config, class_name))


@pytest.mark.parametrize("prefix", ["", "clip.", "model.", "module.", "_orig_mod.", "module._orig_mod.clip."])
@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_prefixes_fall_away(class_name, prefix):
    names = table(class_name)
    assert canonical_names(prefix + name for name in names) == {name: prefix + name for name in names}


@pytest.mark.parametrize("prefix", ["", "model.", "module._orig_mod."])
@pytest.mark.parametrize(
    ("class_name", "tower"), [("CLIPTextModel", "text_model"), ("CLIPVisionModel", "vision_model")]
)
def test_a_flattened_tower_gets_its_name_back(class_name, tower, prefix):
    names = table(class_name)
    flat = [prefix + name.removeprefix(f"{tower}.") for name in names]
    assert canonical_names(flat) == dict(zip(names, flat, strict=True))


def test_a_flattened_tower_with_its_projection_beside_it():
    names = table("CLIPTextModelWithProjection")
    flat = [name.removeprefix("text_model.") for name in names]
    assert list(canonical_names(flat)) == names


def test_position_ids_of_old_checkpoints_are_no_parameters():
    names = ["text_model.embeddings.position_ids", "vision_model.embeddings.position_ids", "embeddings.position_ids"]
    assert canonical_names([*names, "logit_scale"]) == {"logit_scale": "logit_scale"}


def test_unknown_names_stay_as_they_are():
    names = ["decoder.layers.0.weight", "encoder.layers.0.mlp.fc1.weight"]  # of no known tower
    assert canonical_names(names) == dict(zip(names, names, strict=True))


def test_two_names_for_one_parameter_are_refused_by_name():
    with pytest.raises(ValueError, match=r"logit_scale and model\.logit_scale both mean logit_scale"):
        canonical_names(["logit_scale", "model.logit_scale"])
