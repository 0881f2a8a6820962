"""Layers with newly initialized weights, drawn with the standard deviations of transformers' CLIP.

With `rngs=None`, a layer has shapes instead of weights and waits for its checkpoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import DTypeLike

    Initializer = Callable[..., Any]


def rngs_from(seed: int | jax.Array) -> nnx.Rngs:
    """Return a stream of keys from a seed or a key, which may be a raw key of `jax.random.PRNGKey`."""
    key = jax.random.key(seed) if isinstance(seed, int) else seed
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    return nnx.Rngs(params=key)


def linear(
    in_features: int, out_features: int, *, std: float, rngs: nnx.Rngs | None, dtype: DTypeLike, bias: bool = True
) -> nnx.Linear:
    """Return a linear layer with a normal kernel of standard deviation `std` and a zero bias."""
    return nnx.Linear(
        in_features,
        out_features,
        use_bias=bias,
        dtype=dtype,
        param_dtype=jnp.float32,
        precision=None,
        kernel_init=_normal(std, rngs),
        bias_init=_constant(jnp.zeros, rngs),
        rngs=_some(rngs),
    )


def projection(width: int, config: Any, *, rngs: nnx.Rngs | None, dtype: DTypeLike) -> nnx.Linear:
    """Return a linear layer without bias from a tower's width into the joint space."""
    std = width**-0.5 * config.initializer_factor
    return linear(width, config.projection_dim, std=std, bias=False, rngs=rngs, dtype=dtype)


def embedding(num_embeddings: int, width: int, *, std: float, rngs: nnx.Rngs | None, dtype: DTypeLike) -> nnx.Embed:
    """Return a normal embedding table of standard deviation `std`."""
    return nnx.Embed(
        num_embeddings,
        width,
        dtype=dtype,
        param_dtype=jnp.float32,
        embedding_init=_normal(std, rngs),
        rngs=_some(rngs),
    )


def patch_convolution(
    in_channels: int, width: int, patch_size: int, *, std: float, rngs: nnx.Rngs | None, dtype: DTypeLike
) -> nnx.Conv:
    """Return a convolution over disjoint patches, without bias, normal with standard deviation `std`.

    It takes `(batch, height, width, channels)`, like all Flax convolutions.
    """
    return nnx.Conv(
        in_channels,
        width,
        kernel_size=(patch_size, patch_size),
        strides=(patch_size, patch_size),
        padding="VALID",
        use_bias=False,
        dtype=dtype,
        param_dtype=jnp.float32,
        precision=None,
        kernel_init=_normal(std, rngs),
        rngs=_some(rngs),
    )


def normal_vector(width: int, *, std: float, rngs: nnx.Rngs | None) -> nnx.Param[jax.Array]:
    """Return a normal parameter `(width,)` of standard deviation `std`."""
    return nnx.Param(_normal(std, rngs)(_some(rngs).params(), (width,), jnp.float32))


def scalar(value: float, *, rngs: nnx.Rngs | None) -> nnx.Param[jax.Array]:
    """Return a parameter `()` with an initial value."""
    return nnx.Param(jax.ShapeDtypeStruct((), jnp.float32) if rngs is None else jnp.asarray(value, jnp.float32))


def layer_norm(width: int, *, epsilon: float, rngs: nnx.Rngs | None, dtype: DTypeLike) -> nnx.LayerNorm:
    """Return a layer norm over the last axis, computed in float32 at least."""
    return nnx.LayerNorm(
        width,
        epsilon=epsilon,
        dtype=dtype,
        param_dtype=jnp.float32,
        use_fast_variance=False,
        scale_init=_constant(jnp.ones, rngs),
        bias_init=_constant(jnp.zeros, rngs),
        rngs=_some(rngs),
    )


def _normal(std: float, rngs: nnx.Rngs | None) -> Initializer:
    return _shape_alone if rngs is None else jax.nn.initializers.normal(stddev=std)


def _constant(fill: Initializer, rngs: nnx.Rngs | None) -> Initializer:
    return _shape_alone if rngs is None else lambda _, shape, dtype: fill(shape, dtype)


def _shape_alone(_key: Any, shape: tuple[int, ...], dtype: DTypeLike) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


def _some(rngs: nnx.Rngs | None) -> nnx.Rngs:
    """Return keys even if none are used, because Flax's layers require them."""
    return nnx.Rngs(0) if rngs is None else rngs


class Held:
    """A wrapper for a value of a module that is not a weight. Wrappers are equal, and hash alike, for the same object.

    Args:
        value: the value, such as a configuration whose fields may change.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


class CLIPModule(nnx.Module):
    """A module with a configuration."""

    def __init__(self, config: Any) -> None:
        self._config = Held(config)

    @property
    def config(self) -> Any:
        """The configuration."""
        return self._config.value

    @property
    def embed_dim(self) -> int:
        """The width of the hidden states."""
        return int(self.config.hidden_size)


class CLIPEmbeddings(CLIPModule):
    """A module with a table of position embeddings."""

    @property
    def num_positions(self) -> int:
        """The number of positions."""
        return int(self.position_embedding.num_embeddings)

    @property
    def position_ids(self) -> jax.Array:
        """The positions, `(1, positions)`."""
        return jnp.arange(self.num_positions)[None]
