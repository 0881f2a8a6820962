"""Messages of all commands on bad input: one line that names what was typed, once, and nothing of Python or C."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from clip_core.cli import app
from clip_core.commands.wording import _is_local
from clip_core.tasks.search import ImageIndex
from support.messages import mentions
from support.search import save_image, stand_in

MODEL = Path(__file__).parents[3] / "examples" / "shapes" / "checkpoint"
PICTURES = MODEL.parent / "pictures"
IMAGE = PICTURES / "a-green-cross.png"
CONVERT = ("convert", MODEL, "out", "--to")
CLASSIFY = ("classify", IMAGE, "--labels", "a", "b", "--model", MODEL)
EXPLAIN = ("explain", IMAGE, "a cross", "--model", MODEL)
TRAIN = ("train", "--data", "photos", "--model", MODEL / "config.json")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with a file and a folder of images in it."""
    monkeypatch.chdir(tmp_path)
    Path("file.txt").write_text("x\n")
    save_image(tmp_path / "photos/red.png", (255, 0, 0))
    return tmp_path


@pytest.fixture
def refused(run):
    def call(*words):
        code, out, err = run(*words)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert not mentions(err, "Errno"), err
        return err.removeprefix("clip-zoo: ").rstrip("\n")

    return call


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        ((*CONVERT, "tf"), "--dtype", "bfloat16"),
        (EXPLAIN, "--output-dir", "file.txt"),
        (EXPLAIN, "--output-dir", "file.txt/inside"),
        (CLASSIFY, "--backend", "nope"),
        (CLASSIFY, "--label-cache", "file.txt"),
        (("verify", MODEL), "--against", "nope"),
        (TRAIN, "--checkpoint-dir", "file.txt"),
        (("index", "photos"), "--out", "file.txt"),
        (("index", "photos"), "--out", "file.txt/inside"),
        (("embed", "photos"), "--out", "file.txt"),
        (("embed", "photos", "--model", MODEL), "--out", "photos"),
        (("embed", "photos", "--out", "o", "--model", MODEL), "--image-column", "x"),
        (("inspect", MODEL / "model.safetensors"), "--subfolder", "inside"),
        (("convert", MODEL / "model.safetensors", "out", "--to", "tf"), "--subfolder", "inside"),
        (("evaluate", "zero-shot", "--model", MODEL), "--data", "photos-{0..1}.tar"),
        (("evaluate", "zero-shot", "--model", MODEL, "--data", "photos"), "--image-column", "x"),
        (("evaluate", "retrieval", "--model", MODEL, "--data", "photos"), "--caption-column", "x"),
        (("evaluate", "zero-shot", "--model", MODEL, "--data", "photos"), "--label-column", "x"),
        (("evaluate", "zero-shot", "--model", MODEL, "--data", "photos"), "--templates-file", PICTURES),
        (("serve", "--model", MODEL), "--image-host", "https://example.com/"),
        (("serve", "--model", MODEL), "--image-host", "example.com:80"),
        (("serve", "--model", MODEL), "--image-host", "example.com/images"),
    ],
)
def test_the_option_comes_first_and_its_value_once(refused, place, command, option, value):
    before = sorted(place.rglob("*"))
    line = refused(*command, option, value)
    assert line.startswith(f"{option} {value}"), line
    assert line.replace(f"{option} {value}", "").count(f"{value} ") == 0, line
    assert line.count(f"'{value}'") == 0, line
    assert sorted(place.rglob("*")) == before


def test_a_target_has_the_name_that_the_help_gives_it(refused, place):
    before = sorted(place.rglob("*"))
    for target in ("file.txt", "file.txt/inside"):
        for typed in (target, f"./{target}"):
            line = refused("convert", MODEL, typed, "--to", "torch")
            assert line.startswith(f"DST {target} "), line
    assert mentions(refused("convert", MODEL, "photos/red.png", "--to", "torch"), "DST photos/red.png")
    assert sorted(place.rglob("*")) == before


BAD_PATHS = [
    "no/such/thing",
    "/no/such/thing",
    "file.txt",
    "file.txt/inside",
    "empty",
    "x" * 300,
    f"photos/{'x' * 300}",
]
POSITIONAL = {
    "SRC": [("inspect", ...), ("convert", ..., "out", "--to", "torch")],
    "A": [("diff", ..., MODEL)],
    "B": [("diff", MODEL, ...)],
    "CHECKPOINT": [("verify", ...)],
    "INDEX": [("search", ..., "red"), ("duplicates", ...)],
    "FOLDER": [("index", ..., "--out", "i", "--model", MODEL)],
    "IMAGE": [("classify", ..., "--labels", "a", "b", "--model", MODEL)],
    "SOURCE": [("embed", ..., "--out", "o", "--model", MODEL)],
}


@pytest.mark.parametrize("name", POSITIONAL)
def test_a_positional_argument_with_a_bad_path_has_the_name_of_the_help(refused, place, name):
    (place / "bare").mkdir()
    for words in POSITIONAL[name]:
        for value in (*BAD_PATHS, os.fsdecode(b"caf\xe9")):
            if (name, value) == ("FOLDER", "file.txt"):
                continue  # a broken image, of which an index is told and continues
            line = refused(*(value if word is ... else word for word in words))
            assert line.startswith((f"{name} ", f"{name}: ")), line
            assert line.count(value) <= 1, line


@pytest.mark.parametrize(("command", "name"), [("embed", "SOURCE"), ("index", "FOLDER")])
def test_a_folder_that_is_read_is_not_written_to(refused, place, command, name):
    (place / "empty").mkdir()
    for folder in ("empty", "photos"):
        line = refused(command, f"./{folder}", "--out", folder, "--model", MODEL)
        assert mentions(line, f"--out {folder}", name), line


def test_an_index_in_place_of_a_folder_of_images_is_told(refused, place):
    with stand_in(), ImageIndex("i", model="colours", create=True) as index:
        index.add([place / "photos"])
    before = sorted(place.rglob("*"))
    for out in ("i", "new"):
        assert mentions(refused("index", "i", "--out", out, "--model", MODEL), "FOLDER i", "index", "images")
    assert sorted(place.rglob("*")) == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
@pytest.mark.parametrize("name", ["IMAGE", "FOLDER"])
def test_a_pipe_in_place_of_an_image_is_told(refused, place, name):
    os.mkfifo(place / "pipe.png")
    for words in POSITIONAL[name]:
        line = refused(*("pipe.png" if word is ... else word for word in words))
        assert mentions(line, f"{name} pipe.png", "pipe", "regular"), line


def test_a_url_for_a_path_on_this_machine_is_refused_before_anything_runs(refused, place):
    before = sorted(place.rglob("*"))
    found = set()
    for words in commands():
        for one in app.parse_commands(words)[1][-1].assemble_argument_collection():
            if _is_local(one.field_info.annotation):
                found.add((" ".join(words), one.names[0]))
                value = "s3://bucket/folder"
                line = refused(*words, *([one.names[0], value] if one.index is None else [value] * (one.index + 1)))
                assert mentions(line, value, "URL"), line
                assert sorted(place.rglob("*")) == before
    assert found >= {("convert", "DST"), ("index", "--out"), ("index", "FOLDER"), ("classify", "IMAGE")}
    assert found >= {("search", "INDEX"), ("search", "--html"), ("search", "--image"), ("serve", "--index")}
    assert found >= {("train", "--checkpoint-dir"), ("verify", "--report"), ("evaluate probe", "--labels-file")}
    assert not found & {("embed", "SOURCE"), ("embed", "--out"), ("index", "--from"), ("convert", "SRC")}


def test_a_subfolder_that_is_missing_is_named_by_its_option(refused):
    for command in (("inspect", MODEL), (*CONVERT, "torch")):
        assert refused(*command, "--subfolder", "nope").startswith("--subfolder nope"), command


def test_a_file_beside_the_weights_is_not_taken_for_its_folder(refused, run):
    for name in ("vocab.json", "tokenizer.json", "preprocessor_config.json", "merges.txt"):
        for command, start in ((("inspect",), "SRC"), (("diff", MODEL), "B")):
            assert refused(*command, MODEL / name).startswith(f"{start} {MODEL / name} "), name
    assert run("inspect", MODEL / "config.json", "--no-hash")[0] == 0


def test_a_name_of_a_host_that_no_resolver_takes_is_named(refused):
    for host in ("x" * 300, os.fsdecode(b"caf\xe9")):
        assert refused("serve", "--model", MODEL, "--port", "0", "--host", host).startswith("--host "), host


LINKS = [
    (*CONVERT[:2], "gone", "--to", "torch"),
    (*EXPLAIN, "--output-dir", "gone"),
    (*EXPLAIN, "--html", "gone/page.html"),
    ("index", "photos", "--model", MODEL, "--out", "gone/i"),
    ("inspect", "gone"),
    (*CLASSIFY[:-1], "gone"),
    (*TRAIN, "--checkpoint-dir", "gone"),
]


@pytest.mark.parametrize("words", LINKS, ids=[" ".join(map(str, words[:1])) for words in LINKS])
def test_a_link_to_nothing_is_named_with_what_it_leads_to(refused, place, words):
    Path("gone").symlink_to("far/away")
    before = sorted(place.rglob("*"))
    assert mentions(refused(*words), "gone", "far/away")
    assert sorted(place.rglob("*")) == before


def test_of_two_options_in_one_folder_the_one_at_fault_is_named(refused, place):
    (place / "labels.json").write_text('["a", "b"]')
    (place / "notes.md").write_text("a model's card\n")
    words = ("classify", IMAGE, "--labels-file", place / "labels.json", "--model", place / "notes.md")
    assert refused(*words).startswith(f"--model {place}/notes.md: ")
    broken = place / "photos/clip"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    line = refused("train", "--data", "photos", "--model", "photos/clip", "--checkpoint-dir", "out")
    assert line.startswith("--model photos/clip"), line


def test_the_list_of_what_is_there_is_short(refused, place):
    for name in (".git/a", ".git/b", "deep/c/d", ".hidden"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("")
    line = refused(*CLASSIFY[:-1], "file.txt")
    assert line.startswith("--model file.txt: "), line
    assert line.endswith(" deep/, file.txt, photos/"), line
    line = refused("inspect", ".")
    assert mentions(line, "model.safetensors", "flax_model.msgpack", "deep/"), line
    assert not mentions(line, ".index.json"), line


@pytest.fixture
def index(run):
    from clip_core.tasks.search import ImageIndex

    with stand_in():
        with ImageIndex("i", model="colours", create=True) as made:
            made.add(["photos"])
        yield "i"


def test_images_to_search_for_are_named_by_their_option(refused, index):
    for value in ("file.txt", "gone.png", "photos"):
        line = refused("search", index, "--image", "photos/red.png", value)
        assert line.startswith(f"--image {value}"), line
        assert line.count(value) == 1, line
        assert mentions(line, "folder") == (value == "photos"), line


def test_a_condition_is_named_once(refused, index):
    assert refused("search", index, "red", "--where", "foo").count("foo ") == 1


def test_a_search_without_a_query_is_told_before_the_index_is_opened(refused):
    assert mentions(refused("search", "nowhere"), "TEXT", "--image")


def test_evaluate_tells_the_option_that_labels_images(refused):
    for task in ("zero-shot", "probe"):
        line = refused("evaluate", task, "--data", "photos", "--model", MODEL)
        assert mentions(line, "--data photos", "--labels-file"), line


def commands():
    words = [[name] for name in app if not name.startswith("-") and name != "evaluate"]
    return [*words, *(["evaluate", name] for name in app["evaluate"] if not name.startswith("-"))]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_an_unexpected_word_is_named_with_what_the_command_takes(refused, words):
    known = app.parse_commands(words)[1][-1].assemble_argument_collection()
    positional = [argument.names[0] for argument in known if argument.index is not None]
    options = [argument for argument in known if argument.names[0].startswith("--")]

    # Of the others, one that takes no more than its own value, or no value at all, is the last before the words.
    def unsuited(argument):
        is_checked = argument.parameter.converter is not None  # it would refuse its value first
        return argument.token_count() not in {(1, False), (0, False)}, argument.required, is_checked

    last = min(options, key=unsuited)
    given = [word for one in options if one.required for word in (one.names[0], "1")]
    given += [last.names[0], *["1"] * last.token_count()[0]]
    line = refused(*words, *("a" for _ in positional), *given, "one", "two")
    assert mentions(line, "'two'", f"clip-zoo {' '.join(words)}", *positional), line


def test_a_missing_option_and_a_missing_value_are_told_apart(refused):
    assert refused("index", "photos") != refused("index", "photos", "--out")
    for typed in ([], ["--out"]):
        line = refused("index", "photos", *typed)
        assert line.startswith("--out "), line


def test_a_checkpoint_in_a_dtype_that_the_format_lacks(refused, run, place):
    assert run("convert", MODEL, "half", "--to", "safetensors", "--dtype", "bfloat16")[0] == 0
    line = refused("convert", "half", "out", "--to", "tf")
    assert mentions(line, "--to tf", "--dtype", "bfloat16", "float32", "half"), line
    assert not (place / "out").exists()


PAGES = {
    "search": ("search", "i", "red", "--html"),
    "explain": ("explain", IMAGE, "a cross", "--model", "nowhere", "--html"),
    "verify": ("verify", "nowhere", "--report"),
}


@pytest.mark.parametrize("command", PAGES.values(), ids=PAGES)
def test_a_page_that_cannot_be_written_is_refused_before_anything_runs(refused, place, command, monkeypatch):
    before = sorted(place.rglob("*"))
    for target in ("photos", "new/", "file.txt", "file.txt/page.html"):
        line = refused(*command, target)
        assert line.startswith(f"{command[-1]} {target}"), line
        assert not mentions(line, "nowhere"), line

    def deny(**_: object) -> None:  # root may write anywhere
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", deny)
    assert mentions(refused(*command, "photos/page.html"), "permission denied", "photos/page.html")
    assert sorted(place.rglob("*")) == before
    assert Path("file.txt").read_text() == "x\n"
