"""A framework that is not installed is one line that says which extra to install, in every program; exit code 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.messages import mentions
from support.training_data import write_folder

ROOT = Path(__file__).parents[2]
CHECKPOINT = ROOT / "examples" / "shapes" / "checkpoint"
PICTURES = CHECKPOINT.parent / "pictures"
IMAGE = PICTURES / "a-green-cross.png"
CLI = ("-m", "clip_core.cli")
CLASSIFY = (*CLI, "classify", IMAGE, "--labels", "a", "b", "--model", CHECKPOINT)
DEMO = ("examples/demo.py", CHECKPOINT, PICTURES, "--labels", PICTURES / "labels.json")

BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture
def lines(tmp_path):
    """A function that runs a program without some packages, and returns its exit code and lines of stderr."""

    def run(blocked, *command):
        (tmp_path / "sitecustomize.py").write_text(BLOCKER.format(blocked=set(blocked)))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT)))}
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env=environment,
        )
        assert done.stdout == ""
        return done.returncode, done.stderr.splitlines()

    return run


@pytest.mark.parametrize(
    ("name", "blocked"),
    [("torch", ["torch"]), ("tf", ["tensorflow"]), ("tf", ["keras"]), ("flax", ["jax"]), ("flax", ["jaxlib"]),
     ("flax", ["flax"])],
)  # fmt: skip
def test_classify_names_the_package_and_the_extra(lines, name, blocked):
    code, (line,) = lines(blocked, *CLASSIFY, "--backend", name)
    assert code == 2
    assert mentions(line, f"--backend {name}", *blocked, f"pip install 'clip-zoo[{name}]'"), line


@pytest.mark.parametrize(
    ("name", "blocked"), [("torch", "torch"), ("tf", "tensorflow"), ("tf", "keras"), ("flax", "jax"), ("flax", "flax")]
)
def test_importing_a_backend_names_them_without_the_import_inside(lines, name, blocked):
    code, (first, *_, last) = lines([blocked], "-c", f"import clip_{name}")
    assert code == 1
    assert mentions(last, "NotInstalledError", f"clip_{name}", blocked, f"pip install 'clip-zoo[{name}]'")
    assert first.startswith("Traceback")


@pytest.mark.parametrize(
    ("command", "keras_backend"),
    [
        ((*CLASSIFY, "--backend", "tf"), "nonsense"),
        ((*CLI, "verify", CHECKPOINT, "--backend", "tf", "reference"), "jax"),
    ],
)
def test_keras_on_another_backend_is_bad_input(lines, monkeypatch, command, keras_backend):
    monkeypatch.setenv("KERAS_BACKEND", keras_backend)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    code, (*_, line) = lines(["jax", "jaxlib"], *command)
    assert code == 2
    assert mentions(line, "clip-zoo", "clip_tf", "unset", "KERAS_BACKEND", f"'{keras_backend}'"), line


@pytest.mark.parametrize(
    "command",
    [
        ("verify", CHECKPOINT, "--backend", "reference", "flax"),
        ("evaluate", "retrieval", "--data", "DATA", "--model", CHECKPOINT, "--backend", "flax"),
        ("train", "--data", "DATA", "--model", CHECKPOINT, "--checkpoint-dir", "RUN", "--backend", "flax"),
    ],
    ids=lambda command: command[0],
)
def test_other_commands_name_them_too(lines, tmp_path, command):
    places = {"DATA": write_folder(tmp_path / "data", 2), "RUN": tmp_path / "run"}
    code, (line,) = lines(["jax", "jaxlib"], *CLI, *(places.get(word, word) for word in command))
    assert code == 2
    assert mentions(line, "jax", "pip install 'clip-zoo[flax]'"), line
    assert not places["RUN"].exists()


@pytest.mark.parametrize("command", [(*CLI, "verify", CHECKPOINT), CLASSIFY, DEMO], ids=["verify", "classify", "demo"])
def test_without_any_framework_one_line_says_what_to_install(lines, command):
    code, (line,) = lines(["torch", "tensorflow", "keras", "jax", "jaxlib", "flax"], *command)
    assert code == 2
    assert "pip install 'clip-zoo[" in line
