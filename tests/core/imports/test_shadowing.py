"""Another package named `converters` that comes first on the path: one sentence names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(folder, *command):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, check=False, cwd=folder, env=environment
    )
    return done.returncode, done.stderr.strip().splitlines()[-1:]


@pytest.mark.parametrize("package", ["clip_torch", "clip_tf", "clip_flax"])
def test_a_package_in_the_way_is_named_by_every_backend(tmp_path, package):
    (tmp_path / "converters").mkdir()
    (tmp_path / "converters" / "__init__.py").touch()
    code, (line,) = run(tmp_path, "-c", f"import {package}")
    assert code == 1
    assert line.startswith("ImportError: ")
    assert str(tmp_path / "converters") in line


@pytest.mark.parametrize("words", [["formats"], ["--help"], ["classify", "--help"]])
def test_a_file_in_the_way_is_named_by_the_command(tmp_path, words):
    (tmp_path / "converters.py").touch()
    code, (line,) = run(tmp_path, "-m", "clip_core.cli", *words)
    assert code == 2
    assert str(tmp_path / "converters.py") in line


def test_a_folder_without_init_is_not_in_the_way(tmp_path):
    (tmp_path / "converters").mkdir()
    assert run(tmp_path, "-m", "clip_core.cli", "formats") == (0, [])


def test_our_own_tests_hide_nothing():
    assert run(ROOT / "tests", "-m", "clip_core.cli", "formats") == (0, [])
