"""Files that may not be read, and folders that may not be written: each command names them and the reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from clip_core.tasks.search import ImageIndex
from support.imports import ROOT
from support.messages import mentions
from support.programs import environment
from support.search import save_image, stand_in

MODEL = ROOT / "examples" / "shapes" / "checkpoint"
PROGRAM = """
import contextlib, io, json, sys
from clip_core.cli import main
for words in json.load(sys.stdin):
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        try:
            main(words)
        except SystemExit as end:
            print(json.dumps([end.code, told.getvalue()]), file=sys.__stdout__)
"""
# Root may read everything, except without these capabilities.
AS_OTHERS = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]

pytestmark = pytest.mark.skipif(
    os.name == "nt" or (os.geteuid() == 0 and shutil.which("setpriv") is None),
    reason="root may read everything, and there is no setpriv to give that up",
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with everything that commands read, all of it closed."""
    monkeypatch.chdir(tmp_path)
    save_image(tmp_path / "photos/red.png", (255, 0, 0))
    save_image(tmp_path / "photos/more/blue.png", (0, 0, 255))
    with stand_in():
        for name in ("index", "closed-index"):
            with ImageIndex(name, model="colours", create=True) as made:
                made.add(["photos"])
    for name in ("weights", "configuration", "model"):
        shutil.copytree(MODEL, name)
    save_image(tmp_path / "closed/red.png", (255, 0, 0))
    save_image(tmp_path / "red.png", (255, 0, 0))
    for name in ("labels.txt", "table.csv", "shard.tar", "rows.parquet"):
        (tmp_path / name).write_text("a\nb\n")
    (tmp_path / "read-only").mkdir()
    closed = ["weights/model.safetensors", "configuration/config.json", "model", "index/index.sqlite", "closed-index"]
    closed += ["closed", "red.png", "labels.txt", "table.csv", "shard.tar", "rows.parquet", "read-only"]
    for name in closed:
        (tmp_path / name).chmod(0o555 if name == "read-only" else 0)
    yield tmp_path
    for name in closed:
        (tmp_path / name).chmod(0o700)


M = str(MODEL)
LABELS = ["--labels", "a", "b", "--model", M]
READING = [
    *([command, source, *rest] for source in ("weights", "configuration", "model") for command, *rest in (
        ["inspect"], ["convert", "out", "--to", "torch"], ["diff", M], ["verify", "--against", M],
    )),
    *(["classify", image, *LABELS] for image in ("red.png", "closed", "closed/red.png")),
    *(["explain", image, "a", "--model", M] for image in ("red.png", "closed")),
    ["classify", "photos", "--labels-file", "labels.txt", "--model", M],
    ["evaluate", "zero-shot", "--data", "photos", "--templates-file", "labels.txt", "--model", M],
    *(["evaluate", "retrieval", "--data", data, "--model", M] for data in (
        "table.csv", "shard.tar", "rows.parquet", "closed", "closed/shard.tar",
    )),
    *([command, index, *rest] for index in ("index", "closed-index") for command, *rest in (
        ["search", "red"], ["duplicates"],
    )),
    ["index", "closed", "--out", "new", "--model", M],
    ["index", "photos", "--out", "index"],
    *(["embed", source, "--out", "new", "--model", M] for source in ("closed", "rows.parquet")),
]  # fmt: skip
WRITING = [
    ["index", "photos", "--out", "read-only/i", "--model", M],
    ["embed", "photos", "--out", "read-only/d", "--model", M],
    ["convert", M, "read-only/out", "--to", "torch"],
    ["train", "--data", "photos", "--model", M, "--checkpoint-dir", "read-only/run"],
    ["classify", "photos", *LABELS, "--label-cache", "read-only/cache"],
    ["explain", "photos", "a", "--model", M, "--output-dir", "read-only/pngs"],
    ["explain", "photos", "a", "--model", M, "--html", "read-only/page.html"],
    ["verify", M, "--report", "closed/page.html"],
]


def told_by(commands, place, before=""):
    """Return the exit code and the message of each command, run by a user without rights, after some code."""
    program = [*(AS_OTHERS if os.geteuid() == 0 else []), sys.executable, "-c", before + PROGRAM]
    done = subprocess.run(
        program,
        input=json.dumps(commands),
        env=environment(HF_HUB_OFFLINE="1", HOME=str(place)),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_command_says_that_permission_is_denied(place):
    commands = [*READING, *WRITING]
    told = told_by(commands, place)
    assert len(told) == len(commands)
    for words, (code, line) in zip(commands, told, strict=True):
        named = [word for word in words if word.split("/")[0] in {path.name for path in place.iterdir()} - {"photos"}]
        assert code == 2, (words, line)
        assert line.count("\n") == 1, (words, line)
        assert mentions(line.lower(), "permission denied"), (words, line)
        assert not mentions(line.lower(), "errno"), (words, line)
        assert any(word in line for word in named), (words, line)
    assert not (place / "out").exists()


def test_an_index_that_may_only_be_read_can_be_searched(place):
    (place / "index/index.sqlite").chmod(0o444)
    (place / "index").chmod(0o555)
    commands = [["search", "index", "red"], ["duplicates", "index"], ["index", "photos", "--out", "index"]]
    known = "from support.search import stand_in; stand_in().__enter__()\n"
    codes, lines = zip(*told_by(commands, place, known), strict=True)
    assert codes == (0, 0, 2), lines
    assert mentions(lines[-1], "--out index", "permission denied")
    (place / "index").chmod(0o700)


@pytest.mark.parametrize("closed", [True, False])
def test_images_in_a_subfolder_that_may_not_be_read_stay_in_the_index(place, monkeypatch, closed):
    monkeypatch.undo()
    (place / "index/index.sqlite").chmod(0o600)
    known = os.stat

    def stat(path, *given, **named):
        if closed and os.fsencode(path).endswith(b"blue.png"):
            raise PermissionError(13, os.strerror(13), path)
        return known(path, *given, **named)

    monkeypatch.chdir(place)
    shutil.move("photos/more", "elsewhere")
    monkeypatch.setattr("os.stat", stat)
    with stand_in(), ImageIndex("index") as index:
        assert index.add(["photos"]).removed == (0 if closed else 1)
