"""Loading and saving in PyTorch: the reference reads the files, and devices."""

from __future__ import annotations

import copy
import math

import pytest
import torch

import clip_torch
from support.backends import TORCH, assert_same_weights
from support.messages import naming
from support.torch_models import build

BACKEND = TORCH


@pytest.fixture
def model():
    return build()


def test_a_loaded_model_is_in_evaluation_mode_and_can_be_trained(plain):
    loaded = clip_torch.CLIPModel.from_pretrained(plain[1])
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("max_shard_size", ["5GB", "60KB", 60_000])
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_shards_and_bin_files_come_back_and_the_reference_reads_them(model, tmp_path, safe, max_shard_size, oracle):
    model.save_pretrained(tmp_path, safe_serialization=safe, max_shard_size=max_shard_size)
    assert (max_shard_size != "5GB") == any(path.name.endswith(".index.json") for path in tmp_path.iterdir())
    assert_same_weights(TORCH, clip_torch.CLIPModel.from_pretrained(tmp_path), model)
    info = oracle("loads_without_remark", folder=str(tmp_path), model_class="CLIPModel")
    assert not any(info.values())


@pytest.mark.parametrize("device_map", ["cpu", "auto", {"": "cpu"}, torch.device("cpu"), "meta"])
def test_device_maps(plain, device_map):
    loaded = clip_torch.CLIPModel.from_pretrained(plain[1], device_map=device_map)
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
def test_a_device_map_that_is_none_is_refused(plain, device_map, offered):
    with pytest.raises(ValueError, match=naming(f"device_map={device_map!r}", *offered)):
        clip_torch.CLIPModel.from_pretrained(plain[1], device_map=device_map)


def test_training_scripts_keywords_for_saving_are_taken(model, tmp_path):
    model.save_pretrained(
        tmp_path, is_main_process=True, save_function=torch.save, state_dict=model.state_dict(), token=None
    )
    assert_same_weights(TORCH, clip_torch.CLIPModel.from_pretrained(tmp_path), model)


def test_a_model_is_loaded_to_the_device_of_the_context(plain):
    with torch.device("meta"):
        with pytest.raises(RuntimeError, match=naming("from_pretrained", "device_map='meta'")):
            clip_torch.CLIPModel.from_pretrained(plain[1])
        assert clip_torch.CLIPModel.from_pretrained(plain[1], device_map="cpu").device.type == "cpu"
    with torch.device("cpu"):
        assert clip_torch.CLIPModel.from_pretrained(plain[1]).device.type == "cpu"


@pytest.mark.parametrize("wrapped", [False, True])
def test_old_position_ids_in_a_state_dict_are_ignored(wrapped):
    """Files from before transformers 4.31 have them; the reference refuses them in `load_state_dict`."""
    model = build()
    outer = torch.nn.ModuleDict({"clip": model}) if wrapped else model
    expected = outer.state_dict()
    prefix = "clip." if wrapped else ""
    old = {f"{prefix}{tower}_model.embeddings.position_ids": torch.arange(9)[None] for tower in ("text", "vision")}
    given = expected | old
    assert outer.load_state_dict(given) == ([], [])
    assert given.keys() == (expected | old).keys()  # the caller's own
    with pytest.raises(RuntimeError, match=naming("position_ids")):
        outer.load_state_dict({**expected, f"{prefix}position_ids": torch.zeros(1)})


@pytest.mark.parametrize("tower", ["text_model", "vision_model"])
def test_old_position_ids_in_a_state_dict_of_a_tower_are_ignored(tower):
    """Programs for Stable Diffusion load the tower without its head, and the embeddings alone."""
    model = copy.deepcopy(getattr(build(), tower))
    embeddings = model.embeddings
    assert model.load_state_dict({**model.state_dict(), "embeddings.position_ids": torch.arange(9)[None]}) == ([], [])
    assert embeddings.load_state_dict({**embeddings.state_dict(), "position_ids": torch.arange(9)[None]}) == ([], [])
    with pytest.raises(RuntimeError, match=naming("position_ids")):
        model.load_state_dict({**model.state_dict(), "position_ids": torch.zeros(1)})


def test_a_model_made_on_the_meta_device_runs_once_its_weights_are_assigned():
    """Buffers that are not saved keep no values there, so nothing that is computed may depend on them."""
    source = build()
    with torch.device("meta"):
        model = clip_torch.CLIPModel(source.config)
    model.load_state_dict(source.state_dict(), assign=True)
    vision = source.config.vision_config
    shape = (1, vision.num_channels, vision.image_size, vision.image_size)
    ids, pixels = torch.tensor([[1, 5, 2]]), torch.linspace(-1, 1, math.prod(shape)).reshape(shape)
    with torch.no_grad():
        expected, found = (each.eval()(ids, pixels).logits_per_text for each in (source, model))
    assert torch.equal(found, expected)
