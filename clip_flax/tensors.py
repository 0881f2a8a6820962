"""Conversion between numpy and JAX, and between Flax's nested parameters and the canonical ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.core import unfreeze
from flax.traverse_util import flatten_dict, unflatten_dict

from converters.naming.names import to_canonical, to_file
from converters.naming.rules import FLAX
from converters.tensors import TensorEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jax import Array

# Parameters nested by Flax's names, such as params["text_model"]["encoder"]["layers"]["0"]["mlp"]["fc1"]["kernel"].
Params = dict[str, Any]
Path = tuple[str, ...]


def flatten(params: Mapping[str, Any]) -> dict[Path, Any]:
    """Return nested parameters, frozen or not, by path."""
    return flatten_dict(unfreeze(params))


def unflatten(leaves: Mapping[Path, Any]) -> Params:
    """Nest parameters given by path."""
    return unflatten_dict(leaves)


def to_jax(array: np.ndarray, dtype: Any = None) -> Array:
    """Put an array on JAX's default device."""
    return jnp.asarray(array, dtype=dtype)


def adopt(array: np.ndarray) -> Array:
    """Put an array that nothing else references on JAX's default device; on a CPU, the result shares its memory.

    The transfer is complete on return, because each pending transfer would keep its array in memory.
    """
    return jax.device_put(array).block_until_ready()


def to_entry(array: Any) -> TensorEntry:
    """Wrap an array for the converters, which copy it to the CPU only to write it."""
    return TensorEntry(tuple(array.shape), np.dtype(array.dtype), lambda: np.asarray(array))


def canonical_entries(params: Mapping[str, Any]) -> dict[str, TensorEntry]:
    """Return nested parameters by canonical name and in canonical layout, for the converters to write.

    Raises:
        ValueError: a parameter is not one of CLIP's.
    """
    return _canonical(params)[0]


def canonical_paths(params: Mapping[str, Any]) -> dict[str, Path]:
    """Return the path of each nested parameter by its canonical name."""
    return {name: tuple(source.split(FLAX.separator)) for name, source in _canonical(params)[1].items()}


def _canonical(params: Mapping[str, Any]) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    return to_canonical({FLAX.separator.join(path): to_entry(leaf) for path, leaf in flatten(params).items()}, FLAX)


def flax_entries(tensors: Mapping[str, TensorEntry]) -> dict[Path, TensorEntry]:
    """Return canonical tensors by Flax's paths and in Flax's layout, without reading them."""
    return {tuple(name.split(FLAX.separator)): entry for name, entry in to_file(tensors, FLAX).items()}


def as_array(value: Any) -> Any:
    """Return an input as an array: JAX arrays and None unchanged, everything else as a numpy array."""
    return value if value is None or isinstance(value, jax.Array) else np.asarray(value)


def known_values(value: Any) -> np.ndarray | None:
    """Return the values of an input, or None if a transformation of JAX hides them."""
    return None if value is None or isinstance(value, jax.core.Tracer) else np.asarray(value)


def at_least_float32(states: Array) -> Array:
    """Cast an array to float32, unless it is in float64."""
    return states.astype(jnp.promote_types(states.dtype, jnp.float32))


def check_dtype(dtype: Any) -> np.dtype:
    """Return a floating-point dtype, given as a dtype or by name.

    Raises:
        ValueError: there is no such dtype, or it is not a floating-point dtype.
    """
    try:
        found = jnp.dtype(dtype)
    except TypeError:
        found = None
    if found is None or not jnp.issubdtype(found, jnp.floating):
        raise ValueError(f"dtype={dtype!r} is not a floating-point dtype; give float32, float16, bfloat16 or 'auto'")
    return found


def devices_named(name: str | None) -> list[jax.Device]:
    """Return devices by JAX's name: "cpu" or "gpu" for all of a kind, "gpu:1" for one of them; None for the best kind.

    Raises:
        ValueError: there are no such devices.
    """
    if name is None:
        return jax.local_devices()
    kind, _, number = name.replace("cuda", "gpu").partition(":")
    try:
        found = jax.local_devices(backend=kind)
        return [found[int(number)]] if number else found
    except (RuntimeError, IndexError, ValueError) as error:
        there = ", ".join(f"{device.platform}:{device.id}" for device in jax.local_devices())
        raise ValueError(f"device={name!r} is not available in JAX; give one of {there}") from error
