from __future__ import annotations

import json
import re
import shlex
import webbrowser
from functools import partial
from pathlib import Path

import pytest

from clip_core.cli import main
from clip_core.tasks.search import ImageIndex
from support.messages import mentions
from support.search import OTHER, save_image, stand_in

DOCUMENT = (Path(__file__).parents[3] / "docs/search.md").read_text(encoding="utf-8")
COLOURS = {"red": (255, 0, 0), "purple": (200, 0, 200), "blue": (0, 0, 255)}


@pytest.fixture(autouse=True)
def index(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, colour in COLOURS.items():
        save_image(tmp_path / f"photos/{name}.png", colour)
    with stand_in():
        with ImageIndex("i", model="colours", create=True) as made:
            made.add(["photos"])
        yield tmp_path


@pytest.fixture
def run(run):
    return partial(run, "search", "i")


def found(run, *arguments) -> list[str]:
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    return [json.loads(line)["image"].rpartition("/")[2].removesuffix(".png") for line in out.splitlines()]


def test_queries_are_texts_and_images_minus_texts(run):
    assert found(run, "red", "--top-k", "2") == ["red", "purple"]
    assert found(run, "red", "blue", "--top-k", "1") == ["purple"]
    assert found(run, "--image", "photos/blue.png", "--top-k", "1") == ["blue"]
    assert found(run, "red blue", "--not", "red", "--top-k", "1") == ["blue"]
    assert found(run, "red", "--where", "folder=photos", "size>1GB") == []


def test_a_row_states_the_file_and_its_score(run):
    _, out, _ = run("red", "--json", "--probabilities", "--top-k", "1")
    row = json.loads(out)
    assert row.keys() == {"image", "score", "probability", "size", "date", "width", "height"}
    assert row["probability"] == 1


def test_what_a_terminal_would_obey_in_names_and_captions_is_escaped(run):
    save_image(Path("photos/\x1b[2J.png"), (255, 0, 0))
    Path("photos/\x1b[2J.txt").write_text("\x1b]0;owned\x07", encoding="utf-8")
    with ImageIndex("i") as made:
        made.add(["photos"], captions=True)
    code, out, _ = run("red")
    assert code == 0
    assert all(character.isprintable() or character == "\n" for character in out)
    assert mentions(out, "photos/\\x1b[2J.png", "\\x1b]0;owned\\x07")


def test_a_table_is_printed_and_says_that_nothing_was_found(run):
    code, out, _ = run("red", "--probabilities")
    assert code == 0
    rows = {line.split()[-1]: line for line in out.splitlines()[1:]}
    assert rows.keys() == {f"photos/{name}.png" for name in COLOURS}  # relative to the current folder
    assert all("%" in row for row in rows.values())
    code, out, _ = run("red", "--where", "date<1900")
    assert code == 0
    assert out.strip()


def test_a_page_is_written_and_opened(run, index, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    assert run("red", "--html", "new/deep/page.html")[0] == 0
    page = (index / "new/deep/page.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,") == 3
    assert opened == []
    (index / "page.html").write_text("an earlier page")
    run("<b>", "red", "--html", "page.html", "--open")
    assert opened == [(index / "page.html").as_uri()]
    assert "<b>" not in (index / "page.html").read_text(encoding="utf-8")


def test_the_blocks_of_the_documentation_run(index, monkeypatch, capsys):
    monkeypatch.setattr(webbrowser, "open", lambda _: None)
    save_image(index / "query.jpg", COLOURS["purple"])
    (index / "photos/red.txt").write_text("a red wall")
    commands, programs = (re.findall(rf"```{kind}\n(.*?)```", DOCUMENT, re.DOTALL) for kind in ("sh", "python"))
    lines = [shlex.split(line) for line in "".join(commands).splitlines()]
    assert {line[1] for line in lines} == {"index", "search", "duplicates"}
    for program, *words in lines:
        assert program == "clip-zoo"
        with pytest.raises(SystemExit) as end:
            main(words)
        assert end.value.code == 0, capsys.readouterr().err
    with ImageIndex("photos-index") as made:
        assert [hit.caption for hit in made.search(["red"], top_k=1)] == ["a red wall"]
    assert (index / "page.html").is_file()
    for name in programs:
        exec(name, names := {})  # noqa: S102  our own
    assert len(names["changes"].broken) == 0
    assert all(hit.path.name in {"red.png", "purple.png", "blue.png"} for hit in names["hits"])


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("red", "--where", "owner=me"),
        ("red", "--where", "size>huge"),
        ("red", "--image", "missing.png"),
        ("red", "--not", "red"),
        ("red", "--top-k", "0"),
        ("red", "--html", "photos"),
        ("red", "--model", OTHER),
    ],
)
def test_bad_input_is_one_line(run, arguments):
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("clip-zoo: ")


def test_what_is_no_index_is_named(capsys, index):
    for command in (["search", "photos", "red"], ["search", "missing", "red"], ["duplicates", "photos"]):
        with pytest.raises(SystemExit) as end:
            main(command)
        assert end.value.code == 2
        assert command[1] in capsys.readouterr().err
    assert not (index / "missing").exists()
