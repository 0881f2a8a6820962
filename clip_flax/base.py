"""Methods shared by all model classes: embeddings, pruning, gradient checkpointing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from flax import nnx

from clip_core.modeling.handles import ModelHandles
from clip_flax.functional import FunctionalModel
from clip_flax.initialization import embedding, rngs_from
from clip_flax.layers import CLIPEncoder
from clip_flax.plan import check_implementation
from clip_flax.structure import structure_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jax import Array
    from numpy.typing import DTypeLike


class CLIPBaseModel(ModelHandles, FunctionalModel):
    """A model and its configuration.

    Args:
        config: the model's configuration. A class with one tower also takes a CLIPConfig and uses that tower's part.
        input_shape: accepted as in transformers, and ignored.
        seed: seed of the random weights: a number or a key.
        dtype: dtype of the computation. Random weights are always float32.
        _do_init: False for a model without weights, to which each call passes `params`.
    """

    _check_implementation = staticmethod(check_implementation)
    _package = __name__.partition(".")[0]
    framework = "flax"

    def __init__(
        self,
        config: Any,
        input_shape: Any = None,
        seed: int | Array = 0,
        dtype: DTypeLike = jnp.float32,
        _do_init: bool = True,
    ) -> None:
        super().__init__(self._own_config(config), input_shape, seed, dtype, _do_init)
        self.name_or_path = self.config.name_or_path
        self.setup(rngs_from(seed) if _do_init else None)

    def setup(self, rngs: nnx.Rngs | None) -> None:
        """Create the parts of the model; each model class overrides it.

        Args:
            rngs: random keys for the weights; None creates a model without weights.
        """

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return the number of parameters.

        Args:
            only_trainable: count only parameters with gradients, which excludes the statistics of a batch norm.
            exclude_embeddings: leave out the embedding tables.
        """
        tables = {id(module.embedding) for _, module in nnx.iter_modules(self) if isinstance(module, nnx.Embed)}
        return sum(
            math.prod(variable.get_raw_value().shape)
            for variable in self._held()
            if (isinstance(variable, nnx.Param) or not only_trainable)
            and not (exclude_embeddings and id(variable) in tables)
        )

    def get_memory_footprint(self) -> int:
        """Return the number of bytes of the parameters."""
        leaves = [variable.get_raw_value() for variable in self._held()]
        return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)

    def _held(self) -> list[nnx.Variable[Any]]:
        """Return all variables except random keys."""
        held = structure_of(self).variables.values()
        return [variable for variable in held if not isinstance(variable, nnx.RngState)]

    def _vocab_size(self) -> int | None:
        embeddings = self.get_input_embeddings()
        return embeddings.num_embeddings if isinstance(embeddings, nnx.Embed) else None

    def _resize(self, count: int, initializer_factor: float, *, mean_resizing: bool) -> None:
        old: nnx.Embed = self.get_input_embeddings()
        table = _resized(old.embedding.get_value(), count, initializer_factor, mean_resizing=mean_resizing)
        old.embedding = nnx.Param(table)
        old.num_embeddings = count

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
