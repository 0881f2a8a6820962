"""The safetensors reader and writer against the library itself."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from converters.formats.safetensors import DTYPES, read, write
from converters.tensors import TensorEntry
from support.messages import naming


def entry(array: np.ndarray) -> TensorEntry:
    return TensorEntry(array.shape, array.dtype, lambda: array)


arrays = st.sampled_from([dtype for dtype in DTYPES.values() if dtype.isbuiltin == 1]).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
)


@given(st.dictionaries(st.text(min_size=1).filter(lambda name: name != "__metadata__"), arrays, max_size=5))
def test_what_is_written_is_read_back_bit_for_bit(tmp_path_factory, tensors):
    path = tmp_path_factory.mktemp("written") / "model.safetensors"
    write(path, {name: entry(array) for name, array in tensors.items()})
    found = read(path)
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert (found[name].shape, found[name].dtype, found[name].nbytes) == (array.shape, array.dtype, array.nbytes)
        assert found[name].load().tobytes() == array.tobytes()


def test_the_library_reads_what_we_write_and_we_read_what_it_writes(tmp_path):
    from safetensors.numpy import load_file, save_file

    random = np.random.default_rng(0)
    tensors = {
        "bytes": random.integers(0, 255, 3).astype(np.uint8),
        "half": random.standard_normal((5, 2)).astype(np.float16),
        "scalar": np.full((), 2.5, np.float32),
        "double": random.standard_normal(7),
    }
    write(tmp_path / "ours", {name: entry(array) for name, array in tensors.items()})
    save_file(tensors, tmp_path / "theirs")  # without the metadata that transformers requires
    for found in (load_file(tmp_path / "ours"), {name: e.load() for name, e in read(tmp_path / "theirs").items()}):
        assert found.keys() == tensors.keys()
        assert all(np.array_equal(found[name], tensors[name]) for name in tensors)


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2])
def test_dtypes_that_numpy_lacks(tmp_path, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    write(tmp_path / "model", {"weight": entry(array)})
    found = read(tmp_path / "model")["weight"]
    assert found.dtype == array.dtype
    assert found.load().tobytes() == array.tobytes()


def test_tensors_are_views_of_the_mapped_file_that_can_be_written_to_without_changing_it(tmp_path):
    path = tmp_path / "model"
    write(path, {"weight": entry(np.zeros(4, np.float32))})
    before = path.read_bytes()
    view = read(path)["weight"].load()
    view[:] = 1
    assert path.read_bytes() == before


def test_a_transposed_array_is_written_in_its_own_order(tmp_path):
    array = np.arange(6, dtype=np.int32).reshape(2, 3).T
    write(tmp_path / "model", {"weight": entry(array)})
    assert np.array_equal(read(tmp_path / "model")["weight"].load(), array)


@pytest.mark.parametrize("damage", ["cut", "text", "empty"])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = tmp_path / "model"
    write(path, {"weight": entry(np.zeros(100, np.float32))})
    content = {"cut": path.read_bytes()[:-10], "text": b"version https://git-lfs", "empty": b""}[damage]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=naming("safetensors")):
        read(path)


def test_offsets_outside_the_file_are_refused(tmp_path):
    header = json.dumps({"weight": {"dtype": "F32", "shape": [1000], "data_offsets": [0, 4000]}}).encode()
    (tmp_path / "model").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(ValueError, match=naming("safetensors")):
        read(tmp_path / "model")


def test_a_dtype_that_the_format_lacks_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=naming("weight", "complex64")):
        write(tmp_path / "model", {"weight": entry(np.zeros(3, np.complex64))})
