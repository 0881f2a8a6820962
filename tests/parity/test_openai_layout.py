"""OpenAI's files: its own code runs what we write, and we run what it writes, with the same embeddings."""

from __future__ import annotations

import pytest

from converters.checkpoint import open_checkpoint
from converters.conversion import convert
from converters.naming.names import to_file
from converters.naming.rules import OPENAI
from support.checkpoints import openai_config, save_checkpoint
from support.configs import pixel_values, token_ids
from support.entries import assert_same
from support.parity import assert_embeddings

PIXELS, IDS = pixel_values(3, 30, 3), token_ids(4, 19)[0]
INPUTS = {"pixel_values": PIXELS, "input_ids": IDS}


def test_openais_code_gives_our_embeddings_for_what_we_write(backend, oracle, tmp_path):
    save_checkpoint(tmp_path / "source", openai_config())  # exact in float16, which its code takes the weights to
    convert(tmp_path / "source", tmp_path / "openai", "openai")
    expected = oracle("oracle_openai.embed", path=str(tmp_path / "openai" / "model.pt"), **INPUTS)
    assert_embeddings(backend, tmp_path / "source", INPUTS, expected)


@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
@pytest.mark.parametrize("archive", [False, True], ids=["state dict", "archive"])
def test_we_read_what_openais_code_writes(backend, oracle, tmp_path, archive, half):
    path = tmp_path / "model.pt"
    state, expected = oracle("oracle_openai.save", path=str(path), archive=archive, half=half, **INPUTS)
    assert_same(to_file(open_checkpoint(path).entries, OPENAI), state)
    convert(path, tmp_path / "converted", "safetensors", dtype="float32")
    assert_embeddings(backend, tmp_path / "converted", INPUTS, expected)
    if not half:
        assert_embeddings(backend, path, INPUTS, expected)


def test_there_and_back_is_bit_exact(tmp_path, oracle):
    path = tmp_path / "model.pt"
    state, _ = oracle("oracle_openai.save", path=str(path), archive=True, half=True, **INPUTS)
    convert(path, tmp_path / "flax", "flax")
    convert(tmp_path / "flax", tmp_path / "openai", "openai")
    assert_same(to_file(open_checkpoint(tmp_path / "openai").entries, OPENAI), state)
