"""The command clip-zoo classify, on real images with a trained checkpoint and on bad input."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.messages import mentions
from support.tolerances import HALF_PRECISION_PROBABILITIES, PROBABILITIES, ROUNDING

TEMPLATE = "a picture of {}"


@pytest.fixture
def model(shared):
    return shared / "emoji" / "checkpoint"


@pytest.fixture
def cat(shared):
    return shared / "emoji" / "pictures" / "cat.png"


def rows(out):
    return [json.loads(line) for line in out.splitlines()]


def matrix(answers, labels):
    """Return the probabilities `(images, labels)` in JSON lines with every label."""
    found = [{entry["label"]: entry["probability"] for entry in row["labels"]} for row in answers]
    return np.array([[row[label] for label in labels] for row in found])


def test_emoji_and_photographs_get_the_references_probabilities(run, oracle, shared, model):
    truths = json.loads((shared / "emoji" / "labels.json").read_text())
    labels, folders = list(truths.values()), [shared / "emoji" / "pictures", shared / "photos"]
    options = ["--labels-file", shared / "emoji" / "labels.json", "--template", TEMPLATE, "--model", model]
    code, out, err = run("classify", *folders, *options, "--top-k", len(labels), "--json")
    assert (code, err) == (0, "")
    answers = rows(out)
    images = [row["image"] for row in answers]
    assert len(images) == len(truths) + 4
    texts = [TEMPLATE.format(label) for label in labels]
    expected = oracle("classify", folder=str(model), images=images, texts=texts)
    assert np.abs(matrix(answers, labels) - expected).max() < PROBABILITIES
    right = sum(row["labels"][0]["label"] == row["truth"] for row in answers if "truth" in row)
    assert right == 20  # as the checkpoint's own README says: 62.5 %


def test_the_table_shows_names_probabilities_and_the_share_of_right_answers(run, shared, model):
    labels_file = shared / "emoji" / "labels.json"
    options = ["--labels-file", labels_file, "--template", TEMPLATE, "--model", model, "--top-k", 2]
    code, out, _ = run("classify", shared / "emoji" / "pictures", *options)
    assert code == 0
    assert "20 of 32 correct (62.5%)" in out
    assert "most likely" in out
    assert "2." in out


def test_labels_follow_their_option_and_answers_are_sorted_and_cut(run, cat, model):
    code, out, _ = run("classify", cat, "--labels", "a cat", "a dog", "a car", "--model", model, "--top-k", 2, "--json")
    (row,) = rows(out)
    assert code == 0
    assert len(row["labels"]) == 2
    assert row["labels"][0]["probability"] > row["labels"][1]["probability"]


def test_the_library_gives_the_same_probabilities(run, cat, model):
    import torch
    from PIL import Image

    from clip_torch import CLIPModel, CLIPProcessor

    labels = ["a cat", "a dog", "a car"]
    _, out, _ = run("classify", cat, "--labels", *labels, "--model", model, "--json")
    processor, clip = CLIPProcessor.from_pretrained(model), CLIPModel.from_pretrained(model)
    inputs = processor(text=labels, images=Image.open(cat), return_tensors="pt", padding=True)
    with torch.no_grad():
        probabilities = clip(**inputs).logits_per_image.softmax(dim=1)
    assert np.abs(matrix(rows(out), labels) - probabilities.numpy()).max() < ROUNDING


def test_half_precision_and_batches_change_little(run, shared, model):
    arguments = ["classify", shared / "emoji" / "pictures", "--labels", "cat", "dog", "--model", model, "--json"]
    _, whole, _ = run(*arguments)
    _, in_batches, _ = run(*arguments, "--batch-size", 5, "--device", "cpu")
    _, half, _ = run(*arguments, "--dtype", "bfloat16")
    labels = ["cat", "dog"]
    assert np.abs(matrix(rows(in_batches), labels) - matrix(rows(whole), labels)).max() < PROBABILITIES
    assert np.abs(matrix(rows(half), labels) - matrix(rows(whole), labels)).max() < HALF_PRECISION_PROBABILITIES


def test_several_templates_are_an_ensemble(run, cat, model):
    arguments = ["classify", cat, "--labels", "cat", "dog", "--model", model, "--json"]
    _, one, _ = run(*arguments, "--template", "a {}")
    _, both, _ = run(*arguments, "--template", "a {}", "the {}")
    assert rows(one) != rows(both)


def test_good_pictures_are_answered_beside_bad_ones(run, cat, model, tmp_path):
    whole = cat.read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    shutil.copy(cat, tmp_path / "good.png")
    gone = tmp_path / "gone.png"
    code, out, err = run("classify", tmp_path, gone, "--labels", "cat", "dog", "--model", model)
    assert code == 2
    assert "good.png" in out
    lines = err.splitlines()
    assert len(lines) == 3
    for named in ([gone], [tmp_path / "text.png", "Pillow"], [tmp_path / "cut.png", "truncated"]):
        assert sum(mentions(line, "clip-zoo", *named) for line in lines) == 1
    code, out, _ = run("classify", tmp_path, gone, "--labels", "cat", "dog", "--model", model, "--json")
    assert code == 2
    assert [Path(row["image"]).name for row in rows(out) if "labels" in row] == ["good.png"]
    assert sorted(Path(row["image"]).name for row in rows(out) if "error" in row) == ["cut.png", "gone.png", "text.png"]


def test_names_and_labels_are_shown_as_they_are(run, cat, model, tmp_path):
    for name in ("cat[bold].png", "Katze 猫.png"):
        shutil.copy(cat, tmp_path / name)
    code, out, _ = run("classify", tmp_path, "--labels", "[red]cat", "dog [1]", "--model", model)
    assert code == 0
    for shown in ("cat[bold].png", "Katze 猫.png", "[red]cat", "dog [1]"):
        assert shown in out


@pytest.mark.skipif(sys.platform != "linux", reason="file systems elsewhere want names that are text")
def test_a_file_whose_name_is_no_text_is_answered(run, cat, model, tmp_path):
    shutil.copy(cat, os.fsencode(tmp_path) + b"/cat\xff.png")
    arguments = ["classify", tmp_path, "--labels", "cat", "dog", "--model", model]
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert "cat\ufffd.png" in out
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    assert Path(rows(out)[0]["image"]).read_bytes() == cat.read_bytes()


def test_json_lines_are_ascii(run, cat, model):
    _, out, _ = run("classify", cat, "--labels", "猫", "🐶", "--model", model, "--json")
    assert out.isascii()
    assert {entry["label"] for entry in rows(out)[0]["labels"]} == {"猫", "🐶"}


def test_a_picture_of_few_rows_spoils_no_other(run, cat, model, tmp_path):
    from PIL import Image

    shutil.copy(cat, tmp_path / "good.png")
    for name, size in (("a.png", (1, 1)), ("b.png", (50, 3)), ("c.png", (3, 50))):
        Image.new("RGB", size, "red").save(tmp_path / name)
    code, out, err = run("classify", tmp_path, "--labels", "cat", "dog", "--model", model, "--json")
    assert (code, err) == (0, "")
    assert len(rows(out)) == 4


def test_a_file_is_turned_and_scaled_as_it_says(run, cat, model, tmp_path):
    from PIL import Image

    with Image.open(cat) as picture:
        grey = picture.convert("L")
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    grey.save(tmp_path / "a.png")
    grey.transpose(Image.Transpose.ROTATE_180).save(tmp_path / "b.png", exif=exif)
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(tmp_path / "c.png")
    code, out, err = run("classify", tmp_path, "--labels", "cat", "dog", "--model", model, "--json")
    assert (code, err) == (0, "")
    first, *others = matrix(rows(out), ["cat", "dog"])
    np.testing.assert_allclose(others, [first, first], atol=ROUNDING)


def one_line(err):
    assert err.count("\n") == 1, err
    assert err.startswith("clip-zoo: ")
    return err


def test_missing_labels_are_told(run, cat, model):
    code, _, err = run("classify", cat, "--model", model)
    assert code == 2
    assert mentions(one_line(err), "--labels", "--labels-file")
    code, _, err = run("classify", cat, "--labels", "cat", " ", "--model", model)
    assert code == 2
    assert mentions(one_line(err), "labels")


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("gone.txt", None, ["gone.txt"]),
        ("empty.txt", "\n \n", ["labels"]),
        ("broken.json", "{", ["broken.json", "JSON"]),
        ("numbers.json", "[1, 2]", ["numbers.json", "JSON"]),
        ("latin.txt", b"K\xe4fer", ["latin.txt", "UTF-8"]),
    ],
)
def test_a_bad_labels_file_is_told(run, cat, tmp_path, name, content, named):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    code, _, err = run("classify", cat, "--labels-file", tmp_path / name)
    assert code == 2
    assert mentions(one_line(err), *named)


def test_labels_from_a_text_file_and_a_list(run, cat, model, tmp_path):
    (tmp_path / "names.txt").write_text("cat\n\n dog \ncat\n", encoding="utf-8-sig")
    (tmp_path / "names.json").write_text('["cat", "dog"]')
    answers = [
        run("classify", cat, "--labels-file", tmp_path / name, "--model", model, "--json")
        for name in ("names.txt", "names.json")
    ]
    assert answers[0] == answers[1]
    assert len(rows(answers[0][1])[0]["labels"]) == 2


def test_an_unknown_model_is_told_what_to_do(run, cat, tmp_path):
    code, _, err = run("classify", cat, "--labels", "cat", "--model", tmp_path / "gone")
    assert code == 2
    assert mentions(one_line(err), tmp_path / "gone")
    code, _, err = run("classify", cat, "--labels", "cat", "--model", "")
    assert code == 2
    assert mentions(one_line(err), "--model")
    code, _, err = run("classify", cat, "--labels", "cat", "--model", "nobody/nothing")
    assert code == 2
    assert mentions(one_line(err), "nobody/nothing")


def test_a_foreign_architecture_is_named(run, cat, model, tmp_path):
    for name in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        shutil.copy(model / name, tmp_path / name)
    (tmp_path / "config.json").write_text('{"model_type": "siglip"}')
    code, _, err = run("classify", cat, "--labels", "cat", "--model", tmp_path)
    assert code == 2
    assert "SigLIP" in one_line(err)


def test_without_a_picture_no_model_is_loaded(run, tmp_path):
    code, out, err = run("classify", tmp_path / "gone.png", "--labels", "cat", "--model", tmp_path / "no-model")
    assert (code, out) == (2, "")
    assert mentions(one_line(err), tmp_path / "gone.png")


def test_a_label_that_is_too_long_is_told_in_one_line(run, cat, model):
    code, _, err = run("classify", cat, "--labels", "cat", "dog " * 100, "--model", model)
    assert code == 2
    assert mentions(one_line(err), 102, 77)


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--backend", "mxnet", ["--backend mxnet", "torch"]),
        ("--device", "gpu9", ["--device", "gpu9"]),
        ("--device", "cuda:99", ["--device", "cuda:99"]),
        ("--dtype", "int8", ["--dtype", "int8", "float32"]),
        ("--template", "a photo", ["--template a photo", "{}"]),
        ("--batch-size", "0", ["--batch-size", 0, 1]),
        ("--top-k", "-1", ["--top-k", -1, 1]),
        ("--batch-size", "many", ["--batch-size", "many"]),
    ],
)
def test_bad_options_are_told(run, cat, model, option, value, named):
    code, _, err = run("classify", cat, "--labels", "cat", "--model", model, option, value)
    assert code == 2
    assert mentions(one_line(err), *named)


def test_an_unknown_command_and_a_missing_picture_exit_with_2(run):
    for arguments in (["clasify"], ["classify", "--labels", "cat"], ["classify", "x.png", "--label", "cat"]):
        code, _, err = run(*arguments)
        assert code == 2
        one_line(err)


def test_what_was_typed_does_not_control_the_terminal(run):
    for arguments in (("inspect", "a\x1b[2Jb"), ("diff", "a\u202eb", "c"), ("classify", "a\x07b", "--labels", "c")):
        code, _, err = run(*arguments)
        assert code == 2
        assert err.removesuffix("\n").isprintable(), arguments


def test_help_and_version(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "classify" in out
    code, out, _ = run("classify", "--help")
    assert code == 0
    assert "--labels-file" in out
    assert 'clip-zoo classify cat.jpg --labels "a cat" "a dog"' in out
    code, out, _ = run("--version")
    assert code == 0


def test_the_installed_command_runs(shared, cat, model):
    command = Path(sys.executable).with_name("clip-zoo")
    arguments = [command, "classify", cat, "--labels", "cat", "--model", model, "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert rows(done.stdout)[0]["labels"] == [{"label": "cat", "probability": 1.0}]


def test_embeddings_of_many_labels_are_kept_in_the_folder_that_is_named(run, model, cat, tmp_path):
    labels = ["a cat", *(f"{number} dogs" for number in range(64))]
    options = ["--labels", *labels, "--model", model, "--label-cache", tmp_path / "cache", "--json"]
    first = run("classify", cat, *options)
    (kept,) = (tmp_path / "cache").iterdir()
    written = kept.stat().st_mtime_ns
    assert first[0] == 0
    assert run("classify", cat, *options) == first
    assert kept.stat().st_mtime_ns == written


CHECKPOINT = Path(__file__).parents[2] / "examples" / "shapes" / "checkpoint"
PICTURES = CHECKPOINT.parent / "pictures"
CLASSIFY = ("classify", PICTURES / "a-green-cross.png", "--labels", "a", "b", "--model", CHECKPOINT)
EVALUATE = ("evaluate", "zero-shot", "--data", PICTURES, "--model", CHECKPOINT)


@pytest.mark.parametrize(
    ("command", "option", "value"),
    [
        (("convert", CHECKPOINT, "out"), "--to", "odd"),
        *((("convert", CHECKPOINT, "out", "--to", "torch"), *pair) for pair in (
            ("--dtype", "odd"), ("--max-shard-size", "odd"), ("--subfolder", "odd"),
        )),
        (("convert", "no/model", "out", "--to", "torch"), "--revision", "odd"),
        (("inspect", CHECKPOINT), "--subfolder", "odd"),
        (("inspect", "no/model"), "--revision", "odd"),
        (("verify", CHECKPOINT), "--backend", "odd"),
        (("verify", CHECKPOINT), "--dtype", "odd"),
        (("verify", CHECKPOINT), "--against", "odd"),
        *((CLASSIFY, option, "odd") for option in (
            "--backend", "--device", "--dtype", "--model", "--labels-file", "--batch-size", "--top-k", "--template",
        )),
        *((EVALUATE, option, "odd") for option in (
            "--data", "--batch-size", "--workers", "--template", "--templates-file", "--template-set",
            "--labels-file",
        )),
        *((("train", "--data", PICTURES, "--model", CHECKPOINT, "--checkpoint-dir", "out"), *pair) for pair in (
            ("--data", "odd"), ("--model", "odd"), ("--precision", "odd"), ("--freeze", "odd"), ("--lr", "-1.0"),
            ("--parallel", "odd"), ("--epochs", "0"), ("--crop", "odd"), ("--warmup", "-1.0"), ("--accum", "0"),
        )),
    ],
)  # fmt: skip
def test_a_bad_value_is_reported_by_the_option_that_was_typed(run, tmp_path, monkeypatch, command, option, value):
    monkeypatch.chdir(tmp_path)
    words = list(command)
    if option in words:
        place = words.index(option)
        del words[place : place + 2]
    code, out, err = run(*words, option, value)
    assert (code, out) == (2, "")
    assert option in err
    assert value in err
    assert f"{option.removeprefix('--').replace('-', '_')}=" not in err


def test_an_option_is_blamed_only_for_its_own_value():
    from clip_core.cli import _naming_the_option

    typed = ["classify", "--labels", "a", "--dtype", "odd", "--model=gone"]
    assert _naming_the_option("dtype='odd' is not a dtype", typed) == "--dtype odd is not a dtype"
    assert _naming_the_option("'gone' is neither a folder", typed) == "--model gone is neither a folder"
    assert _naming_the_option("there is a fault", typed) == "there is a fault"


@pytest.mark.parametrize(
    "command", [("convert", "MODEL", "out", "--to", "openai"), (*CLASSIFY[:-1], "MODEL", "--backend", "torch")]
)
def test_a_checkpoint_that_contradicts_its_configuration_is_told_in_one_line(run, tmp_path, monkeypatch, command):
    shutil.copytree(CHECKPOINT, tmp_path / "model")
    content = json.loads((tmp_path / "model" / "config.json").read_text())
    content["text_config"]["hidden_size"] = 192
    (tmp_path / "model" / "config.json").write_text(json.dumps(content))
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*(tmp_path / "model" if word == "MODEL" else word for word in command))
    assert (code, out) == (2, "")
    assert mentions(one_line(err), tmp_path / "model", "text_config.hidden_size", 192, 96, "more")


@pytest.mark.parametrize("error", ["ValueError", "OSError", "ImportError"])
def test_a_library_that_fails_to_import_is_not_called_bad_input(tmp_path, error):
    (tmp_path / "h5py.py").write_text(f"raise {error}('numpy.dtype size changed')")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    command = [sys.executable, "-m", "clip_core.cli", "convert", CHECKPOINT, tmp_path / "out", "--to", "tf"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=root)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert mentions(one_line(ran.stderr), "h5py", "numpy.dtype size changed")
