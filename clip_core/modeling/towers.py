"""Tower methods that need no framework, shared by all backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from clip_core.modeling.pruning import plan_pruning
from clip_core.modeling.trimming import lengths_to_read, pooled_positions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np


class TowerHandles:
    """A mixin for a tower with a `config` and an `encoder`."""

    if TYPE_CHECKING:
        config: Any
        encoder: Any

    @property
    def embed_dim(self) -> int:
        """The width of the tower, stored in the configuration."""
        width: int = self.config.hidden_size
        return width

    def prune_heads(self, heads_to_prune: Mapping[int, Iterable[int]]) -> None:
        """Remove attention heads permanently, and record them in the configuration.

        Args:
            heads_to_prune: layer index to heads, numbered as in the unpruned model.

        Raises:
            ValueError: a layer or head does not exist, or a layer would lose its last head. Nothing is removed then.
        """
        plan = plan_pruning(heads_to_prune, self.config)
        for index, (removed, pruned) in plan.items():
            self.encoder.layers[index].self_attn.prune_heads(removed)
            self.config.pruned_heads[index] = pruned


class VisionEmbeddingsHandles:
    """A mixin for the embeddings of a vision tower."""

    if TYPE_CHECKING:
        interpolated_positions: Any

    def interpolate_pos_encoding(self, embeddings: Any, height: int, width: int) -> Any:  # noqa: ARG002  as in transformers
        """Return the position embeddings for an image size, `(1, 1 + patches, hidden)`; transformers' name.

        Args:
            embeddings: accepted as in transformers, and ignored.
            height: height of the images in pixels.
            width: width of the images in pixels.
        """
        return self.interpolated_positions(height, width)


class TextTowerHandles(TowerHandles):
    """A mixin for a text tower."""

    if TYPE_CHECKING:

        @staticmethod
        def _known_values(tensor: Any, /) -> np.ndarray | None: ...

    @property
    def eos_token_id(self) -> int:
        """The id of the token whose state is pooled, stored in the configuration."""
        token: int = self.config.eos_token_id
        return token

    @eos_token_id.setter
    def eos_token_id(self, value: int) -> None:
        self.config.eos_token_id = value

    def lengths_to_read(
        self, input_ids: Any, attention_mask: Any = None, *, training: bool = False
    ) -> np.ndarray | None:
        """Return the number of leading tokens in each row that affect its pooled output: `(batch,)`.

        Args:
            input_ids: `(batch, seq)`, or None.
            attention_mask: `(batch, seq)`, or None.
            training: True in training, where attention weights may be dropped.

        Returns:
            The lengths; None to read every token, for example because a compiler hides the values.

        Raises:
            ValueError: a row has no EOS token, and `config.missing_eos` is "error".
        """
        ids, mask = self._known_values(input_ids), self._known_values(attention_mask)
        if ids is None or ids.ndim != 2 or (mask is None) != (attention_mask is None):
            return None
        if training and self.config.attention_dropout > 0:  # trimming would change the random numbers of dropout
            return None
        return lengths_to_read(ids, pooled_positions(ids, self.config), mask, self.config)
