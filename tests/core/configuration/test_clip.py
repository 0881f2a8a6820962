"""Configurations: fields, legacy layouts, and towers of a full configuration."""

from __future__ import annotations

import copy
import pickle
from typing import ClassVar

import numpy as np
import pytest

from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from support.configs import tiny_config
from support.messages import naming

ALL = [CLIPConfig, CLIPTextConfig, CLIPVisionConfig]
TOWERS = [CLIPTextConfig, CLIPVisionConfig]


class TestFields:
    def test_positional_arguments_in_the_order_of_transformers(self):
        text = CLIPTextConfig(99, 40, 52, 24, 3, 5, 19, "gelu", 3e-4, 0.1, 0.03, 1.5, 0, 96, 97)
        assert (text.vocab_size, text.hidden_size, text.intermediate_size, text.projection_dim) == (99, 40, 52, 24)
        assert (text.num_hidden_layers, text.num_attention_heads, text.max_position_embeddings) == (3, 5, 19)
        assert (text.hidden_act, text.layer_norm_eps, text.attention_dropout) == ("gelu", 3e-4, 0.1)
        assert (text.initializer_range, text.initializer_factor) == (0.03, 1.5)
        assert (text.pad_token_id, text.bos_token_id, text.eos_token_id) == (0, 96, 97)
        vision = CLIPVisionConfig(36, 44, 24, 2, 3, 2, 30, 6, "relu", 2e-3, 0.2, 0.05, 1.5)
        assert (vision.hidden_size, vision.num_channels, vision.image_size, vision.patch_size) == (36, 2, 30, 6)
        assert CLIPConfig({}, {}, 24, 1.7).logit_scale_init_value == 1.7

    def test_towers_from_dicts_objects_or_nothing(self):
        text = CLIPTextConfig(num_hidden_layers=3)
        config = CLIPConfig(text_config=text, vision_config={"patch_size": 16})
        assert config.text_config == text
        assert config.vision_config == CLIPVisionConfig(patch_size=16)
        assert CLIPConfig().text_config == CLIPTextConfig()

    def test_the_callers_arguments_are_copied(self):
        text, fields, heads = CLIPTextConfig(), {"patch_size": 16}, {"1": [0]}
        config = CLIPConfig(text, fields, vision_config_dict={"patch_size": 8, "pruned_heads": heads})
        config.text_config.num_hidden_layers = 1
        config.vision_config.pruned_heads[1].append(1)
        assert text.num_hidden_layers == 12
        assert fields == {"patch_size": 16}
        assert heads == {"1": [0]}

    def test_a_tower_in_the_others_place(self):
        with pytest.raises(
            ValueError, match=naming("model_type='clip_vision_model'", "'clip_text_model'", CLIPTextConfig)
        ):
            CLIPConfig(text_config=CLIPVisionConfig())

    def test_from_text_vision_configs(self):
        text, vision = CLIPTextConfig(num_hidden_layers=2), CLIPVisionConfig(num_hidden_layers=3)
        config = CLIPConfig.from_text_vision_configs(text, vision, projection_dim=64)
        assert (config.text_config, config.vision_config, config.projection_dim) == (text, vision, 64)
        assert config.text_config is not text

    def test_initializer_factor_of_the_whole_is_one_whatever_a_file_says(self):
        assert CLIPConfig(initializer_factor=0.5).initializer_factor == 1.0

    def test_dtype_is_read_under_both_names_and_kept_as_a_string(self):
        assert CLIPConfig(dtype="float16").torch_dtype == "float16"
        assert CLIPConfig(torch_dtype="torch.bfloat16").dtype == "bfloat16"
        assert CLIPConfig(torch_dtype="float16", dtype="float32").dtype == "float32"
        assert CLIPConfig().dtype is None
        config = CLIPConfig()
        config.torch_dtype = np.dtype("float64")
        assert config.dtype == "float64"

    def test_text_configuration(self):
        config = CLIPConfig()
        assert config.get_text_config() is config.get_text_config(decoder=True) is config.text_config
        assert config.get_text_config(encoder=True) is config
        assert config.text_config.get_text_config() is config.text_config
        assert config.vision_config.get_text_config() is config.vision_config

    def test_iteration_over_the_names_of_fields(self):
        names = list(CLIPConfig(note=1))
        assert {"text_config", "dtype", "note", "is_encoder_decoder"} < set(names)
        assert len(names) == len(set(names))
        assert "quantization_config" not in CLIPConfig()

    def test_updates_from_a_string(self):
        config = CLIPTextConfig(note="a")
        config.update_from_string(
            "num_hidden_layers=3,attention_dropout=0.5,return_dict=n,torchscript=1,hidden_act=gelu,note=b=c,top_k=7"
        )
        assert (config.num_hidden_layers, config.attention_dropout, config.hidden_act) == (3, 0.5, "gelu")
        assert (config.return_dict, config.torchscript, config.note, config.top_k) == (False, True, "b=c", 7)
        with pytest.raises(ValueError, match=naming(CLIPTextConfig, "'depth'")):
            config.update_from_string("depth=3")
        with pytest.raises(ValueError, match=naming("return_dict='maybe'")):
            config.update_from_string("return_dict=maybe")
        with pytest.raises(ValueError, match=naming("num_hidden_layers=0")):
            config.update_from_string("num_hidden_layers=0")
        with pytest.raises(TypeError, match=naming("id2label='x'")):
            config.update_from_string("id2label=x")

    def test_a_way_to_choose_a_dtype_is_not_a_dtype(self, tmp_path):
        CLIPConfig(dtype="float16").save_pretrained(tmp_path)
        for asked in ("auto", {"": "float32"}):
            config, unused = CLIPConfig.from_pretrained(tmp_path, torch_dtype=asked, return_unused_kwargs=True)
            assert (config.dtype, unused) == ("float16", {"dtype": asked})

    def test_the_commit_of_a_file_from_the_hub(self, tmp_path):
        commit = "0123456789abcdef" * 2 + "01234567"
        folder = tmp_path / "models--user--clip" / "snapshots" / commit
        CLIPConfig().save_pretrained(folder)
        CLIPConfig().save_pretrained(tmp_path)
        assert CLIPConfig.from_pretrained(folder)._commit_hash == commit
        assert CLIPTextConfig.from_pretrained(folder, return_unused_kwargs=True)[0]._commit_hash == commit
        assert CLIPConfig.get_config_dict(folder)[0]["_commit_hash"] == commit
        assert CLIPConfig.from_pretrained(tmp_path)._commit_hash is CLIPConfig()._commit_hash is None
        assert CLIPConfig.from_pretrained(folder) == CLIPConfig()

    def test_dtype_of_any_framework(self):
        import jax.numpy as jnp
        import torch

        assert CLIPConfig(dtype=torch.float16).dtype == "float16"
        assert CLIPConfig(dtype=jnp.bfloat16).dtype == "bfloat16"
        assert CLIPConfig(dtype=jnp.dtype("bfloat16")).dtype == "bfloat16"
        assert CLIPConfig(dtype=np.float16).dtype == "float16"

    def test_unknown_dtype(self):
        with pytest.raises(ValueError, match=naming("dtype='float17'", "float32", "float16")):
            CLIPConfig(dtype="float17")

    def test_labels(self):
        assert CLIPConfig().id2label == {0: "LABEL_0", 1: "LABEL_1"}
        assert CLIPConfig(num_labels=3).label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
        assert CLIPConfig(num_labels=0).num_labels == 0
        config = CLIPConfig(id2label={"0": "cat", "1": "dog", "2": "eel"})
        assert config.id2label == {0: "cat", 1: "dog", 2: "eel"}
        assert config.label2id == {"cat": 0, "dog": 1, "eel": 2}
        assert config.num_labels == 3
        config.num_labels = 3
        assert config.id2label[0] == "cat"
        config.num_labels = 2
        assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}

    def test_attention_implementation_reaches_the_towers(self):
        config = CLIPConfig(attn_implementation="eager")
        assert config.text_config.attn_implementation == "eager"
        config._attn_implementation = "sdpa"
        assert config.vision_config._attn_implementation == "sdpa"
        config.attn_implementation = {"": "sdpa", "text_config": "eager"}
        assert (config.text_config.attn_implementation, config.vision_config.attn_implementation) == ("eager", "sdpa")
        assert CLIPConfig(text_config=config.text_config).text_config.attn_implementation is None

    def test_attention_implementation_is_not_written(self):
        assert "eager" not in CLIPConfig(attn_implementation="eager").to_json_string(use_diff=False)

    def test_use_return_dict(self):
        assert CLIPConfig().use_return_dict
        assert not CLIPConfig(return_dict=False).use_return_dict
        assert not CLIPConfig(torchscript=True).use_return_dict

    def test_name_or_path(self, tmp_path):
        config = CLIPConfig(name_or_path=tmp_path)
        assert config.name_or_path == config._name_or_path == str(tmp_path)
        assert "_name_or_path" not in config.to_diff_dict()

    def test_update(self):
        config = CLIPConfig()
        tower = config.text_config
        config.update({"projection_dim": 8, "text_config": {"num_hidden_layers": 2}, "note": "x", "model_type": "clip"})
        assert (config.projection_dim, config.note, tower.num_hidden_layers) == (8, "x", 2)
        assert config.text_config is tower
        with pytest.raises(ValueError, match=naming(CLIPConfig, "projection_dim=0")):
            config.update({"projection_dim": 0})

    @pytest.mark.parametrize("config_class", ALL)
    def test_copies_are_equal_and_apart(self, config_class):
        config = config_class(id2label={0: "cat"}, note=["x"])
        for copied in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):  # noqa: S301  our own bytes
            assert copied == config
            copied.note.append("y")
            assert copied != config
        assert copy.copy(config) == config

    def test_equality(self):
        assert CLIPTextConfig() != CLIPVisionConfig()
        assert CLIPTextConfig() != "CLIPTextConfig"
        assert CLIPConfig() != CLIPConfig(vision_config={"patch_size": 16})
        assert CLIPConfig(attn_implementation="eager") == CLIPConfig()

    def test_repr_is_the_file(self):
        config = tiny_config()
        assert repr(config) == f"CLIPConfig {config.to_json_string()}"


class TestLegacyDicts:
    def test_they_override(self):
        config = CLIPConfig(
            text_config={"num_hidden_layers": 3, "hidden_act": "gelu", "note": 1},
            text_config_dict={"num_hidden_layers": 2},
            vision_config_dict={"patch_size": 16},
        )
        assert config.text_config.num_hidden_layers == 2
        assert config.text_config.hidden_act == "quick_gelu"  # the default of the old dict overrides too
        assert config.text_config.note == 1
        assert config.vision_config.patch_size == 16

    def test_they_are_not_written_back(self):
        content = CLIPConfig(text_config_dict={"num_hidden_layers": 2}).to_dict()
        assert "text_config_dict" not in content

    def test_a_tower_is_read_out_of_them(self, write):
        folder = write({"model_type": "clip", "text_config_dict": {"num_hidden_layers": 2}, "vision_config_dict": None})
        assert CLIPTextConfig.from_pretrained(folder).num_hidden_layers == 2
        assert CLIPVisionConfig.from_pretrained(folder) == CLIPVisionConfig()


class TestTowerOfFullConfig:
    FULL: ClassVar = {
        "model_type": "clip",
        "projection_dim": 768,
        "text_config": {"model_type": "clip_text_model", "num_hidden_layers": 3},
        "vision_config": {"model_type": "clip_vision_model", "projection_dim": 512, "patch_size": 14},
    }

    def test_its_part_is_read(self, write):
        folder = write(self.FULL)
        assert CLIPTextConfig.from_pretrained(folder).num_hidden_layers == 3
        assert CLIPVisionConfig.from_pretrained(folder).patch_size == 14

    def test_sparse_full_config(self, write):
        assert CLIPTextConfig.from_pretrained(write({"model_type": "clip", "projection_dim": 64})).projection_dim == 64

    @pytest.mark.parametrize("config_class", TOWERS)
    def test_projection_of_the_top_level_wins(self, write, config_class):
        assert config_class.from_pretrained(write(self.FULL)).projection_dim == 768
        assert config_class.from_dict(CLIPConfig(projection_dim=64).to_dict()).projection_dim == 64

    def test_projection_of_the_tower_where_the_top_level_is_silent(self, write):
        folder = write({"model_type": "clip", "vision_config": {"projection_dim": 640}})
        assert CLIPVisionConfig.from_pretrained(folder).projection_dim == 640

    def test_projection_of_the_whole_from_towers_that_agree(self, write):
        towers = {"text_config": {"projection_dim": 640}, "vision_config": {"projection_dim": 640}}
        assert CLIPConfig.from_pretrained(write({"model_type": "clip", **towers})).projection_dim == 640
        assert (
            CLIPConfig.from_pretrained(write({"model_type": "clip", **towers, "projection_dim": 64})).projection_dim
            == 64
        )
        towers["text_config"] = {}
        config = CLIPConfig.from_pretrained(write({"model_type": "clip", **towers}))
        assert (config.projection_dim, config.projection_dim_stated) == (512, False)

    def test_whether_a_projection_was_stated(self, write):
        assert CLIPTextConfig.from_pretrained(write(self.FULL)).projection_dim_stated
        silent = write({"model_type": "clip", "projection_dim": None, "text_config": {"projection_dim": None}})
        config = CLIPTextConfig.from_pretrained(silent)
        assert not config.projection_dim_stated
        assert "projection_dim_stated" not in config.to_dict()
        assert not CLIPTextConfig.from_dict({"text_config_dict": {"num_hidden_layers": 2}}).projection_dim_stated
        assert CLIPTextConfig.from_dict({"text_config_dict": {"projection_dim": 512}}).projection_dim_stated
        assert CLIPTextConfig.from_pretrained(silent, projection_dim=64).projection_dim_stated
        assert CLIPTextConfig().projection_dim_stated

    def test_tower_inside_another_model(self, write):
        llava = {"model_type": "llava", "vision_config": {"model_type": "clip_vision_model", "patch_size": 14}}
        assert CLIPVisionConfig.from_pretrained(write(llava)).patch_size == 14
