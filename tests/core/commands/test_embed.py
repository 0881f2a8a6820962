from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from clip_core.tasks.search import ImageIndex
from support.embedding import read, write, write_images, write_shard, write_table
from support.messages import mentions
from support.search import OTHER, stand_in
from support.training_data import picture_bytes

DOCUMENT = (Path(__file__).parents[3] / "docs/embedding.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def colours():
    with stand_in():
        yield


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Path(write_images(str(tmp_path / "photos"), range(6)))


def test_a_folder_is_embedded_and_indexed(run, photos):
    code, out, err = run("embed", "photos", "--out", "d", "--model", "colours", "--rows-per-part", 4)
    assert (code, err) == (0, "")
    assert mentions(out, "d", 6, 2)
    code, out, _ = run("embed", "photos", "--out", "d", "--rows-per-part", 4, "--json")
    counts = {"images": 0, "failed": 0, "parts": 0, "earlier": 2, "errors": 0}
    assert (code, [json.loads(line) for line in out.splitlines()]) == (0, [{"dataset": "d", **counts}])
    code, out, err = run("index", "--from", "d", "--out", "i", "--json")
    assert (code, err) == (0, "")
    counts = {"added": 6, "changed": 0, "removed": 0, "unchanged": 0, "broken": 0}
    assert json.loads(out) == {"index": "i", "images": 6, **counts}
    assert run("index", "photos", "--out", "i")[0] == 0
    (line,) = run("search", "i", "green", "--top-k", 1, "--json")[1].splitlines()
    assert json.loads(line)["image"].startswith(str(photos))


def test_hits_of_remote_images_are_named_by_their_urls(run, photos):
    source = write_images("memory://named/photos", [1])
    code, out, _ = run("embed", source, "--out", "d", "--model", "colours")
    assert (code, mentions(out, "1 image")) == (0, True)
    code, out, _ = run("index", "--from", "d", "--out", "i")
    assert (code, mentions(out, "1 image")) == (0, True)
    url = read("d")["path"][0].as_py()
    assert url.endswith("named/photos/0/001.png")
    (line,) = run("search", "i", "red", "--json")[1].splitlines()
    assert json.loads(line)["image"] == url.replace(":///", "://")
    assert "memory://named" in run("search", "i", "red", "--html", "page.html")[1]
    assert "memory://" in Path("page.html").read_text(encoding="utf-8")


def test_parts_failures_and_damaged_shards_are_told(run, photos):
    write(str(photos / "broken.jpg"), b"broken")
    code, out, err = run("embed", "photos", "--out", "d", "--model", "colours", "--rows-per-part", 4, "--json")
    assert code == 2
    assert err.count("\n") == 1
    assert mentions(err, photos / "broken.jpg")
    *parts, summary = map(json.loads, out.splitlines())
    assert [(part["images"], part["failed"]) for part in parts] == [(4, 0), (2, 1)]
    assert all(Path(part["part"]).is_file() for part in parts)
    assert all(part["seconds"] > 0 for part in parts)
    assert (summary["images"], summary["failed"]) == (6, 1)
    write("shards/a.tar", b"not a tar")
    code, out, err = run("embed", "shards", "--out", "e", "--model", "colours", "--json")
    assert code == 2
    assert mentions(err, Path("shards/a.tar").absolute())
    assert set(json.loads(out.splitlines()[0])) == {"piece", "error"}


def test_the_blocks_of_the_documentation_run(run, photos):
    for shard in range(2):
        write_shard(f"shards/{shard:03}.tar", [shard])
    write_table("rows.parquet", {"image": [picture_bytes(1)], "text": ["a cat"], "n": [1]})
    commands, programs = (re.findall(rf"```{kind}\n(.*?)```", DOCUMENT, re.DOTALL) for kind in ("sh", "python"))
    lines = [shlex.split(line) for line in "".join(commands).splitlines() if line.startswith("clip-zoo")]
    assert {line[1] for line in lines} == {"embed", "index", "search"}
    for _, *words in lines:
        code, _, err = run(*words)
        assert code == 0, err
    for program in programs:
        exec(program, names := {})  # noqa: S102  our own
    assert names["summary"].parts == 0
    assert names["table"].num_rows == 6
    assert read("row-embeddings")["text"].to_pylist() == ["a cat"]
    assert read("shard-embeddings")["id"].to_pylist() == ["000.tar/000", "001.tar/001"]
    described = dict(re.findall(r"^\| (`.*?`) \| (.*?) \|", DOCUMENT, re.MULTILINE))
    columns = [name for cell in described for name in re.findall(r"`(\w+)`", cell)]
    assert set(columns) == set(read("embeddings").schema.names)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("embed", "missing", "--out", "d"), "missing"),
        (("embed", "photos"), "--out"),
        (("embed", "photos", "--out", "photos/0/000.png"), "--out"),
        (("embed", "photos", "--out", "photos"), "photos"),
        (("embed", "photos", "--out", "d", "--batch-size", "0"), "--batch-size"),
        (("embed", "photos", "--out", "d", "--rows-per-part", "0"), "--rows-per-part"),
        (("embed", "photos", "--out", "d", "--engine", "spark"), "--engine"),
        (("embed", "photos", "--out", "d", "--embedding-dtype", "int8"), "--embedding-dtype"),
        (("embed", "photos", "--out", "d", "--columns", "text"), "--columns"),
        (("embed", "photos", "--out", "d", "--image-column", "img"), "--image-column"),
        (("embed", "photos", "--out", "d", "--backend", "mxnet"), "--backend"),
        (("embed", "odd://photos", "--out", "d"), "odd://photos"),
        (("embed", "photos", "--out", "odd://d"), "odd://d"),
        (("index", "--out", "d"), "--from"),
        (("index", "photos", "--from", "d", "--out", "i"), "--from"),
        (("index", "--from", "photos", "--out", "d"), "--from"),
        (("index", "--from", "photos", "--out", "d", "--model", "colours"), "--model"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(run, photos, arguments, named):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("clip-zoo: ")
    assert mentions(err, named), err
    assert not (photos.parent / "d").exists()
    assert len(list(photos.rglob("*.png"))) == 6


def test_another_model_is_refused_by_its_option(run, photos):
    run("embed", "photos", "--out", "d", "--model", "colours")
    code, _, err = run("embed", "photos", "--out", "d", "--model", OTHER)
    assert code == 2
    assert mentions(err, "--model", OTHER, "colours")
    with ImageIndex("i", model=OTHER, create=True) as index:
        index.add(["photos"])
    code, _, err = run("index", "--from", "d", "--out", "i")
    assert code == 2
    assert mentions(err, OTHER, "colours")
