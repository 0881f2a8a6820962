from __future__ import annotations

import json
import re
import shutil
from functools import partial

import pytest

from clip_core.tasks.search import ImageIndex
from support.search import save_image, stand_in


@pytest.fixture(autouse=True)
def index(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = save_image(tmp_path / "photos/a.png", (255, 0, 0))
    shutil.copy(first, tmp_path / "photos/b.png")
    save_image(tmp_path / "photos/c.png", (254, 1, 0))
    with stand_in(), ImageIndex("i", model="colours", create=True) as made:
        made.add(["photos"])
    return tmp_path


@pytest.fixture
def run(run):
    return partial(run, "duplicates", "i")


def test_groups_are_printed_by_kind(run, index):
    code, out, err = run("--json")
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["kind"] for row in rows] == ["file", "similar"]
    assert rows[0]["images"] == [str(index / "photos" / name) for name in ("a.png", "b.png")]
    _, text, _ = run()
    assert [line for line in text.splitlines() if line.endswith("a.png")] == ["  photos/a.png"] * 2
    assert re.findall(r"\d\.\d+", text) == [f"{rows[1]['similarity']:.9f}"[:6]] == ["0.9999"]  # not rounded up
    assert len(list((index / "photos").iterdir())) == 3


def test_no_groups_are_no_error(run, index):
    with ImageIndex("i") as opened:
        opened.remove([index / "photos/b.png", index / "photos/c.png"])
    assert run("--json") == (0, "", "")
    assert run()[1]


def test_a_threshold_that_is_no_cosine_is_refused(run):
    code, out, err = run("--threshold", "2")
    assert (code, out) == (2, "")
    assert "--threshold 2" in err
