"""The files beside the weights: which one is read, its content, and the error for a damaged one."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch

from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from clip_core.modeling.parameters import MODEL_CLASSES
from converters.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from converters.conversion import convert
from converters.naming.names import to_file
from converters.naming.rules import OPENAI
from converters.sidecars.description import FROM_SHAPES, class_of, config_from_pretrained, describe
from support.checkpoints import ODD_STEPS, odd_config, openai_config, save_checkpoint
from support.configs import tiny_config
from support.entries import random_entries
from support.messages import naming


def described(folder, **options):
    return describe(open_checkpoint(folder, **options), folder, **options)


@pytest.fixture
def open_clip(tmp_path):
    """A folder as open_clip's are."""
    save_checkpoint(tmp_path / "source", odd_config(), steps=ODD_STEPS)
    convert(tmp_path / "source", tmp_path / "open_clip", "open_clip")
    return tmp_path / "open_clip"


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_a_config_json_says_all(tmp_path, class_name):
    save_checkpoint(tmp_path, tiny_config(num_labels=3), class_name, steps=ODD_STEPS)
    found = described(tmp_path)
    assert (found.class_name, found.origin) == (class_name, "config.json")
    assert type(found.config) is MODEL_CLASSES[class_name]
    assert found.preprocessing.image_mean == [0.5, 0.25, 0.125]


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_without_a_named_architecture_the_weights_tell_the_class(class_name):
    checkpoint = Checkpoint(random_entries(tiny_config(num_labels=3), class_name), "state dict")
    assert class_of(checkpoint, ()) == class_name


@pytest.mark.parametrize(("name", "found"), [("TFCLIPModel", "CLIPModel"), ("FlaxCLIPTextModel", "CLIPTextModel")])
def test_the_other_frameworks_names_are_the_same_classes(name, found):
    checkpoint = Checkpoint(random_entries(tiny_config()), "state dict")
    assert class_of(checkpoint, [name]) == found
    assert class_of(checkpoint, ["SomethingElse"]) == "CLIPModel"


def test_weights_of_no_tower_are_refused_with_what_they_are():
    checkpoint = Checkpoint({"logit_scale": next(iter(random_entries(tiny_config()).values()))}, "state dict")
    with pytest.raises(CheckpointError, match=naming("logit_scale", "CLIP")):
        class_of(checkpoint, ())


def test_a_folder_without_preprocessing_has_none(tmp_path):
    save_checkpoint(tmp_path, tiny_config())
    assert described(tmp_path).preprocessing is None


def test_preprocessing_may_stand_in_a_processors_file(tmp_path):
    save_checkpoint(tmp_path, tiny_config(), steps=ODD_STEPS)
    steps = json.loads((tmp_path / "preprocessor_config.json").read_text())
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": steps}))
    assert described(tmp_path).preprocessing.image_std == [0.375, 0.5, 0.75]


def test_open_clips_file_is_taken_for_weights_with_its_names(open_clip):
    assert described(open_clip).origin == "open_clip_config.json"
    save_checkpoint(open_clip, tiny_config())  # a config.json beside it, which belongs to other weights
    assert described(open_clip).origin == "config.json"
    found = describe(open_checkpoint(open_clip, format="open_clip"), open_clip)
    assert found.origin == "open_clip_config.json"
    assert found.config.vision_config.num_channels == 3


def test_a_single_file_is_described_by_what_stands_in_its_folder(open_clip, tmp_path):
    for path in (open_clip / "open_clip_model.safetensors", tmp_path / "source" / "model.safetensors"):
        found = described(path)
        assert found.config.text_config.eos_token_id == 97
        assert found.preprocessing.image_mean == [0.5, 0.25, 0.125]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", ["JSON"]),
        ("[]", ["model_cfg"]),
        ("{}", ["model_cfg"]),
        ('{"model_cfg": 3}', ["model_cfg"]),
        ('{"model_cfg": {"embed_dim": 3}}', ["model_cfg", "text_cfg"]),
        (
            '{"model_cfg": {"embed_dim": 3, "text_cfg": {"hf_model_name": "roberta"}, "vision_cfg": {}}}',
            ["text_cfg.hf_model_name", "'roberta'", "transformers"],
        ),
        (
            '{"model_cfg": {"embed_dim": 3, "text_cfg": {}, "vision_cfg": {}}, "preprocess_cfg": "squash"}',
            ["preprocess_cfg", "'squash'"],
        ),
        (
            '{"model_cfg": {"embed_dim": 3, "text_cfg": {}, "vision_cfg": {}}, "preprocess_cfg": {"mean": "x"}}',
            ["preprocess_cfg.mean", "'x'"],
        ),
    ],
)
def test_a_damaged_open_clip_config_is_named(open_clip, content, named):
    (open_clip / "open_clip_config.json").write_text(content)
    with pytest.raises(ValueError, match=naming("open_clip_config.json", *named)):
        described(open_clip)
    if "preprocess_cfg" not in content:  # a model without its pictures
        with pytest.raises(ValueError, match=naming("open_clip_config.json", *named)):
            config_from_pretrained(CLIPConfig, open_clip)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize("content", ["{", "[1]", "null", '"text"'])
def test_a_damaged_file_of_hugging_faces_is_named(tmp_path, file, content):
    save_checkpoint(tmp_path, tiny_config(), steps=ODD_STEPS)
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=file.replace(".", r"\.")):
        described(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("architectures", 3), ("architectures", "CLIPModel"), ("architectures", [1]), ("model_type", [])],
)
def test_a_field_of_config_json_that_cannot_be_is_named(tmp_path, field, value):
    save_checkpoint(tmp_path, tiny_config())
    content = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**content, field: value}))
    with pytest.raises(ValueError, match=naming(f"{field}={value!r}")):
        described(tmp_path)


def save_openai(folder, *, numbers=(), config=None):
    """Save a state dict in OpenAI's layout, with numbers such as those of its own files."""
    tensors = {
        name: torch.from_numpy(np.array(e.load()))
        for name, e in to_file(random_entries(config or openai_config()), OPENAI).items()
    }
    torch.save({**tensors, **{name: torch.tensor(3) for name in numbers}}, folder / "model.pt")


def test_openais_own_files_are_described_by_their_shapes(tmp_path):
    save_openai(tmp_path, numbers=["input_resolution", "context_length", "vocab_size"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = described(tmp_path)
    assert (found.class_name, found.origin) == ("CLIPModel", FROM_SHAPES)
    assert found.config.text_config.hidden_act == "quick_gelu"
    assert found.preprocessing.size == {"shortest_edge": 30}


@pytest.mark.parametrize("numbers", [[], ["attn_mask"]])
def test_what_may_be_open_clips_is_taken_for_openais_with_a_warning(tmp_path, numbers):
    """The same names with gelu would run wrong, and nothing in the file shows it."""
    save_openai(tmp_path, numbers=numbers)
    with pytest.warns(UserWarning, match=naming("OpenAI", "quick_gelu", "open_clip_config.json")):
        assert described(tmp_path).origin == FROM_SHAPES


def test_widths_that_no_heads_of_64_divide_ask_for_a_configuration(tmp_path):
    save_openai(tmp_path, config=odd_config())
    with pytest.raises(ValueError, match=naming(64, "config.json", "open_clip_config.json")):
        described(tmp_path)


def test_a_config_json_beside_openais_file_is_believed(tmp_path):
    save_openai(tmp_path, config=odd_config())
    (tmp_path / "config.json").write_text(odd_config().to_json_string())
    found = described(tmp_path)
    assert found.origin == "config.json"
    assert found.config.text_config.hidden_act == "gelu"


# Questions of the backends


@pytest.mark.parametrize(
    ("config_class", "field"),
    [(CLIPConfig, "text_config"), (CLIPTextConfig, "eos_token_id"), (CLIPVisionConfig, "patch_size")],
)
def test_a_part_of_open_clips_configuration_can_be_asked_for(open_clip, config_class, field):
    config, unused = config_from_pretrained(config_class, open_clip)
    assert type(config) is config_class
    assert unused == {}
    expected = odd_config()
    part = getattr(expected, config_class.base_config_key) if config_class.base_config_key else expected
    if field != "text_config":
        assert getattr(config, field) == getattr(part, field)


def test_fields_of_the_caller_go_in_and_the_rest_comes_back(open_clip):
    config, unused = config_from_pretrained(CLIPTextConfig, open_clip, layer_norm_eps=0.5, what=3)
    assert config.layer_norm_eps == 0.5
    assert unused == {"what": 3}


def test_openais_file_alone_gives_a_configuration(tmp_path):
    save_openai(tmp_path, numbers=["input_resolution"])
    for source in (tmp_path, tmp_path / "model.pt"):
        config, _ = config_from_pretrained(CLIPVisionConfig, source)
        assert (config.hidden_size, config.num_attention_heads) == (128, 2)


def test_where_nothing_tells_config_json_is_asked_for(tmp_path):
    save_checkpoint(tmp_path, tiny_config())
    (tmp_path / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=naming(tmp_path, "config.json")):
        config_from_pretrained(CLIPConfig, tmp_path)
    with pytest.raises(FileNotFoundError, match=naming(tmp_path, "config.json")):
        described(tmp_path)
    with pytest.raises(FileNotFoundError, match=naming(tmp_path / "model.safetensors", "config.json", 64)):
        described(tmp_path / "model.safetensors")


def test_an_index_is_not_a_configuration(tmp_path):
    save_checkpoint(tmp_path, tiny_config(), max_shard_size="50KB")
    config, _ = config_from_pretrained(CLIPConfig, tmp_path / "model.safetensors.index.json")
    assert config.text_config.eos_token_id == 97
