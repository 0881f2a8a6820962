"""Loading and saving: every class, layout and error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from clip_core.hub.changes import ChangedError
from clip_core.modeling.parameters import MODEL_CLASSES
from converters.checkpoint import CheckpointError, open_checkpoint
from support import changes
from support.backends import assert_same_weights
from support.configs import inputs_for, tiny_config
from support.entries import assert_same
from support.messages import naming
from support.tolerances import DRAWN_WEIGHTS


@pytest.fixture
def folder(backend, saved, tmp_path):
    """A saved CLIPModel that a test may change."""
    return shutil.copytree(saved(backend), tmp_path / "model")


# Saving


@pytest.mark.parametrize("options", [{}, {"safe_serialization": False}, {"max_shard_size": "40KB"}])
@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_every_class_comes_back_as_it_was_saved(backend, built, tmp_path, class_name, options):
    model, inputs = built(backend, class_name), inputs_for(class_name)
    model.save_pretrained(tmp_path, **options)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [class_name]
    assert (tmp_path / backend.own_file).exists() == ("safe_serialization" in options)
    assert ("max_shard_size" in options) == any(path.name.endswith(".index.json") for path in tmp_path.iterdir())
    loaded = backend.load(class_name, tmp_path)
    assert loaded.name_or_path == str(tmp_path)
    assert_same_weights(backend, loaded, model)
    assert_same(backend.forward(loaded, inputs), backend.forward(model, inputs))


def test_a_variant_is_written_and_read(backend, built, tmp_path):
    built(backend).save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "model.fp16.safetensors").exists()
    assert_same_weights(backend, backend.load("CLIPModel", tmp_path, variant="fp16"), built(backend))
    with pytest.raises(FileNotFoundError, match=naming("model.safetensors")):
        backend.load("CLIPModel", tmp_path)


def test_only_the_main_process_writes(backend, built, tmp_path):
    built(backend).save_pretrained(tmp_path / "none", is_main_process=False)
    assert not (tmp_path / "none").exists()


def test_a_file_in_the_folders_place_is_refused(backend, built, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=naming(tmp_path / "file")):
        built(backend).save_pretrained(tmp_path / "file")


def test_a_model_is_not_saved_where_another_would_be_loaded_instead(backend, built, folder):
    model, before = built(backend), {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(FileExistsError, match=naming(folder, "model.safetensors")):
        model.save_pretrained(folder, safe_serialization=False)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / "model.safetensors").rename(folder / "model.safetensors.index.json")
    with pytest.raises(FileExistsError, match=naming(folder, "model.safetensors.index.json")):
        model.save_pretrained(folder, safe_serialization=False)
    (folder / "model.safetensors.index.json").unlink()
    model.save_pretrained(folder, safe_serialization=False)
    changed = backend.load("CLIPModel", folder)
    backend.assign(changed, "logit_scale", 3.0)
    changed.save_pretrained(folder, safe_serialization=False, variant="mine")  # which is loaded by its name only
    for options in ({}, {"variant": "mine"}):
        changed.save_pretrained(folder, **options)  # safetensors are read first
        assert_same_weights(backend, backend.load("CLIPModel", folder, **options), changed)


def test_saving_over_the_files_that_were_loaded(backend, folder):
    loaded, model = backend.load("CLIPModel", folder), backend.build("CLIPModel", tiny_config(num_labels=3))
    for one in (loaded, model):
        backend.assign(one, "logit_scale", 3.0)
    loaded.save_pretrained(folder)
    assert_same_weights(backend, backend.load("CLIPModel", folder), model)
    assert_same_weights(backend, loaded, model)


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "own"])
def test_training_a_loaded_model_does_not_touch_its_file(backend, built, tmp_path, safe):
    built(backend).save_pretrained(tmp_path, safe_serialization=safe)
    file = tmp_path / ("model.safetensors" if safe else backend.own_file)
    before, loaded = file.read_bytes(), backend.load("CLIPModel", tmp_path)
    old = {name: array.copy() for name, array in backend.weights(loaded).items()}
    backend.add_one(loaded)
    assert file.read_bytes() == before
    assert_same(backend.weights(loaded), {name: array + np.float32(1) for name, array in old.items()})


# Other names


def rename(folder, change):
    """Save the folder's weights again under other names, without metadata."""
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({change(name): array for name, array in weights.items()}, folder / "model.safetensors")


@pytest.mark.parametrize("prefix", ["", "clip.", "module.", "model."])
def test_prefixed_keys_and_files_without_metadata_load(backend, built, folder, prefix):
    rename(folder, lambda name: prefix + name)
    assert_same_weights(backend, backend.load("CLIPModel", folder), built(backend))


@pytest.mark.parametrize(
    ("class_name", "tower"), [("CLIPTextModel", "text_model"), ("CLIPVisionModel", "vision_model")]
)
def test_flattened_towers_load(backend, built, tmp_path, class_name, tower):
    built(backend, class_name).save_pretrained(tmp_path)
    rename(tmp_path, lambda name: name.removeprefix(f"{tower}."))
    assert_same_weights(backend, backend.load(class_name, tmp_path), built(backend, class_name))


# Checkpoints that do not fit


@pytest.mark.parametrize("class_name", [name for name in MODEL_CLASSES if name != "CLIPForImageClassification"])
def test_a_full_checkpoint_serves_every_class(backend, saved, built, class_name):
    loaded, full = backend.weights(backend.load(class_name, saved(backend))), backend.weights(built(backend))
    assert_same(loaded, {name: full[name] for name in loaded})


def test_a_full_checkpoint_serves_a_classifier_that_starts_afresh(backend, saved, built):
    name = "CLIPForImageClassification"
    # The class is called as it was asked for: CLIPModel, or TFCLIPModel and FlaxCLIPModel.
    shown = getattr(backend.module("vision"), name).__name__
    with pytest.warns(UserWarning, match=naming(shown, "classifier.weight", "classifier.bias")):
        model = backend.load(name, saved(backend), num_labels=5)
    assert backend.forward(model, inputs_for(name))["logits"].shape == (4, 5)
    loaded, full = backend.weights(model), backend.weights(built(backend))
    assert loaded["classifier.weight"].std() > 0
    assert_same(
        {name: array for name, array in loaded.items() if not name.startswith("classifier")},
        {name: full[name] for name in loaded if not name.startswith("classifier")},
    )


def test_a_classifier_that_nobody_asked_for_is_an_error(backend, built, tmp_path):
    backend.build("CLIPModel", tiny_config()).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=naming(2, "classifier.weight")):
        backend.load("CLIPForImageClassification", tmp_path)


def test_missing_and_unexpected_weights_can_be_pardoned(backend, built, folder):
    rename(folder, lambda name: name.replace("layers.1.mlp", "layers.1.mlp_old"))
    fresh, old = "text_model.encoder.layers.1.mlp.fc1.weight", "text_model.encoder.layers.0.mlp.fc1.weight"
    with pytest.raises(CheckpointError, match=naming(8, fresh)):
        backend.load("CLIPModel", folder)
    with pytest.warns(UserWarning, match=naming(backend.module("model").CLIPModel, fresh)):
        model, info = backend.load("CLIPModel", folder, seed=5, strict=False, output_loading_info=True)
    assert len(info["missing_keys"]) == len(info["unexpected_keys"]) == 8
    loaded, full = backend.weights(model), backend.weights(built(backend))
    assert not np.array_equal(loaded[fresh], full[fresh])
    assert loaded[fresh].std() == pytest.approx(1.5 * 80**-0.5, rel=DRAWN_WEIGHTS)
    assert np.array_equal(loaded[old], full[old])


def test_who_asks_for_the_names_of_missing_weights_gets_them_with_a_warning(backend, folder):
    rename(folder, lambda name: name.replace("layers.1.mlp", "layers.1.mlp_old"))
    with pytest.warns(UserWarning, match=naming("layers.1.mlp.fc1.weight")):
        _, info = backend.load("CLIPModel", folder, output_loading_info=True)
    assert len(info["missing_keys"]) == len(info["unexpected_keys"]) == 8
    with pytest.raises(CheckpointError, match=naming(8)):
        backend.load("CLIPModel", folder, output_loading_info=True, strict=True)


def test_uploads_hold_the_format_that_was_asked_for(backend, built, monkeypatch):
    uploads = []

    def upload(folder, repo_id, **options):
        uploads.append(({path.name for path in Path(folder).iterdir()}, repo_id, options))
        return "address"

    monkeypatch.setattr("clip_core.hub.pushable.upload_folder", upload)
    assert built(backend).push_to_hub("me/it", safe_serialization=False, use_temp_dir=True, create_pr=True) == "address"
    assert uploads == [({"config.json", backend.own_file}, "me/it", {"create_pr": True})]


def test_mismatched_sizes_are_an_error_unless_ignored(backend, saved):
    with pytest.raises(CheckpointError, match=naming("text_projection.weight", (24, 40), (9, 40))):
        backend.load("CLIPModel", saved(backend), projection_dim=9)
    with pytest.warns(
        UserWarning, match=naming("visual_projection.weight", "text_projection.weight", (24, 40), (9, 40))
    ):
        loaded, info = backend.load(
            "CLIPModel", saved(backend), projection_dim=9, ignore_mismatched_sizes=True, output_loading_info=True
        )
    assert backend.weights(loaded)["text_projection.weight"].shape == (9, 40)
    assert info["mismatched_keys"][1] == ("text_projection.weight", (24, 40), (9, 40))


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
