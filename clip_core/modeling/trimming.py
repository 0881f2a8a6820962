"""Trimming of text batches: the number of tokens a causal model must read if only its pooled outputs are needed.

A token's state depends only on the tokens up to it, so nothing after a row's pooled token affects the result. A batch
padded to 77 tokens then costs as much as its longest text. A batch of mixed lengths runs in parts of similar length,
and costs little more than its tokens without padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from clip_core.modeling.inputs import check_eos

if TYPE_CHECKING:
    from clip_core.configuration import CLIPTextConfig

# Fixed cost of a forward pass, in tokens: reading the weights, launching kernels. A text tower of ViT-B/32's size took
# 47 ms at 8 tokens on two CPU cores, and 1.3 ms per token at 384.
TOKENS_PER_RUN = 32
# Cost of a padding token relative to a real one if only attention processes it, because the rest of the model takes the
# batch's tokens packed into one row: 0.16 and 0.12 measured on 24 texts of 12 tokens, padded to 40 and 77, at
# ViT-B/32's size.
COST_OF_PACKED_PADDING = 0.15


class Part(NamedTuple):
    """Rows of a batch that run together.

    Attributes:
        rows: `(rows,)`, their indices in the batch.
        length: number of tokens to read from each.
    """

    rows: np.ndarray
    length: int


def pooled_positions(input_ids: np.ndarray, config: CLIPTextConfig) -> np.ndarray:
    """Return the position of the token whose state is pooled in each row: `(batch,)`.

    The ids are known; a text tower's `eos_positions` does the same inside a graph.

    Args:
        input_ids: `(batch, seq)`.
        config: the text tower's configuration.

    Raises:
        ValueError: a row has no EOS token, and `config.missing_eos` is "error".
    """
    marks = input_ids if config.pools_at_largest_id else input_ids == config.eos_token_id
    if config.missing_eos == "error" and not config.pools_at_largest_id:
        check_eos(np.asarray(marks.any(axis=-1)), config.eos_token_id)
    positions: np.ndarray = marks.argmax(axis=-1)
    return positions


def lengths_to_read(
    input_ids: np.ndarray,
    pooled_at: np.ndarray,
    attention_mask: np.ndarray | None,
    config: CLIPTextConfig,
) -> np.ndarray | None:
    """Return the number of leading tokens in each row that affect its pooled output: `(batch,)`.

    Args:
        input_ids: `(batch, seq)`.
        pooled_at: `(batch,)`, the pooled position of each row.
        attention_mask: `(batch, seq)`, or None.
        config: the text tower's configuration, for `vocab_size` and `max_position_embeddings`.

    Returns:
        The lengths; None to read the whole batch because it is empty or invalid. The model reports invalid input.
    """
    batch_and_seq = input_ids.shape
    if input_ids.ndim != 2 or input_ids.size == 0 or batch_and_seq[1] > config.max_position_embeddings:
        return None
    if input_ids.min() < 0 or input_ids.max() >= config.vocab_size:
        return None
    lengths: np.ndarray = pooled_at.astype(np.int64) + 1
    if attention_mask is None:
        return lengths
    if attention_mask.shape != batch_and_seq:
        return None
    attended = attention_mask != 0
    seen = attended & (np.arange(batch_and_seq[1]) < lengths[:, None])
    # A query whose keys are all masked attends to later ones too (see `clip_core.modeling.attention`), unless its whole
    # row is padding.
    looks_on = attended.any(axis=-1) & ~seen.any(axis=-1)
    return np.where(looks_on, batch_and_seq[1], lengths)


def hides_what_is_read(attention_mask: np.ndarray, lengths: np.ndarray) -> bool:
    """Return True if the mask hides a token that affects a pooled output; later tokens are causally masked anyway.

    Args:
        attention_mask: `(batch, seq)`.
        lengths: `(batch,)`, the number of tokens to read from each row.
    """
    behind = np.arange(attention_mask.shape[1]) >= lengths[:, None]
    return not ((attention_mask != 0) | behind).all()


def parts_to_read(lengths: np.ndarray, *, packed: bool = False) -> list[Part]:
    """Split the rows into parts with the lowest total cost. Each part is read up to the end of its longest row.

    Args:
        lengths: `(batch,)`, the number of tokens to read from each row; at least one row.
        packed: True if the tokens of a part are packed, which makes padding cheap.
    """
    steps, counts = np.unique(lengths, return_counts=True)
    # With rows sorted by length: the number of rows up to each step's length, and the number of their tokens.
    ends, tokens = ([0, *np.cumsum(of_step).tolist()] for of_step in (counts, counts * steps))
    padding = COST_OF_PACKED_PADDING if packed else 1.0
    # costs[j]: minimum cost of the rows up to step j; starts[j]: the step at which its last part begins.
    costs, starts = [0.0], [0]
    for last, length in enumerate(steps.tolist(), start=1):
        choices = []
        for first in range(last):
            own = tokens[last] - tokens[first]
            padded = (ends[last] - ends[first]) * length
            choices.append(costs[first] + TOKENS_PER_RUN + own + padding * (padded - own))
        starts.append(int(np.argmin(choices)))
        costs.append(choices[starts[-1]])
    order = np.argsort(lengths, kind="stable")
    parts, last = [], len(steps)
    while last:
        rows = order[ends[starts[last]] : ends[last]]
        parts.append(Part(np.sort(rows), int(steps[last - 1])))
        last = starts[last]
    return parts


def trimmed(
    input_ids: np.ndarray, attention_mask: np.ndarray, lengths: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Trim ids and mask to the maximum length.

    Args:
        input_ids: `(batch, seq)`.
        attention_mask: `(batch, seq)`.
        lengths: `(batch,)`; None to trim nothing.
    """
    stop = None if lengths is None else int(lengths.max())
    return input_ids[:, :stop], attention_mask[:, :stop]


def rounded(length: int, longest: int, *, multiple: int = 8) -> int:
    """Round a length up to a multiple, to limit the number of compiled shapes; at most `longest`.

    Args:
        length: the length.
        longest: the maximum length.
        multiple: the multiple.
    """
    return min(-(-length // multiple) * multiple, longest)
