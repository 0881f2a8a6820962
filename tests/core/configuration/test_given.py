"""Configurations given to a model class: a stand-in for transformers' is converted, and others are refused by name."""

from __future__ import annotations

import pytest

from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from clip_core.configuration.given import own_config
from support.configs import tiny_config
from support.messages import naming


class Foreign:
    """A configuration of another library, with the fields of one of ours."""

    def __init__(self, config, implementation=None):
        self.model_type, self._config, self._attn_implementation = config.model_type, config, implementation
        for key in config.sub_configs:
            setattr(self, key, Foreign(getattr(config, key), implementation))

    def to_dict(self):
        return self._config.to_dict()


def test_ones_own_is_handed_back():
    config = tiny_config()
    assert own_config(config, CLIPConfig, "CLIPModel") is config


def test_a_tower_out_of_a_full_configuration():
    found = own_config(tiny_config(gradient_checkpointing=True), CLIPVisionConfig, "CLIPVisionModel")
    assert isinstance(found, CLIPVisionConfig)
    assert found.gradient_checkpointing


@pytest.mark.parametrize("config_class", [CLIPConfig, CLIPTextConfig])
def test_that_of_transformers_is_converted(config_class):
    config = tiny_config(dtype="float16")
    found = own_config(Foreign(config, "eager"), config_class, "CLIPModel")
    assert type(found) is config_class
    assert found.attn_implementation == "eager"
    text = config if config_class is CLIPTextConfig else config.text_config
    assert found == (config if config_class is CLIPConfig else own_config(text, config_class, ""))


def test_another_one_is_refused_with_both_modules():
    ours, other = "clip_core.configuration.clip.CLIPVisionConfig", f"{__name__}.Foreign"
    with pytest.raises(TypeError, match=naming("CLIPVisionModel", ours, other)):
        own_config(Foreign(CLIPTextConfig()), CLIPVisionConfig, "CLIPVisionModel")
    with pytest.raises(TypeError, match=naming("CLIPModel", "builtins.dict")):
        own_config({}, CLIPConfig, "CLIPModel")
