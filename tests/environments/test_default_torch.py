"""PyTorch's default build for Linux brings triton, which crashes a process that imports it after TensorFlow.

So nothing here may import triton, or PyTorch's compiler, which imports it: in any order of the frameworks.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.checkpoints import save_checkpoint
from support.configs import tiny_config

ROOT = Path(__file__).parents[2]
SHAPES = ROOT / "examples" / "shapes"
FRAMEWORKS = ["torch", "tf", "flax"]

LOAD = """
import sys
import numpy as np
from clip_core.backends import load_backend

source, *order = sys.argv[1:]
pixels = np.zeros((1, 3, 30, 30), np.float32)
for name in order:
    print(name, load_backend(name).load(source, device="cpu").encode_images(pixels).shape)
print("triton" in sys.modules, "torch._dynamo" in sys.modules)
"""


@pytest.fixture(scope="module", params=["default-torch", "default-torch-cuda"])
def start(request):
    """Start a program in the environment with triton, or in the one with the whole build."""
    python = Path(f"{sys.prefix}-{request.param}", "bin", "python")
    if not python.exists():
        option = " CUDA=1" if request.param.endswith("cuda") else ""
        pytest.skip(f"needs an environment with PyTorch's default build: make test-default-torch{option}")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1"}

    def run(*arguments):
        ran = subprocess.run(
            [python, "-W", "ignore", *map(str, arguments)],
            capture_output=True, text=True, check=False, env=environment, cwd=ROOT,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr[-2000:]
        return ran.stdout

    return run


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, tiny_config(vision={"num_channels": 3}))
    return folder


def test_the_environment_has_triton(start):
    assert start("-c", "import triton; print(triton.__version__)")


@pytest.mark.parametrize("order", list(itertools.permutations(FRAMEWORKS)), ids=" ".join)
def test_models_load_in_every_order(start, checkpoint, order):
    *loaded, compiler = start("-c", LOAD, checkpoint, *order).splitlines()
    assert [line.split()[0] for line in loaded] == list(order)
    assert compiler == "False False"


def test_verify_finishes_in_every_framework(start, checkpoint):
    result = json.loads(start("-m", "clip_core.cli", "verify", checkpoint, "--train-step", "--json"))
    assert result["backends"] == ["reference", *sorted(FRAMEWORKS)]
    assert result["failures"] == {}


def test_the_demo_shows_every_framework(start):
    program = [ROOT / "examples" / "demo.py", SHAPES / "checkpoint", SHAPES / "pictures"]
    out = start(*program, "--labels", SHAPES / "labels.txt")
    for name in FRAMEWORKS:
        assert f"{name}: 10 of 10 correct" in out
