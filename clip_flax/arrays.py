"""JAX's arrays, for processors. Internal; read without importing `clip_flax` or JAX."""

from __future__ import annotations

from typing import Any

import numpy as np

from clip_core.processing import Framework


def from_numpy(array: np.ndarray) -> Any:
    """Convert a numpy array to a JAX array.

    Args:
        array: any shape and dtype; JAX converts 64-bit numbers to 32 bits by default.
    """
    import jax.numpy as jnp

    return jnp.asarray(array)


def move(array: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Move an array to a device.

    Args:
        array: the array.
        args: a `jax.Device` or the name of a platform first, or nothing.
        kwargs: `device`, if it is not in `args`.
    """
    import jax

    device = kwargs.get("device", args[0] if args else None)
    return jax.device_put(array, jax.devices(device)[0] if isinstance(device, str) else device)


framework = Framework(
    "jax", frozenset({"jax", "jaxlib"}), from_numpy, np.asarray, move, integer=np.int32, class_prefix="Flax"
)
