"""Arrays to tensors and back: one memory, in the dtypes too that numpy has only through ml_dtypes."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch

from clip_torch.arrays import from_numpy, to_numpy, to_torch

DTYPES = {
    np.float32: torch.float32,
    np.int64: torch.int64,
    ml_dtypes.bfloat16: torch.bfloat16,
    ml_dtypes.float8_e4m3fn: torch.float8_e4m3fn,
    ml_dtypes.float8_e5m2: torch.float8_e5m2,
}


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_and_its_tensor_share_their_memory(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    tensor = to_torch(array)
    assert tensor.dtype == DTYPES[dtype]
    found = to_numpy(tensor)
    assert found.dtype == array.dtype
    array[1, 2] = 3
    assert tensor[1, 2].item() == found[1, 2] == 3


def test_an_array_that_cannot_be_written_is_copied():
    array = np.arange(3)
    array.flags.writeable = False
    from_numpy(array)[0] = 7
    assert array[0] == 0
