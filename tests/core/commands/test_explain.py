"""The command clip-zoo explain, with the trained demo model and on bad input."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from support.limits import largest_file
from support.messages import mentions

SHAPES = Path(__file__).parents[3] / "examples/shapes"
MODEL = ("--model", SHAPES / "checkpoint", "--backend", "torch")
HEARTS = SHAPES / "pictures/four-red-hearts.png"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_image_gets_a_drawing_that_never_replaces_another(run, here):
    arguments = ("explain", HEARTS, "a red heart", "a blue ring", *MODEL)
    for name in ("four-red-hearts-explained.png", "four-red-hearts-explained-2.png"):
        code, out, _ = run(*arguments)
        assert code == 0
        assert mentions(out, name, "a red heart", "a blue ring")
        with Image.open(here / name) as drawing:
            assert drawing.width > drawing.height
    assert len(list(here.iterdir())) == 2


def test_a_full_disk_leaves_no_part_of_a_drawing(run, here):
    with largest_file(3_000):
        code, _, err = run("explain", HEARTS, "a red heart", *MODEL)
    assert code == 2
    assert mentions(err, "four-red-hearts-explained.png", os.strerror(errno.EFBIG).lower())
    assert list(here.iterdir()) == []


def test_json_has_every_number_and_writes_no_file(run, here):
    cross = SHAPES / "pictures/a-green-cross.png"
    code, out, _ = run(
        "explain", HEARTS, cross, "a red heart", "--texts", "a cross", *MODEL, "--json", "--method", "legrad"
    )
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["image"] for row in rows] == [str(HEARTS), str(cross)]
    for row in rows:
        assert (row["method"], row["output"]) == ("legrad", None)
        assert [one["text"] for one in row["texts"]] == ["a red heart", "a cross"]
        (first, _) = row["texts"]
        assert [len(line) for line in first["heatmap"]] == [4] * 4
        assert [word["word"] for word in first["words"]] == ["a", "red", "heart"]
    assert list(here.iterdir()) == []


def test_html_is_one_file_that_replaces_an_earlier_one(run, here):
    for text in ("a ring", "a <b>heart</b>"):
        assert run("explain", HEARTS, text, *MODEL, "--html", "new/deep/report.html")[0] == 0
        assert [path.name for path in here.rglob("*.*")] == ["report.html"]
    page = (here / "new/deep/report.html").read_text()
    assert "<b>heart" not in page
    assert "a ring" not in page


def test_html_beside_a_folder_for_drawings_writes_both(run, here):
    code, out, _ = run("explain", HEARTS, "a ring", *MODEL, "--html", "report.html", "--output-dir", "drawn")
    assert code == 0
    assert mentions(out, "report.html", "four-red-hearts-explained.png")
    assert sorted(path.name for path in here.rglob("*.*")) == ["four-red-hearts-explained.png", "report.html"]


def test_one_unreadable_image_does_not_stop_the_others(run, here):
    (here / "broken.png").write_bytes(b"no image")
    code, out, err = run("explain", "broken.png", HEARTS, "a heart", *MODEL, "--json")
    assert code == 2
    assert mentions(err, "broken.png")
    broken, read = (json.loads(line) for line in out.splitlines())
    assert broken["error"]
    assert read["texts"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((HEARTS,), ["texts", HEARTS.name, "--texts"]),
        ((HEARTS, "."), ["texts", "'.'", "--texts"]),
        ((HEARTS, " "), ["IMAGE-OR-TEXT ' '"]),
        (("a heart", "a ring"), ["'a heart'", "'a ring'"]),
        (("gone.png", "a heart"), ["gone.png"]),
        ((HEARTS, "a heart", "--method", "odd"), ["--method", "odd", "chefer", "legrad"]),
        ((HEARTS, "a heart", "--start-layer", "4"), ["--start-layer", -4, 3]),
        ((HEARTS, "a heart", "--start-layer-text=-3"), ["--start-layer-text", -2, 1]),
        ((HEARTS, "heart " * 40), ["heart", 24]),
    ],
)
def test_bad_input_is_refused_in_one_line(run, here, arguments, named):
    code, _, err = run("explain", *arguments, *MODEL)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert mentions(err, *named)
    assert list(here.iterdir()) == []


def test_the_documents_commands_run(run, here):
    document = (Path(__file__).parents[3] / "docs/explaining.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(.*?)```", document, re.DOTALL)
    (here / "photos").mkdir()
    for name in ("cat-and-dog.jpg", "photos/cat.png"):
        Image.new("RGB", (80, 60), "red").save(here / name)
    written = []
    for line in block.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "clip-zoo"
        arguments, _, target = ("\0".join(arguments)).partition("\0>\0")
        words = arguments.split("\0")
        if "--model" in words:
            del words[words.index("--model") : words.index("--model") + 2]
        code, out, _ = run(*words, *MODEL)
        assert code == 0
        written += [json.loads(out)["image"]] if target else [path.name for path in here.glob("*explained*")]
    assert written[0] == "cat-and-dog-explained.png"
    assert written[-1] == "cat-and-dog.jpg"
    assert (here / "report.html").is_file()
