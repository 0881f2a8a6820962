"""Tensors for converters to work on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.modeling.parameters import MODEL_CLASSES, parameter_table
from converters.tensors import TensorEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clip_core.configuration import CLIPConfig


def entry(array: np.ndarray) -> TensorEntry:
    return TensorEntry(array.shape, array.dtype, lambda: array)


def part_of(config: CLIPConfig, class_name: str) -> Any:
    """Return the part of a full configuration that a class takes."""
    key = MODEL_CLASSES[class_name].base_config_key
    return getattr(config, key) if key else config


def random_arrays(config: CLIPConfig, class_name: str = "CLIPModel", dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Return a value for every parameter of a class, by canonical name; no two tensors are alike."""
    random = np.random.default_rng(0)
    table = parameter_table(part_of(config, class_name), class_name)
    return {name: (random.standard_normal(shape) / 8).astype(dtype) for name, shape in table.items()}


def random_entries(
    config: CLIPConfig, class_name: str = "CLIPModel", dtype: Any = np.float32
) -> dict[str, TensorEntry]:
    return {name: entry(array) for name, array in random_arrays(config, class_name, dtype).items()}


def total(arrays: Mapping[str, np.ndarray]) -> float:
    """Return the sum of all values, exactly rounded, and so whatever their order."""
    return math.fsum(value for array in arrays.values() for value in array.astype(np.float64).flat)


def assert_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Check that names, dtypes, shapes and bits are the same."""
    assert one.keys() == other.keys()
    for name in one:
        first, second = (
            np.asarray(m[name].load() if isinstance(m[name], TensorEntry) else m[name]) for m in (one, other)
        )
        assert (first.dtype, first.shape) == (second.dtype, second.shape), name
        assert first.tobytes() == second.tobytes(), name


def assert_identical(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Check that two outputs have the same names in the same order, and equal values."""
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert np.array_equal(found[name], array), name
