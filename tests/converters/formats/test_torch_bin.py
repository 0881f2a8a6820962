"""The reader of PyTorch's files: the same tensors as torch.load, and no code run."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from converters.formats.torch_bin import read

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]


def state_dict():
    torch.manual_seed(0)
    base = torch.randn(6, 8)
    tensors = {str(dtype): (base * 3).to(dtype) for dtype in DTYPES}
    tensors |= {
        "scalar": torch.tensor(4.6),
        "transposed": base.t(),
        "slice": base[2:4, 1::2],
        "empty": torch.zeros(0, 3),
    }
    tensors |= {"shared": base, "parameter": torch.nn.Parameter(torch.randn(3))}
    return tensors


def as_bits(tensor: torch.Tensor) -> np.ndarray:
    tensor = tensor.detach().contiguous()
    return tensor.view(torch.uint8).numpy() if tensor.ndim else tensor[None].view(torch.uint8).numpy()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before PyTorch 1.6"])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_tensors_equal_those_of_torch_load(tmp_path, zipped, wrapper):
    path = tmp_path / "pytorch_model.bin"
    tensors = state_dict()
    value = tensors if wrapper is None else {wrapper: tensors, "epoch": 3}
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    found = read(path)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        array = found[name].load()
        assert found[name].shape == array.shape == tuple(tensor.shape)
        assert np.ascontiguousarray(array).tobytes() == as_bits(tensor).tobytes(), name


def test_entries_that_are_no_tensors_are_left_out(tmp_path):
    torch.save({"weight": torch.ones(2), "version": 3, "names": ["a"]}, tmp_path / "model.bin")
    assert list(read(tmp_path / "model.bin")) == ["weight"]


class Evil:
    def __reduce__(self):
        return (print, ("this ran",))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_does_not(tmp_path, capsys, zipped):
    path = tmp_path / "model.bin"
    torch.save({"weight": Evil()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="print.*refused"):
        read(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match="refused"):
        read(path)
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.95])
def test_a_file_that_is_cut_short_is_refused(tmp_path, share, zipped):
    path = tmp_path / "model.bin"
    torch.save({"weight": torch.randn(4000)}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="it ends inside|not a whole file|it does not begin|refers to"):
        read(path)


def test_a_whole_model_in_a_pickle_is_refused_by_its_class(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.bin")
    with pytest.raises(ValueError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read(tmp_path / "model.bin")


def test_torch_is_not_needed(tmp_path):
    torch.save({"weight": torch.arange(3.0)}, tmp_path / "model.bin")
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from converters.formats.torch_bin import read\n"
        f"print(read(Path({str(tmp_path / 'model.bin')!r}))['weight'].load().tolist())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[0.0, 1.0, 2.0]"
