"""A checkpoint loads in every backend from any format, and computes the same."""

from __future__ import annotations

from dataclasses import replace

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


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A function that returns the folder of a configuration's checkpoint in a format, or as saved; writes each once."""
    folders = {}

    def folder(config, to=None, **options):
        key = (config, to, *options.items())
        if key not in folders:
            folders[key] = tmp_path_factory.mktemp("converted") / "model"
            if to is None:
                save_checkpoint(folders[key], CONFIGS[config]())
            else:
                convert(folder(config), folders[key], to, **options)
        return folders[key]

    return folder


@pytest.fixture(scope="module")
def expected(converted):
    """A function that returns a backend's outputs for a configuration's checkpoint as saved; computes each once."""
    found = {}

    def of(backend, config):
        if (backend.name, config) not in found:
            found[backend.name, config] = outputs(backend, converted(config))
        return found[backend.name, config]

    return of


@pytest.mark.parametrize(("config", "to"), CASES)
def test_every_format_gives_the_same_outputs(backend, converted, expected, config, to):
    assert_identical(outputs(backend, converted(config, to)), expected(backend, config))


@pytest.mark.parametrize("to", ["torch", "tf", "flax"])
def test_shards_of_every_format(backend, converted, expected, to):
    folder = converted("odd", to, max_shard_size="40KB")
    assert len(list(folder.iterdir())) > 4
    assert_identical(outputs(backend, folder), expected(backend, "odd"))


@pytest.mark.parametrize("options", [{}, {"max_shard_size": "40KB"}, {"dtype": "float16"}], ids=str)
def test_the_backends_own_layout_is_never_transposed(backend, converted, monkeypatch, options):
    canonical = converted("odd", "safetensors", **options)
    own = converted("odd", backend.name, **options)  # the format of the same name
    wanted = outputs(backend, canonical)

    def refuse(_):
        raise AssertionError("a tensor was transposed")

    for name in ("transpose", "OIHW to HWIO"):
        monkeypatch.setitem(TRANSFORMS, name, replace(TRANSFORMS[name], to_file=refuse, from_file=refuse))
    assert_identical(outputs(backend, own), wanted)
    if backend.name != "torch":  # whose layout is the canonical one
        with pytest.raises(AssertionError, match="transposed"):
            outputs(backend, canonical)


@pytest.mark.parametrize(("to", "keyword"), [("torch", "from_pt"), ("tf", "from_tf"), ("flax", "from_flax")])
def test_the_references_keywords_are_accepted_and_not_needed(backend, converted, expected, to, keyword):
    assert_identical(outputs(backend, converted("odd", to), **{keyword: True}), expected(backend, "odd"))
