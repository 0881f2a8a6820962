"""Adapter for a product of two square matrices, which measures the machine's peak multiplication rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


class MatrixProduct:
    """A replacement for a model."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.versions = {"torch": torch.__version__}

    def work(self, _stage: str, inputs: dict[str, np.ndarray], repeats: int = 1) -> Callable[[], torch.Tensor]:
        """Return a function that multiplies the matrix `(n, n)` by itself `repeats` times, into preallocated memory."""
        matrix = torch.from_numpy(inputs["matrix"]).to(self.device, self.dtype)
        product = torch.empty_like(matrix)

        def work() -> torch.Tensor:
            for _ in range(repeats):
                torch.mm(matrix, matrix, out=product)
            if self.device == "cuda":
                torch.cuda.synchronize()
            return product

        return work

    def arrays(self, product: torch.Tensor) -> dict[str, np.ndarray]:
        """Return the product."""
        return {"product": product.float().cpu().numpy()}


def load(threads: int, *, checkpoint: str = "", device: str = "cpu", dtype: str = "float32", **_: Any) -> MatrixProduct:  # noqa: ARG001
    """Create the replacement for a model; nothing is loaded.

    Args:
        threads: number of threads to use.
        checkpoint: ignored.
        device: the device to multiply on.
        dtype: dtype of the matrices.
        **_: options of other adapters, ignored.
    """
    torch.set_num_threads(threads)
    return MatrixProduct(device, getattr(torch, dtype))
