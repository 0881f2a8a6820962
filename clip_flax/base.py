"""The handles that every model class offers: embeddings, pruning, gradient checkpointing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, cast

import jax.numpy as jnp
from flax import nnx

from clip_core.configuration.clip import own_config
from clip_core.modeling.embeddings import new_vocab_size, warn_of_legacy_pooling
from clip_core.modeling.pruning import heads_by_tower
from clip_flax.attention import check_implementation
from clip_flax.functional import FunctionalModel
from clip_flax.initialization import embedding, rngs_from
from clip_flax.layers import CLIPEncoder
from clip_flax.structure import structure_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jax import Array
    from numpy.typing import DTypeLike


class CLIPBaseModel(FunctionalModel):
    """A model and its configuration.

    Args:
        config: the model's configuration. A class of one tower also takes a CLIPConfig and picks its tower's.
        input_shape: taken as in the reference, and not needed.
        seed: of the fresh weights: a number or a key.
        dtype: of the computation. Fresh weights are float32 whatever it is.
        _do_init: False for a model without weights, which are then kept outside and given as `params` to each call.
    """

    config_class: ClassVar[type[Any]]
    base_model_prefix = "clip"
    main_input_name = "input_ids"
    framework = "flax"
    supports_gradient_checkpointing = True

    def __init__(
        self,
        config: Any,
        input_shape: Any = None,
        seed: int | Array = 0,
        dtype: DTypeLike = jnp.float32,
        _do_init: bool = True,
    ) -> None:
        config = own_config(config, self.config_class, type(self).__name__)
        for part in (config, *(getattr(config, key) for key in config.sub_configs)):
            check_implementation(part.attn_implementation)
        super().__init__(config, input_shape, seed, dtype, _do_init)

    @property
    def name_or_path(self) -> str:
        """Where the configuration was read from."""
        return cast("str", self.config.name_or_path)

    def num_parameters(self, exclude_embeddings: bool = False) -> int:
        """The number of parameters; embeddings are the tables and the patch convolution."""
        return sum(
            math.prod(variable.get_raw_value().shape)
            for path, variable in structure_of(self).variables.items()
            if not (exclude_embeddings and any(segment.endswith("_embedding") for segment in path[:-1]))
        )

    def set_attn_implementation(self, attn_implementation: str | dict[str, str]) -> None:
        """Change the attention implementation of a model at hand.

        Args:
            attn_implementation: one for all; or a dict that tells the towers apart, as in {"text_config": "eager"}.

        Raises:
            ValueError: no implementation has this name; nothing is changed then.
        """
        if isinstance(attn_implementation, dict):
            attn_implementation = {key: check_implementation(name) for key, name in attn_implementation.items()}
        else:
            attn_implementation = check_implementation(attn_implementation)
        self.config.attn_implementation = attn_implementation

    # Embeddings

    def _input_embedding(self) -> tuple[nnx.Module, str]:
        """The module that holds the input embedding, and its name there."""
        tower: Any = getattr(self, "text_model", None)
        if tower is not None:
            return tower.embeddings, "token_embedding"
        tower = self.vision_model
        return tower.embeddings, "patch_embedding"

    def get_input_embeddings(self) -> nnx.Module:
        """The token embedding, or for a model without a text tower the patch embedding."""
        return getattr(*self._input_embedding())

    def set_input_embeddings(self, value: nnx.Module) -> None:
        """Replace the token embedding, or for a model without a text tower the patch embedding."""
        setattr(*self._input_embedding(), value)

    def get_output_embeddings(self) -> None:
        """None: CLIP has no output embedding. Libraries for fine-tuning ask."""

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nnx.Embed:
        """Grow or cut the token embedding, and note the new `vocab_size` in the configuration.

        Args:
            new_num_tokens: the new number of tokens, `len(tokenizer)` after tokens were added; None to keep it.
            pad_to_multiple_of: round the number up to a multiple of this.
            mean_resizing: start new rows at the mean of the old (Hewitt 2021), where transformers draws them next to
                it; otherwise draw them as a fresh model does.

        Returns:
            The embedding, which is also in its place in the model.

        Raises:
            TypeError: the model has no text tower.
        """
        old = self.get_input_embeddings()
        if not isinstance(old, nnx.Embed):
            raise TypeError(f"{type(self).__name__} has no token embedding; resize_token_embeddings needs one")
        count = new_vocab_size(old.num_embeddings, new_num_tokens, pad_to_multiple_of)
        text_config = getattr(self.config, "text_config", self.config)
        warn_of_legacy_pooling(text_config, old.num_embeddings, count)
        if count != old.num_embeddings:
            table = old.embedding.get_value()
            new = _resized(table, count, text_config.initializer_factor, mean_resizing=mean_resizing)
            old.embedding = nnx.Param(new)
            old.num_embeddings = count
        text_config.vocab_size = count
        return old

    # Pruning

    def prune_heads(self, heads_to_prune: Mapping[Any, Any]) -> None:
        """Remove attention heads for good, and note them in the configuration.

        Args:
            heads_to_prune: layer index to heads, numbered as in the unpruned model. For a CLIPModel, one such mapping
                under "text_model", "vision_model" or both.

        Raises:
            ValueError: a layer or head does not exist, or a layer would lose its last head.
        """
        towers = [name for name in ("text_model", "vision_model") if hasattr(self, name)]
        for name, heads in heads_by_tower(heads_to_prune, towers).items():
            getattr(self, name).prune_heads(heads)

    # Training

    def gradient_checkpointing_enable(self) -> None:
        """Recompute each layer in the backward pass instead of keeping its inner states: less memory, more time."""
        for encoder in self._encoders():
            encoder.gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Undo `gradient_checkpointing_enable`."""
        for encoder in self._encoders():
            encoder.gradient_checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether any tower recomputes its layers."""
        return any(encoder.gradient_checkpointing for encoder in self._encoders())

    def _encoders(self) -> Iterable[CLIPEncoder]:
        return (module for _, module in nnx.iter_modules(self) if isinstance(module, CLIPEncoder))


def _resized(table: Array, count: int, initializer_factor: float, *, mean_resizing: bool) -> Array:
    kept, added = table[:count], count - len(table)
    if added <= 0:
        return kept
    if mean_resizing:
        rows = jnp.broadcast_to(table.astype(jnp.float32).mean(axis=0), (added, table.shape[1]))
    else:
        width, std = table.shape[1], 0.02 * initializer_factor
        rows = embedding(added, width, std=std, rngs=rngs_from(count), dtype=jnp.float32).embedding.get_value()
    return jnp.concatenate([kept, rows.astype(table.dtype)])
