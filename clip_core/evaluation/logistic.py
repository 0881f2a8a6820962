"""Multinomial logistic regression with an L2 penalty, fitted by L-BFGS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ITERATIONS = 1000  # as in appendix A.3 of Radford et al. 2021

_GRADIENT = 1e-5  # convergence: maximum absolute gradient of the mean loss
_PROGRESS = 64 * np.finfo(np.float64).eps  # convergence: relative progress per step, as in scikit-learn


@dataclass(frozen=True)
class Regression:
    """A fitted regression.

    Attributes:
        weights: `(features + 1, classes)`, float64; the last row is the bias.
        iterations: iterations of the optimizer.
        converged: True if it converged within them.
    """

    weights: np.ndarray
    iterations: int
    converged: bool

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Map features `(rows, features)` to logits `(rows, classes)`."""
        logits: np.ndarray = features @ self.weights[:-1] + self.weights[-1]
        return logits


def fit(
    features: np.ndarray, truths: np.ndarray, classes: int, strength: float, *, start: np.ndarray | None = None
) -> Regression:
    """Minimize the summed cross-entropy plus `strength` / 2 times the squared L2 norm of the weights.

    The last row of the weights, the bias, is not penalized. scikit-learn's `C` is 1 / `strength`.

    Args:
        features: `(rows, features)`.
        truths: `(rows,)`, the class index of each row.
        classes: number of classes.
        strength: weight of the penalty.
        start: initial weights; zeros by default.

    Raises:
        ImportError: if SciPy is not installed.
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
    """Return the mean cross-entropy over the rows.

    Args:
        logits: `(rows, classes)`.
        truths: `(rows,)`, the class index of each row.
    """
    shifted = logits - logits.max(-1, keepdims=True)
    of_truth = shifted[np.arange(len(truths)), truths]
    return float((np.log(np.exp(shifted).sum(-1)) - of_truth).mean())


def optimizer() -> Callable[..., Any]:
    """Return SciPy's `minimize`.

    Raises:
        ImportError: if SciPy is not installed; the message says how to install it.
    """
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise ImportError("the linear probe needs SciPy; pip install 'clip-zoo[evaluate]'") from error
    function: Callable[..., Any] = minimize
    return function


def _objective(
    weights: np.ndarray, features: np.ndarray, truths: np.ndarray, strength: float
) -> tuple[float, np.ndarray]:
    """Return the objective and its gradient `(features + 1, classes)`, both divided by the number of rows."""
    rows = len(truths)
    logits = features @ weights[:-1] + weights[-1]
    logits -= logits.max(-1, keepdims=True)
    exponentials = np.exp(logits)
    sums = exponentials.sum(-1)
    of_truth = np.arange(rows), truths
    penalty = 0.5 * strength * np.square(weights[:-1]).sum()
    loss = (np.log(sums) - logits[of_truth]).sum() + penalty
    residuals = exponentials / sums[:, None]
    residuals[of_truth] -= 1  # (rows, classes): predicted minus target probabilities
    gradient = np.vstack([features.T @ residuals + strength * weights[:-1], residuals.sum(0)])
    return float(loss / rows), gradient / rows
