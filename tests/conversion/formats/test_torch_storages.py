"""Tensors of every dtype that PyTorch's files state, in storages with and without a dtype of their own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from converters.formats.torch_reading import read
from support.messages import naming


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_dtypes_without_a_storage_are_read(tmp_path, zipped):
    values = torch.tensor([[0.5, -2.0, 3.0], [96.0, 0.0, 1.0]])
    saved = {
        **{name: values.to(getattr(torch, name)) for name in ("float8_e4m3fn", "float8_e5m2")},
        **{name: values.abs().to(getattr(torch, name)) for name in ("uint16", "uint32", "uint64")},
    }
    saved["part"] = saved["uint32"].T[1:]
    torch.save(saved, tmp_path / "model.bin", _use_new_zipfile_serialization=zipped)
    for name, found in read(tmp_path / "model.bin").items():
        assert found.dtype.name == ("uint32" if name == "part" else name)
        expected = saved[name].to(torch.float64).numpy()
        np.testing.assert_array_equal(found.load().astype(np.float64), expected)
        np.testing.assert_array_equal(found.own().astype(np.float64), expected)


def test_a_tensor_of_another_dtype_is_refused_by_its_name(tmp_path):
    torch.save({"weight": torch.zeros(3).to(torch.float8_e4m3fnuz)}, tmp_path / "model.bin")
    with pytest.raises(ValueError, match=naming("torch.float8_e4m3fnuz")):
        read(tmp_path / "model.bin")
