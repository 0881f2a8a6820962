"""Configurations and files: read, written, uploaded, and named when they are damaged."""

from __future__ import annotations

import inspect
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from clip_core.configuration.checks import ACTIVATIONS
from support.configs import tiny_config
from support.messages import naming

ALL = [CLIPConfig, CLIPTextConfig, CLIPVisionConfig]


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
