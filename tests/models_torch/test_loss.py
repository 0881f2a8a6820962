"""The losses: what they take, and what they refuse."""

from __future__ import annotations

import pytest
import torch

import clip_torch
from clip_torch.loss import classification_loss, clip_loss
from support.configs import pixel_values, tiny_config, token_ids
from support.messages import naming


@pytest.mark.parametrize("shape", [(3, 2), (2, 3)])
def test_texts_and_images_that_make_no_pairs_are_refused_with_both_numbers(shape):
    with pytest.raises(ValueError, match=naming("return_loss=True", *shape)):
        clip_loss(torch.zeros(shape))
    model = clip_torch.CLIPModel(tiny_config())
    ids, pixels = torch.from_numpy(token_ids(shape[0])[0]), torch.from_numpy(pixel_values(shape[1]))
    with pytest.raises(ValueError, match=naming("return_loss=True", *shape)):
        model(ids, pixels, return_loss=True)
    assert model(ids, pixels).logits_per_text.shape == shape


def test_a_model_with_its_loss_compiles_into_one_graph():
    model = clip_torch.CLIPModel(tiny_config()).eval()
    inputs = torch.from_numpy(token_ids(4)[0]), torch.from_numpy(pixel_values(4))
    compiled = torch.compile(model, fullgraph=True, backend="eager", dynamic=True)
    with torch.no_grad():
        torch.testing.assert_close(compiled(*inputs, return_loss=True).loss, model(*inputs, return_loss=True).loss)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_class_indices_of_either_width_give_the_same_loss(dtype):
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2, 1, 1]))
    labels = torch.tensor([0, 2, 1, 1], dtype=dtype)
    for problem_type in (None, "single_label_classification"):
        torch.testing.assert_close(classification_loss(logits, labels, problem_type), expected)
