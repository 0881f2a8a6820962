"""Loading needs memory for the weights once, in every framework: no copy of the file, and no initialization."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from clip_core.modeling.parameters import parameter_table
from converters.formats.safetensors import write
from converters.tensors import TensorEntry
from support.configs import tiny_config

# A separate program, as earlier work in the same process would determine its peak. A small model is loaded first, for
# costs independent of size. Weights are read, so that their pages are in memory.
PROGRAM = """
import sys
from support.backends import BACKENDS
from support.memory import peak

name, small, large = sys.argv[1:]
backend = next(backend for backend in BACKENDS if backend.name == name)
backend.load("CLIPModel", small)
before = peak()
model = backend.load("CLIPModel", large)
if name == "torch":
    touched = [parameter.flatten()[::512].sum().item() for parameter in model.parameters()]
print(peak() - before)
"""


def save_ones(folder, config):
    """Save a checkpoint, and return the size of its weights."""
    folder.mkdir()
    config.save_pretrained(folder)

    def ones(shape):
        return TensorEntry(shape, np.dtype(np.float32), lambda: np.ones(shape, np.float32))

    shapes = parameter_table(config, "CLIPModel")
    write(folder / "model.safetensors", {name: ones(shape) for name, shape in shapes.items()})
    return 4 * sum(map(math.prod, shapes.values()))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A small one, a large one, and the large one's size."""
    folder = tmp_path_factory.mktemp("checkpoints")
    save_ones(folder / "small", tiny_config())
    # A third is one table, so that a second copy of it alone would show; the rest is transposed for two frameworks.
    text = {"vocab_size": 24_000, "hidden_size": 640, "intermediate_size": 2560, "num_hidden_layers": 6}
    return folder / "small", folder / "large", save_ones(folder / "large", tiny_config(text))


# Fixed cost in Python and the framework: Keras' layers and variables take the most, and memory that a transposed tensor
# leaves in the allocator. Measured: 2 to 14 MB, which the tenth mostly covers already.
BESIDE_WEIGHTS = 10e6


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the peak of memory")
def test_loading_holds_the_weights_once(backend, checkpoints, run_program):
    small, large, size = checkpoints
    # A second copy of the table alone would be 1.36; less than once would be measured wrongly.
    assert 0.95 * size < int(run_program(PROGRAM, backend.name, small, large)) < 1.1 * size + BESIDE_WEIGHTS
