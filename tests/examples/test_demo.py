"""`make demo` runs each framework in a separate process, reports failures, and ends with a search."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.messages import mentions
from support.programs import is_alive, wait_until
from support.tolerances import PROBABILITIES

ROOT = Path(__file__).parents[2]
SHAPES = ROOT / "examples" / "shapes"
LABELS = (SHAPES / "labels.txt").read_text().split("\n")[:-1]
ARGUMENTS = [str(SHAPES / "checkpoint"), str(SHAPES / "pictures"), "--labels", str(SHAPES / "labels.txt")]


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "examples")
    import demo

    return demo


def test_a_framework_alone_gives_a_row_of_probabilities_for_each_image(demo):
    paths = sorted((SHAPES / "pictures").glob("*.png"))
    for framework in ("torch", "flax"):
        request = demo.Request(framework, str(SHAPES / "checkpoint"), paths, LABELS, "{}")
        (probabilities,) = demo.alone(demo.classify, [request])
        assert probabilities.shape == (len(paths), len(LABELS)) == (10, 100)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=PROBABILITIES)
        assert LABELS[probabilities[[path.stem for path in paths].index("a-green-cross")].argmax()] == "a green cross"


def test_the_images_are_searched_by_the_two_commands(demo, capfd):
    assert demo.search("torch", str(SHAPES / "checkpoint"), SHAPES / "pictures", "red hearts") == 0
    *_, header, first, second, third = capfd.readouterr().out.splitlines()
    assert header.split() == ["score", "image"]
    assert first.split()[1].endswith("four-red-hearts.png")
    scores = [float(line.split()[0]) for line in (first, second, third)]
    assert scores == sorted(scores, reverse=True)


def test_a_framework_that_is_missing_is_left_out(demo, tmp_path, monkeypatch):
    (tmp_path / "jax.py").write_text("raise ModuleNotFoundError('no jax', name='jax')\n")
    monkeypatch.syspath_prepend(tmp_path)
    request = demo.Request("flax", str(SHAPES / "checkpoint"), [], LABELS, "{}")
    assert list(demo.alone(demo.classify, [request])) == [None]


def install(site, code):
    """Install a backend that comes before all others."""
    information = site / "fatal-0.1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: fatal\nVersion: 0.1\n")
    (information / "entry_points.txt").write_text("[clip_zoo.backends]\na-fatal = fatal:backend\n")
    (site / "fatal.py").write_text(f"import os, signal, time\n{code}\n")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals to end a process with")
def test_the_death_of_a_framework_is_told(demo, tmp_path, monkeypatch, capsys):
    install(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(demo, "backend_names", lambda: ["a-fatal"])
    assert demo.main(ARGUMENTS) == 2
    assert mentions(capsys.readouterr().err, "a-fatal", "SIGSEGV")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_framework_does_not_outlive_a_killed_demo(tmp_path):
    install(tmp_path, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)")
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    program = subprocess.Popen([sys.executable, str(ROOT / "examples/demo.py"), *ARGUMENTS], env=environ)
    wait_until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    process = (tmp_path / "pid").read_text()
    assert int(process) != program.pid
    assert is_alive(process)
    program.kill()
    program.wait()
    wait_until(lambda: not is_alive(process))
