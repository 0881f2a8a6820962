"""Training settings, validated on construction; the learning rate, weight decay and freezing that follow from them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from clip_core.configuration.arguments import check_integers


def learning_rate(step: int, *, steps: int, peak: float, warmup: float) -> float:
    """Return the learning rate of a step, counted from 0: linear warm-up, then cosine decay to 0.

    Args:
        step: the step.
        steps: total number of steps.
        peak: the maximum rate.
        warmup: warm-up steps; below 1, a fraction of all steps.
    """
    rising = warmup if warmup >= 1 else warmup * steps
    if step < rising:
        return peak * (step + 1) / rising if rising > 1 else peak
    done = (step - rising) / max(1, steps - rising)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def decays(name: str) -> bool:
    """Return True for a parameter with weight decay: all but biases, norms, the temperature and the class token.

    Args:
        name: canonical name of the parameter.
    """
    return not name.endswith((".bias", "logit_scale", "class_embedding")) and "norm" not in name


def is_trained(name: str, freeze: Freeze) -> bool:
    """Return True for a parameter that is trained under `freeze`; the projections are always trained.

    Args:
        name: canonical name of the parameter.
        freeze: the frozen tower, or "none".
    """
    return not name.startswith(f"{freeze}_model.")


Freeze = Literal["text", "vision", "none"]
Precision = Literal["fp32", "bf16"]

# The temperature is learned as a log scale, clipped at log 100 (Radford et al. 2021, section 2.5).
LARGEST_LOGIT_SCALE = math.log(100)


@dataclass(frozen=True)
class TrainSettings:
    """Hyperparameters of a training run.

    Attributes:
        batch_size: pairs per step, over all processes and devices; each pair has all others as negatives.
        epochs: passes over the data.
        lr: the maximum learning rate.
        warmup: warm-up steps; below 1, a fraction of all steps.
        weight_decay: AdamW's weight decay, for weights only: not for biases, norms and the temperature.
        beta_1: AdamW's decay rate of the first moment.
        beta_2: AdamW's decay rate of the second moment.
        epsilon: AdamW's epsilon.
        max_grad_norm: clip the global gradient norm to this; None to disable clipping.
        precision: compute precision: "fp32", or "bf16" with weights and loss in float32.
        accum: number of pieces in which a batch is computed, one after another; the gradients are those of the whole
            batch.
        loss_chunk: rows of the similarity matrix held in memory at a time, for batches whose full matrix is too large;
            None for all rows.
        freeze: the tower to freeze.
        gradient_checkpointing: recompute layers in the backward pass instead of storing their activations.
        seed: seed of the sample order, augmentations, initial weights and dropout.

    Raises:
        ValueError: if a value is invalid; the message names it and the valid values.
    """

    batch_size: int = 256
    epochs: int = 1
    lr: float = 5e-4
    warmup: float = 0.05
    weight_decay: float = 0.2
    beta_1: float = 0.9
    beta_2: float = 0.98
    epsilon: float = 1e-6
    max_grad_norm: float | None = 1.0
    precision: Precision = "fp32"
    accum: int = 1
    loss_chunk: int | None = None
    freeze: Freeze = "none"
    gradient_checkpointing: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_integers(
            batch_size=(self.batch_size, 1), epochs=(self.epochs, 1), accum=(self.accum, 1), seed=(self.seed, 0)
        )
        check_integers(loss_chunk=(self.loss_chunk, 1), optional=True)
        fault = next(filter(None, (fault(self) for fault in _FAULTS)), None)
        if fault:
            raise ValueError(fault)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, for JSON."""
        return asdict(self)


def _counts(settings: TrainSettings) -> str | None:
    if settings.batch_size < 2:
        return f"batch_size={settings.batch_size} leaves no negatives; give 2 or more"
    if settings.batch_size % settings.accum:
        return f"accum={settings.accum} must divide batch_size={settings.batch_size}"
    return None


def _rates(settings: TrainSettings) -> str | None:
    for name in ("lr", "epsilon"):
        value = getattr(settings, name)
        if not _is_finite(value) or value <= 0:
            return f"{name}={value!r} must be a finite number above 0"
    for name in ("warmup", "weight_decay"):
        value = getattr(settings, name)
        if not _is_finite(value) or value < 0:
            return f"{name}={value!r} must be a finite number of 0 or more"
    for name in ("beta_1", "beta_2"):
        value = getattr(settings, name)
        if not _is_finite(value) or not 0 <= value < 1:
            return f"{name}={value!r} must be a number of at least 0 and below 1"
    most = settings.max_grad_norm
    if most is not None and most != math.inf and (not _is_finite(most) or most <= 0):
        return f"max_grad_norm={most!r} must be a number above 0"
    return None


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _words(settings: TrainSettings) -> str | None:
    for name, known in (("precision", get_args(Precision)), ("freeze", get_args(Freeze))):
        if getattr(settings, name) not in known:
            return f"{name}={getattr(settings, name)!r} is unknown; choose from {', '.join(known)}"
    return None


_FAULTS = (_counts, _rates, _words)
