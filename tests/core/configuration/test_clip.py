"""Configurations: fields, files, legacy layouts, and a clear refusal of other models."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from clip_core.configuration.checks import ACTIVATIONS
from support.configs import tiny_config
from support.messages import naming

ALL = [CLIPConfig, CLIPTextConfig, CLIPVisionConfig]
TOWERS = [CLIPTextConfig, CLIPVisionConfig]


@pytest.fixture
def write(tmp_path):
    """A function that writes a config.json and returns its folder."""

    def write(content):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        return tmp_path

    return write


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


class TestFiles:
    @pytest.mark.parametrize("config_class", ALL)
    def test_defaults_survive_a_save(self, config_class, tmp_path):
        config_class().save_pretrained(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
        assert config_class.from_pretrained(tmp_path) == config_class()
        assert config_class.from_pretrained(tmp_path / "config.json") == config_class()
        assert config_class.from_json_file(tmp_path / "config.json") == config_class()

    def test_a_file_states_the_models_fields_and_common_ones_that_differ(self, tmp_path):
        config = tiny_config(architectures=["CLIPModel"], dtype="float16", output_attentions=True, num_labels=3)
        config.save_pretrained(tmp_path)
        content = json.loads((tmp_path / "config.json").read_text())
        assert content.keys() == {
            *("architectures", "dtype", "id2label", "initializer_factor", "label2id", "logit_scale_init_value"),
            *("model_type", "output_attentions", "projection_dim", "text_config", "vision_config"),
        }
        assert content["text_config"].keys() == inspect.signature(CLIPTextConfig).parameters.keys() - {
            "kwargs",
            "missing_eos",
        } | {"model_type"}

    def test_missing_eos_is_written_where_it_is_not_the_default(self):
        assert "missing_eos" not in CLIPTextConfig().to_json_string()
        config = CLIPTextConfig(missing_eos="error")
        assert CLIPTextConfig.from_dict(json.loads(config.to_json_string())).missing_eos == "error"

    def test_unknown_keys_are_kept_and_written_back(self, write, tmp_path):
        folder = write({"model_type": "clip", "text_config": {"dropout": 0.1}, "max_length": 20, "_note": {"a": [1]}})
        config = CLIPConfig.from_pretrained(folder)
        assert (config.max_length, config._note, config.text_config.dropout) == (20, {"a": [1]}, 0.1)
        config.save_pretrained(tmp_path / "saved")
        assert CLIPConfig.from_pretrained(tmp_path / "saved") == config

    def test_the_writers_version_is_kept_and_none_invented(self, write):
        assert "transformers_version" not in CLIPConfig().to_json_string()
        config = CLIPConfig.from_pretrained(write({"model_type": "clip", "transformers_version": "4.21.3"}))
        assert config.to_diff_dict()["transformers_version"] == "4.21.3"

    def test_explicit_none_survives(self, tmp_path):
        CLIPTextConfig(pad_token_id=None).save_pretrained(tmp_path)
        assert CLIPTextConfig.from_pretrained(tmp_path).pad_token_id is None

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(NotADirectoryError, match=naming(tmp_path / "file")):
            CLIPConfig().save_pretrained(tmp_path / "file")

    def test_overrides(self, write):
        folder = write({"model_type": "clip", "text_config": {"num_hidden_layers": 3}, "vision_config": {}})
        config, unused = CLIPConfig.from_pretrained(
            folder,
            projection_dim=64,
            text_config={"hidden_act": "gelu"},
            torch_dtype="float16",
            attn_implementation="eager",
            id2label={0: "a"},
            device_map="cpu",
            return_unused_kwargs=True,
        )
        assert unused == {"device_map": "cpu", "dtype": "float16"}
        assert (config.projection_dim, config.dtype, config.id2label, config.label2id) == (
            64,
            "float16",
            {0: "a"},
            {"a": 0},
        )
        assert (config.text_config.hidden_act, config.text_config.num_hidden_layers) == ("gelu", 3)
        assert config.vision_config.attn_implementation == "eager"
        assert not hasattr(config, "device_map")

    def test_overrides_are_validated(self, write):
        with pytest.raises(ValueError, match=naming(CLIPVisionConfig, "patch_size=48", "image_size=224")):
            CLIPVisionConfig.from_pretrained(write({"model_type": "clip_vision_model"}), patch_size=48)

    def test_hub_keywords_are_no_fields(self, write):
        folder = write({"model_type": "clip"})
        _, unused = CLIPConfig.from_pretrained(
            folder, revision="v1", token=None, proxies={}, resume_download=True, return_unused_kwargs=True
        )
        assert unused == {}
        assert CLIPConfig.get_config_dict(folder, cache_dir=None, foo=1) == ({"model_type": "clip"}, {"foo": 1})

    def test_subfolder(self, tmp_path):
        CLIPTextConfig(num_hidden_layers=2).save_pretrained(tmp_path / "text_encoder")
        assert CLIPTextConfig.from_pretrained(tmp_path, subfolder="text_encoder").num_hidden_layers == 2

    @given(st.data())
    def test_any_config_survives_json(self, data):
        config = data.draw(configs())
        for use_diff in (True, False):
            content = json.loads(config.to_json_string(use_diff))
            assert type(config).from_dict(content) == config
        assert type(config).from_dict(config.to_dict()).to_json_string() == config.to_json_string()


class TestPush:
    def test_save_and_push(self, tmp_path, monkeypatch):
        calls = []
        monkeypatch.setattr(
            "clip_core.hub.pushable.upload_folder", lambda *args, **kwargs: calls.append((args, kwargs))
        )
        CLIPConfig().save_pretrained(tmp_path / "mine", push_to_hub=True, commit_message="New")
        CLIPConfig().save_pretrained(tmp_path / "mine", push_to_hub=True, repo_id="user/clip")
        CLIPConfig().push_to_hub("user/other", private=True)
        assert calls[0] == ((tmp_path / "mine", "mine"), {"commit_message": "New"})
        assert calls[1] == ((tmp_path / "mine", "user/clip"), {})
        assert calls[2][0][1] == "user/other"


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


class TestForeignModels:
    @pytest.mark.parametrize(
        ("content", "named"),
        [
            ({"model_type": "siglip", "text_config": {"model_type": "siglip_text_model"}}, ["SigLIP", "SiglipModel"]),
            ({"model_type": "siglip", "vision_config": {}}, ["SigLIP"]),
            ({"model_type": "siglip2", "vision_config": {}}, ["SigLIP 2"]),
            ({"model_type": "metaclip_2", "text_config": {}}, ["MetaCLIP 2", "MetaClip2Model"]),
            ({"model_type": "chinese_clip", "text_config": {}}, ["Chinese CLIP"]),
            ({"model_type": "blip"}, ["BLIP"]),
            ({"model_type": "blip-2"}, ["BLIP-2"]),
            ({"model_type": "align"}, ["ALIGN"]),
            ({"model_type": "altclip"}, ["AltCLIP"]),
            ({"model_type": "clipseg"}, ["CLIPSeg"]),
            ({"model_type": "clap", "text_config": {}}, ["CLAP"]),
            ({"model_type": "M-CLIP"}, ["M-CLIP"]),
            ({"model_type": "clip", "architectures": ["LLM2CLIPModel"]}, ["LLM2CLIP"]),
            ({"model_type": "clip", "architectures": ["EvaCLIPModel"], "vision_config": {}}, ["EVA-CLIP"]),
            ({"model_type": "siglip_vision_model"}, ["SigLIP"]),
            ({"model_type": "metaclip_2_vision_model_with_projection"}, ["MetaCLIP 2"]),
        ],
    )
    @pytest.mark.parametrize("config_class", ALL)
    def test_known_families_are_named(self, write, config_class, content, named):
        with pytest.raises(ValueError, match=naming(*named, config_class)):
            config_class.from_pretrained(write(content))

    @pytest.mark.parametrize("config_class", ALL)
    def test_other_models(self, write, config_class):
        with pytest.raises(ValueError, match=naming("model_type='bert'", config_class)):
            config_class.from_pretrained(write({"model_type": "bert", "hidden_size": 768}))

    def test_a_tower_where_the_whole_is_wanted(self, write):
        folder = write({"model_type": "clip_text_model"})
        with pytest.raises(
            ValueError, match=naming("model_type='clip_text_model'", "'clip'", CLIPConfig, CLIPTextConfig)
        ):
            CLIPConfig.from_pretrained(folder)
        with pytest.raises(
            ValueError, match=naming("model_type='clip_text_model'", "'clip_vision_model'", CLIPTextConfig)
        ):
            CLIPVisionConfig.from_pretrained(folder)

    @pytest.mark.parametrize("content", [{}, {"architecture": "vit_base_patch16_224", "num_classes": 0}])
    @pytest.mark.parametrize("config_class", ALL)
    def test_configs_of_nothing_known(self, write, config_class, content):
        with pytest.raises(ValueError, match=naming("config.json", "model_type", config_class)):
            config_class.from_pretrained(write(content))

    def test_without_model_type_the_fields_tell(self, write):
        assert CLIPTextConfig.from_pretrained(write({"hidden_size": 640, "num_attention_heads": 10})).hidden_size == 640
        assert CLIPConfig.from_pretrained(write({"text_config": {"num_hidden_layers": 2}})).projection_dim == 512


class TestBadFiles:
    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=naming(tmp_path, "config.json")):
            CLIPConfig.from_pretrained(tmp_path)

    def test_no_json(self, write):
        with pytest.raises(ValueError, match=naming("config.json", "JSON")):
            CLIPConfig.from_pretrained(write("{"))

    def test_no_object(self, write):
        with pytest.raises(ValueError, match=naming("config.json", "JSON")):
            CLIPConfig.from_pretrained(write("[]"))

    def test_a_wrong_value_names_the_file(self, write):
        folder = write({"model_type": "clip", "text_config": {"hidden_size": -1}})
        with pytest.raises(ValueError, match=naming(CLIPTextConfig, "hidden_size=-1")) as caught:
            CLIPConfig.from_pretrained(folder)
        assert str(caught.value).startswith(str(folder))

    @pytest.mark.parametrize("key", ["text_config", "text_config_dict"])
    @pytest.mark.parametrize("config_class", [CLIPConfig, CLIPTextConfig])
    def test_a_tower_that_is_no_object(self, write, key, config_class):
        with pytest.raises(ValueError, match=naming(f"{key}='tiny'", dict)):
            config_class.from_pretrained(write({"model_type": "clip", key: "tiny"}))


def configs():
    """Valid configurations of each class, with unknown keys."""
    keys = st.text("abcxyz", min_size=3).map("extra_{}".format)
    plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    extras = st.dictionaries(keys, plain | st.lists(plain) | st.dictionaries(st.text(), plain), max_size=3)
    labels = st.none() | st.dictionaries(st.integers(0, 9), st.text(max_size=3), max_size=3)
    common = st.fixed_dictionaries(
        {},
        optional={
            "id2label": labels,
            "label2id": st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=3),
            "dtype": st.sampled_from([None, "float16", "bfloat16", "float32"]),
            "output_attentions": st.booleans(),
            "return_dict": st.booleans(),
            "problem_type": st.sampled_from([None, "regression"]),
            "architectures": st.none() | st.lists(st.sampled_from(["CLIPModel", "MyModel"])),
            "pad_token_id": st.none() | st.integers(0, 9),
            "bos_token_id": st.none() | st.integers(0, 9),
        },
    )
    heads = st.integers(1, 4)
    tower = st.builds(
        lambda heads, width, rest: {"num_attention_heads": heads, "hidden_size": heads * width, **rest},
        heads,
        st.integers(1, 9),
        st.fixed_dictionaries(
            {"num_hidden_layers": st.integers(1, 3)},
            optional={
                "projection_dim": st.integers(1, 99),
                "hidden_act": st.sampled_from(ACTIVATIONS),
                "layer_norm_eps": st.floats(1e-9, 1),
                "initializer_factor": st.floats(0, 2),
            },
        ),
    )
    text = st.builds(lambda *parts: {k: v for part in parts for k, v in part.items()}, tower, common, extras)
    vision = st.builds(
        lambda patches, size, *parts: {
            **{k: v for part in parts for k, v in part.items()},
            "image_size": patches * size,
            "patch_size": size,
        },
        st.integers(1, 5),
        st.integers(1, 9),
        tower,
        common,
        extras,
    )
    return st.one_of(
        st.builds(lambda fields: CLIPTextConfig(**fields), text),
        st.builds(lambda fields: CLIPVisionConfig(**fields), vision),
        st.builds(
            lambda text, vision, width, *parts: CLIPConfig(
                text, vision, width, **{k: v for part in parts for k, v in part.items()}
            ),
            text,
            vision,
            st.integers(1, 99),
            common,
            extras,
        ),
    )
