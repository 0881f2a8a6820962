"""OpenAI's plain state dict: a PyTorch file, recognized by the three numbers beside the weights.

OpenAI's archives are TorchScript, which only PyTorch can write; `converters.formats.torch_reading` reads them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from converters.formats import torch_writing
from converters.tensors import TensorEntry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write(path: Path, tensors: Mapping[str, TensorEntry]) -> None:
    """Write a state dict that OpenAI's `clip.load` reads; see `converters.formats.torch_writing.write`.

    Args:
        path: the file.
        tensors: by their names in OpenAI's layout.
    """
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    numbers: dict[str, int] = {}
    if "visual.conv1.weight" in shapes and "visual.positional_embedding" in shapes:
        places, patch_size = shapes["visual.positional_embedding"][0], shapes["visual.conv1.weight"][-1]
        numbers["input_resolution"] = math.isqrt(places - 1) * patch_size
    if "positional_embedding" in shapes:
        numbers["context_length"] = shapes["positional_embedding"][0]
    if "token_embedding.weight" in shapes:
        numbers["vocab_size"] = shapes["token_embedding.weight"][0]
    torch_writing.write(path, {**tensors, **{name: _number(value) for name, value in numbers.items()}})


def _number(value: int) -> TensorEntry:
    array = np.array(value, np.int64)
    return TensorEntry(array.shape, array.dtype, lambda: array)
