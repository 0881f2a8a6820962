"""The number of tokens read of a batch of texts, and its split into parts."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from clip_core import CLIPTextConfig
from clip_core.modeling.trimming import (
    TOKENS_PER_RUN,
    hides_what_is_read,
    lengths_to_read,
    parts_to_read,
    pooled_positions,
    rounded,
    trimmed,
)
from support.messages import naming

IDS = np.arange(18).reshape(3, 6)
POOLED_AT = np.array([1, 4, 0])


def lengths(ids=IDS, mask=None, **limits):
    config = SimpleNamespace(**{"vocab_size": 18, "max_position_embeddings": 6, **limits})
    return lengths_to_read(ids, POOLED_AT[: len(ids)], mask, config)


def test_a_row_is_read_up_to_where_it_is_pooled():
    assert lengths().tolist() == [2, 5, 1]
    assert lengths(mask=np.ones((3, 6))).tolist() == [2, 5, 1]


def test_a_row_is_pooled_at_its_first_eos_or_at_its_largest_id():
    ids = np.array([[1, 7, 7, 9], [9, 1, 1, 7], [1, 1, 9, 1]])
    assert pooled_positions(ids, CLIPTextConfig(eos_token_id=7)).tolist() == [1, 3, 0]
    assert pooled_positions(ids, CLIPTextConfig(eos_token_id=2)).tolist() == [3, 0, 2]
    assert pooled_positions(ids[:2], CLIPTextConfig(eos_token_id=7, missing_eos="error")).tolist() == [1, 3]
    with pytest.raises(ValueError, match=naming("[2]", 7)):
        pooled_positions(ids, CLIPTextConfig(eos_token_id=7, missing_eos="error"))


def test_a_row_that_looks_behind_where_it_is_pooled_is_read_whole():
    mask = np.array([[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 0, 0]])
    assert lengths(mask=mask).tolist() == [6, 5, 1]  # all padding: uniform attention to the tokens before


def test_a_mask_hides_nothing_where_only_what_is_behind_is_masked():
    mask = (np.arange(6) < [[2], [5], [1]]).astype(int)
    assert not hides_what_is_read(mask, lengths(mask=mask))
    mask[1, 0] = 0
    assert hides_what_is_read(mask, lengths(mask=mask))


@pytest.mark.parametrize("limits", [{"vocab_size": 17}, {"max_position_embeddings": 5}])
def test_what_the_model_refuses_is_left_to_it(limits):
    assert lengths(**limits) is None


def test_other_shapes_are_left_to_the_model():
    assert lengths(IDS - 1) is None
    assert lengths(IDS[None]) is None
    assert lengths(IDS[:0]) is None
    assert lengths(mask=np.ones((3, 5))) is None


def test_rows_of_one_length_are_one_part():
    (part,) = parts_to_read(np.array([7, 7, 7]))
    assert (part.rows.tolist(), part.length) == ([0, 1, 2], 7)


def test_a_long_row_among_many_short_ones_is_a_part_of_its_own_where_that_pays():
    short = TOKENS_PER_RUN // 4  # 10 tokens are saved on each: 4 rows of them are not worth a run, and 8 are
    assert len(parts_to_read(np.array([20] + [10] * 3))) == 1
    long, rest = parts_to_read(np.array([20] + [10] * short))
    assert (long.rows.tolist(), long.length, rest.length) == ([0], 20, 10)
    assert rest.rows.tolist() == list(range(1, short + 1))


def test_packed_rows_of_various_length_are_one_part_until_attention_costs_more_than_a_run():
    rows = np.array([20] + [10] * 16)
    assert len(parts_to_read(rows)) == 2
    assert len(parts_to_read(rows, packed=True)) == 1
    assert len(parts_to_read(np.array([70] + [10] * 16), packed=True)) == 2


def cost(parts):
    return sum(TOKENS_PER_RUN + len(part.rows) * part.length for part in parts)


@pytest.mark.parametrize("seed", range(5))
def test_parts_hold_every_row_once_and_cost_least(seed):
    rows = np.random.default_rng(seed).integers(2, 40, 12)
    parts = parts_to_read(rows)
    assert sorted(np.concatenate([part.rows for part in parts]).tolist()) == list(range(12))
    assert all(rows[part.rows].max() == part.length for part in parts)
    order = np.sort(rows)
    # Every way to split the rows in order of length.
    cuts = ([0, *(place + 1 for place in range(11) if chosen >> place & 1), 12] for chosen in range(2**11))
    least = min(sum(TOKENS_PER_RUN + (end - start) * order[end - 1] for start, end in pairwise(cut)) for cut in cuts)
    assert cost(parts) == least


def test_lengths_are_rounded_up_to_the_longest():
    assert [rounded(n, 77) for n in (1, 8, 9, 72, 73, 77)] == [8, 8, 16, 72, 77, 77]


def test_arrays_are_trimmed_to_the_largest_length_or_not_at_all():
    assert [part.shape for part in trimmed(IDS, IDS != 0, lengths())] == [(3, 5), (3, 5)]
    assert [part.shape for part in trimmed(IDS, IDS != 0, None)] == [(3, 6), (3, 6)]
