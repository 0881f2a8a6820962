"""Keywords of from_pretrained: dtypes, configurations and the options of transformers' loaders; files that change."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
import torch

from clip_core.hub.changes import ChangedError
from converters.checkpoint import open_checkpoint
from support import changes
from support.backends import assert_same_weights
from support.configs import inputs_for, tiny_config
from support.messages import naming

# Options


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPVisionModel"])
def test_the_configuration_of_a_loaded_model_states_the_dtype_of_its_weights(backend, saved, class_name):
    for dtype in (None, "float16", "auto"):
        model = backend.load(class_name, saved(backend), **{backend.dtype_keywords[0]: dtype})
        config, found = model.config, set(backend.dtypes(model).values())
        parts = [config, *(getattr(config, key) for key in config.sub_configs)]
        assert {part.dtype for part in parts} == {part.torch_dtype for part in parts} == found
        assert found == {dtype if dtype == "float16" else "float32"}


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("asked", [None, "auto", "bfloat16", "the framework's float16"])
def test_weights_are_loaded_in_the_dtype_that_is_asked_for(backend, tmp_path, stored, asked):
    model = backend.cast(backend.build("CLIPModel", tiny_config()), stored)
    model.save_pretrained(tmp_path)
    wrote = np.dtype(getattr(ml_dtypes, stored, stored))
    assert {entry.dtype for entry in open_checkpoint(tmp_path).entries.values()} == {wrote}
    given = backend.dtype("float16") if asked == "the framework's float16" else asked
    by_default = stored if backend.name == "flax" else "float32"  # as in transformers
    wanted = {None: by_default, "auto": stored, "bfloat16": "bfloat16"}.get(asked, "float16")
    expected = backend.cast(model, wanted)
    for keyword in backend.dtype_keywords:
        assert_same_weights(backend, backend.load("CLIPModel", tmp_path, **{keyword: given}), expected)


def test_auto_dtype_is_that_of_the_weights_where_the_configuration_states_none(backend, tmp_path):
    backend.cast(backend.build("CLIPModel", tiny_config()), "float16").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["dtype"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = backend.load("CLIPModel", tmp_path, **{backend.dtype_keywords[0]: "auto"})
    assert set(backend.dtypes(loaded).values()) == {"float16"}


@pytest.mark.parametrize("asked", [None, "auto", "float16"])
def test_floats_of_8_bits_are_loaded_in_a_dtype_that_layers_compute_in(backend, tmp_path, asked):
    stored = ml_dtypes.float8_e4m3fn
    model = backend.build("CLIPVisionModel", tiny_config().vision_config)
    model.save_pretrained(tmp_path)
    rounded = {name: array.astype(stored) for name, array in backend.weights(model).items()}
    (tmp_path / "model.safetensors").unlink()
    torch.save(
        {name: torch.from_numpy(array.view(np.uint8)).view(torch.float8_e4m3fn) for name, array in rounded.items()},
        tmp_path / "pytorch_model.bin",
    )
    config = json.loads((tmp_path / "config.json").read_text())
    del config["dtype"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded = backend.load("CLIPVisionModel", tmp_path, **{backend.dtype_keywords[0]: asked})
    expected = "float16" if asked == "float16" else "float32"
    assert set(backend.dtypes(loaded).values()) == {expected}
    for name, array in backend.weights(loaded).items():
        np.testing.assert_array_equal(array, rounded[name].astype(expected))


@pytest.mark.parametrize("dtype", ["int8", "float17", "integer", 3])
def test_a_dtype_that_is_none_is_refused(backend, saved, dtype):
    dtype = backend.dtype("int32") if dtype == "integer" else dtype
    for keyword in {"dtype", *backend.dtype_keywords}:
        with pytest.raises(ValueError, match=naming(repr(dtype), "float32")):
            backend.load("CLIPModel", saved(backend), **{keyword: dtype})


def test_config_fields_and_the_attention_are_set_by_keyword(backend, saved):
    loaded = backend.load("CLIPModel", saved(backend), attn_implementation="eager", output_attentions=True)
    outputs = backend.forward(loaded, inputs_for("CLIPModel"))
    found = [name for name in outputs if name.startswith("vision_model_output.attentions.")]
    assert len(found) == 2
    assert loaded.config.text_config.attn_implementation == "eager"


def test_a_config_may_be_given_in_place_of_the_files(backend, built, folder):
    config = tiny_config({"hidden_act": "relu"})
    loaded = backend.load("CLIPModel", folder, config=config, output_hidden_states=True)
    assert loaded.config.output_hidden_states
    assert loaded.config.text_config.hidden_act == "relu"
    assert not config.output_hidden_states  # the caller's own is not changed
    (folder / "config.json").rename(folder / "other.json")
    assert_same_weights(backend, backend.load("CLIPModel", folder, config=folder / "other.json"), built(backend))


def test_a_weight_file_is_loaded_with_the_config_beside_it(backend, saved, built):
    assert_same_weights(backend, backend.load("CLIPModel", saved(backend) / "model.safetensors"), built(backend))


def test_a_state_dict_may_be_given_in_place_of_a_file(backend, built):
    model = built(backend)
    loaded = backend.load("CLIPModel", None, config=model.config, state_dict=backend.state_dict(model))
    assert_same_weights(backend, loaded, model)
    with pytest.raises(ValueError, match=naming("pretrained_model_name_or_path=None", "config", "state_dict")):
        backend.load("CLIPModel", None)


def test_a_keyword_that_nothing_takes_is_named(backend, built, saved, tmp_path):
    for options in ({}, {"config": tiny_config()}):
        with pytest.raises(
            TypeError, match=naming(f"{backend.module('model').CLIPModel.__name__}.from_pretrained", "num_layer")
        ):
            backend.load("CLIPModel", saved(backend), num_layer=3, **options)
    with pytest.raises(TypeError, match=naming("save_pretrained", "safe")):
        built(backend).save_pretrained(tmp_path, safe=True)
    for name in ("format", "dtype", "folder", "tensors", "keywords"):
        with pytest.raises(TypeError, match=naming("save_pretrained", name)):
            built(backend).save_pretrained(tmp_path, **{name: "npz"})


def test_transformers_obsolete_keywords_are_taken(backend, saved):
    obsolete = {"low_cpu_mem_usage": True, "trust_remote_code": False, "resume_download": True, "from_pt": True}
    backend.load("CLIPModel", saved(backend), **obsolete)


# Keywords of transformers' loaders


def test_keywords_that_ask_for_nothing_are_taken(backend, saved):
    nothing = {"offload_folder": None, "max_memory": None, "key_mapping": {}, "tp_plan": None, "torch_dtype": None}
    nothing |= {"tp_size": 1, "device_map": None}
    model = backend.load("CLIPTextModel", saved(backend), **nothing, gguf_file=None, adapter_kwargs={}, state_dict=None)
    assert set(backend.dtypes(model).values()) == {"float32"}
    backend.load("CLIPTextModel", saved(backend), device_map={})
    for device_map in (0, False, ""):  # the first is a GPU, the others are no device
        with pytest.raises((TypeError, ValueError, RuntimeError), match="device_map|CUDA|cuda|accelerator"):
            backend.load("CLIPTextModel", saved(backend), device_map=device_map)


@pytest.mark.parametrize("name", ["max_memory", "offload_buffers", "offload_folder"])
def test_a_refused_keyword_advises_none_that_a_backend_lacks(backend, saved, name):
    with pytest.raises(TypeError, match=naming(backend.module("text").CLIPTextModel, f"{name}='x'")) as caught:
        backend.load("CLIPTextModel", saved(backend), **{name: "x"})
    assert "device_map" not in str(caught.value)


def test_the_prefix_of_weights_is_taken_only_if_it_is_none(backend, saved):
    backend.load("CLIPTextModel", saved(backend), load_weight_prefix=None, tf_to_pt_weight_rename=None)
    with pytest.raises(TypeError, match=naming("load_weight_prefix='clip'", "base_model_prefix")):
        backend.load("CLIPTextModel", saved(backend), load_weight_prefix="clip")


def test_keywords_that_ask_for_something_are_refused_by_name(backend, saved):
    for name in ("key_mapping", "quantization_config"):
        with pytest.raises(TypeError, match=naming(backend.module("model").CLIPModel, f"{name}={{'a': 1}}")):
            backend.load("CLIPModel", saved(backend), **{name: {"a": 1}})


def test_a_dict_of_dtypes_names_one_for_all(backend, saved):
    option = backend.dtype_keywords[0]
    for dtypes, expected in (({}, "float32"), ({"": "float16", "text_config": "float16"}, "float16")):
        model = backend.load("CLIPModel", saved(backend), **{option: dtypes})
        assert set(backend.dtypes(model).values()) == {expected}
    for dtypes in ({"text_config": "float16"}, {"": "float16", "text_config": "float32"}):
        with pytest.raises(ValueError, match=naming(f"'text_config': {dtypes['text_config']!r}", "projections")):
            backend.load("CLIPModel", saved(backend), **{option: dtypes})
    with pytest.raises(ValueError, match=naming("'text'")):
        backend.load("CLIPModel", saved(backend), **{option: {"text": "float16"}})


def test_a_dict_of_dtypes_for_parts_that_a_tower_lacks_is_ignored_as_in_the_reference(backend, saved):
    option = backend.dtype_keywords[0]
    for dtypes, expected in (
        ({"text_config": "float16"}, "float32"),
        ({"": "float16", "vision_config": "x"}, "float16"),
    ):
        model = backend.load("CLIPTextModel", saved(backend), **{option: dtypes})
        assert set(backend.dtypes(model).values()) == {expected}


@pytest.mark.parametrize("change", [changes.grow, changes.shrink, changes.write_again])
def test_weights_that_change_while_they_are_read_are_refused(backend, folder, monkeypatch, change):
    path = folder / "model.safetensors"
    changes.when_reading_the_third_tensor(monkeypatch, lambda: change(path))
    with pytest.raises(ChangedError, match=naming(path)):
        backend.load("CLIPModel", folder)


def test_a_configuration_that_changes_before_its_weights_are_opened_is_refused(backend, folder, monkeypatch):
    def changing(*args, **kwargs):
        changes.replace(folder / "config.json")
        return open_checkpoint(*args, **kwargs)

    monkeypatch.setattr("converters.pretrained.open_checkpoint", changing)
    with pytest.raises(ChangedError, match=naming(folder / "config.json")):
        backend.load("CLIPModel", folder)
