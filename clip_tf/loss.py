"""The losses: contrastive (Radford et al. 2021, figure 3) and classification. All in float32 at least."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from clip_tf.tensors import at_least_float32

IGNORED_LABEL = -100  # ignored, as by PyTorch's cross-entropy


def contrastive_loss(logits: tf.Tensor) -> tf.Tensor:
    """Return the cross-entropy of logits `(n, n)` whose targets are on the diagonal: a scalar."""
    return cross_entropy(logits, tf.range(tf.shape(logits)[0]))


def clip_loss(logits_per_text: tf.Tensor) -> tf.Tensor:
    """Return the mean of the contrastive losses over texts and over images, given `(texts, images)`: a scalar.

    Raises:
        ValueError: the numbers of texts and images differ, if the graph knows them.
    """
    texts, images = logits_per_text.shape
    if None not in {texts, images} and texts != images:
        raise ValueError(
            f"return_loss=True pairs each text with the image at the same index; got {texts} texts and {images} images"
        )
    return (contrastive_loss(logits_per_text) + contrastive_loss(tf.transpose(logits_per_text))) / 2.0


def chunked_clip_loss(texts: tf.Tensor, images: tf.Tensor, scale: tf.Tensor, chunk: int) -> tf.Tensor:
    """Return `clip_loss` of all pairs, with `chunk` rows of similarities in memory at a time: a scalar.

    Args:
        texts: `(pairs, projection)`, of unit norm.
        images: `(pairs, projection)`, of unit norm, in the order of their texts.
        scale: the factor of the cosines, a scalar.
        chunk: rows at a time; memory grows with `chunk * pairs`, not with the square of the pairs.
    """

    def loss(texts: tf.Tensor, images: tf.Tensor, scale: tf.Tensor) -> tuple[tf.Tensor, Any]:
        starts = range(0, len(texts), chunk)
        over_images, over_texts = [], tf.fill((len(images),), tf.constant(-math.inf, texts.dtype))
        for start in starts:
            logits = tf.matmul(texts[start : start + chunk], images, transpose_b=True) * scale  # (chunk, images)
            over_images.append(tf.reduce_logsumexp(logits, axis=1))
            over_texts = tf.reduce_logsumexp(tf.stack([over_texts, tf.reduce_logsumexp(logits, axis=0)]), axis=0)
        over_images = tf.concat(over_images, axis=0)

        def gradients(of_loss: tf.Tensor) -> tuple[tf.Tensor, ...]:
            of_texts, of_images, of_scale = [], -texts, -tf.reduce_sum(texts * images)
            for start in starts:
                part = slice(start, start + chunk)
                cosines = tf.matmul(texts[part], images, transpose_b=True)  # (chunk, images)
                logits = cosines * scale
                # The probabilities of both softmaxes; the loss is the mean of both.
                share = (tf.exp(logits - over_images[part, None]) + tf.exp(logits - over_texts)) / 2.0
                of_texts.append(tf.matmul(share, images) - images[part])
                of_images += tf.matmul(share, texts[part], transpose_a=True)
                of_scale += tf.reduce_sum(share * cosines)
            factor = of_loss / len(texts)
            return tf.concat(of_texts, axis=0) * scale * factor, of_images * scale * factor, of_scale * factor

        right = tf.reduce_sum(texts * images, axis=-1) * scale
        return tf.reduce_mean(over_images + over_texts) / 2.0 - tf.reduce_mean(right), gradients

    return tf.custom_gradient(loss)(texts, images, scale)


def classification_loss(logits: tf.Tensor, labels: tf.Tensor, problem_type: str | None) -> tf.Tensor:
    """Return the loss of a classifier: a scalar.

    Args:
        logits: `(batch, num_labels)`.
        labels: `(batch,)` class indices, or `(batch, num_labels)` targets.
        problem_type: "regression" (mean squared error), "single_label_classification" (cross-entropy) or
            "multi_label_classification" (binary cross-entropy); None selects by the number and dtype of the labels.
    """
    num_labels = logits.shape[-1]
    logits, labels = at_least_float32(logits), tf.convert_to_tensor(labels)
    problem_type = problem_type or _problem_type(num_labels, labels)
    if problem_type == "single_label_classification":
        return cross_entropy(tf.reshape(logits, (-1, num_labels)), tf.reshape(labels, (-1,)))
    labels = tf.cast(labels, logits.dtype)
    if problem_type == "regression":
        if num_labels == 1:
            logits, labels = tf.reshape(logits, (-1,)), tf.reshape(labels, (-1,))
        return tf.reduce_mean(tf.math.squared_difference(logits, labels))
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Return the mean of `-log softmax(logits)[label]` over `(n, classes)`, without IGNORED_LABEL: a scalar."""
    counted = tf.not_equal(labels, tf.constant(IGNORED_LABEL, labels.dtype))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.where(counted, labels, tf.zeros((), labels.dtype)), logits=at_least_float32(logits)
    )
    counted = tf.cast(counted, losses.dtype)
    return tf.reduce_sum(losses * counted) / tf.reduce_sum(counted)


def _problem_type(num_labels: int, labels: tf.Tensor) -> str:
    if num_labels == 1:
        return "regression"
    return "single_label_classification" if labels.dtype.is_integer else "multi_label_classification"
