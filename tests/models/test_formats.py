"""A checkpoint loads in every backend from any format, and computes the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from converters.conversion import convert
from converters.naming.transforms import TRANSFORMS
from support.checkpoints import ALL_FORMATS, ANY_CONFIG, odd_config, openai_config, save_checkpoint
from support.configs import pixel_values, token_ids
from support.entries import assert_identical

INPUTS = {"pixel_values": pixel_values(4, 30, 3), "input_ids": token_ids()[0], "attention_mask": token_ids()[1]}
CASES = [("odd", to) for to in ANY_CONFIG] + [("OpenAI's", to) for to in ALL_FORMATS]
CONFIGS = {"odd": odd_config, "OpenAI's": openai_config}


def outputs(backend, source, **options):
    return backend.forward(backend.load("CLIPModel", source, **options), INPUTS)


@pytest.mark.parametrize(("config", "to"), CASES)
def test_every_format_gives_the_same_outputs(backend, tmp_path, config, to):
    save_checkpoint(tmp_path / "source", CONFIGS[config]())
    convert(tmp_path / "source", tmp_path / to, to)
    assert_identical(outputs(backend, tmp_path / to), outputs(backend, tmp_path / "source"))


@pytest.mark.parametrize("to", ["torch", "tf", "flax"])
def test_shards_of_every_format(backend, tmp_path, to):
    save_checkpoint(tmp_path / "source", odd_config())
    convert(tmp_path / "source", tmp_path / to, to, max_shard_size="40KB")
    assert len(list((tmp_path / to).iterdir())) > 4
    name = "logits_per_image"
    assert np.array_equal(outputs(backend, tmp_path / to)[name], outputs(backend, tmp_path / "source")[name])


@pytest.mark.parametrize("options", [{}, {"max_shard_size": "40KB"}, {"dtype": "float16"}], ids=str)
def test_the_backends_own_layout_is_never_transposed(backend, tmp_path, monkeypatch, options):
    to = backend.name  # the format of the same name
    save_checkpoint(tmp_path / "source", odd_config())
    convert(tmp_path / "source", tmp_path / "canonical", "safetensors", **options)
    convert(tmp_path / "source", tmp_path / to, to, **options)
    expected = outputs(backend, tmp_path / "canonical")

    def refuse(_):
        raise AssertionError("a tensor was transposed")

    for name in ("transpose", "OIHW to HWIO"):
        monkeypatch.setitem(TRANSFORMS, name, replace(TRANSFORMS[name], to_file=refuse, from_file=refuse))
    assert_identical(outputs(backend, tmp_path / to), expected)
    if backend.name != "torch":  # whose layout is the canonical one
        with pytest.raises(AssertionError, match="transposed"):
            outputs(backend, tmp_path / "canonical")


@pytest.mark.parametrize(("to", "keyword"), [("torch", "from_pt"), ("tf", "from_tf"), ("flax", "from_flax")])
def test_the_references_keywords_are_accepted_and_not_needed(backend, tmp_path, to, keyword):
    save_checkpoint(tmp_path / "source", odd_config())
    convert(tmp_path / "source", tmp_path / to, to)
    name = "logits_per_image"
    assert np.array_equal(
        outputs(backend, tmp_path / to, **{keyword: True})[name], outputs(backend, tmp_path / to)[name]
    )
