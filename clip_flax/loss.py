"""The losses: contrastive (Radford et al. 2021, figure 3) and classification. All in float32 at least."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from clip_flax.tensors import at_least_float32

IGNORED_LABEL = -100  # ignored, as by PyTorch's cross-entropy


def contrastive_loss(logits: Array) -> Array:
    """Return the cross-entropy of logits `(n, n)` whose targets are on the diagonal: a scalar."""
    return cross_entropy(logits, jnp.arange(logits.shape[0]))


def clip_loss(logits_per_text: Array) -> Array:
    """Return the mean of the contrastive losses over texts and over images, given `(texts, images)`: a scalar.

    Raises:
        ValueError: the numbers of texts and images differ.
    """
    texts, images = logits_per_text.shape
    if texts != images:
        raise ValueError(
            f"return_loss=True pairs each text with the image at the same index; got {texts} texts and {images} images"
        )
    return (contrastive_loss(logits_per_text) + contrastive_loss(logits_per_text.T)) / 2.0


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def chunked_clip_loss(texts: Array, images: Array, scale: Array, chunk: int) -> Array:
    """Return `clip_loss` of all pairs, with `chunk` rows of similarities in memory at a time: a scalar.

    Args:
        texts: `(pairs, projection)`, of unit norm.
        images: `(pairs, projection)`, of unit norm, in the order of their texts.
        scale: the factor of the cosines, a scalar.
        chunk: rows at a time; memory grows with `chunk * pairs`, not with the square of the pairs.
    """
    return _chunked_forward(texts, images, scale, chunk)[0]


def _chunked_forward(texts: Array, images: Array, scale: Array, chunk: int) -> tuple[Array, tuple[Array, ...]]:
    def rows_of(over_texts: Array, rows: Array) -> tuple[Array, Array]:
        logits = jnp.matmul(rows, images.T, precision=None) * scale  # (chunk, images)
        return jnp.logaddexp(over_texts, jax.nn.logsumexp(logits, axis=0)), jax.nn.logsumexp(logits, axis=1)

    over_texts, over_images = jnp.full(len(images), -jnp.inf, texts.dtype), []
    for rows in _split(texts, chunk):
        over_texts, row_sums = rows_of(over_texts, rows)
        over_images.append(row_sums)
    all_images = jnp.concatenate(over_images)
    right = (texts * images).sum(axis=-1) * scale
    loss = (all_images + over_texts).mean() / 2.0 - right.mean()
    return loss, (texts, images, scale, all_images, over_texts)


def _chunked_backward(chunk: int, saved: tuple[Array, ...], of_loss: Array) -> tuple[Array, Array, Array]:
    texts, images, scale, over_images, over_texts = saved
    of_texts, of_images, of_scale = [], -texts, -(texts * images).sum()
    for rows, partners, row_sums in zip(*(_split(a, chunk) for a in (texts, images, over_images)), strict=True):
        cosines = jnp.matmul(rows, images.T, precision=None)  # (chunk, images)
        logits = cosines * scale
        # The probabilities of both softmaxes; the loss is the mean of both.
        share = (jnp.exp(logits - row_sums[:, None]) + jnp.exp(logits - over_texts)) / 2.0
        of_texts.append(jnp.matmul(share, images, precision=None) - partners)
        of_images += jnp.matmul(share.T, rows, precision=None)
        of_scale += (share * cosines).sum()
    factor = of_loss / len(texts)
    return jnp.concatenate(of_texts) * scale * factor, of_images * scale * factor, of_scale * factor


chunked_clip_loss.defvjp(_chunked_forward, _chunked_backward)


def _split(array: Array, chunk: int) -> list[Array]:
    return [array[start : start + chunk] for start in range(0, len(array), chunk)]


def classification_loss(logits: Array, labels: Array, problem_type: str | None) -> Array:
    """Return the loss of a classifier: a scalar.

    Args:
        logits: `(batch, num_labels)`.
        labels: `(batch,)` class indices, or `(batch, num_labels)` targets.
        problem_type: "regression" (mean squared error), "single_label_classification" (cross-entropy) or
            "multi_label_classification" (binary cross-entropy); None selects by the number and dtype of the labels.
    """
    num_labels = logits.shape[-1]
    logits = at_least_float32(logits)
    problem_type = problem_type or _problem_type(num_labels, labels)
    if problem_type == "single_label_classification":
        return cross_entropy(logits.reshape(-1, num_labels), labels.reshape(-1))
    labels = labels.astype(logits.dtype)
    if problem_type == "regression":
        if num_labels == 1:
            logits, labels = logits.reshape(-1), labels.reshape(-1)
        return jnp.square(logits - labels).mean()
    return -(labels * jax.nn.log_sigmoid(logits) + (1.0 - labels) * jax.nn.log_sigmoid(-logits)).mean()


def cross_entropy(logits: Array, labels: Array) -> Array:
    """Return the mean of `-log softmax(logits)[label]` over `(n, classes)`, without IGNORED_LABEL: a scalar."""
    counted = labels != IGNORED_LABEL
    log_probabilities = jax.nn.log_softmax(at_least_float32(logits), axis=-1)
    # A label outside the classes gives NaN; plain indexing would wrap around or clamp it.
    index = jnp.where(labels < 0, logits.shape[-1], labels)[:, None]
    picked = jnp.take_along_axis(log_probabilities, index, axis=-1, mode="fill", fill_value=jnp.nan)
    return -jnp.where(counted, picked[:, 0], 0.0).sum() / counted.sum()


def _problem_type(num_labels: int, labels: Array) -> str:
    if num_labels == 1:
        return "regression"
    return "single_label_classification" if jnp.issubdtype(labels.dtype, jnp.integer) else "multi_label_classification"
