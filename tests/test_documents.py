"""The Python blocks of all pages define what they use; those that no other test runs, run here."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.tolerances import HALF_PRECISION_PROBABILITIES
from support.training_data import picture_bytes

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").rglob("*.md")])
CHECKPOINT = ROOT / "examples/shapes/checkpoint"
HUB = "openai/clip-vit-base-patch32"


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def test_the_blocks_of_a_page_define_every_name_that_they_use(tmp_path):
    pages = [page for page in PAGES if blocks(page)]
    assert len(pages) > 8
    for number, page in enumerate(pages):
        (tmp_path / f"{number}_{page.stem}.py").write_text("\n".join(blocks(page)))
    ruff = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "--output-format", "concise"]
    done = subprocess.run([*ruff, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the files that the blocks read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "captions.txt").write_text("a red heart\na blue ring\n")
    (tmp_path / "cat.jpg").write_bytes(picture_bytes(0))


def run_blocks(page):
    for block in blocks(ROOT / page):
        exec(block.replace(HUB, str(CHECKPOINT)), names := {})  # noqa: S102  our own
        yield names


@pytest.mark.usefixtures("place")
def test_the_block_on_encoding_texts_runs():
    (names,) = run_blocks("docs/encoding.md")
    assert names["embeds"].shape == (2, 96)
    assert names["label_embeds"].shape == (16, 96)
    assert len(list(Path("cache").iterdir())) == 1


@pytest.mark.usefixtures("place")
def test_the_blocks_of_the_readme_run_and_agree():
    found = [names["probabilities"] for names in run_blocks("README.md") if "probabilities" in names]
    assert len(found) == 3
    # The checkpoint is in float16: as in transformers, Flax keeps this, and the others load float32.
    assert all(abs(float(one[0, 0]) - float(found[0][0, 0])) < HALF_PRECISION_PROBABILITIES for one in found)
