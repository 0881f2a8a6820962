"""Multinomial logistic regression with a penalty on the squares of its weights, fitted by L-BFGS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ITERATIONS = 1000  # as in appendix A.3 of Radford et al. 2021

_GRADIENT = 1e-5  # of the mean loss: below that in every direction the fit is taken for done
_PROGRESS = 64 * np.finfo(np.float64).eps  # relative, in a step; scikit-learn's


@dataclass(frozen=True)
class Regression:
    """A fit.

    Attributes:
        weights: `(features + 1, classes)`, float64; the last row is added to all scores.
        iterations: of the optimizer.
        converged: whether it ended of its own accord.
    """

    weights: np.ndarray
    iterations: int
    converged: bool

    def scores(self, features: np.ndarray) -> np.ndarray:
        """`(rows, features)` to logits `(rows, classes)`."""
        logits: np.ndarray = features @ self.weights[:-1] + self.weights[-1]
        return logits


def fit(
    features: np.ndarray, truths: np.ndarray, classes: int, strength: float, *, start: np.ndarray | None = None
) -> Regression:
    """Minimize the sum of the cross entropies plus `strength` / 2 times the sum of the weights' squares.

    The last row of the weights, the bias, has no penalty. scikit-learn's `C` is 1 / `strength`.

    Args:
        features: `(rows, features)`.
        truths: `(rows,)`, the number of each row's class.
        classes: how many there are.
        strength: of the penalty.
        start: weights to begin with; zeros by default.

    Raises:
        ImportError: SciPy is not installed.
    """
    minimize = optimizer()
    features = np.asarray(features, np.float64)
    first = np.zeros((features.shape[1] + 1, classes)) if start is None else start

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = _objective(flat.reshape(first.shape), features, truths, strength)
        return loss, gradient.ravel()

    options = {"maxiter": MAX_ITERATIONS, "maxls": 50, "gtol": _GRADIENT, "ftol": _PROGRESS}
    result = minimize(loss_and_gradient, first.ravel(), jac=True, method="L-BFGS-B", options=options)
    return Regression(result.x.reshape(first.shape), int(result.nit), bool(result.success))


def cross_entropy(logits: np.ndarray, truths: np.ndarray) -> float:
    """The mean over the rows of minus the log probability of each one's class.

    Args:
        logits: `(rows, classes)`.
        truths: `(rows,)`.
    """
    shifted = logits - logits.max(-1, keepdims=True)
    of_truth = shifted[np.arange(len(truths)), truths]
    return float((np.log(np.exp(shifted).sum(-1)) - of_truth).mean())


def optimizer() -> Callable[..., Any]:
    """SciPy's `minimize`.

    Raises:
        ImportError: it is not installed; the message says how.
    """
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise ImportError("the linear probe is fitted by SciPy; pip install 'clip-zoo[evaluate]'") from error
    function: Callable[..., Any] = minimize
    return function


def _objective(
    weights: np.ndarray, features: np.ndarray, truths: np.ndarray, strength: float
) -> tuple[float, np.ndarray]:
    """The objective and its gradient `(features + 1, classes)`, both divided by the number of rows."""
    rows = len(truths)
    logits = features @ weights[:-1] + weights[-1]
    logits -= logits.max(-1, keepdims=True)
    exponentials = np.exp(logits)
    sums = exponentials.sum(-1)
    of_truth = np.arange(rows), truths
    penalty = 0.5 * strength * np.square(weights[:-1]).sum()
    loss = (np.log(sums) - logits[of_truth]).sum() + penalty
    residuals = exponentials / sums[:, None]
    residuals[of_truth] -= 1  # (rows, classes): probabilities minus what they should be
    gradient = np.vstack([features.T @ residuals + strength * weights[:-1], residuals.sum(0)])
    return float(loss / rows), gradient / rows
