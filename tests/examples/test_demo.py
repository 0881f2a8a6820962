"""`make demo` runs each framework in a separate process, reports failures, and ends with a search."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.tolerances import PROBABILITIES

ROOT = Path(__file__).parents[2]
SHAPES = ROOT / "examples" / "shapes"
ARGUMENTS = [str(SHAPES / "checkpoint"), str(SHAPES / "pictures"), "--labels", str(SHAPES / "labels.txt")]


def demo(*arguments):
    program = [sys.executable, str(ROOT / "examples" / "demo.py"), *ARGUMENTS, *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("framework", ["torch", "flax"])
def test_a_framework_alone_gives_a_row_of_probabilities_for_each_image(framework):
    ran = demo("--only", framework)
    assert ran.returncode == 0, ran.stderr
    probabilities = np.array(json.loads(ran.stdout))
    labels = (SHAPES / "labels.txt").read_text().split("\n")[:-1]
    names = sorted(path.stem for path in (SHAPES / "pictures").glob("*.png"))
    assert probabilities.shape == (len(names), len(labels)) == (10, 100)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=PROBABILITIES)
    assert labels[probabilities[names.index("a-green-cross")].argmax()] == "a green cross"


def test_the_images_are_searched_by_the_two_commands(capfd, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    import demo as program

    assert program.search("torch", str(SHAPES / "checkpoint"), SHAPES / "pictures", "red hearts") == 0
    *_, header, first, second, third = capfd.readouterr().out.splitlines()
    assert header.split() == ["score", "image"]
    assert first.split()[1].endswith("four-red-hearts.png")
    scores = [float(line.split()[0]) for line in (first, second, third)]
    assert scores == sorted(scores, reverse=True)


def test_a_framework_that_is_missing_has_an_exit_code_of_its_own():
    program = (
        "import sys; sys.modules['jax'] = None; sys.path.insert(0, 'examples')\n"
        "import demo; sys.exit(demo.main([*sys.argv[1:], '--only', 'flax']))"
    )
    ran = subprocess.run([sys.executable, "-c", program, *ARGUMENTS], capture_output=True, check=False, cwd=ROOT)
    assert ran.returncode == 3
