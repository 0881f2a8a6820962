"""These tests need a CUDA device; a rehearsal runs them on a CPU."""

from __future__ import annotations

import pytest
import torch

from support import flash_kernels
from support.gpu import REHEARSAL


@pytest.fixture(autouse=True)
def device(monkeypatch):
    if REHEARSAL:
        flash_kernels.install("torch 2.11", monkeypatch)
    elif not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
