"""Files as other programs write them: what is beside the weights, other shapes and names, and no configuration."""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from clip_core import CLIPProcessor
from clip_core.tokenization.fast import CLIPTokenizerFast
from converters.checkpoint import CheckpointError
from converters.formats import format_named, target_names
from converters.naming.names import to_file
from support.checkpoints import ODD_STEPS, openai_config, save_as, save_checkpoint
from support.configs import SHALLOW, tiny_config
from support.entries import entry, part_of, random_arrays
from support.messages import naming

POSITIONS = "text_model.embeddings.position_embedding.weight"


def assert_has(backend, model, arrays):
    """Check that a model has these weights, by canonical name, in float32."""
    found = backend.weights(model)
    for name, array in arrays.items():
        np.testing.assert_array_equal(np.asarray(found[name]), array, err_msg=name)


@pytest.mark.parametrize("format_name", target_names())
def test_a_temperature_is_a_scalar_or_a_vector_of_one_element(backend, tmp_path, format_name):
    arrays = save_as(tmp_path, format_name, openai_config(SHALLOW["text"], SHALLOW["vision"]))
    format_, folder = format_named(format_name), tmp_path / format_name
    if format_name == "open_clip":
        path = folder / "open_clip_config.json"
        content = json.loads(path.read_text())
        content["model_cfg"]["nonscalar_logit_scale"] = True
        path.write_text(json.dumps(content))
    for shape in ((1,), ()):
        in_file = to_file({name: entry(array) for name, array in arrays.items()}, format_.layout)
        in_file["logit_scale"] = entry(arrays["logit_scale"].reshape(shape))
        format_.write(folder / format_.file, in_file)
        model = backend.load("CLIPModel", folder)
        assert np.shape(backend.weights(model)["logit_scale"]) == ()
        assert_has(backend, model, arrays)


def test_the_state_dict_in_a_training_scripts_checkpoint_is_loaded(backend, tmp_path):
    arrays = save_checkpoint(tmp_path, tiny_config())
    (tmp_path / "model.safetensors").unlink()
    state_dict = {f"module.{name}": torch.from_numpy(np.asarray(array)) for name, array in arrays.items()}
    beside = {"args": argparse.Namespace(path=Path("a")), "loss": np.float64(1), "sets": {1, 2}, "dtype": torch.float16}
    for name, wrapper in (("a.ckpt", "state_dict"), ("b.pt", "model_state_dict"), ("pytorch_model.bin", "model")):
        torch.save({**beside, wrapper: state_dict}, tmp_path / name)
        assert_has(backend, backend.load("CLIPModel", tmp_path / name), arrays)
    assert_has(backend, backend.load("CLIPModel", tmp_path), arrays)


@pytest.mark.parametrize("class_name", ["CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModel", "CLIPModel"])
def test_the_sizes_of_a_file_without_a_configuration_follow_from_its_shapes(backend, tmp_path, class_name):
    config = openai_config()
    arrays = random_arrays(config, class_name)
    path = tmp_path / "text_encoder.safetensors"
    save_file({name: np.asarray(array) for name, array in arrays.items()}, path)
    with pytest.warns(UserWarning, match=naming(path, "quick_gelu", 64, "hidden_act='gelu'")):
        model = backend.load(class_name, path)
    assert_has(backend, model, arrays)
    found, expected = model.config, part_of(config, class_name)
    towers = [(found, expected)] if class_name != "CLIPModel" else [(found.text_config, expected.text_config)]
    for one, other in towers:
        for field in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act"):
            assert getattr(one, field) == getattr(other, field), field
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        changed = backend.load(class_name, path, hidden_act="gelu") if class_name != "CLIPModel" else None
    assert changed is None or changed.config.hidden_act == "gelu"


def test_a_file_whose_shapes_say_too_little_asks_for_its_configuration(backend, tmp_path):
    save_file(random_arrays(tiny_config(), "CLIPTextModel"), tmp_path / "model.safetensors")  # heads of another width
    with pytest.raises(FileNotFoundError, match=naming("config.json")):
        backend.load("CLIPTextModel", tmp_path)


def test_the_vision_tower_of_stable_diffusions_safety_checker_is_loaded(backend, tmp_path):
    config = tiny_config()
    arrays = random_arrays(config, "CLIPVisionModelWithProjection")
    in_file = {name if "projection" in name else f"vision_model.{name}": array for name, array in arrays.items()}
    for name, shape in (("concept_embeds", (17, 24)), ("special_care_embeds", (3, 24))):
        in_file |= {name: np.ones(shape, np.float32), f"{name}_weights": np.ones(shape[0], np.float32)}
    save_file(in_file, tmp_path / "model.safetensors")
    content = {**json.loads(config.to_json_string()), "architectures": ["StableDiffusionSafetyChecker"]}
    (tmp_path / "config.json").write_text(json.dumps(content))
    assert_has(backend, backend.load("CLIPVisionModelWithProjection", tmp_path), arrays)
    plain = {name: array for name, array in arrays.items() if name != "visual_projection.weight"}
    assert_has(backend, backend.load("CLIPVisionModel", tmp_path), plain)


def test_more_positions_than_the_configuration_has_are_told_by_its_field(backend, tmp_path):
    arrays = save_checkpoint(tmp_path, tiny_config({"max_position_embeddings": 248}))
    tiny_config({"max_position_embeddings": 77}).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=naming("max_position_embeddings", 77, 248, POSITIONS)):
        backend.load("CLIPTextModel", tmp_path)
    model = backend.load("CLIPTextModel", tmp_path, max_position_embeddings=248)
    assert_has(backend, model, {POSITIONS: arrays[POSITIONS]})


@pytest.mark.parametrize("format_name", ["safetensors", "torch", "tf", "flax"])
def test_the_position_ids_of_old_files_are_no_parameters(backend, tmp_path, format_name):
    arrays = save_checkpoint(tmp_path, tiny_config())
    (tmp_path / "model.safetensors").unlink()
    format_ = format_named(format_name)
    in_file = to_file({name: entry(array) for name, array in arrays.items()}, format_.layout)
    for tower, count in (("text_model", 19), ("vision_model", 26)):
        name = format_.layout.separator.join((tower, "embeddings", "position_ids"))
        in_file[name] = entry(np.arange(count)[np.newaxis])
    format_.write(tmp_path / format_.file, in_file)
    assert_has(backend, backend.load("CLIPModel", tmp_path), arrays)


def test_a_state_dict_with_old_position_ids_is_taken(backend, built):
    model = built(backend)
    state_dict = dict(backend.state_dict(model))
    some = next(iter(state_dict.values()))
    state_dict["text_model.embeddings.position_ids"] = some[:1] if some.ndim else some
    loaded = backend.load("CLIPModel", None, config=model.config, state_dict=state_dict)
    assert_has(backend, loaded, backend.weights(model))


LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:1234\nsize 5\n"


@pytest.mark.parametrize("format_name", ["safetensors", "torch", "tf", "flax", "openai", "open_clip"])
def test_a_git_lfs_pointer_in_place_of_the_weights_is_named(backend, tmp_path, format_name):
    tiny_config().save_pretrained(tmp_path)
    path = tmp_path / format_named(format_name).file
    path.write_text(LFS_POINTER)
    with pytest.raises(CheckpointError, match=naming(path, "Git LFS pointer", "git lfs pull")):
        backend.load("CLIPModel", tmp_path)


def save_as_transformers_5(folder, class_name, vocabulary):
    """Return a folder as transformers 5.24 writes it: a single tower without its name, one file for the processor."""
    config = tiny_config()
    arrays = random_arrays(config, class_name)
    tower = {"CLIPTextModel": "text_model.", "CLIPVisionModel": "vision_model."}.get(class_name, "")
    save_file(
        {name.removeprefix(tower): np.asarray(array) for name, array in arrays.items()}, folder / "model.safetensors"
    )
    part = part_of(config, class_name)
    content = {**json.loads(part.to_json_string()), "architectures": [class_name], "transformers_version": "5.24.0"}
    (folder / "config.json").write_text(json.dumps(content))
    tokenizer = CLIPTokenizerFast.from_pretrained(vocabulary)
    tokenizer.save_pretrained(folder, legacy_format=False)
    settings = {"backend": "tokenizers", "is_local": True, "local_files_only": False, "errors": "replace"}
    settings |= {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    settings |= {"unk_token": "<|endoftext|>", "model_max_length": 77, "do_lower_case": True}
    settings |= {"clean_up_tokenization_spaces": False, "processor_class": "CLIPProcessor"}
    settings |= {"tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    steps = {**ODD_STEPS, "crop_size": {"height": 30, "width": 30}, "image_processor_type": "CLIPImageProcessor"}
    processor = {"image_processor": steps, "processor_class": "CLIPProcessor"}
    (folder / "processor_config.json").write_text(json.dumps(processor))
    (folder / "special_tokens_map.json").unlink()
    expected = {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in folder.iterdir()} == expected
    return arrays, tokenizer


@pytest.mark.parametrize("class_name", ["CLIPTextModel", "CLIPVisionModel", "CLIPModel", "CLIPTextModelWithProjection"])
def test_a_folder_of_transformers_5_is_loaded(backend, tmp_path, shared, class_name):
    arrays, tokenizer = save_as_transformers_5(tmp_path, class_name, shared / "emoji" / "checkpoint")
    assert_has(backend, backend.load(class_name, tmp_path), arrays)
    processor = CLIPProcessor.from_pretrained(tmp_path)
    assert processor.image_processor.image_mean == ODD_STEPS["image_mean"]
    assert processor.tokenizer("a cat")["input_ids"] == tokenizer("a cat")["input_ids"]
