"""The parameter table is the reference's `state_dict`: names, shapes and order."""

from __future__ import annotations

import json

import pytest

from clip_core.configuration import CLIPConfig
from clip_core.modeling.parameters import MODEL_CLASSES, parameter_table
from support.configs import tiny_config
from support.real_configs import FULL_CONFIGS, REAL_CONFIGS

TOWER_CLASSES = {
    "CLIPTextConfig": ["CLIPTextModel", "CLIPTextModelWithProjection"],
    "CLIPVisionConfig": ["CLIPVisionModel", "CLIPVisionModelWithProjection"],
}


def assert_same_table(oracle, config, class_name, folder):
    config.save_pretrained(folder)
    reference = oracle("parameter_shapes", model_class=class_name, folder=str(folder))
    expected = [(name, shape) for name, shape in reference if not name.endswith("position_ids")]
    assert list(parameter_table(config, class_name).items()) == expected


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
@pytest.mark.parametrize("labels", [2, 5])
def test_every_class_on_odd_towers(oracle, class_name, labels, tmp_path):
    config = tiny_config(num_labels=labels, projection_dim=31)
    own = {type(part).__name__: part for part in (config, config.text_config, config.vision_config)}
    assert_same_table(oracle, own[MODEL_CLASSES[class_name].__name__], class_name, tmp_path)


def test_no_labels(oracle, tmp_path):
    assert_same_table(oracle, tiny_config(num_labels=0), "CLIPForImageClassification", tmp_path)


@pytest.mark.parametrize("name", FULL_CONFIGS)
def test_real_models(oracle, name, tmp_path):
    assert_same_table(oracle, CLIPConfig.from_dict(FULL_CONFIGS[name]), "CLIPModel", tmp_path)


@pytest.mark.parametrize("name", [name for name, (kind, _) in REAL_CONFIGS.items() if kind in TOWER_CLASSES])
def test_real_towers(oracle, name, tmp_path):
    kind, content = REAL_CONFIGS[name]
    (tmp_path / "config.json").write_text(json.dumps(content))
    for class_name in TOWER_CLASSES[kind]:
        config = MODEL_CLASSES[class_name].from_pretrained(tmp_path)
        assert_same_table(oracle, config, class_name, tmp_path)
