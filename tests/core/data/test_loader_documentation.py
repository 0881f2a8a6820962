"""The examples of docs/data.md run unchanged, one after another."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from support.training_data import make_processor, write_folder

DOCUMENT = Path(__file__).parents[3] / "docs/data.md"


def test_the_examples_run(tmp_path):
    make_processor(tmp_path).save_pretrained(tmp_path / "clip")
    write_folder(tmp_path / "pictures", 9)
    examples = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert len(examples) == 7
    program = [sys.executable, "-c", "\n".join(examples)]
    run = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
