"""A product of two square matrices, which tells how fast the machine multiplies at best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


class MatrixProduct:
    """In place of a model."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.versions = {"torch": torch.__version__}

    def work(self, _stage: str, inputs: dict[str, np.ndarray], repeats: int = 1) -> Callable[[], torch.Tensor]:
        """The product of the matrix `(n, n)` with itself, so many times, into memory that is there already."""
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
        """The product."""
        return {"product": product.float().cpu().numpy()}


def load(threads: int, *, checkpoint: str = "", device: str = "cpu", dtype: str = "float32", **_: Any) -> MatrixProduct:  # noqa: ARG001
    """Load nothing.

    Args:
        threads: how many it may use.
        checkpoint: what the others load.
        device: where to multiply.
        dtype: of the matrices.
        **_: what the others take.
    """
    torch.set_num_threads(threads)
    return MatrixProduct(device, getattr(torch, dtype))
