"""PyTorch's files: the same tensors as torch.load and torch.save, no code run, and no torch needed."""

from __future__ import annotations

import argparse
import datetime as dt
import enum
import functools
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections import Counter, defaultdict, deque
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
import torch

from converters.formats.torch_reading import read
from converters.formats.torch_writing import STORAGE_DTYPES, write
from support.entries import assert_same, entry
from support.messages import naming

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


def test_entries_other_than_tensors_are_left_out(tmp_path):
    torch.save({"weight": torch.ones(2), "version": 3, "names": ["a"]}, tmp_path / "model.bin")
    assert list(read(tmp_path / "model.bin")) == ["weight"]


class Settings(dict):
    """Of the test's own, like a trainer's settings."""


class Epochs(list):
    """Of the test's own."""


class Kind(enum.Enum):
    A = 1


def harmless():
    """Return values that training scripts save beside the weights."""
    return {
        "numpy scalar": np.float64(0.5),
        "numpy array": np.arange(3),
        "array of objects": np.array([None, "a"], object),
        "dtypes": [torch.float16, np.dtype("float32"), np.float32],
        "sets": [{1, 2}, frozenset({"a"})],
        "args": argparse.Namespace(lr=0.1, path=Path("weights")),
        "paths": [Path("a"), PurePosixPath("b"), PureWindowsPath("c")],
        "containers": [defaultdict(list, a=[1]), deque([1]), Counter("ab"), Settings(a=1), Epochs([1, 2]), range(3)],
        "numbers": [complex(1, 2), Decimal("0.1"), Fraction(1, 2), dt.date(2024, 1, 1), slice(1, 2)],
        "functions": [np.mean, torch.nn.functional.gelu, functools.partial(print, "this ran"), Kind.A],
        "torch": [torch.device("cpu"), torch.Size([1, 2]), torch.nn.Linear(2, 2), torch.Generator],
        "keys": {np.dtype("int8"): 1, Kind.A: 2, torch.float32: 3},
        "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "random state": np.random.default_rng(0).bit_generator.state,
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("wrappers", [[], ["state_dict"], ["model_state_dict"], ["model"], ["model", "state_dict"]])
def test_tensors_are_read_beside_anything_harmless(tmp_path, zipped, protocol, wrappers):
    value = {"weight": torch.arange(4.0), "bias": torch.ones(2)} | ({} if wrappers else harmless())
    for wrapper in reversed(wrappers):
        value = {**harmless(), wrapper: value}
    path = tmp_path / "model.ckpt"
    torch.save(value, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    found = read(path)
    assert list(found) == ["weight", "bias"]
    assert found["weight"].load().tolist() == [0, 1, 2, 3]


def test_of_nested_dicts_the_one_with_tensors_is_read(tmp_path):
    weights = {"weight": torch.ones(2)}
    for value in (
        {"model": {"name": "ViT-B-32"}, "model_state_dict": weights},
        {"model": {"name": "ViT-B-32"}, "state_dict": {}, **weights},
        {"model": "ViT-B-32", "state_dict": {"state_dict": weights}},
        {"model": weights, "optimizer": {"state_dict": {"exp_avg": torch.ones(2)}}},
    ):
        torch.save(value, tmp_path / "model.bin")
        assert list(read(tmp_path / "model.bin")) == ["weight"]
    value["model"] = value  # holds itself
    torch.save(value, tmp_path / "model.bin")
    assert list(read(tmp_path / "model.bin")) == []


def test_a_tensor_with_attributes_of_its_own_is_read(tmp_path):
    tensor, parameter = torch.ones(2), torch.nn.Parameter(torch.zeros(3))
    tensor.note, parameter.note = "decayed", Path("a")
    torch.save({"tensor": tensor, "parameter": parameter}, tmp_path / "model.bin")
    assert {name: entry.load().tolist() for name, entry in read(tmp_path / "model.bin").items()} == {
        "tensor": [1, 1],
        "parameter": [0, 0, 0],
    }


def test_a_tensor_that_is_not_dense_is_refused_by_its_kind(tmp_path):
    torch.save({"weight": torch.eye(3).to_sparse()}, tmp_path / "model.bin")
    with pytest.raises(ValueError, match=naming("torch._utils._rebuild_sparse_tensor", "dense")):
        read(tmp_path / "model.bin")


class Evil:
    def __reduce__(self):
        return (print, ("this ran",))


class Imports:
    """An object whose module leaves a trace when it is imported."""

    def __reduce__(self):
        return (functools.partial, (exec, "print('this ran')"))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("evil", [Evil(), Imports(), [Evil()], {Evil(): Evil()}, {"a": (Evil(), Imports())}])
def test_code_beside_the_weights_does_not_run(tmp_path, capsys, zipped, evil):
    path = tmp_path / "model.bin"
    torch.save({"weight": torch.ones(2), "args": evil}, path, _use_new_zipfile_serialization=zipped)
    assert list(read(path)) == ["weight"]
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_would_run_code_is_refused_and_does_not(tmp_path, capsys, zipped):
    path = tmp_path / "model.bin"
    torch.save({"weight": Evil()}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=naming("print")):
        read(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(ValueError, match=naming("print")):
        read(path)
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 0.95])
def test_a_file_that_is_cut_short_is_refused(tmp_path, share, zipped):
    path = tmp_path / "model.bin"
    torch.save({"weight": torch.randn(4000)}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="PyTorch|storage"):
        read(path)


def test_a_whole_model_in_a_pickle_is_refused_by_its_class(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.bin")
    with pytest.raises(ValueError, match=naming("torch.nn.modules.linear.Linear")):
        read(tmp_path / "model.bin")


def test_a_single_tensor_is_refused_as_one(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "model.bin")
    with pytest.raises(ValueError, match="a single tensor"):
        read(tmp_path / "model.bin")


def test_torch_is_not_needed(tmp_path):
    torch.save({"weight": torch.arange(3.0)}, tmp_path / "model.bin")
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path; from converters.formats.torch_reading import read\n"
        f"print(read(Path({str(tmp_path / 'model.bin')!r}))['weight'].load().tolist())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[0.0, 1.0, 2.0]"


def written(path, tensors):
    write(path, {name: entry(array) for name, array in tensors.items()})
    return path


@pytest.mark.parametrize("mmap", [True, False])
def test_torch_loads_what_is_written_without_torch(tmp_path, mmap):
    random = np.random.default_rng(0)
    tensors = {dtype.name: (random.standard_normal((3, 5)) * 9).astype(dtype) for dtype in STORAGE_DTYPES.values()}
    tensors |= {
        "scalar": np.float32(4.5).reshape(()),
        "empty": np.zeros((0, 3), np.float32),
        "a.b.ü": np.ones((2, 3, 4)),
    }
    path = written(tmp_path / "pytorch_model.bin", tensors)
    loaded = torch.load(path, weights_only=True, mmap=mmap)
    assert loaded.keys() == tensors.keys()
    for name, array in tensors.items():
        assert tuple(loaded[name].shape) == array.shape
        assert str(loaded[name].dtype) == f"torch.{array.dtype}"
        assert loaded[name].is_contiguous()
        assert as_bits(loaded[name]).tobytes() == array.tobytes()
    assert_same(read(path), tensors)


def test_tensors_are_aligned_and_stored_as_they_are(tmp_path):
    tensors = {f"tensor.{number}": np.full(number, 1.5, np.float32) for number in range(1, 40)}
    path = written(tmp_path / "pytorch_model.bin", tensors)
    assert torch.load(path, weights_only=True, mmap=True)["tensor.7"].data_ptr() % 64 == 0
    loaded = read(path)
    assert all(entry.load().ctypes.data % 64 == 0 for entry in loaded.values())
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def test_members_of_four_gigabytes_and_more_stay_aligned(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 50)  # so that a test need not write as much
    path = written(tmp_path / "pytorch_model.bin", {"a": np.arange(100.0), "b": np.arange(3, dtype=np.float32)})
    assert torch.load(path, weights_only=True, mmap=True)["a"].tolist() == list(range(100))
    assert all(entry.load().ctypes.data % 64 == 0 for entry in read(path).values())


def test_the_same_tensors_make_the_same_file(tmp_path):
    one, other = (written(tmp_path / name, {"weight": np.arange(3.0)}) for name in ("model.a", "model.b"))
    assert one.read_bytes() == other.read_bytes()


def test_a_dtype_that_torch_has_no_storage_for_is_refused_by_name_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=naming("weight", "uint16", "float64")):
        written(tmp_path / "model.bin", {"weight": np.zeros(3, np.uint16)})
    assert not (tmp_path / "model.bin").exists()


class Tower(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(12)))
        self.proj = torch.nn.Parameter(torch.randn(3, 2))
        self.register_buffer("input_resolution", torch.tensor(224))
        self.sizes = [1, 2, 3]

    def forward(self, x):
        return self.blocks(x) @ self.proj


@pytest.mark.parametrize("how", ["trace", "script"])
@pytest.mark.parametrize("half", [False, True])
def test_archives_of_torchscript(tmp_path, how, half):
    tower = Tower().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, and old checkpoints are not
        scripted = torch.jit.trace(tower, torch.zeros(1, 3)) if how == "trace" else torch.jit.script(tower)
        torch.jit.save(scripted.half() if half else scripted, tmp_path / "model.pt")
    found = read(tmp_path / "model.pt")
    expected = (tower.half() if half else tower).state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].load().tobytes() == as_bits(tensor).tobytes()
        assert found[name].shape == tuple(tensor.shape)
