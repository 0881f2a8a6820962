"""Parts of labelled data that hold the same share of every class."""

from __future__ import annotations

import numpy as np


def stratified(truths: np.ndarray, share: float, seed: int, what: str) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a share of each class, one sample at least and not all of them. A class of one sample is kept.

    Args:
        truths: `(samples,)`, the number of each sample's class.
        share: that is held out, between 0 and 1.
        seed: of the choice.
        what: is held out, for messages, such as "test".

    Returns:
        The numbers of the samples that are kept, and of those that are held out, in order.

    Raises:
        ValueError: the share is not between 0 and 1, or no class has two samples.
    """
    if not 0 < share < 1:
        raise ValueError(f"the share for {what} is {share}; give one between 0 and 1")
    rng = np.random.default_rng(seed)
    is_held = np.zeros(len(truths), np.bool_)
    for number in np.unique(truths):
        samples = rng.permutation(np.flatnonzero(truths == number))
        count = min(max(round(share * len(samples)), 1), len(samples) - 1)
        is_held[samples[:count]] = True
    if not is_held.any():
        raise ValueError(f"no class has two pictures, so that one of them could be held out for {what}")
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)
