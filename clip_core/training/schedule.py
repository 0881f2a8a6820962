"""The learning rate: a linear warm-up, then a cosine down to zero (Loshchilov and Hutter 2017)."""

from __future__ import annotations

import math


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
