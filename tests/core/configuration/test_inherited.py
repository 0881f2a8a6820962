"""Fields that any configuration of transformers has: read at their defaults, kept if set, and written only then."""

from __future__ import annotations

import json

import pytest

from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from clip_core.configuration.inherited import INHERITED

ALL = pytest.mark.parametrize("config_class", [CLIPConfig, CLIPTextConfig, CLIPVisionConfig])


@ALL
def test_they_are_read_at_their_defaults_and_not_written(config_class):
    config = config_class()
    assert (config.is_encoder_decoder, config.max_length, config.tokenizer_class) == (False, 20, None)
    assert (config.attribute_map, config.keys_to_ignore_at_inference) == ({}, [])
    assert not config.to_dict().keys() & set(INHERITED)
    assert set(INHERITED) < set(config)


@ALL
def test_they_are_kept_when_set(config_class, tmp_path):
    config = config_class(is_decoder=True, prefix="a ")
    config.max_length = 5
    config.save_pretrained(tmp_path)
    read = config_class.from_pretrained(tmp_path, sep_token_id=3)
    assert (read.is_decoder, read.prefix, read.max_length, read.sep_token_id) == (True, "a ", 5, 3)
    assert config_class().is_decoder is False


def test_gradient_checkpointing_is_of_the_training_and_in_no_file(tmp_path):
    config = CLIPConfig(gradient_checkpointing=True)
    assert config.text_config.gradient_checkpointing
    assert config.vision_config.gradient_checkpointing
    assert CLIPConfig.from_dict(config.to_dict()).vision_config.gradient_checkpointing
    assert "gradient_checkpointing" not in config.to_json_string()
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "clip", "gradient_checkpointing": True}))
    assert CLIPTextConfig.from_pretrained(tmp_path, gradient_checkpointing=True).gradient_checkpointing
    assert CLIPConfig.from_pretrained(tmp_path).text_config.gradient_checkpointing
