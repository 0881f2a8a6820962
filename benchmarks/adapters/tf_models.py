"""Adapter for CLIP in TensorFlow, as a graph: ours, or that of transformers 4.57.6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import tensorflow as tf

_FULL = ("logits_per_image", "image_embeds", "text_embeds")


class TensorFlowModel:
    """A loaded model."""

    def __init__(self, model: Any, versions: dict[str, str]) -> None:
        self.model = model
        self.versions = versions

    def work(self, stage: str, inputs: dict[str, np.ndarray], **options: Any) -> Callable[[], dict[str, tf.Tensor]]:
        """Return the timed function: one run of the stage's graph, traced for these shapes."""
        import tensorflow as tf

        tensors = {name: tf.constant(array, _dtype(array)) for name, array in inputs.items()}
        stages: dict[str, Callable[..., Any]] = {
            "images": lambda **given: {"image_features": self.model.get_image_features(**given, **options)},
            "texts": lambda **given: {"text_features": self.model.get_text_features(**given, **options)},
            "full": self._full,
        }
        graph = tf.function(stages[stage])
        return lambda: graph(**tensors)

    def arrays(self, results: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
        """Return results as numpy arrays, features with unit norm."""
        import tensorflow as tf

        unit = {name: tf.math.l2_normalize(one, -1) for name, one in results.items() if name.endswith("features")}
        return {name: tensor.numpy() for name, tensor in (results | unit).items()}

    def _full(self, **inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        output = self.model(**inputs)
        return {name: output[name] for name in _FULL}


def load(library: str, checkpoint: str, threads: int) -> TensorFlowModel:
    """Load a checkpoint.

    Args:
        library: "clip_tf" or "transformers".
        checkpoint: the folder.
        threads: number of threads to use.
    """
    if library == "transformers":
        from transformers import CLIPModel, TFCLIPModel  # noqa: F401  must precede TensorFlow, which crashes otherwise
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    if library == "transformers":
        return TensorFlowModel(TFCLIPModel.from_pretrained(checkpoint, from_pt=True), {})
    import keras

    import clip_tf

    return TensorFlowModel(clip_tf.CLIPModel.from_pretrained(checkpoint), {"keras": keras.__version__})


def _dtype(array: np.ndarray) -> str:
    return "int32" if array.dtype.kind == "i" else "float32"
