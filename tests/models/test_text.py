"""The text tower: its pooling, and its errors."""

from __future__ import annotations

import numpy as np
import pytest

from support.configs import EOS_TOKEN_ID, tiny_config, token_ids
from support.messages import naming


def build(backend, **text):
    return backend.build("CLIPTextModel", tiny_config(text).text_config)


def pooled_at(outputs):
    """Return the position of each row whose last hidden state was pooled."""
    distance = np.abs(outputs["last_hidden_state"] - outputs["pooler_output"][:, None]).max(axis=-1)
    return distance.argmin(axis=-1).tolist()


def test_it_pools_at_the_first_eos_of_each_row(backend):
    ids = np.array([[96, 5, 97, 97, 97], [96, 97, 5, 6, 97], [96, 5, 6, 7, 97]])
    assert pooled_at(backend.forward(build(backend), {"input_ids": ids})) == [2, 1, 4]


def test_a_token_added_behind_eos_does_not_move_the_pooling(backend):
    ids = np.array([[96, 98, 5, 97, 0], [96, 5, 98, 98, 97]])
    assert pooled_at(backend.forward(build(backend), {"input_ids": ids})) == [3, 4]


def test_the_legacy_eos_pools_at_the_largest_id(backend):
    ids = np.array([[96, 98, 5, 97, 0], [96, 5, 2, 97, 97]])
    assert pooled_at(backend.forward(build(backend, eos_token_id=2), {"input_ids": ids})) == [1, 3]


def test_a_row_without_eos_pools_at_the_start_as_the_reference_does(backend):
    assert pooled_at(backend.forward(build(backend), {"input_ids": np.array([[5, 6, 7]])})) == [0]


def test_a_row_without_eos_can_be_made_an_error_that_names_it(backend):
    model = build(backend, missing_eos="error")
    backend.forward(model, {"input_ids": np.array([[5, 97, 7]])})
    with pytest.raises(ValueError, match=naming([1, 2], "EOS", EOS_TOKEN_ID)):
        backend.forward(model, {"input_ids": np.array([[5, 97], [5, 6], [7, 8]])})


def test_a_text_longer_than_the_position_table_is_refused_with_both_numbers(backend):
    with pytest.raises(ValueError, match=naming(20, 19, "truncation=True", "max_length=19")):
        backend.forward(build(backend), {"input_ids": np.ones((1, 20), np.int64)})


@pytest.mark.parametrize("seq", [1, 2, 19])
def test_texts_of_any_length_up_to_the_table_work(backend, seq):
    outputs = backend.forward(build(backend), {"input_ids": np.full((2, seq), 97)})
    assert outputs["last_hidden_state"].shape == (2, seq, 40)


def test_an_id_outside_the_vocabulary_is_refused_with_advice(backend):
    with pytest.raises(IndexError, match=naming(99, "resize_token_embeddings")):
        backend.forward(build(backend), {"input_ids": np.array([[5, 99, 97]])})


def test_missing_ids_are_named(backend):
    with pytest.raises(ValueError, match=naming("input_ids")):
        backend.forward(build(backend), {})


def test_ids_of_either_width_give_the_same(backend):
    ids, mask = token_ids()
    model = build(backend)
    wide = backend.forward(model, {"input_ids": ids, "attention_mask": mask})
    narrow = backend.forward(model, {"input_ids": ids.astype(np.int32), "attention_mask": mask.astype(bool)})
    assert all(np.array_equal(wide[name], narrow[name]) for name in wide)


def test_a_full_config_gives_its_text_tower(backend):
    model = backend.build("CLIPTextModelWithProjection", tiny_config())
    assert backend.forward(model, {"input_ids": token_ids()[0]})["text_embeds"].shape == (4, 24)
