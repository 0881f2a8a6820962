"""Texts of mixed lengths run through the layers without their padding, with the same results."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from clip_torch.packing import Packing
from support.configs import EOS_TOKEN_ID
from support.tolerances import GRADIENTS, SAME_EMBEDDINGS, ZERO_GRADIENT
from support.torch_models import build

LENGTHS = (7, 12, 9, 12, 5)


def texts(lengths=LENGTHS, seq=14):
    random = np.random.default_rng(0)
    ids = np.zeros((len(lengths), seq), np.int64)
    for row, length in enumerate(lengths):
        ids[row, : length - 1], ids[row, length - 1] = random.integers(1, 90, length - 1), EOS_TOKEN_ID
    return torch.from_numpy(ids)


def test_packing_leaves_out_padding_and_puts_zeros_or_copies_for_it():
    states = torch.arange(12.0).reshape(2, 3, 2) + 1
    packing = Packing.of(torch.tensor([[True, True, False], [True, False, False]]))
    packed = packing.packed(states)
    assert packing.spread(packed).tolist() == [[[1, 2], [3, 4], [3, 4]], [[7, 8], [7, 8], [7, 8]]]
    assert packing.padded(packed).tolist() == [[[1, 2], [3, 4], [0, 0]], [[7, 8], [0, 0], [0, 0]]]


@pytest.fixture
def shapes_seen(monkeypatch):
    """A recorder of the shapes that the first layer gets. With a hook or a changed `forward`, nothing is packed."""

    def watch(model):
        weight, shapes = model.text_model.encoder.layers[0].layer_norm1.weight, []
        compute = functional.layer_norm

        def noting(states, normalized_shape, given, *rest):
            if given is weight:
                shapes.append(states.shape)
            return compute(states, normalized_shape, given, *rest)

        monkeypatch.setattr(functional, "layer_norm", noting)
        return shapes

    return watch


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("prepared", [False, True])
def test_packed_features_are_those_of_the_whole_input(implementation, prepared, shapes_seen):
    model, ids = build(text={"attn_implementation": implementation}), texts()
    with torch.inference_mode():
        expected = model.text_projection(model.text_model(ids).pooler_output)
        if prepared:
            model.prepare_for_inference()
        tokens = shapes_seen(model)
        found = model.get_text_features(ids)
    assert tokens == [(1, sum(LENGTHS) + 3 * prepared, model.config.text_config.hidden_size)]  # a multiple of 4
    difference = torch.nn.functional.normalize(found) - torch.nn.functional.normalize(expected)
    assert difference.abs().max() < SAME_EMBEDDINGS


def test_texts_of_one_length_and_texts_with_a_mask_that_hides_are_not_packed(shapes_seen):
    model, ids = build(), texts()
    shapes = shapes_seen(model)
    model.get_text_features(texts((6, 6, 6)))
    mask = (ids != 0).long()
    mask[1, 3] = 0
    model.get_text_features(ids, mask)
    assert [shape[:2] for shape in shapes] == [(3, 6), (5, 12)]


def test_gradients_reach_every_token_and_no_padding():
    model, ids = build(), texts()
    (model.get_text_features(ids) ** 2).sum().backward()
    packed = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    model.zero_grad()
    (model.text_projection(model.text_model(ids).pooler_output) ** 2).sum().backward()
    for name, gradient in packed.items():
        expected = model.get_parameter(name).grad
        torch.testing.assert_close(
            gradient, expected, rtol=GRADIENTS, atol=GRADIENTS * float(expected.abs().max()) + ZERO_GRADIENT
        )


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.bfloat16])
def test_a_mask_may_have_any_dtype(dtype):
    """Also one that numpy lacks, whose values are then not read before the call."""
    model, ids = build(), texts()
    mask = torch.arange(ids.shape[1]) < torch.tensor(LENGTHS)[:, None]
    with torch.inference_mode():
        found, expected = (model.get_text_features(ids, given) for given in (mask.to(dtype), mask.long()))
    difference = torch.nn.functional.normalize(found) - torch.nn.functional.normalize(expected)
    assert difference.abs().max() < SAME_EMBEDDINGS
