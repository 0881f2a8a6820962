"""The Python blocks of all pages define what they use; those that no other test runs, run here."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
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


def test_the_readme_begins_with_one_command_and_one_snippet():
    first = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    found = re.findall(r"```(\w*)\n(.*?)```", first, re.DOTALL)
    assert [language for language, _ in found] == ["python", ""]
    assert re.findall(r"^\$ .*", found[1][1], re.MULTILINE) == ["$ make demo"]
    assert "](docs/converting.md)" in first


def test_the_readme_tells_what_each_extra_is_for():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    install = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Install\n")[2].partition("\n## ")[0]
    rows = "".join(line for line in install.splitlines() if line.startswith("|"))
    told = {extra for names in re.findall(r"\[([\w,]+)\]", rows) for extra in names.split(",")}
    assert told == extras.keys() - {"demo", "plots", "test"}  # which `make` installs


def test_speed_takes_eight_lines_three_sentences_and_one_plot_in_the_readme():
    speed = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Speed\n")[2].partition("\n## ")[0]
    rows = [line for line in speed.splitlines() if line.startswith("|")][2:]
    assert 0 < len(rows) <= 8
    assert len(re.findall(r"^!\[", speed, re.MULTILINE)) == 1
    prose = " ".join(line for line in speed.splitlines() if not line.startswith(("|", "![")))
    assert 0 < len(re.findall(r"\.(?: |$)", prose.strip())) <= 3
