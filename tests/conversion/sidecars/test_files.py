"""The files beside converted weights: converted, never assumed, and refused if the target's library would differ."""

from __future__ import annotations

import json

import pytest
from hostile.settings import tokenizer_json

from clip_core import CLIPTokenizer
from clip_core.hub.files import LARGEST_JSON
from converters.checkpoint import open_checkpoint
from converters.conversion import convert
from converters.formats import target_names
from converters.inspection.inspect import inspect
from converters.sidecars.description import FROM_SHAPES, describe
from converters.sidecars.files import TOKENIZER_FILES
from support.checkpoints import (
    ANY_CONFIG,
    ODD_STEPS,
    OPENAI_STEPS,
    odd_config,
    openai_config,
    pairs,
    save_as,
    save_checkpoint,
)
from support.configs import tiny_config
from support.messages import mentions, naming
from support.vocabulary import write_vocabulary


@pytest.mark.parametrize(("first", "second"), pairs(ANY_CONFIG))
def test_the_configuration_and_the_preprocessing_go_along(tmp_path, first, second):
    """Activation, epsilon, eos, MLP width, head width, start of the scale; mean, std, filter, squash."""
    save_as(tmp_path, first, odd_config(), steps=ODD_STEPS)
    convert(tmp_path / first, tmp_path / "target", second)
    found = describe(open_checkpoint(tmp_path / "target"), tmp_path / "target")
    assert_describes(found, odd_config(), "open_clip" in {first, second})
    assert {name: getattr(found.preprocessing, name) for name in ODD_STEPS} == {
        **ODD_STEPS,
        "crop_size": {"height": 30, "width": 30},
    }


# Fields that training starts from, or that only a tokenizer uses; open_clip's files have no place for them.
NOT_IN_OPEN_CLIP = {"initializer_factor", "initializer_range", "bos_token_id", "projection_dim"}


def assert_describes(found, config, is_through_open_clip):
    assert found.class_name == "CLIPModel"
    assert found.config.projection_dim == config.projection_dim
    assert found.config.logit_scale_init_value == config.logit_scale_init_value
    for tower in ("text_config", "vision_config"):
        ours, theirs = getattr(config, tower).to_dict(), getattr(found.config, tower).to_dict()
        for field in NOT_IN_OPEN_CLIP if is_through_open_clip else ():
            ours.pop(field, None), theirs.pop(field, None)
        if is_through_open_clip and theirs["hidden_act"] == "gelu_pytorch_tanh":
            theirs["hidden_act"] = "gelu_new"  # two names of one formula
        for field in ("architectures", "dtype"):
            ours.pop(field, None), theirs.pop(field, None)
        assert theirs == ours


def test_openais_file_says_all_of_its_configuration_by_its_shapes(tmp_path):
    save_as(tmp_path, "openai", openai_config(), steps=OPENAI_STEPS)
    assert sorted(path.name for path in (tmp_path / "openai").iterdir()) == ["model.pt"]
    found = describe(open_checkpoint(tmp_path / "openai"), tmp_path / "openai")
    assert found.origin == FROM_SHAPES
    assert_describes(found, openai_config(), is_through_open_clip=True)
    assert found.preprocessing.size == {"shortest_edge": 30}
    assert found.preprocessing.crop_size == {"height": 30, "width": 30}


def test_the_tokenizer_goes_along_to_where_it_is_read(tmp_path):
    save_checkpoint(tmp_path / "source", openai_config(), steps=OPENAI_STEPS)
    write_vocabulary(tmp_path / "source")
    for to in target_names():
        convert(tmp_path / "source", tmp_path / to, to)
        there = {path.name for path in (tmp_path / to).iterdir()}
        assert {"vocab.json", "merges.txt"} <= there or to == "openai"
        for name in {"vocab.json", "merges.txt"} & there:
            assert (tmp_path / to / name).read_bytes() == (tmp_path / "source" / name).read_bytes()


DAMAGED = {name: ('{"a": ', "<html>404</html>", "[1, 2]", "") for name in TOKENIZER_FILES if name.endswith(".json")}
DAMAGED["merges.txt"] = ("#version: 0.2\na b\nc", "<html>404</html>", "Entry not found")
DAMAGED["preprocessor_config.json"] = ('{"size": ', "<html>404</html>", "[1, 2]", "")


@pytest.mark.parametrize(("name", "contents"), DAMAGED.items(), ids=DAMAGED)
def test_a_damaged_file_beside_the_weights_is_refused_before_anything_is_written(tmp_path, name, contents):
    source, out = tmp_path / "source", tmp_path / "out"
    save_checkpoint(source, openai_config(), steps=OPENAI_STEPS)
    write_vocabulary(source)
    (source / "tokenizer.json").write_text(json.dumps(tokenizer_json()))
    for content in contents:
        (source / name).write_text(content)
        with pytest.raises(ValueError, match=naming(source / name)):
            convert(source, out, "safetensors")
        with pytest.raises(ValueError, match=naming(source / name)):
            inspect(source, values=False)
    assert not out.exists()


def test_a_tokenizer_of_another_kind_goes_along(tmp_path):
    save_checkpoint(tmp_path / "source", openai_config(), steps=OPENAI_STEPS)
    pieces = [[f"piece-{number}", -float(number)] for number in range(250_000)]  # as in XLM-R
    content = json.dumps({"model": {"type": "Unigram", "vocab": pieces}}, indent=2)
    assert len(content) > LARGEST_JSON
    (tmp_path / "source" / "tokenizer.json").write_text(content)
    convert(tmp_path / "source", tmp_path / "out", "safetensors")
    assert (tmp_path / "out" / "tokenizer.json").read_text() == content


def test_named_chat_templates_go_along(tmp_path):
    save_checkpoint(tmp_path / "source", tiny_config())
    tokenizer = CLIPTokenizer(**write_vocabulary(tmp_path / "source"))
    tokenizer.chat_template = {"default": "{{ messages }}", "short": "{{ messages[0] }}", "tool_use": "{{ tools }}"}
    tokenizer.save_pretrained(tmp_path / "source")
    convert(tmp_path / "source", tmp_path / "target", "flax")
    assert CLIPTokenizer.from_pretrained(tmp_path / "target").chat_template == tokenizer.chat_template
    tokenizer.chat_template = {"default": "{{ messages }}", "long": "{{ messages }}{{ messages }}"}
    tokenizer.save_pretrained(tmp_path / "source")
    convert(tmp_path, tmp_path / "target", "flax", subfolder="source", overwrite=True)
    assert CLIPTokenizer.from_pretrained(tmp_path, subfolder="target").chat_template == tokenizer.chat_template


def test_a_tokenizer_that_is_not_in_utf_8_is_named(tmp_path):
    save_checkpoint(tmp_path / "source", tiny_config())
    (tmp_path / "source" / "merges.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=naming("source/merges.txt", "UTF-8")):
        convert(tmp_path / "source", tmp_path / "target", "flax")


def test_files_that_the_source_lacks_are_noted_and_not_invented(tmp_path):
    save_checkpoint(tmp_path / "source", tiny_config())
    steps, words = convert(tmp_path / "source", tmp_path / "target", "flax").notes
    assert mentions(steps, "preprocessor_config.json")
    assert mentions(words, "tokenizer")
    assert sorted(path.name for path in (tmp_path / "target").iterdir()) == ["config.json", "flax_model.msgpack"]


CANNOT = [
    ("openai", {"hidden_act": "gelu"}, {}, ["text_config.hidden_act", "'gelu'", "'quick_gelu'"]),
    ("openai", {}, {"layer_norm_eps": 1e-6}, ["vision_config.layer_norm_eps", 1e-06, 1e-05]),
    ("openai", {}, {"num_attention_heads": 4}, ["vision_config.num_attention_heads", 4, 2]),
    ("openai", {}, {"intermediate_size": 300}, ["vision_config.intermediate_size", 300, 512]),
    ("openai", {"eos_token_id": 97}, {}, ["eos_token_id", 97, 98]),
    ("openai", {}, {"num_channels": 2}, ["num_channels", 2, 3]),
    ("open_clip", {"hidden_act": "gelu"}, {}, ["hidden_act", "quick_gelu"]),
    ("open_clip", {"hidden_act": "relu"}, {"hidden_act": "gelu"}, ["text_config.hidden_act", "'relu'", "gelu"]),
    ("open_clip", {}, {"num_channels": 2}, ["vision_config.num_channels", 2, 3]),
]


@pytest.mark.parametrize(("to", "text", "vision", "named"), CANNOT)
def test_what_the_targets_library_would_compute_otherwise_is_refused(tmp_path, to, text, vision, named):
    save_checkpoint(tmp_path / "source", openai_config(text, vision))
    with pytest.raises(ValueError, match=naming(tmp_path / "source", to, *named)):
        convert(tmp_path / "source", tmp_path / "target", to)
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("to", ["openai", "open_clip"])
@pytest.mark.parametrize(
    ("class_name", "named"),
    [
        ("CLIPTextModel", ["CLIPTextModel"]),
        ("CLIPVisionModelWithProjection", ["CLIPVisionModelWithProjection"]),
        ("CLIPForImageClassification", ["classifier.weight"]),
    ],
)
def test_a_part_of_a_model_is_none_for_libraries_that_know_whole_ones(tmp_path, to, class_name, named):
    save_checkpoint(tmp_path / "source", tiny_config(num_labels=3), class_name)
    with pytest.raises(ValueError, match=naming(*named)):
        convert(tmp_path / "source", tmp_path / "target", to)


@pytest.mark.parametrize(
    ("to", "steps", "named"),
    [
        ("openai", {**OPENAI_STEPS, "image_mean": [0.5] * 3}, ["image_mean", [0.5, 0.5, 0.5]]),
        ("openai", {**OPENAI_STEPS, "size": {"height": 30, "width": 30}}, ["size", "open_clip"]),
        ("open_clip", {**OPENAI_STEPS, "size": {"shortest_edge": 36}}, ["size", 30, 36]),
        ("open_clip", {**OPENAI_STEPS, "do_normalize": False}, ["do_normalize=False"]),
    ],
)
def test_pictures_that_the_targets_library_would_prepare_otherwise_are_refused(tmp_path, to, steps, named):
    save_checkpoint(tmp_path / "source", openai_config(), steps=steps)
    with pytest.raises(ValueError, match=naming(*named)):
        convert(tmp_path / "source", tmp_path / "target", to)
    assert not (tmp_path / "target").exists()
