"""Parts of a model called alone return what those of transformers return, and have its attributes."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest

from support import pieces
from support.tolerances import FLOAT32
from support.torch_models import build


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pieces")
    build().save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def expected(oracle, folder):
    return oracle("pieces.reference", folder=str(folder))


def without_gradients(backend):
    if backend.name != "torch":
        return nullcontext()
    import torch

    return torch.no_grad()


@pytest.mark.filterwarnings("ignore:attn_implementation")  # sdpa returns no weights, and is asked for them
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_a_part_called_alone_returns_what_transformers_part_does(backend, folder, expected, implementation):
    model = backend.load("CLIPModel", folder, attn_implementation=implementation)
    with without_gradients(backend):
        found = pieces.outputs(model, backend.tensor)
    assert_close(found, expected[0])


def test_parts_have_the_attributes_of_transformers_parts(backend, folder, expected):
    found = pieces.attributes(backend.load("CLIPModel", folder))
    assert found.keys() == expected[1].keys()
    for name, value in expected[1].items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_positions_are_buffers_that_are_not_saved(folder, expected):
    import clip_torch

    model = clip_torch.CLIPModel.from_pretrained(folder)
    names = [f"{tower}.embeddings.position_ids" for tower in ("text_model", "vision_model")]
    assert sorted(name for name, _ in model.named_buffers()) == names
    assert {buffer.device.type for buffer in model.buffers()} == {"cpu"}
    assert sorted(model.state_dict()) == expected[2]


def test_layers_and_attention_of_a_users_own_are_called_as_in_transformers(oracle, folder):
    import clip_torch

    found = pieces.of_own_parts(clip_torch, str(folder))
    assert_close(found, oracle("pieces.reference_of_own_parts", folder=str(folder)))


def test_towers_and_parts_that_a_user_replaces_patches_or_hooks_run_as_in_transformers(oracle, folder):
    import clip_torch
    from support import replaced_parts

    found = replaced_parts.outputs(clip_torch, str(folder))
    assert_close(found, oracle("replaced_parts.reference", folder=str(folder)))


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, **FLOAT32, err_msg=name)
