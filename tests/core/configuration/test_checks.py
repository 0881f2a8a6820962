"""Checks of the fields of a configuration."""

from __future__ import annotations

import pytest

from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from clip_core.configuration.checks import ACTIVATIONS
from support.messages import naming


class TestValidation:
    @pytest.mark.parametrize(
        ("config_class", "fields", "named"),
        [
            (
                CLIPTextConfig,
                {"hidden_size": 0},
                ["CLIPTextConfig", "hidden_size=0", 1],
            ),
            (CLIPTextConfig, {"hidden_size": 512.0}, ["hidden_size=512.0"]),
            (CLIPTextConfig, {"vocab_size": "49408"}, ["vocab_size='49408'"]),
            (CLIPTextConfig, {"max_position_embeddings": -1}, ["max_position_embeddings=-1"]),
            (CLIPTextConfig, {"num_hidden_layers": True}, ["num_hidden_layers=True"]),
            (CLIPTextConfig, {"num_attention_heads": 7}, ["num_attention_heads=7", "hidden_size=512", 4, 8]),
            (CLIPTextConfig, {"hidden_act": "gleu"}, ["hidden_act='gleu'", "gelu", "gelu_new"]),
            (CLIPTextConfig, {"layer_norm_eps": 0.0}, ["layer_norm_eps=0.0", 0]),
            (CLIPTextConfig, {"layer_norm_eps": float("nan")}, ["layer_norm_eps=nan"]),
            (CLIPTextConfig, {"attention_dropout": 1.0}, ["attention_dropout=1.0", 0, 1]),
            (CLIPTextConfig, {"attention_dropout": -0.1}, ["attention_dropout=-0.1"]),
            (CLIPTextConfig, {"eos_token_id": None}, ["eos_token_id=None"]),
            (CLIPTextConfig, {"eos_token_id": [2]}, ["eos_token_id=[2]"]),
            (CLIPTextConfig, {"pad_token_id": 1.5}, ["pad_token_id=1.5", -1, None]),
            (CLIPTextConfig, {"missing_eos": "last"}, ["missing_eos='last'", "first", "error"]),
            (CLIPTextConfig, {"pruned_heads": {12: [0]}}, ["pruned_heads={12: [0]}", 0, 11]),
            (CLIPTextConfig, {"pruned_heads": {0: [8]}}, ["pruned_heads={0: [8]}", 0, 7]),
            (CLIPTextConfig, {"pruned_heads": {0: list(range(8))}}, ["pruned_heads={0: [0, 1, 2, 3, 4, 5, 6, 7]}"]),
            (CLIPTextConfig, {"pruned_heads": [0]}, ["pruned_heads=[0]", "dict"]),
            (CLIPTextConfig, {"pruned_heads": {"first": [0]}}, ["pruned_heads={'first': [0]}", "dict"]),
            (
                CLIPVisionConfig,
                {"image_size": 230},
                ["patch_size=32", "image_size=230", 23, 46],
            ),
            (CLIPVisionConfig, {"image_size": (224, 224)}, ["image_size=(224, 224)"]),
            (CLIPVisionConfig, {"patch_size": 0}, ["patch_size=0"]),
            (CLIPVisionConfig, {"num_channels": 0}, ["num_channels=0"]),
            (CLIPConfig, {"projection_dim": None}, ["projection_dim=None"]),
            (CLIPConfig, {"logit_scale_init_value": "2.6592"}, ["logit_scale_init_value='2.6592'"]),
            (CLIPConfig, {"text_config": {"hidden_size": 9}}, ["CLIPTextConfig", "num_attention_heads=8", 3, 9]),
            (CLIPConfig, {"problem_type": "ranking"}, ["problem_type='ranking'", None, "regression"]),
            (CLIPConfig, {"num_labels": -1}, ["num_labels=-1"]),
            (CLIPConfig, {"num_labels": 3, "id2label": {0: "a"}}, ["num_labels=3", "id2label", 1]),
            (CLIPConfig, {"id2label": ["a"]}, ["id2label=['a']"]),
            (CLIPConfig, {"id2label": {0: "a", 1: 5}}, ["id2label={0: 'a', 1: 5}"]),
            (CLIPConfig, {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, 5: 1}}, ["label2id={'a': 0, 5: 1}"]),
            (CLIPConfig, {"label2id": ["a"], "id2label": {0: "a"}}, ["label2id=['a']"]),
            (CLIPConfig, {"to_dict": 1}, ["to_dict=1"]),
        ],
    )
    def test_a_wrong_value_is_named_with_what_would_be_right(self, config_class, fields, named):
        with pytest.raises(ValueError, match=naming(*named)):
            config_class(**fields)

    def test_huge_numbers_do_not_hang(self):
        with pytest.raises(ValueError, match=naming("num_attention_heads=2", f"hidden_size={10**15 + 1}")):
            CLIPTextConfig(hidden_size=10**15 + 1, num_attention_heads=2)

    @pytest.mark.parametrize("name", ACTIVATIONS)
    def test_every_activation_is_taken(self, name):
        assert CLIPVisionConfig(hidden_act=name).hidden_act == name

    def test_odd_sizes_of_real_checkpoints(self):
        CLIPVisionConfig(image_size=378, patch_size=14)
        CLIPVisionConfig(
            hidden_size=1664, num_attention_heads=16, intermediate_size=8192, image_size=224, patch_size=14
        )
        CLIPTextConfig(pad_token_id=None, bos_token_id=None, eos_token_id=2)
