"""A fourth backend is a plug-in: a toy in numpy, from its own package and entry point, without a change to our code."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_core.cli import BROKEN_LIBRARY
from clip_core.configuration import CLIPConfig
from converters.checkpoint import open_checkpoint
from converters.verification import reference
from support.messages import mentions
from support.tolerances import EMBEDDINGS

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "examples" / "shapes" / "checkpoint"
LABELS = ["a red circle", "a blue square", "a green triangle"]

BACKEND = """
import numpy as np

from clip_core.backends import Backend
from clip_core.configuration import CLIPConfig
from converters.checkpoint import open_checkpoint
from converters.verification import reference
from converters.verification.reference_trace import trace


class Encoder:
    def __init__(self, source):
        self.config, self.weights = CLIPConfig.from_pretrained(source), open_checkpoint(source)
        size = self.config.vision_config.image_size
        self.pixels, self.ids = np.zeros((1, 3, size, size)), np.array([[0, 1]])

    def encode_images(self, pixel_values):
        stages = reference.clip(self.weights, self.config, pixel_values, self.ids)
        return stages["image_embeds"].astype(np.float32)

    def encode_texts(self, input_ids, attention_mask):
        stages = reference.clip(self.weights, self.config, self.pixels, input_ids, attention_mask)
        return stages["text_embeds"].astype(np.float32)

    def logits_per_image(self, image_embeds, text_embeds):
        return np.exp(self.weights["logit_scale"]) * image_embeds @ text_embeds.T


def load(source, *, device=None, dtype=None, **options):
    return Encoder(source)


def train(source, settings, **options):
    raise ValueError("the toy does not train")


backend = Backend(load, trace, train, "ty", lambda: {"toy": "0.1"})
"""
ARRAYS = """
import numpy as np

from clip_core.processing import Framework


def from_numpy(array):
    from toy_framework import ToyArray

    return ToyArray(array)


def move(array, args, kwargs):
    from toy_framework import ToyArray

    return ToyArray(array.values, device=args[0])


framework = Framework(
    "ty", frozenset({"toy_framework"}), from_numpy, lambda array: array.values, move, class_prefix="Toy"
)
"""
FRAMEWORK = """
import numpy as np


class ToyArray:  # numpy cannot read it: it has no `__array__`, and is no sequence
    def __init__(self, values, device="cpu"):
        self.values, self.device = np.asarray(values), device
        self.shape, self.dtype = self.values.shape, self.values.dtype
"""


@pytest.fixture
def toy(tmp_path):
    """A function that runs a program in an interpreter with the toy installed, and returns its output."""
    site = tmp_path / "site"
    (site / "toy").mkdir(parents=True)
    (site / "toy" / "__init__.py").write_text("import toy_framework\n")
    (site / "toy" / "backend.py").write_text(BACKEND)
    (site / "toy" / "arrays.py").write_text(ARRAYS)
    (site / "toy_framework.py").write_text(FRAMEWORK)
    (site / "toy-0.1.dist-info").mkdir()
    (site / "toy-0.1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 0.1\n")
    (site / "toy-0.1.dist-info" / "entry_points.txt").write_text("[clip_zoo.backends]\ntoy = toy.backend:backend\n")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{site}", "HF_HUB_OFFLINE": "1"}

    def run(*arguments, code=0):
        done = subprocess.run(
            [sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (64, 48), "red").save(path)
    return path


def test_it_classifies_as_the_reference_does(toy, image):
    from clip_core import CLIPProcessor

    command = ["classify", image, "--labels", *LABELS, "--model", MODEL, "--backend", "toy", "--json"]
    (answer,) = map(json.loads, toy("-m", "clip_core.cli", *command).splitlines())
    found = {entry["label"]: entry["probability"] for entry in answer["labels"]}
    inputs = CLIPProcessor.from_pretrained(MODEL)(
        text=LABELS, images=Image.open(image), return_tensors="np", padding=True
    )
    config = CLIPConfig.from_pretrained(MODEL)
    logits = reference.clip(open_checkpoint(MODEL), config, **inputs)["logits_per_image"][0]
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    np.testing.assert_allclose(
        [found[label] for label in LABELS], expected, atol=EMBEDDINGS
    )  # its embeddings are float32


def test_it_is_verified(toy):
    found = json.loads(toy("-m", "clip_core.cli", "verify", MODEL, "--backend", "reference", "toy", "--json"))
    assert found["passed"]
    assert found["backends"] == ["reference", "toy"]
    assert found["versions"]["toy"] == "0.1"


def test_the_prefix_of_its_classes_is_known_in_files(toy, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(MODEL, folder)
    config = json.loads((folder / "config.json").read_text())
    for name, found in (("ToyCLIPTextModel", "CLIPTextModel"), ("OddCLIPTextModel", "CLIPModel")):
        (folder / "config.json").write_text(json.dumps({**config, "architectures": [name]}))
        printed = toy("-m", "clip_core.cli", "inspect", folder, "--no-hash", "--json")
        assert json.loads(printed)["class_name"] == found


def test_without_its_framework_its_own_package_is_what_to_install(toy, tmp_path, image):
    (tmp_path / "site" / "toy_framework.py").unlink()
    line = toy("-m", "clip_core.cli", "classify", image, "--labels", "a", "--model", MODEL, "--backend", "toy", code=2)
    assert line.count("\n") == 1
    assert mentions(line, "'toy'", "toy_framework", "pip install 'toy'")
    assert not mentions(line, "clip-zoo[")


def test_processors_know_its_arrays_and_import_no_framework(toy):
    program = f"""
import sys
from clip_core import CLIPProcessor
from clip_core.processing.batch import check_tensor_type, framework_of, to_numpy
assert check_tensor_type("ty") == "ty" and "toy_framework" not in sys.modules
processor = CLIPProcessor.from_pretrained({str(MODEL)!r})
batch = processor(text=["a cat"], return_tensors="ty")
ids = batch.to("device 1").input_ids
assert framework_of(ids) == "ty" and type(ids).__name__ == "ToyArray" and ids.device == "device 1"
assert type(to_numpy(ids)).__name__ == "ndarray"
assert processor.batch_decode(ids, skip_special_tokens=True) == ["a cat"]
print(sorted({{"toy", "torch", "tensorflow", "jax", "keras", "flax"}} & sys.modules.keys()))
"""
    assert toy("-c", program) == "[]\n"


def test_one_whose_arrays_cannot_be_read_stops_only_those_who_ask_for_it(toy, tmp_path):
    file = tmp_path / "site" / "toy" / "arrays.py"
    file.write_text("raise RuntimeError('broken-toy')\n")
    program = f"""
from clip_core import CLIPProcessor
processor = CLIPProcessor.from_pretrained({str(MODEL)!r})
assert type(processor(text=["a cat"], return_tensors="pt").input_ids).__name__ == "Tensor"
try:
    processor(text=["a cat"], return_tensors="ty")
except ValueError as error:
    print(error)
"""
    message = toy("-c", program)
    assert all(part in message for part in ("'toy'", str(file), "RuntimeError", "broken-toy"))


def test_one_whose_backend_needs_the_arrays_that_cannot_be_read_is_refused_in_one_line(toy, image, tmp_path):
    folder = tmp_path / "site" / "toy"
    (folder / "arrays.py").write_text("raise RuntimeError('broken-toy')\n")
    (folder / "backend.py").write_text(f"from toy.arrays import framework\n{BACKEND}")
    command = ("-m", "clip_core.cli", "classify", image, "--labels", *LABELS, "--model", MODEL)
    line = toy(*command, "--backend", "toy", code=BROKEN_LIBRARY)
    assert line.count("\n") == 1
    assert mentions(line, "'toy'", "RuntimeError", "broken-toy")
    toy(*command, "--backend", "torch")


# Names of frameworks, their packages and arrays, which only a backend may contain.
FRAMEWORKS = {"torch", "tensorflow", "tf", "keras", "jax", "jaxlib", "flax", "pt"}


def names_in(file):
    """Return the identifiers and whole string literals in a file's code; docstrings are prose."""
    tree = ast.parse(file.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)


def test_clip_core_names_no_framework():
    files = sorted((ROOT / "clip_core").rglob("*.py"))
    assert len(files) > 50
    assert [(str(file), name) for file in files for name in names_in(file) if name.lower() in FRAMEWORKS] == []


def messages_in(file):
    """Whole string literals of a file that are not docstrings: messages, hints and the help of commands."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = {id(node.body[0].value) for node in nodes if isinstance(node, documented) and ast.get_docstring(node)}
    literals = (node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return [node.value for node in literals if id(node) not in docstrings]


def test_no_message_or_help_of_clip_core_names_a_framework():
    words = (FRAMEWORKS | {"pytorch"}) - {"pt"}  # the extension of OpenAI's files too
    messages = [(file.name, text) for file in (ROOT / "clip_core").rglob("*.py") for text in messages_in(file)]
    assert len(messages) > 500
    found = [(file, text) for file, text in messages if " " in text and words & set(re.findall(r"\w+", text.lower()))]
    assert found == []
