"""Loading and saving in PyTorch: every layout, dtype and error."""

from __future__ import annotations

import json

import pytest
import torch

import clip_torch
from clip_core.modeling.parameters import MODEL_CLASSES
from converters.checkpoint import CheckpointError
from support.configs import pixel_values, tiny_config, token_ids
from support.messages import naming
from support.tolerances import DRAWN_WEIGHTS


def build(class_name="CLIPModel", **config):
    torch.manual_seed(0)
    return getattr(clip_torch, class_name)(tiny_config(**config)).eval()


@pytest.fixture
def model():
    return build()


@pytest.fixture
def folder(model, tmp_path):
    model.save_pretrained(tmp_path)
    return tmp_path


def assert_equal(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert list(one) == list(other)
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_every_class_comes_back_as_it_was_saved(class_name, tmp_path):
    model = build(class_name, num_labels=3)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [class_name]
    loaded = getattr(clip_torch, class_name).from_pretrained(tmp_path)
    assert_equal(loaded, model)
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("max_shard_size", ["5GB", "60KB", 60_000])
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_shards_and_bin_files_come_back_and_the_reference_reads_them(model, tmp_path, safe, max_shard_size, oracle):
    model.save_pretrained(tmp_path, safe_serialization=safe, max_shard_size=max_shard_size)
    assert (max_shard_size != "5GB") == any(path.name.endswith(".index.json") for path in tmp_path.iterdir())
    assert_equal(clip_torch.CLIPModel.from_pretrained(tmp_path), model)
    info = oracle("loads_without_remark", folder=str(tmp_path), model_class="CLIPModel")
    assert not any(info.values())


def test_a_variant_is_written_and_read(model, tmp_path):
    model.save_pretrained(tmp_path, variant="fp16")
    assert (tmp_path / "model.fp16.safetensors").exists()
    assert_equal(clip_torch.CLIPModel.from_pretrained(tmp_path, variant="fp16"), model)
    with pytest.raises(FileNotFoundError, match=naming("model.safetensors")):
        clip_torch.CLIPModel.from_pretrained(tmp_path)


def rename(folder, change):
    """Save the folder's weights again under other names, without metadata."""
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    save_file({change(name): tensor for name, tensor in weights.items()}, folder / "model.safetensors")


@pytest.mark.parametrize("prefix", ["", "clip.", "module.", "model."])
def test_prefixed_keys_and_files_without_metadata_load(model, folder, prefix):
    rename(folder, lambda name: prefix + name)
    assert_equal(clip_torch.CLIPModel.from_pretrained(folder), model)


@pytest.mark.parametrize(
    ("class_name", "tower"), [("CLIPTextModel", "text_model"), ("CLIPVisionModel", "vision_model")]
)
def test_flattened_towers_load(class_name, tower, tmp_path):
    model = build(class_name)
    model.save_pretrained(tmp_path)
    rename(tmp_path, lambda name: name.removeprefix(f"{tower}."))
    assert_equal(getattr(clip_torch, class_name).from_pretrained(tmp_path), model)


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_a_full_checkpoint_serves_every_class(model, folder, class_name):
    options = {"num_labels": 5} if class_name == "CLIPForImageClassification" else {}
    if options:
        with pytest.warns(
            UserWarning, match=naming("CLIPForImageClassification", "classifier.weight", "classifier.bias")
        ):
            loaded = clip_torch.CLIPForImageClassification.from_pretrained(folder, **options)
        assert loaded(torch.from_numpy(pixel_values())).logits.shape == (3, 5)
    else:
        loaded = getattr(clip_torch, class_name).from_pretrained(folder)
    full = model.state_dict()
    for name, tensor in loaded.state_dict().items():
        assert name.startswith("classifier") or torch.equal(tensor, full[name])


def test_a_classifier_that_nobody_asked_for_is_an_error(folder):
    with pytest.raises(CheckpointError, match=naming(2, "classifier.weight", "classifier.bias")):
        clip_torch.CLIPForImageClassification.from_pretrained(folder)


def test_missing_and_unexpected_weights_can_be_pardoned(model, folder):
    rename(folder, lambda name: name.replace("layers.1.mlp", "layers.1.mlp_old"))
    with pytest.raises(CheckpointError, match=naming(8, "text_model.encoder.layers.1.mlp.fc1.weight")):
        clip_torch.CLIPModel.from_pretrained(folder)
    torch.manual_seed(5)
    with pytest.warns(UserWarning, match=naming("CLIPModel", "text_model.encoder.layers.1.mlp.fc1.weight")):
        loaded, info = clip_torch.CLIPModel.from_pretrained(folder, strict=False, output_loading_info=True)
    assert len(info["missing_keys"]) == len(info["unexpected_keys"]) == 8
    fresh, old = "text_model.encoder.layers.1.mlp.fc1.weight", "text_model.encoder.layers.0.mlp.fc1.weight"
    assert not torch.equal(loaded.state_dict()[fresh], model.state_dict()[fresh])
    assert loaded.state_dict()[fresh].std() == pytest.approx(1.5 * 80**-0.5, rel=DRAWN_WEIGHTS)
    assert torch.equal(loaded.state_dict()[old], model.state_dict()[old])


def test_mismatched_sizes_are_an_error_unless_ignored(model, folder):
    with pytest.raises(CheckpointError, match=naming("text_projection.weight", (24, 40), (9, 40))):
        clip_torch.CLIPModel.from_pretrained(folder, projection_dim=9)
    with pytest.warns(UserWarning, match=naming("visual_projection.weight", "text_projection.weight")):
        loaded, info = clip_torch.CLIPModel.from_pretrained(
            folder, projection_dim=9, ignore_mismatched_sizes=True, output_loading_info=True
        )
    assert loaded.text_projection.weight.shape == (9, 40)
    assert info["mismatched_keys"][1] == ("text_projection.weight", (24, 40), (9, 40))


@pytest.mark.parametrize("stored", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("asked", [None, "auto", "bfloat16", torch.float16])
@pytest.mark.parametrize("keyword", ["dtype", "torch_dtype"])
def test_dtypes(model, tmp_path, stored, asked, keyword):
    model.to(getattr(torch, stored)).save_pretrained(tmp_path)
    loaded = clip_torch.CLIPModel.from_pretrained(tmp_path, **{keyword: asked})
    wanted = {None: "float32", "auto": stored}.get(asked, str(asked).removeprefix("torch."))
    assert {str(parameter.dtype) for parameter in loaded.parameters()} == {f"torch.{wanted}"}
    again = model.to(getattr(torch, wanted)).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in loaded.state_dict().items())


def test_auto_dtype_is_the_weights_where_the_config_is_silent(model, tmp_path):
    model.half().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["dtype"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert clip_torch.CLIPModel.from_pretrained(tmp_path, dtype="auto").dtype == torch.float16


@pytest.mark.parametrize("dtype", ["int8", "float17", torch.int64])
def test_a_dtype_that_is_none_is_refused(folder, dtype):
    with pytest.raises(ValueError, match=naming(repr(dtype), "float32")):
        clip_torch.CLIPModel.from_pretrained(folder, dtype=dtype)


@pytest.mark.parametrize("device_map", ["cpu", "auto", {"": "cpu"}, torch.device("cpu"), "meta"])
def test_device_maps(folder, device_map):
    loaded = clip_torch.CLIPModel.from_pretrained(folder, device_map=device_map)
    assert loaded.device.type in {"meta", "cpu", "cuda", "mps"}
    if device_map != "auto":
        assert loaded.device.type == ("meta" if device_map == "meta" else "cpu")


@pytest.mark.parametrize(
    ("device_map", "offered"),
    [
        ("gpu0", ["'cuda:1'"]),
        ({"text_model": 0, "vision_model": 1}, []),
        ("cuda:99", ["'cpu'", "'auto'"]),
        ("xla", ["'cpu'", "'auto'"]),
    ],
)
def test_a_device_map_that_is_none_is_refused(folder, device_map, offered):
    with pytest.raises(ValueError, match=naming(f"device_map={device_map!r}", *offered)):
        clip_torch.CLIPModel.from_pretrained(folder, device_map=device_map)


def test_config_fields_and_the_attention_are_set_by_keyword(folder):
    loaded = clip_torch.CLIPModel.from_pretrained(folder, attn_implementation="eager", output_attentions=True)
    output = loaded(*(torch.from_numpy(array) for array in (token_ids()[0], pixel_values())))
    assert len(output.vision_model_output.attentions) == 2
    assert loaded.config.text_config.attn_implementation == "eager"


def test_a_config_may_be_given_in_place_of_the_files(model, folder):
    config = tiny_config({"hidden_act": "relu"})
    loaded = clip_torch.CLIPModel.from_pretrained(folder, config=config, output_hidden_states=True)
    assert loaded.config.output_hidden_states
    assert loaded.config.text_config.hidden_act == "relu"
    assert not config.output_hidden_states  # the caller's own stays as it is
    (folder / "config.json").rename(folder / "other.json")
    assert_equal(clip_torch.CLIPModel.from_pretrained(folder, config=folder / "other.json"), model)


def test_a_weight_file_is_loaded_with_the_config_beside_it(model, folder):
    assert_equal(clip_torch.CLIPModel.from_pretrained(folder / "model.safetensors"), model)


def test_a_state_dict_may_be_given_in_place_of_a_file(model):
    loaded = clip_torch.CLIPModel.from_pretrained(None, config=model.config, state_dict=model.state_dict())
    assert_equal(loaded, model)
    with pytest.raises(ValueError, match=naming("pretrained_model_name_or_path=None", "config", "state_dict")):
        clip_torch.CLIPModel.from_pretrained(None)


def test_a_keyword_that_nothing_takes_is_named(folder):
    with pytest.raises(TypeError, match=naming("CLIPModel.from_pretrained", "num_layer")):
        clip_torch.CLIPModel.from_pretrained(folder, num_layer=3)
    with pytest.raises(TypeError, match=naming("CLIPModel.from_pretrained", "num_layer")):
        clip_torch.CLIPModel.from_pretrained(folder, config=tiny_config(), num_layer=3)
    with pytest.raises(TypeError, match=naming("save_pretrained", "safe")):
        clip_torch.CLIPModel.from_pretrained(folder).save_pretrained(folder, safe=True)


def test_transformers_obsolete_keywords_are_taken(folder):
    clip_torch.CLIPModel.from_pretrained(folder, low_cpu_mem_usage=True, trust_remote_code=False, resume_download=True)


def test_training_scripts_keywords_for_saving_are_taken(model, tmp_path):
    model.save_pretrained(
        tmp_path, is_main_process=True, save_function=torch.save, state_dict=model.state_dict(), token=None
    )
    assert_equal(clip_torch.CLIPModel.from_pretrained(tmp_path), model)


def test_saving_over_the_files_that_the_weights_are_mapped_from(model, folder):
    loaded = clip_torch.CLIPModel.from_pretrained(folder)
    with torch.no_grad():
        loaded.logit_scale.fill_(3.0)
    loaded.save_pretrained(folder)
    model.logit_scale.data.fill_(3.0)
    assert_equal(clip_torch.CLIPModel.from_pretrained(folder), model)
    assert_equal(loaded, model)


def test_training_a_loaded_model_does_not_touch_its_file(folder):
    before = (folder / "model.safetensors").read_bytes()
    loaded = clip_torch.CLIPModel.from_pretrained(folder)
    with torch.no_grad():
        for parameter in loaded.parameters():
            parameter.add_(1.0)
    assert (folder / "model.safetensors").read_bytes() == before


def test_only_the_main_process_writes(model, tmp_path):
    model.save_pretrained(tmp_path / "none", is_main_process=False)
    assert not (tmp_path / "none").exists()


def test_a_file_in_the_folders_place_is_refused(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=naming(tmp_path / "file")):
        model.save_pretrained(tmp_path / "file")
