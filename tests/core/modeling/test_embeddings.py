"""The matrix of bicubic interpolation against PyTorch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clip_core.modeling.embeddings import bicubic_matrix
from support.tolerances import FLOAT64_OPERATION, FLOAT64_ROUNDING


@pytest.mark.parametrize(("size", "new"), [((5, 5), (4, 7)), ((7, 7), (12, 3)), ((1, 1), (3, 2)), ((3, 3), (3, 3))])
def test_it_is_what_pytorch_computes(size, new):
    grid = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 2, *size)))
    expected = F.interpolate(grid, size=new, mode="bicubic", align_corners=False).numpy()
    down, across = bicubic_matrix(size[0], new[0]), bicubic_matrix(size[1], new[1])
    np.testing.assert_allclose(down @ grid.numpy() @ across.T, expected, **FLOAT64_OPERATION)


@pytest.mark.parametrize(("size", "new_size"), [(2, 9), (14, 5), (1, 4)])
def test_constants_stay_constant(size, new_size):
    np.testing.assert_allclose(bicubic_matrix(size, new_size).sum(axis=1), 1.0, rtol=FLOAT64_ROUNDING)
