"""The three frameworks live in one process, whichever comes first."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from support.checkpoints import save_checkpoint
from support.configs import tiny_config
from support.tolerances import HIDDEN_STATES

# Runs in a fresh interpreter: a crash in a library's native code would take the tests with it.
CODE = """
import sys
from clip_core.backends import load_backend
from converters.verification.inputs import drawn_pixels
from clip_core.configuration import CLIPVisionConfig

source, *order = sys.argv[1:]
pixels = drawn_pixels(CLIPVisionConfig.from_pretrained(source))
for name in order:
    stages = load_backend(name).trace(source, {"pixel_values": pixels}, class_name="CLIPVisionModel")
    print(name, float(abs(stages["vision.pooled"]).sum()))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, tiny_config(), "CLIPVisionModel")
    return folder


@pytest.mark.parametrize("order", list(itertools.permutations(["torch", "tf", "flax"])), ids=" ".join)
def test_each_runs_after_the_others(checkpoint, order):
    command = [sys.executable, "-c", CODE, str(checkpoint), *order]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert tuple(name for name, _ in lines) == order
    sums = [float(number) for _, number in lines]
    assert max(sums) - min(sums) < HIDDEN_STATES * sums[0]
