"""The settings of a training run, checked first, and what follows from them: learning rate, decay, frozen parts."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args


def learning_rate(step: int, *, steps: int, peak: float, warmup: float) -> float:
    """The learning rate of a step, counted from 0.

    Args:
        step: which step.
        steps: how many there are.
        peak: the highest rate.
        warmup: steps of the warm-up; below 1, that share of all steps.
    """
    rising = warmup if warmup >= 1 else warmup * steps
    if step < rising:
        return peak * (step + 1) / rising if rising > 1 else peak
    done = (step - rising) / max(1, steps - rising)
    return peak * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def decays(name: str) -> bool:
    """Whether weight decay acts on a parameter: not on biases, norms, the temperature and the class token."""
    return not name.endswith((".bias", "logit_scale", "class_embedding")) and "norm" not in name


def is_trained(name: str, freeze: Freeze) -> bool:
    """Whether a parameter is trained where a tower is frozen; the projections always are."""
    return not name.startswith(f"{freeze}_model.")


Freeze = Literal["text", "vision", "none"]
Precision = Literal["fp32", "bf16"]

# The temperature is learned as its logarithm, and held below that of 100 (Radford et al. 2021, section 2.5).
LARGEST_LOGIT_SCALE = math.log(100)


@dataclass(frozen=True)
class TrainSettings:
    """How to train.

    Attributes:
        batch_size: pairs in a step, over all processes and devices; the negatives of a pair are all others.
        epochs: passes over the data.
        lr: the highest learning rate.
        warmup: steps over which the learning rate rises to it; below 1, that share of all steps.
        weight_decay: of AdamW, on weights alone: not on biases, norms and the temperature.
        beta_1: of AdamW.
        beta_2: of AdamW.
        epsilon: of AdamW.
        max_grad_norm: the Euclidean norm of all gradients that they are scaled down to; None leaves them.
        precision: of the computation: "fp32", or "bf16" with weights and the comparison in float32.
        accum: pieces that a batch is computed in, one behind another; the gradients are those of the whole batch.
        loss_chunk: rows of the matrix of similarities that are in memory at a time, for batches whose square is too
            large; None for all.
        freeze: the tower to leave as it is.
        gradient_checkpointing: recompute layers in the backward pass in place of keeping what is inside.
        seed: of the order of samples, augmentations, fresh weights and dropout.

    Raises:
        ValueError: a value cannot be right; the message names it and what would be.
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
        fault = next(filter(None, (fault(self) for fault in _FAULTS)), None)
        if fault:
            raise ValueError(fault)

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for JSON."""
        return asdict(self)


def _counts(settings: TrainSettings) -> str | None:
    if settings.batch_size < 2:
        return f"batch_size={settings.batch_size} leaves a pair without negatives; give 2 or more"
    if settings.epochs < 1 or settings.accum < 1:
        return f"epochs={settings.epochs} and accum={settings.accum} have to be 1 or more"
    if settings.batch_size % settings.accum:
        return f"accum={settings.accum} does not divide batch_size={settings.batch_size}"
    if settings.loss_chunk is not None and settings.loss_chunk < 1:
        return f"loss_chunk={settings.loss_chunk} has to be 1 or more"
    return None


def _rates(settings: TrainSettings) -> str | None:
    for name in ("lr", "epsilon", "max_grad_norm"):
        value = getattr(settings, name)
        if value is not None and not value > 0:
            return f"{name}={value} has to be above 0"
    for name in ("warmup", "weight_decay"):
        if not getattr(settings, name) >= 0:
            return f"{name}={getattr(settings, name)} has to be 0 or more"
    for name in ("beta_1", "beta_2"):
        if not 0 <= getattr(settings, name) < 1:
            return f"{name}={getattr(settings, name)} has to be from 0 to below 1"
    return None


def _words(settings: TrainSettings) -> str | None:
    for name, known in (("precision", get_args(Precision)), ("freeze", get_args(Freeze))):
        if getattr(settings, name) not in known:
            return f"{name}={getattr(settings, name)!r} is not known; it is one of {', '.join(known)}"
    return None


_FAULTS = (_counts, _rates, _words)
