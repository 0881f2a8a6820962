"""Named arrays in any framework: a dict, an object, and convertible."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Mapping
from enum import Enum

import ml_dtypes
import numpy as np
import pytest

from clip_core.processing.batch import BatchFeature, check_tensor_type, framework_of, to_numpy, to_tensor
from support.messages import naming

IDS = [[1, 2, 3], [4, 5, 6]]
TENSOR_TYPES = ("np", "pt", "tf", "jax")


def as_framework(values, tensor_type):
    if tensor_type == "pt":
        import torch

        return torch.tensor(values)
    if tensor_type == "tf":
        import tensorflow as tf

        return tf.constant(values)
    if tensor_type == "jax":
        import jax.numpy as jnp

        return jnp.array(values)
    return np.array(values)


class TestBatchFeature:
    def test_it_is_a_mapping_and_an_object(self):
        batch = BatchFeature({"input_ids": IDS, "length": [3, 3]})
        assert batch["input_ids"] is batch.input_ids is IDS
        assert isinstance(batch, Mapping)
        assert dict(**batch) == {"input_ids": IDS, "length": [3, 3]}
        assert list(batch) == ["input_ids", "length"]
        assert "length" in batch

    def test_missing_names(self):
        batch = BatchFeature({"input_ids": IDS})
        with pytest.raises(AttributeError, match=naming("BatchFeature", "'pixel_values'", "input_ids")):
            _ = batch.pixel_values
        with pytest.raises(KeyError):
            batch["pixel_values"]
        assert not hasattr(BatchFeature(), "anything")

    def test_copies(self):
        batch = BatchFeature({"input_ids": np.array(IDS)})
        for copied in (copy.copy(batch), copy.deepcopy(batch), pickle.loads(pickle.dumps(batch))):  # noqa: S301  our own
            assert isinstance(copied, BatchFeature)
            np.testing.assert_array_equal(copied.input_ids, IDS)
        copied.input_ids[0, 0] = 9
        assert batch.input_ids[0, 0] == 1

    def test_conversion_is_in_place_and_returns_itself(self):
        batch = BatchFeature({"input_ids": IDS})
        assert batch.convert_to_tensors("np") is batch
        assert batch.input_ids.dtype == np.int64
        assert batch.convert_to_tensors(None) is batch

    def test_a_failure_names_the_field(self):
        with pytest.raises(ValueError, match=naming("input_ids", "padding=True")):
            BatchFeature({"input_ids": [[1, 2], [3]]}, tensor_type="np")

    def test_move_to_a_device_and_dtype_in_torch(self):
        import torch

        batch = BatchFeature({"input_ids": IDS, "pixel_values": [[0.5]]}, tensor_type="pt")
        assert batch.to("cpu", torch.float16) is batch
        assert (batch.input_ids.dtype, batch.pixel_values.dtype) == (torch.int64, torch.float16)
        assert batch.to("meta").input_ids.device.type == "meta"
        assert batch.to(device="meta", dtype=torch.bfloat16).pixel_values.dtype == torch.bfloat16
        assert batch.to(torch.float32).input_ids.dtype == torch.int64
        assert batch.to(dtype=torch.float64).pixel_values.dtype == torch.float64

    def test_move_to_a_device_in_jax(self):
        import jax

        batch = BatchFeature({"input_ids": IDS}, tensor_type="jax")
        device = jax.devices("cpu")[0]
        assert batch.to(device).input_ids.devices() == {device}
        assert batch.to("cpu").input_ids.devices() == {device}
        assert batch.to(device=device).input_ids.devices() == {device}

    def test_move_to_a_device_in_tensorflow(self):
        batch = BatchFeature({"input_ids": IDS}, tensor_type="tf")
        assert batch.to("CPU:0").input_ids.device.endswith("CPU:0")
        np.testing.assert_array_equal(batch.input_ids, IDS)

    def test_what_is_no_tensor_stays(self):
        batch = BatchFeature({"ids": np.array(IDS), "names": ["a"]})
        assert batch.to("cuda").names == ["a"]
        assert isinstance(batch.ids, np.ndarray)


class TestToTensor:
    @pytest.mark.parametrize("target", TENSOR_TYPES)
    @pytest.mark.parametrize("source", TENSOR_TYPES)
    def test_any_framework_to_any_other(self, source, target):
        for values in (IDS, [[0.5, 1.5]]):
            converted = to_tensor(as_framework(values, source), target)
            assert framework_of(converted) == target
            np.testing.assert_array_equal(to_numpy(converted), values)

    @pytest.mark.parametrize("target", TENSOR_TYPES)
    def test_nested_lists(self, target):
        assert to_numpy(to_tensor(IDS, target)).dtype == (np.int32 if target == "jax" else np.int64)
        assert to_numpy(to_tensor([[0.5]], target)).dtype == (np.float64 if target == "np" else np.float32)
        assert to_numpy(to_tensor([[True]], target)).dtype == np.bool_

    @pytest.mark.parametrize("target", ["np", "pt", "tf"])
    def test_dtypes_stay(self, target):
        for dtype in (np.uint8, np.int32, np.int64, np.float16, np.float32, np.float64, ml_dtypes.bfloat16):
            array = np.arange(4).astype(dtype)
            converted = to_numpy(to_tensor(array, target))
            assert converted.dtype == dtype
            np.testing.assert_array_equal(converted, array)

    def test_bfloat16_of_torch(self):
        import torch

        tensor = torch.tensor([[1.5, -2.0]], dtype=torch.bfloat16, requires_grad=True)
        np.testing.assert_array_equal(to_numpy(tensor), np.array([[1.5, -2.0]], ml_dtypes.bfloat16))
        np.testing.assert_array_equal(to_numpy(tensor.T), [[1.5], [-2.0]])

    @pytest.mark.parametrize("source", TENSOR_TYPES)
    def test_lists_of_arrays(self, source):
        rows = [as_framework(row, source) for row in IDS]
        assert to_tensor(rows, "np").tolist() == IDS

    def test_an_array_of_the_framework_is_returned_as_it_is(self):
        array = np.array(IDS)
        assert to_tensor(array, "np") is array

    def test_strided_and_reversed_arrays(self):
        array = np.arange(12).reshape(3, 4)[::-1, ::2]
        np.testing.assert_array_equal(to_tensor(array, "pt"), array)

    @pytest.mark.parametrize("target", TENSOR_TYPES)
    @pytest.mark.parametrize("rows", [[[1, 2], [3]], [[[1], [2]], [[3]]], [[1], None], [np.zeros(2), np.zeros(3)]])
    def test_ragged_rows(self, rows, target):
        with pytest.raises(ValueError, match=naming("padding=True")):
            to_tensor(rows, target)

    @pytest.mark.parametrize("target", TENSOR_TYPES)
    def test_strings(self, target):
        with pytest.raises(ValueError, match=naming("strings")):
            to_tensor([["a"]], target)

    def test_unknown_framework(self):
        with pytest.raises(ValueError, match=naming("return_tensors='mx'", "np", "pt", "tf", "jax", None)):
            to_tensor(IDS, "mx")

    def test_enum_as_in_transformers(self):
        assert check_tensor_type(Enum("TensorType", {"PYTORCH": "pt"}).PYTORCH) == "pt"


class TestFrameworkOf:
    @pytest.mark.parametrize("tensor_type", TENSOR_TYPES)
    def test_arrays(self, tensor_type):
        assert framework_of(as_framework(IDS, tensor_type)) == tensor_type

    def test_subclasses_and_variables(self):
        import tensorflow as tf
        import torch

        assert framework_of(torch.nn.Parameter(torch.zeros(2))) == "pt"
        assert framework_of(tf.Variable([1.0])) == "tf"

    @pytest.mark.parametrize("value", [None, 1, "a", IDS, {}, object()])
    def test_other_things(self, value):
        assert framework_of(value) is None


def test_without_the_frameworks():
    code = """
import sys
for name in ("torch", "tensorflow", "jax"):
    sys.modules[name] = None
from clip_core.processing.batch import BatchFeature
assert BatchFeature({"a": [[1, 2]]}, tensor_type="np").to("cpu").a.shape == (1, 2)
try:
    BatchFeature({"a": [1]}, tensor_type="pt")
except ImportError:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
