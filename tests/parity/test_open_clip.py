"""open_clip's files: it runs what we write, and we run what it writes, with the same embeddings and settings."""

from __future__ import annotations

import json

import pytest

from converters.checkpoint import open_checkpoint
from converters.conversion import convert
from converters.naming.names import bare_name, to_file
from converters.naming.rules import OPENAI
from converters.sidecars.description import describe
from support.checkpoints import ODD_STEPS, odd_config, openai_config, save_checkpoint
from support.configs import pixel_values, token_ids
from support.entries import assert_same
from support.parity import assert_embeddings

PIXELS, IDS = pixel_values(3, 30, 3), token_ids(4, 19)[0]
IDS[0, 1] = 98  # larger than EOS, so that pooling at the largest id and at EOS differ
INPUTS = {"pixel_values": PIXELS, "input_ids": IDS}

CONFIGS = {"odd": odd_config(), "OpenAI's": openai_config()}

_VISION = {"image_size": 30, "patch_size": 6, "width": 36, "layers": 2, "head_width": 12}
_TEXT = {"context_length": 19, "vocab_size": 99, "width": 40, "heads": 5, "layers": 3}
MODELS = {
    "gelu": {"embed_dim": 24, "vision_cfg": _VISION, "text_cfg": _TEXT},
    "quick_gelu": {"embed_dim": 24, "quick_gelu": True, "vision_cfg": _VISION, "text_cfg": _TEXT},
    "mlp_ratio": {
        "embed_dim": 24,
        "vision_cfg": {**_VISION, "mlp_ratio": 4.3637, "norm_kwargs": {"eps": 1e-3}},
        "text_cfg": {**_TEXT, "mlp_ratio": 1.3, "act_kwargs": {"approximate": "tanh"}},
    },
    "eos": {"embed_dim": 24, "vision_cfg": _VISION, "text_cfg": {**_TEXT, "pool_type": "eos", "eos_id": 97}},
}


@pytest.mark.parametrize("case", CONFIGS)
def test_open_clip_gives_our_embeddings_for_what_we_write(backend, oracle, tmp_path, case):
    save_checkpoint(tmp_path / "source", CONFIGS[case], steps=ODD_STEPS)
    convert(tmp_path / "source", tmp_path / "open_clip", "open_clip")
    expected, preprocess_cfg = oracle("oracle_open_clip.embed", folder=str(tmp_path / "open_clip"), **INPUTS)
    assert_embeddings(backend, tmp_path / "source", INPUTS, expected)
    assert tuple(preprocess_cfg["mean"]) == (0.5, 0.25, 0.125)
    assert tuple(preprocess_cfg["std"]) == (0.375, 0.5, 0.75)
    assert (preprocess_cfg["interpolation"], preprocess_cfg["resize_mode"]) == ("bilinear", "squash")
    assert preprocess_cfg["size"] in (30, (30, 30))


@pytest.mark.parametrize("custom_text", [False, True], ids=["CLIP", "CustomTextCLIP"])
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
@pytest.mark.parametrize("case", MODELS)
def test_we_read_what_open_clip_writes(backend, oracle, tmp_path, case, safe, custom_text):
    options = {"model_cfg": MODELS[case], "safe": safe, "custom_text": custom_text}
    state, expected = oracle("oracle_open_clip.save", folder=str(tmp_path), **options, **INPUTS)
    state = {bare_name(OPENAI, name): array for name, array in state.items()}
    assert_same(to_file(open_checkpoint(tmp_path).entries, OPENAI), state)
    assert_embeddings(backend, tmp_path, INPUTS, expected)


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
def test_a_temperature_that_open_clip_keeps_in_a_vector_is_read(backend, oracle, tmp_path, safe):
    model_cfg = {**MODELS["gelu"], "nonscalar_logit_scale": True}
    state, expected = oracle("oracle_open_clip.save", folder=str(tmp_path), model_cfg=model_cfg, safe=safe, **INPUTS)
    assert state["logit_scale"].shape == (1,)
    temperature = open_checkpoint(tmp_path)["logit_scale"]
    assert (temperature.shape, temperature) == ((), state["logit_scale"][0])
    assert_embeddings(backend, tmp_path, INPUTS, expected)


@pytest.mark.parametrize("case", MODELS)
def test_its_configuration_comes_back_from_ours(oracle, tmp_path, case):
    squash = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}
    options = {"model_cfg": MODELS[case], "preprocess_cfg": squash}
    oracle("oracle_open_clip.save", folder=str(tmp_path), **options, **INPUTS)
    convert(tmp_path, tmp_path / "flax", "flax")
    convert(tmp_path / "flax", tmp_path / "back", "open_clip")
    content = json.loads((tmp_path / "back" / "open_clip_config.json").read_text())
    assert content["preprocess_cfg"] == squash
    one, other = (describe(open_checkpoint(folder), folder).config for folder in (tmp_path, tmp_path / "back"))
    one.architectures = other.architectures = None
    assert one == other
