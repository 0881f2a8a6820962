"""Loading and saving: every class, other names, and checkpoints that do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clip_core.modeling.parameters import MODEL_CLASSES
from converters.checkpoint import CheckpointError, open_checkpoint
from support.backends import assert_same_weights
from support.configs import inputs_for, tiny_config
from support.entries import assert_same
from support.messages import naming
from support.tolerances import DRAWN_WEIGHTS

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


def test_weights_may_be_saved_in_place_of_the_models(backend, built, tmp_path):
    other = backend.cast(backend.build("CLIPModel", tiny_config(num_labels=3), seed=4), "float16")
    built(backend).save_pretrained(tmp_path, **backend.to_save(other))
    # Flax states the dtype of the params, the others that of the model.
    stated = json.loads((tmp_path / "config.json").read_text())["dtype"]
    assert stated == ("float16" if backend.name == "flax" else "float32")
    assert {entry.dtype.name for entry in open_checkpoint(tmp_path).entries.values()} == {"float16"}
    loaded = backend.load("CLIPModel", tmp_path, **{backend.dtype_keywords[0]: "float16"})
    assert_same_weights(backend, loaded, other)


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
