"""The losses: contrastive (Radford et al. 2021, figure 3) and classification."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(logits: Tensor) -> Tensor:
    """Return the cross-entropy of logits `(n, n)` whose targets are on the diagonal: a scalar."""
    return F.cross_entropy(logits, torch.arange(logits.shape[0], device=logits.device))


def clip_loss(logits_per_text: Tensor) -> Tensor:
    """Return the mean of the contrastive losses over texts and over images, given `(texts, images)`: a scalar.

    Raises:
        ValueError: the numbers of texts and images differ.
    """
    texts, images = logits_per_text.shape
    # While compiling, the sizes may be symbolic; the cross-entropy raises in that case.
    if not torch.compiler.is_compiling() and texts != images:
        raise ValueError(
            f"return_loss=True pairs each text with the image at the same index; got {texts} texts and {images} images"
        )
    return (contrastive_loss(logits_per_text) + contrastive_loss(logits_per_text.t())) / 2.0


class _ChunkedClipLoss(torch.autograd.Function):
    """The contrastive loss by rows of texts; the backward pass recomputes their similarities."""

    @staticmethod
    def forward(ctx: Any, texts: Tensor, images: Tensor, scale: Tensor, chunk: int) -> Tensor:
        # Filled in place: tensors that outlive a chunk would prevent the reuse of memory between chunks.
        over_images, over_texts = texts.new_empty(len(texts)), texts.new_full((len(images),), -torch.inf)
        for start in range(0, len(texts), chunk):
            part = slice(start, start + chunk)
            logits = texts[part] @ images.t() * scale  # (chunk, images)
            over_images[part] = logits.logsumexp(dim=1)
            torch.logaddexp(over_texts, logits.logsumexp(dim=0), out=over_texts)
        ctx.save_for_backward(texts, images, scale, over_images, over_texts)
        ctx.chunk = chunk
        right = (texts * images).sum(dim=-1) * scale
        return (over_images + over_texts).mean() / 2.0 - right.mean()

    @staticmethod
    def backward(ctx: Any, *of_loss: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        texts, images, scale, over_images, over_texts = ctx.saved_tensors
        of_texts, of_images, of_scale = -images.clone(), -texts.clone(), -(texts * images).sum()
        for start in range(0, len(texts), ctx.chunk):
            part = slice(start, start + ctx.chunk)
            cosines = texts[part] @ images.t()  # (chunk, images)
            logits = cosines * scale
            # The probabilities of both softmaxes; the loss is the mean of both.
            share = ((logits - over_images[part, None]).exp() + (logits - over_texts).exp()) / 2.0
            of_texts[part] += share @ images
            of_images += share.t() @ texts[part]
            of_scale += (share * cosines).sum()
        factor = of_loss[0] / len(texts)
        return of_texts * scale * factor, of_images * scale * factor, of_scale * factor, None


def chunked_clip_loss(texts: Tensor, images: Tensor, scale: Tensor, chunk: int) -> Tensor:
    """Return `clip_loss` of all pairs, with `chunk` rows of similarities in memory at a time: a scalar.

    Args:
        texts: `(pairs, projection)`, of unit norm.
        images: `(pairs, projection)`, of unit norm, in the order of their texts.
        scale: the factor of the cosines, a scalar.
        chunk: rows at a time; memory grows with `chunk * pairs`, not with the square of the pairs.
    """
    loss: Tensor = _ChunkedClipLoss.apply(texts, images, scale, chunk)
    return loss


def classification_loss(logits: Tensor, labels: Tensor, problem_type: str | None) -> Tensor:
    """Return the loss of a classifier: a scalar.

    Args:
        logits: `(batch, num_labels)`.
        labels: `(batch,)` class indices, or `(batch, num_labels)` targets.
        problem_type: "regression" (mean squared error), "single_label_classification" (cross-entropy) or
            "multi_label_classification" (binary cross-entropy); None selects by the number and dtype of the labels.
    """
    num_labels = logits.shape[-1]
    labels = labels.to(logits.device)
    problem_type = problem_type or _problem_type(num_labels, labels)
    if problem_type == "regression":
        if num_labels == 1:
            return F.mse_loss(logits.squeeze(), labels.squeeze())
        return F.mse_loss(logits, labels)
    if problem_type == "single_label_classification":
        return F.cross_entropy(logits.view(-1, num_labels), labels.view(-1).long())
    return F.binary_cross_entropy_with_logits(logits, labels)


def _problem_type(num_labels: int, labels: Tensor) -> str:
    if num_labels == 1:
        return "regression"
    if labels.dtype in (torch.int64, torch.int32):
        return "single_label_classification"
    return "multi_label_classification"
