"""Configurations equal the reference's, field by field, however they are created; files are exchanged both ways."""

from __future__ import annotations

import json

import pytest

import clip_core
from clip_core.configuration import CLIPConfig, CLIPTextConfig
from support.configs import TEXT, VISION
from support.inherited_fields import INHERITED
from support.real_configs import FULL_CONFIGS, REAL_CONFIGS

# Ours alone; and the version, which the reference writes of itself.
NOT_COMPARED = {"missing_eos", "transformers_version"}

MADE = {
    "text defaults": ("CLIPTextConfig", {}),
    "vision defaults": ("CLIPVisionConfig", {}),
    "defaults": ("CLIPConfig", {}),
    "odd text": ("CLIPTextConfig", TEXT),
    "odd vision": ("CLIPVisionConfig", VISION),
    "odd": ("CLIPConfig", {"text_config": TEXT, "vision_config": VISION, "projection_dim": 24}),
    "common fields": (
        "CLIPConfig",
        {
            "output_attentions": True,
            "output_hidden_states": True,
            "return_dict": False,
            "torchscript": True,
            "torch_dtype": "float16",
            "num_labels": 3,
            "problem_type": "regression",
            "architectures": ["CLIPModel"],
            "name_or_path": "here",
            "tie_word_embeddings": False,
            "logit_scale_init_value": 1.5,
            "initializer_factor": 0.5,
            "extra": {"a": [1, 2]},
        },
    ),
    "dtype under both names": ("CLIPTextConfig", {"dtype": "bfloat16", "torch_dtype": "float16"}),
    "labels": ("CLIPConfig", {"id2label": {"0": "cat", "1": "dog"}, "label2id": {"cat": 0, "dog": 1}}),
    "no labels": ("CLIPConfig", {"num_labels": 0}),
    "label2id alone": ("CLIPConfig", {"label2id": {"cat": 0, "dog": 1}}),
    "no special tokens": ("CLIPTextConfig", {"pad_token_id": None, "bos_token_id": None}),
    "legacy dicts": (
        "CLIPConfig",
        {
            "text_config": {**TEXT, "note": 1},
            "text_config_dict": {"num_hidden_layers": 2},
            "vision_config_dict": {"patch_size": 16, "id2label": {"0": "x"}, "label2id": {"x": 0}},
        },
    ),
    "empty legacy dicts": ("CLIPConfig", {"text_config": TEXT, "text_config_dict": {}, "vision_config_dict": None}),
}
EVERY = {**MADE, **REAL_CONFIGS}
every_config = pytest.mark.parametrize(("config_class", "content"), EVERY.values(), ids=EVERY)


def compared(fields, like=None):
    """Return the fields except those that differ on purpose; with `like`, only those that it has too."""
    return {
        key: compared(value, like and like[key]) if key.endswith("_config") else value
        for key, value in fields.items()
        if key not in NOT_COMPARED and (like is None or key in like)
    }


def write(folder, content):
    (folder / "config.json").write_text(json.dumps(content))
    return str(folder)


@every_config
def test_every_field_that_we_have_is_the_references(oracle, config_class, content):
    ours = getattr(clip_core, config_class)(**content).to_dict()
    assert compared(ours) == compared(oracle("config_fields", config_class=config_class, content=content), ours)


@every_config
def test_a_file_is_read_as_the_reference_reads_it(oracle, config_class, content, tmp_path):
    cls = getattr(clip_core, config_class)
    folder = write(tmp_path, {"model_type": cls.model_type, **content})
    ours = cls.from_pretrained(folder).to_dict()
    assert compared(ours) == compared(oracle("config_fields", config_class=config_class, folder=folder), ours)


@every_config
def test_the_reference_reads_our_files_as_its_own(oracle, config_class, content, tmp_path):
    getattr(clip_core, config_class)(**content).save_pretrained(tmp_path)
    read = oracle("config_fields", config_class=config_class, folder=str(tmp_path))
    made = oracle("config_fields", config_class=config_class, content=content)
    if "name_or_path" in content or "_name_or_path" in content:
        assert read.pop("_name_or_path") == ""  # neither library writes it
        del made["_name_or_path"]
    assert read == made


@every_config
def test_we_read_the_references_files_as_our_own(oracle, config_class, content, tmp_path):
    oracle("save_config", config_class=config_class, content=content, folder=str(tmp_path))
    cls = getattr(clip_core, config_class)
    read, made = cls.from_pretrained(tmp_path).to_dict(), cls(**content).to_dict()
    made["_name_or_path"] = ""  # neither library writes it
    assert compared(made, read) == compared(read)
    # The reference leaves out what its base class has at the same default; we keep such keys where a file has them.
    for fields, kept in ((made, read), *((made[key], read[key]) for key in cls.sub_configs)):
        assert fields.keys() - kept.keys() <= INHERITED.keys()


@pytest.mark.parametrize("tower", ["CLIPTextConfig", "CLIPVisionConfig"])
@pytest.mark.parametrize("content", FULL_CONFIGS.values(), ids=FULL_CONFIGS)
def test_a_tower_out_of_a_full_file_is_the_full_models_with_its_projection(oracle, tower, content, tmp_path):
    folder = write(tmp_path, content)
    cls = getattr(clip_core, tower)
    ours = cls.from_pretrained(folder).to_dict()
    full = oracle("config_fields", config_class="CLIPConfig", folder=folder)
    theirs = {**full[cls.base_config_key], "projection_dim": full["projection_dim"]}
    assert compared(ours) == compared(theirs, ours)
    # The reference's own tower class goes by text_config alone, and by the tower's projection_dim, which a full
    # checkpoint's weights do not have.
    if content.get("text_config_dict") is None:
        alone = {**oracle("config_fields", config_class=tower, folder=folder), "projection_dim": full["projection_dim"]}
        assert compared(ours) == compared(alone, ours)


@pytest.mark.parametrize("config_class", ["CLIPConfig", "CLIPTextConfig", "CLIPVisionConfig"])
def test_every_attribute_that_generic_code_reads_has_the_references_value(oracle, config_class):
    theirs, names = oracle("config_attributes", config_class=config_class)
    ours = getattr(clip_core, config_class)()
    for key in ours.sub_configs or ():
        assert key in names
    del theirs["sub_configs"]
    assert len(theirs) > 60
    assert {name: getattr(ours, name) for name in theirs} == theirs
    assert {name for name in names if not name.startswith("_")} - set(ours) == set()


def test_overrides(oracle, tmp_path):
    folder = write(tmp_path, FULL_CONFIGS["openai B/32"])
    overrides = {
        "projection_dim": 64,
        "text_config": {"hidden_act": "gelu"},
        "num_labels": 4,
        "torch_dtype": "float16",
        "output_attentions": True,
        "attn_implementation": "eager",
        "no_such_field": 1,
    }
    ours = CLIPConfig.from_pretrained(folder, **overrides).to_dict()
    assert compared(ours) == compared(
        oracle("config_fields", config_class="CLIPConfig", folder=folder, **overrides), ours
    )


def test_a_text_tower_saved_by_us_states_what_the_reference_would_default(oracle, tmp_path):
    CLIPTextConfig(missing_eos="error").save_pretrained(tmp_path)
    theirs = oracle("config_fields", config_class="CLIPTextConfig", folder=str(tmp_path))
    assert theirs.pop("missing_eos") == "error"
    assert theirs == oracle("config_fields", config_class="CLIPTextConfig", content={})
