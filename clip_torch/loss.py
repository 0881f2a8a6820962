"""The losses: contrastive (Radford et al. 2021, figure 3) and classification."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(logits: Tensor) -> Tensor:
    """Cross-entropy of logits `(n, n)` whose right answers stand on the diagonal: a scalar."""
    return F.cross_entropy(logits, torch.arange(logits.shape[0], device=logits.device))


def clip_loss(logits_per_text: Tensor) -> Tensor:
    """The mean of the contrastive losses over texts and over images, from similarities `(texts, images)`: a scalar."""
    return (contrastive_loss(logits_per_text) + contrastive_loss(logits_per_text.t())) / 2.0


def classification_loss(logits: Tensor, labels: Tensor, problem_type: str | None) -> Tensor:
    """The loss of a classifier: a scalar.

    Args:
        logits: `(batch, num_labels)`.
        labels: `(batch,)` class indices, or `(batch, num_labels)` targets.
        problem_type: "regression" (mean squared error), "single_label_classification" (cross-entropy) or
            "multi_label_classification" (binary cross-entropy); None chooses by the number and dtype of the labels.
    """
    num_labels = logits.shape[-1]
    labels = labels.to(logits.device)
    problem_type = problem_type or _problem_type(num_labels, labels)
    if problem_type == "regression":
        if num_labels == 1:
            return F.mse_loss(logits.squeeze(), labels.squeeze())
        return F.mse_loss(logits, labels)
    if problem_type == "single_label_classification":
        return F.cross_entropy(logits.view(-1, num_labels), labels.view(-1))
    return F.binary_cross_entropy_with_logits(logits, labels)


def _problem_type(num_labels: int, labels: Tensor) -> str:
    if num_labels == 1:
        return "regression"
    if labels.dtype in (torch.int64, torch.int32):
        return "single_label_classification"
    return "multi_label_classification"
