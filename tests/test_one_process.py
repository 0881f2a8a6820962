"""The three frameworks and faiss, which brings threads of its own, live in one process, whichever comes first."""

from __future__ import annotations

import itertools
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

from clip_core.tasks.search import approximate
from clip_core.tasks.search.rows import IndexedImage
from clip_core.tasks.search.store import SqliteStore
from support.checkpoints import save_checkpoint
from support.configs import tiny_config
from support.tolerances import HIDDEN_STATES

# Runs in a fresh interpreter: a crash in a library's native code would take the tests with it.
CODE = """
import sys
import numpy as np
from clip_core.backends import load_backend
from clip_core.tasks.search.store import SqliteStore
from converters.verification.inputs import drawn_pixels
from clip_core.configuration import CLIPVisionConfig

source, index, *order = sys.argv[1:]
pixels = drawn_pixels(CLIPVisionConfig.from_pretrained(source))
for name in order:
    if name == "faiss":
        store = SqliteStore(index)
        (found,) = store.search(np.eye(8, dtype=np.float32)[3], 1)
        assert store._opened[1] is not None
        print(name, found.row.size)
        continue
    stages = load_backend(name).trace(source, {"pixel_values": pixels}, class_name="CLIPVisionModel")
    print(name, float(abs(stages["vision.pooled"]).sum()))
"""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, tiny_config(), "CLIPVisionModel")
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """An index with inverted lists; its rows are numbered by their sizes."""
    store = SqliteStore(tmp_path_factory.mktemp("index"), create=True)
    rows = [IndexedImage(b"%d" % number, number, 0, "", b"", b"", 1, 1) for number in range(8)]
    store.add(rows, np.eye(8, dtype=np.float32))
    with mock.patch.object(approximate, "WORTH", 1):
        store.compact()
    store.close()
    return store.folder


ORDERS = list(itertools.permutations(["torch", "tf", "flax"]))


@pytest.mark.parametrize(
    "order",
    [("faiss", *order) if number % 2 else (*order, "faiss") for number, order in enumerate(ORDERS)],
    ids=" ".join,
)
def test_each_runs_after_the_others(checkpoint, index, order):
    command = [sys.executable, "-c", CODE, str(checkpoint), str(index), *order]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert tuple(name for name, _ in lines) == order
    assert float(dict(lines)["faiss"]) == 3
    sums = [float(number) for name, number in lines if name != "faiss"]
    assert max(sums) - min(sums) < HIDDEN_STATES * sums[0]
