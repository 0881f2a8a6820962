"""Classes that users derive: loaded from a plain CLIP, saved with what they add, and loaded again."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

from clip_core.configuration import CLIPConfig, CLIPVisionConfig
from clip_core.modeling.parameters import MODEL_CLASSES, number_of_parameters, parameter_table
from converters.checkpoint import CheckpointError
from converters.formats.safetensors import read
from support.backends import BACKENDS
from support.checkpoints import with_values
from support.configs import inputs_for, tiny_config
from support.derived import EXTRA, HeadConfig, derived_classes, regularized
from support.messages import naming
from support.tolerances import EMBEDDINGS, ROUNDING

PIXELS = {"pixel_values": inputs_for("CLIPVisionModel")["pixel_values"]}


@pytest.fixture
def folder(backend, tmp_path):
    """A plain CLIP."""
    backend.build("CLIPModel", tiny_config()).save_pretrained(tmp_path / "plain")
    return tmp_path / "plain"


@pytest.fixture
def mine(backend):
    return derived_classes(backend.name)[0]


@pytest.fixture
def head(backend):
    return derived_classes(backend.name)[1]


def load_head(head, folder, *args, **options):
    with pytest.warns(UserWarning, match=naming("Head", "head.weight", "head.bias")):
        return head.from_pretrained(folder, *args, **options)


def positional(backend, *args):
    """Return the arguments after the folder: in Flax the dtype comes first, as in transformers."""
    return ("float32", *args) if backend.name == "flax" else args


def shapes_in(folder):
    return {name: entry.shape for name, entry in read(folder / "model.safetensors").items()}


def features(backend, model):
    return backend.call(model.get_image_features, PIXELS)


def test_a_subclass_loads_saves_and_loads_again_as_clip_does(backend, mine, folder, tmp_path):
    plain, model = backend.load("CLIPModel", folder), mine.from_pretrained(folder)
    assert type(model) is mine
    assert np.array_equal(features(backend, model), features(backend, plain))
    model.save_pretrained(tmp_path / "mine")
    assert json.loads((tmp_path / "mine" / "config.json").read_text())["architectures"] == ["Mine"]
    assert shapes_in(tmp_path / "mine") == parameter_table(tiny_config(), "CLIPModel")
    for again in (mine.from_pretrained(tmp_path / "mine"), backend.load("CLIPModel", tmp_path / "mine")):
        assert np.array_equal(features(backend, again), features(backend, plain))


def test_a_subclass_is_made_of_a_configuration(backend, mine):
    model = mine(tiny_config())
    assert features(backend, model).shape == (4, 24)
    assert model.num_parameters() == number_of_parameters(tiny_config(), "CLIPModel")


def test_a_plain_checkpoint_fills_the_clip_in_a_class_and_its_head_starts_afresh(backend, head, folder):
    model, info = load_head(head, folder, output_loading_info=True)
    assert sorted(info["missing_keys"]) == ["head.bias", "head.weight"]
    assert info["unexpected_keys"] == info["mismatched_keys"] == info["error_msgs"] == []
    assert np.array_equal(features(backend, model.clip), features(backend, backend.load("CLIPModel", folder)))
    assert model.base_model is model.clip
    assert isinstance(model.config, HeadConfig)
    outputs = backend.call(model, PIXELS)
    assert outputs.shape == (4, 3)
    assert outputs.std() > 0


def test_arguments_of_the_model_and_fields_of_its_configuration_are_passed_on(backend, head, folder):
    by_place = load_head(head, folder, *positional(backend, 2.0))
    by_name = load_head(head, folder, scale=3.0, classes=5)
    assert (by_place.scale, by_name.scale) == (2.0, 3.0)
    assert backend.call(by_name, PIXELS).shape == (4, 5)
    with pytest.raises((TypeError, ValueError), match="nonsense"):  # Keras raises the latter
        head.from_pretrained(folder, nonsense=1)
    with pytest.raises(TypeError):
        backend.load("CLIPModel", folder, nonsense=1)


def test_a_class_is_saved_under_its_own_names_and_loads_again(backend, head, folder, tmp_path):
    model = load_head(head, folder)
    model.save_pretrained(tmp_path / "saved")
    clips = parameter_table(tiny_config(), "CLIPModel")
    assert shapes_in(tmp_path / "saved") == {f"clip.{name}": shape for name, shape in clips.items()} | EXTRA
    content = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert (content["architectures"], content["model_type"], content["classes"]) == (["Head"], "clip_with_head", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, info = head.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(info.values())
    assert np.array_equal(backend.call(again, PIXELS), backend.call(model, PIXELS))


def test_the_file_of_a_class_means_the_same_in_every_framework(tmp_path):
    outputs = []
    for backend in BACKENDS:
        head = derived_classes(backend.name)[1]
        if not outputs:
            head(HeadConfig(**tiny_config().to_dict())).save_pretrained(tmp_path)
        outputs.append(backend.call(head.from_pretrained(tmp_path), PIXELS))
    for found in outputs[1:]:
        np.testing.assert_allclose(found, outputs[0], rtol=ROUNDING, atol=EMBEDDINGS)


def test_the_head_of_a_class_has_its_own_names_in_place_of_clips(backend, head, folder, tmp_path):
    load_head(head, folder).save_pretrained(tmp_path / "saved")
    config = CLIPConfig.from_pretrained(folder)
    with pytest.raises(CheckpointError, match=naming("head.weight", "head.bias")):
        backend.load("CLIPModel", tmp_path / "saved", config=config)
    lenient = backend.load("CLIPModel", tmp_path / "saved", config=config, strict=False)
    assert np.array_equal(features(backend, lenient), features(backend, backend.load("CLIPModel", folder)))


def test_clips_own_parameters_have_to_be_there(backend, mine, tmp_path):
    backend.build("CLIPVisionModel", tiny_config().vision_config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=naming("Mine", "text_model.embeddings.token_embedding.weight")):
        mine.from_pretrained(tmp_path, config=tiny_config())
    with pytest.warns(UserWarning, match=naming("Mine", "text_projection.weight")):
        model = mine.from_pretrained(tmp_path, config=tiny_config(), strict=False)
    texts = {"input_ids": inputs_for("CLIPTextModel")["input_ids"]}
    assert 0 < backend.call(model.get_text_features, texts).std() < 100  # drawn, not left as memory was


def test_a_classs_patterns_silence_what_is_missing_and_what_is_not_used(backend, head, folder, tmp_path):
    class Quiet(head):
        _keys_to_ignore_on_load_missing = (r"head\.",)
        _keys_to_ignore_on_save = ("head.bias",)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, info = Quiet.from_pretrained(folder, output_loading_info=True)
    assert info["missing_keys"] == []
    model.save_pretrained(tmp_path / "saved")
    assert "head.weight" in shapes_in(tmp_path / "saved")
    assert "head.bias" not in shapes_in(tmp_path / "saved")


def test_what_a_class_does_not_have_is_named_and_not_used(backend, head, mine, folder, tmp_path):
    load_head(head, folder).save_pretrained(tmp_path / "saved")

    class Silent(mine):
        _keys_to_ignore_on_load_unexpected = (r"^head",)

    config = CLIPConfig.from_pretrained(folder)
    with pytest.warns(UserWarning, match=naming("Mine", "head.weight", "head.bias")):
        _, info = mine.from_pretrained(tmp_path / "saved", config=config, output_loading_info=True)
    assert sorted(info["unexpected_keys"]) == ["head.bias", "head.weight"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, info = Silent.from_pretrained(tmp_path / "saved", config=config, output_loading_info=True)
    assert info["unexpected_keys"] == []


def test_integers_are_refused_as_weights_of_clip(backend, mine, folder):
    with_values(folder, visual_projection__weight=np.ones((24, 36), np.int8))
    for load in (mine.from_pretrained, lambda path: backend.load("CLIPModel", path)):
        with pytest.raises(CheckpointError, match=naming("visual_projection.weight", "int8")):
            load(folder)


def test_a_head_of_another_size_is_refused_or_starts_afresh(backend, head, folder, tmp_path):
    load_head(head, folder).save_pretrained(tmp_path / "saved")
    with pytest.raises(CheckpointError, match=naming("head.weight", (3, 24), (7, 24))):
        head.from_pretrained(tmp_path / "saved", classes=7)
    with pytest.warns(UserWarning, match=naming("head.weight")):
        model = head.from_pretrained(tmp_path / "saved", classes=7, ignore_mismatched_sizes=True)
    assert backend.call(model, PIXELS).shape == (4, 7)


def test_statistics_of_a_class_are_saved_and_the_state_of_its_dropout_is_not(backend, folder, tmp_path):
    with pytest.warns(UserWarning, match=naming("Regularized", "norm.running_var", "head.weight")):
        model = regularized(backend.name).from_pretrained(folder)
    first, second = (backend.train(model, PIXELS, seed)[""] for seed in (0, 1))
    assert not np.array_equal(first, second)
    model.save_pretrained(tmp_path / "saved")
    assert not [name for name in read(tmp_path / "saved" / "model.safetensors") if "drop" in name]
    again, info = regularized(backend.name).from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert not any(info.values())
    assert np.abs(read(tmp_path / "saved" / "model.safetensors")["norm.running_mean"].load()).max() > 0
    assert np.array_equal(backend.call(again, PIXELS), backend.call(model, PIXELS))
    backend.train(again, PIXELS, 0)  # dropout still works


def test_an_empty_batch_is_embedded(backend, built):
    model = built(backend)
    assert backend.call(model.get_image_features, {"pixel_values": PIXELS["pixel_values"][:0]}).shape == (0, 24)
    assert backend.call(model.get_text_features, {"input_ids": np.zeros((0, 5), np.int32)}).shape == (0, 24)


# Handles


def test_every_model_has_the_handles_that_other_libraries_ask_for(backend):
    model = backend.build("CLIPModel", tiny_config())
    assert model.base_model is model
    assert model.can_generate() is False
    assert model.generation_config is None
    assert model.tie_weights() is None
    assert model.get_memory_footprint() >= 4 * model.num_parameters()
    assert model._auto_class is None
    assert model._is_stateful is False
    parts = ["CLIPTextEmbeddings", "CLIPEncoderLayer", "CLIPVisionEmbeddings"]
    assert type(model)._no_split_modules == parts
    for name in ("CLIPTextModel", "CLIPTextModelWithProjection"):
        assert type(backend.build(name, tiny_config().text_config))._no_split_modules == parts[:2]
    assert type(backend.build("CLIPVisionModel", tiny_config().vision_config))._no_split_modules == parts[1:2]
    for name in ("CLIPVisionModelWithProjection", "CLIPForImageClassification"):
        assert type(backend.build(name, tiny_config()))._no_split_modules is None
    assert model.framework == {"torch": "pt"}.get(backend.name, backend.name)


def test_a_model_is_made_of_a_copy_of_a_configuration(backend):
    config = tiny_config()
    model = type(backend.build("CLIPModel", config))._from_config(config, attn_implementation="eager")
    assert model.config.attn_implementation == "eager" != config.attn_implementation
    assert model.config is not config


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_a_class_has_the_name_that_transformers_gives_it(backend, class_name):
    prefix = {"torch": "", "tf": "TF", "flax": "Flax"}[backend.name]
    package = __import__(f"clip_{backend.name}")
    asked = getattr(package, prefix + class_name)
    assert asked.__name__ == prefix + class_name
    assert asked is getattr(package, class_name)


def test_a_tower_of_a_users_own_takes_its_part_of_a_full_checkpoint(backend, folder):
    base = type(backend.build("CLIPVisionModel", CLIPVisionConfig.from_pretrained(folder)))

    class Tower(base):
        pass

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, info = Tower.from_pretrained(folder, output_loading_info=True)
    assert info["missing_keys"] == []
    assert {name.partition(".")[0] for name in info["unexpected_keys"]} == {
        *("logit_scale", "text_model", "text_projection", "visual_projection"),
    }
    expected = backend.forward(backend.load("CLIPVisionModel", folder), PIXELS)
    assert np.array_equal(backend.forward(model, PIXELS)["pooler_output"], expected["pooler_output"])


def test_the_embedding_and_the_heads_of_the_clip_in_a_class_are_within_reach(head):
    model = head(HeadConfig(**tiny_config().to_dict()))
    assert model.get_input_embeddings() is model.clip.get_input_embeddings()
    assert model.resize_token_embeddings(110) is model.clip.get_input_embeddings()
    assert model.vocab_size == model.clip.config.text_config.vocab_size == 110
    model.prune_heads({"vision_model": {0: [1]}})
    assert model.clip.config.vision_config.pruned_heads == {0: [1]}
