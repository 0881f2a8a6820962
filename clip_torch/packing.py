"""Text batches without padding: one row of tokens, also in the form that FlashAttention 2 takes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.modules.module import _has_any_global_hook

_PACKAGE = f"{__name__.partition('.')[0]}."
_KNOWN_PACKAGES = (_PACKAGE, "torch.")


class Packing(NamedTuple):
    """A batch of texts as one row of their tokens, without padding."""

    indices: Tensor  # (tokens,) int64, into the flattened (batch * seq)
    places: Tensor  # (batch * seq,) int64, the place of each token among these; of padding, that of a token before it
    shape: tuple[int, int]  # (batch, seq)

    @classmethod
    def of(cls, attended: Tensor) -> Packing:
        """Return the packing of the tokens marked in `(batch, seq)`, bool."""
        batch, seq = attended.shape
        flat = attended.flatten()
        return cls(flat.nonzero().flatten(), (flat.cumsum(dim=0) - 1).clamp(min=0), (batch, seq))

    def padded(self, states: Tensor) -> Tensor:
        """Turn `(1, tokens, ...)` into `(batch, seq, ...)`, with zeros for padding."""
        batch, seq = self.shape
        padded = states.new_zeros(batch * seq, *states.shape[2:]).index_copy_(0, self.indices, states[0])
        return padded.unflatten(0, self.shape)

    def spread(self, states: Tensor) -> Tensor:
        """Turn `(1, tokens, ...)` into `(batch, seq, ...)`, with copies of other tokens for padding.

        This is faster than `padded`, and enough where nothing reads the padding.
        """
        return states[0].index_select(0, self.places).unflatten(0, self.shape)

    def packed(self, states: Tensor) -> Tensor:
        """Turn `(batch, seq, ...)` into `(1, tokens, ...)`."""
        return states.flatten(0, 1).index_select(0, self.indices)[None]


def filled(tower: Any, input_ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Read a few more tokens, up to the multiple that the encoder of a text tower asks for, if it does.

    They come after the others of their row, so causal attention hides them. The rows may have no room for all of them.

    Args:
        tower: the text tower, whose encoder may have an attribute `tokens_multiple`.
        input_ids: `(rows, seq)`.
        lengths: `(rows,)`, the number of tokens to read from each row.

    Returns:
        The ids, `(rows, seq or more)`, and the lengths.
    """
    multiple: int | None = getattr(tower.encoder, "tokens_multiple", None)
    if multiple is None:
        return input_ids, lengths
    missing = -int(lengths.sum()) % multiple
    most = tower.embeddings.position_embedding.num_embeddings
    input_ids = F.pad(input_ids, (0, min(missing, most - input_ids.shape[1])))
    room = input_ids.shape[1] - lengths
    return input_ids, lengths + (missing - room.cumsum(dim=0) + room).clamp(min=0).minimum(room)


class Unpadding(NamedTuple):
    """The attended tokens of a padded batch, in the form that variable-length kernels take."""

    packing: Packing
    cumulative_lengths: Tensor  # (batch + 1,) int32
    max_length: int


def unpadding_of(attended: Tensor) -> Unpadding | None:
    """Return the unpadding of a batch by its attended tokens, `(batch, seq)` bool; None if nothing is padded.

    On a GPU, this waits for the values of the mask.
    """
    if attended.shape[0] == 0:
        return None
    lengths = attended.sum(dim=-1, dtype=torch.int32)  # (batch,)
    shortest, longest = torch.stack(lengths.aminmax()).tolist()
    if shortest == attended.shape[-1]:
        return None
    cumulative_lengths = F.pad(lengths.cumsum(dim=0, dtype=torch.int32), (1, 0))
    return Unpadding(Packing.of(attended), cumulative_lengths, longest)


def is_own(part: Any) -> bool:
    """Return True for a part of this package whose `forward` is its own."""
    return str(part.forward.__module__).startswith(_PACKAGE)


def takes_packed(tower: Any) -> bool:
    """Return True if a tower may read packed texts: its parts are this package's or PyTorch's, and no hook sees them.

    Any other part may depend on the shape of the batch, and may be meant to see every token.
    """
    if _has_any_global_hook():
        return False
    parts = [tower]
    while parts:  # twice as fast as `modules()`, which matters for one short text
        part = parts.pop()
        forward = part.forward
        if not str(forward.__module__).startswith(_KNOWN_PACKAGES) or hasattr(forward, "__wrapped__"):
            return False
        if part._forward_hooks or part._forward_pre_hooks or part._backward_hooks or part._backward_pre_hooks:  # noqa: SLF001  no public names
            return False
        parts += filter(None, part._modules.values())  # noqa: SLF001
    return True
