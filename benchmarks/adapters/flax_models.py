"""Adapter for CLIP in Flax, compiled: ours, or that of transformers 4.57.6."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

_FULL = ("logits_per_image", "image_embeds", "text_embeds")


class FlaxModel:
    """A loaded model and its parameters."""

    def __init__(self, model: Any, params: Any, versions: dict[str, str], *, measured: bool = False) -> None:
        self.model, self.params = model, params
        self.versions = versions
        self._peak = 0
        if measured:
            self.memory, self.reset = self._compiled_memory, lambda: None
        self._measured = measured

    def work(self, stage: str, inputs: dict[str, np.ndarray], **options: Any) -> Callable[[], dict[str, jax.Array]]:
        """Return the timed function: one complete run of the stage, compiled for these shapes."""
        stages: dict[str, Callable[..., Any]] = {"images": self._images, "texts": self._texts, "full": self._full}
        compiled = jax.jit(lambda params, given: stages[stage](params, given, options))
        # Images are cast to the parameters' dtype, as in the other frameworks.
        dtype = jax.tree.leaves(self.params)[0].dtype
        arrays = {
            name: jnp.asarray(array, dtype if array.dtype.kind == "f" else None) for name, array in inputs.items()
        }
        if self._measured:
            whole = compiled.lower(self.params, arrays).compile()
            planned = whole.memory_analysis()
            self._peak = planned.argument_size_in_bytes + planned.output_size_in_bytes + planned.temp_size_in_bytes
            return lambda: jax.block_until_ready(whole(self.params, arrays))
        return lambda: jax.block_until_ready(compiled(self.params, arrays))

    def arrays(self, results: dict[str, jax.Array]) -> dict[str, np.ndarray]:
        """Return results as numpy arrays, features with unit norm."""
        found = {name: np.asarray(result, np.float32) for name, result in results.items()}
        unit = {name: array / np.linalg.norm(array, axis=-1, keepdims=True) for name, array in found.items()}
        return {name: unit[name] if name.endswith("features") else array for name, array in found.items()}

    def _compiled_memory(self) -> dict[str, int]:
        """Return the memory that XLA planned; JAX tracks only the peak of the whole process, which cannot be reset."""
        return {"now": self._peak, "peak": self._peak}

    def _images(self, params: Any, inputs: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        return {"image_features": self.model.get_image_features(**inputs, **options, params=params)}

    def _texts(self, params: Any, inputs: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        return {"text_features": self.model.get_text_features(**inputs, **options, params=params)}

    def _full(self, params: Any, inputs: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        output = self.model(**inputs, **options, params=params)
        return {name: output[name] for name in _FULL}


def load(
    library: str,
    checkpoint: str,
    threads: int,  # noqa: ARG001
    *,
    dtype: str = "float32",
    device: str = "cpu",
    attn_implementation: str | None = None,
    rehearse: bool = False,
    **_: Any,
) -> FlaxModel:
    """Load a checkpoint.

    Args:
        library: "clip_flax" or "transformers".
        checkpoint: the folder.
        threads: ignored; XLA uses the processors available to the process.
        dtype: dtype of the weights and the computation.
        device: "cpu" or "cuda".
        attn_implementation: for clip_flax; None for the library's default.
        rehearse: measure memory on a CPU as on a GPU.
        **_: options of other adapters, ignored.

    Raises:
        RuntimeError: if there is no such device.
    """
    jax.config.update("jax_default_device", jax.devices(device)[0])
    package = importlib.import_module(library)
    found = {"jax": jax.__version__, "flax": flax.__version__}
    kind = jnp.dtype(dtype)
    if library == "clip_flax":
        model = package.CLIPModel.from_pretrained(checkpoint, dtype=kind, attn_implementation=attn_implementation)
    else:
        model = package.FlaxCLIPModel.from_pretrained(checkpoint, from_pt=True, dtype=kind)
    params = model.params if dtype == "float32" else jax.tree.map(lambda leaf: leaf.astype(kind), model.params)
    return FlaxModel(model, params, found, measured=rehearse or device != "cpu")
