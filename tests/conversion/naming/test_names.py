"""Names of every Hugging Face layout are translated to the canonical ones."""

from __future__ import annotations

import numpy as np
import pytest

from clip_core.modeling.parameters import MODEL_CLASSES, parameter_table
from converters.formats import layouts
from converters.naming.names import canonical_names, layout_of, to_canonical, to_file
from converters.naming.rules import FLAX, HUGGING_FACE, OPENAI, TENSORFLOW
from converters.tensors import in_order
from support.configs import tiny_config
from support.entries import assert_same, entry, random_entries
from support.messages import naming


@pytest.fixture
def entries():
    return random_entries(tiny_config())


@pytest.mark.parametrize(
    ("layout", "change"),
    [
        (TENSORFLOW, "tfclip_model/clip/{}:0"),
        (TENSORFLOW, "clip/{}:0"),
        (TENSORFLOW, "tf_clip_model_1/clip/{}:0"),
        (FLAX, "params/{}"),
        (OPENAI, "module.{}"),
        (OPENAI, "_orig_mod.module.{}"),
        (HUGGING_FACE, "module.clip.{}"),
    ],
)
def test_prefixes_and_suffixes_of_names_are_removed(entries, layout, change):
    in_file = {change.format(name): tensor for name, tensor in to_file(entries, layout).items()}
    assert layout_of(in_file, layouts()) is layout
    assert_same(to_canonical(in_file, layout)[0], entries)


def test_flax_names_in_safetensors_have_dots(entries):
    in_file = {name.replace("/", "."): tensor for name, tensor in to_file(entries, FLAX).items()}
    assert layout_of(in_file, layouts()) is FLAX
    assert_same(to_canonical(in_file, FLAX)[0], entries)


def test_the_text_tower_of_open_clip_may_stand_under_its_own_name(entries):
    in_file = {
        name if name.startswith(("visual", "logit_scale")) else f"text.{name}": tensor
        for name, tensor in to_file(entries, OPENAI).items()
    }
    assert layout_of(in_file, layouts()) is OPENAI
    assert_same(to_canonical(in_file, OPENAI)[0], entries)


def test_numbers_and_masks_beside_openais_weights_are_not_parameters(entries):
    extra = {name: entry(np.array(224)) for name in ("input_resolution", "context_length", "vocab_size")}
    extra["transformer.resblocks.0.attn_mask"] = entry(np.zeros((19, 19), np.float32))
    assert_same(to_canonical({**to_file(entries, OPENAI), **extra}, OPENAI)[0], entries)


@pytest.mark.parametrize("layout", layouts(), ids=lambda layout: layout.name)
def test_the_temperature_may_have_either_shape_and_position_ids_are_left_out(entries, layout):
    in_file = to_file(entries, layout)
    for shape in ((), (1,)):
        in_file["logit_scale"] = entry(np.full(shape, 4.5, np.float32))
        in_file[layout.separator.join(("text_model", "embeddings", "position_ids"))] = entry(np.arange(19)[np.newaxis])
        found, sources = to_canonical(in_file, layout)
        assert found.keys() == entries.keys() == sources.keys()
        assert found["logit_scale"].shape == found["logit_scale"].load().shape == ()
        assert found["logit_scale"].load() == 4.5
        for other in layouts():
            assert to_file(found, other)["logit_scale"].shape == to_file(entries, other)["logit_scale"].shape


def test_a_tower_in_a_tower_of_the_same_name_is_one(entries):
    names = [name for name in entries if name.startswith("vision_model.")]
    doubled = [f"vision_model.{name}" for name in names]
    assert canonical_names([*doubled, "concept_embeds"]) == {
        **dict(zip(names, doubled, strict=True)),
        "concept_embeds": "concept_embeds",
    }
    assert canonical_names([f"safety_checker.{name}" for name in doubled]).keys() == set(names)


def test_unknown_names_are_kept_to_be_reported(entries):
    found, source = to_canonical({**to_file(entries, FLAX), "lora/A": entry(np.zeros(2))}, FLAX)
    assert source["lora/A"] == "lora/A"
    assert "lora/A" in found


def test_two_names_for_one_parameter_are_refused(entries):
    in_file = to_file(entries, FLAX)
    with pytest.raises(ValueError, match=naming("logit_scale", "params/logit_scale")):
        to_canonical({**in_file, "params/logit_scale": in_file["logit_scale"]}, FLAX)


@pytest.mark.parametrize(
    ("name", "shape"), [("transformer.resblocks.0.attn.in_proj_weight", (119, 40)), ("visual.proj", (36,))]
)
def test_a_shape_that_cannot_be_is_refused_by_name(entries, name, shape):
    in_file = to_file(entries, OPENAI)
    assert name in in_file
    with pytest.raises(ValueError, match=naming(name, shape)):
        to_canonical({**in_file, name: entry(np.zeros(shape, np.float32))}, OPENAI)


def test_a_tensor_that_a_layout_cannot_store_is_refused_by_name(entries):
    with pytest.raises(ValueError, match=naming("OpenAI", "classifier.weight")):
        to_file({**entries, "classifier.weight": entry(np.zeros((3, 36), np.float32))}, OPENAI)


def test_half_of_a_fused_weight_is_refused_by_name(entries):
    del entries["text_model.encoder.layers.1.self_attn.v_proj.bias"]
    with pytest.raises(ValueError, match=naming("text_model.encoder.layers.1.self_attn.v_proj.bias")):
        to_file(entries, OPENAI)
    entries = random_entries(tiny_config())
    entries["text_model.encoder.layers.1.self_attn.v_proj.bias"] = entry(np.zeros(40, np.float16))
    with pytest.raises(ValueError, match=naming("text_model.encoder.layers.1.self_attn.v_proj.bias", "dtype")):
        to_file(entries, OPENAI)


def test_in_order_copies_only_what_has_to_be():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert in_order(array) is array
    assert in_order(array.T).flags.c_contiguous
    unaligned = np.frombuffer(b"\0" + array.tobytes(), np.uint8)[1:].view(np.float32)
    assert in_order(unaligned).flags.aligned
    assert in_order(np.float32(3).reshape(())).shape == ()


def table(class_name: str) -> list[str]:
    config = tiny_config(num_labels=3)
    if "Text" in class_name:
        config = config.text_config
    elif "Vision" in class_name:
        config = config.vision_config
    return list(parameter_table(config, class_name))


@pytest.mark.parametrize(
    "prefix", ["", "clip.", "model.", "module.", "_orig_mod.", "module._orig_mod.clip.", "encoder."]
)
@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_prefixes_fall_away(class_name, prefix):
    names = table(class_name)
    assert canonical_names(prefix + name for name in names) == {name: prefix + name for name in names}


@pytest.mark.parametrize("prefix", ["", "model.", "module._orig_mod.", "encoder."])
@pytest.mark.parametrize(
    ("class_name", "tower"), [("CLIPTextModel", "text_model"), ("CLIPVisionModel", "vision_model")]
)
def test_a_flattened_tower_gets_its_name_back(class_name, tower, prefix):
    names = table(class_name)
    flat = [prefix + name.removeprefix(f"{tower}.") for name in names]
    assert canonical_names(flat) == dict(zip(names, flat, strict=True))


def test_a_flattened_tower_with_its_projection_beside_it():
    names = table("CLIPTextModelWithProjection")
    flat = [name.removeprefix("text_model.") for name in names]
    assert list(canonical_names(flat)) == names


def test_position_ids_of_old_checkpoints_are_not_parameters():
    names = ["text_model.embeddings.position_ids", "vision_model.embeddings.position_ids", "embeddings.position_ids"]
    assert canonical_names([*names, "logit_scale"]) == {"logit_scale": "logit_scale"}


def test_unknown_names_stay_as_they_are():
    names = ["decoder.layers.0.weight", "encoder.layers.0.mlp.fc1.weight"]  # of no known tower
    assert canonical_names(names) == dict(zip(names, names, strict=True))


def test_two_names_for_one_parameter_are_refused_by_name():
    with pytest.raises(ValueError, match=naming("logit_scale", "model.logit_scale")):
        canonical_names(["logit_scale", "model.logit_scale"])
