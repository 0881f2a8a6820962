"""Training on several devices: each pair has the negatives of all, and the gradients equal those of one device.

Each replica computes the loss of its own pairs against those of all replicas. The gradient of a gathered embedding
returns to the replica that computed it, so the sum over replicas is the gradient of the whole batch.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from clip_tf.loss import cross_entropy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np


class Replicas:
    """The replicas of a strategy, over which a batch is split; a single replica gets the whole batch.

    Args:
        strategy: a strategy of `tf.distribute`.

    Attributes:
        count: the number of replicas.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._strategy = strategy
        self.count: int = strategy.num_replicas_in_sync

    def everywhere(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a compiled function that runs on all replicas; arguments and results are per replica."""

        @wraps(function)  # TensorFlow counts retracings by function name
        def on_replicas(*arguments: Any) -> Any:
            return self._strategy.run(function, args=arguments)

        return tf.function(function if self.count == 1 else on_replicas, reduce_retracing=True)

    def spread(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Return the arrays `(pairs, ...)` of a batch, split over the replicas."""
        if self.count == 1:
            return {name: tf.convert_to_tensor(array) for name, array in batch.items()}

        def part(context: Any) -> dict[str, tf.Tensor]:
            place = context.replica_id_in_sync_group
            return {name: tf.split(array, self.count)[place] for name, array in batch.items()}

        parts: dict[str, Any] = self._strategy.experimental_distribute_values_from_function(part)
        return parts

    def one(self, values: Any) -> Any:
        """Return values that are equal on all replicas, as tensors of the first replica."""
        return tf.nest.map_structure(lambda value: self._strategy.experimental_local_results(value)[0], values)

    def summed(self, values: Any) -> Any:
        """Return the sum of tensors over the replicas. Every replica must call this."""
        if self.count == 1:
            return values
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, values)


def gathered_loss(images: tf.Tensor, texts: tf.Tensor, scale: tf.Tensor, chunk: int | None = None) -> tf.Tensor:
    """Return this replica's share of the contrastive loss, from its own pairs against those of all: a scalar.

    Args:
        images: `(pairs, projection)` of this replica, of unit norm.
        texts: `(pairs, projection)` of this replica, of unit norm.
        scale: the factor of the cosines.
        chunk: rows of similarities in memory at a time; None for all of this replica's.
    """
    context = tf.distribute.get_replica_context()
    all_images, all_texts = (context.all_gather(part, axis=0) for part in (images, texts))
    right = tf.range(tf.shape(images)[0]) + context.replica_id_in_sync_group * tf.shape(images)[0]
    over_images = _mean_cross_entropy(texts, all_images, scale, right, chunk)
    over_texts = _mean_cross_entropy(images, all_texts, scale, right, chunk)
    return (over_images + over_texts) / (2.0 * context.num_replicas_in_sync)


def _mean_cross_entropy(
    rows: tf.Tensor, columns: tf.Tensor, scale: tf.Tensor, right: tf.Tensor, chunk: int | None
) -> tf.Tensor:
    """Compute the loss of similarities `(rows, columns)` with known targets. The backward pass recomputes chunks."""
    if chunk is None:
        return cross_entropy(tf.matmul(rows, columns, transpose_b=True) * scale, right)
    sums = []
    for start in range(0, len(rows), chunk):
        answers = right[start : start + chunk]

        def part(rows: tf.Tensor, columns: tf.Tensor, scale: tf.Tensor, answers: tf.Tensor = answers) -> tf.Tensor:
            mean = cross_entropy(tf.matmul(rows, columns, transpose_b=True) * scale, answers)
            return mean * tf.cast(tf.shape(answers)[0], mean.dtype)

        sums.append(tf.recompute_grad(part)(rows[start : start + chunk], columns, scale))
    return tf.add_n(sums) / len(rows)
