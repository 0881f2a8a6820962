"""How far into a batch of texts a causal model has to read, where only its pooled outputs are asked for.

The state of a token depends on the tokens up to it, so that nothing behind the one that a row is pooled at can change
what is returned. A batch padded to 77 tokens then costs what its longest text costs; and one of mixed lengths, run in
parts of similar length, little more than its tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# What one run through a model costs beside its tokens, in tokens: reading the weights, starting the kernels. A text
# tower of ViT-B/32's size took 47 ms at 8 tokens on two cores of a CPU, and 1.3 ms for each token at 384.
TOKENS_PER_RUN = 32
# What padding costs beside a token where only the attention sees it, because the rest of the model takes a batch's
# tokens packed into one row: 0.16 and 0.12 measured of 24 texts of 12 tokens, padded to 40 and 77, in ViT-B/32's size.
COST_OF_PACKED_PADDING = 0.15


class Part(NamedTuple):
    """Rows of a batch that are run together.

    Attributes:
        rows: `(rows,)`, their places in the batch.
        length: how many tokens of each are read.
    """

    rows: np.ndarray
    length: int


def lengths_to_read(
    input_ids: np.ndarray,
    pooled_at: np.ndarray,
    attention_mask: np.ndarray | None,
    *,
    vocab_size: int,
    max_position_embeddings: int,
) -> np.ndarray | None:
    """How many tokens of each row its pooled output depends on: `(batch,)`.

    Args:
        input_ids: `(batch, seq)`.
        pooled_at: `(batch,)`, the position that each row is pooled at.
        attention_mask: `(batch, seq)`, or None.
        vocab_size: of the model.
        max_position_embeddings: likewise.

    Returns:
        None where the whole batch has to be read: it is empty, or holds what the model refuses and has to name.
    """
    batch_and_seq = input_ids.shape
    if input_ids.ndim != 2 or input_ids.size == 0 or batch_and_seq[1] > max_position_embeddings:
        return None
    if input_ids.min() < 0 or input_ids.max() >= vocab_size:
        return None
    lengths: np.ndarray = pooled_at.astype(np.int64) + 1
    if attention_mask is None:
        return lengths
    if attention_mask.shape != batch_and_seq:
        return None
    attended = attention_mask != 0
    seen = attended & (np.arange(batch_and_seq[1]) < lengths[:, None])
    # A query whose keys are all masked looks at later ones too (see `clip_core.modeling.attention`), unless its whole
    # row is padding.
    looks_on = attended.any(axis=-1) & ~seen.any(axis=-1)
    return np.where(looks_on, batch_and_seq[1], lengths)


def hides_what_is_read(attention_mask: np.ndarray, lengths: np.ndarray) -> bool:
    """Whether the mask hides a token that a pooled output depends on; what is behind, a causal model hides by itself.

    Args:
        attention_mask: `(batch, seq)`.
        lengths: `(batch,)`, how many tokens of each row are read.
    """
    behind = np.arange(attention_mask.shape[1]) >= lengths[:, None]
    return not ((attention_mask != 0) | behind).all()


def parts_to_read(lengths: np.ndarray, *, packed: bool = False) -> list[Part]:
    """The rows in as many parts as cost least, each read as far as its longest row needs.

    Args:
        lengths: `(batch,)`, how many tokens of each row are needed, of one row at least.
        packed: whether a part is run with its tokens packed, so that padding costs little.
    """
    steps, counts = np.unique(lengths, return_counts=True)
    # Of the rows in order of length: how many are no longer than each step, and how many tokens those have.
    ends, tokens = ([0, *np.cumsum(of_step).tolist()] for of_step in (counts, counts * steps))
    padding = COST_OF_PACKED_PADDING if packed else 1.0
    # costs[j]: the least for the rows up to step j; starts[j]: at which step its last part begins.
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
    """Ids and mask up to the largest of the lengths; None leaves them as they are."""
    stop = None if lengths is None else int(lengths.max())
    return input_ids[:, :stop], attention_mask[:, :stop]


def rounded(length: int, longest: int, *, multiple: int = 8) -> int:
    """A length rounded up, so that what is compiled for each is compiled for few; at most the longest there is."""
    return min(-(-length // multiple) * multiple, longest)
