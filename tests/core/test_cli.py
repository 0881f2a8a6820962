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


def test_a_command_asks_tensorflow_for_quiet_unless_the_user_chose(run, monkeypatch):
    for before, after in ((None, "1"), ("0", "0")):
        monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
        if before is not None:
            monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", before)
        assert run("formats")[0] == 0
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == after


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


def test_labels_from_a_text_file_and_a_list(run, cat, model, tmp_path):
    (tmp_path / "names.txt").write_text("cat\n\n dog \ncat\n", encoding="utf-8-sig")
    (tmp_path / "names.json").write_text('["cat", "dog"]')
    answers = [
        run("classify", cat, "--labels-file", tmp_path / name, "--model", model, "--json")
        for name in ("names.txt", "names.json")
    ]
    assert answers[0] == answers[1]
    assert len(rows(answers[0][1])[0]["labels"]) == 2


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
