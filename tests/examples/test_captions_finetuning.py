"""The example of fine-tuning on captions: data sets in RSICD's format, their tables, and the report of the runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_core.data import open_pairs
from support.messages import mentions
from support.tolerances import FLOAT64_OPERATION

sys.path.append(str(Path(__file__).parents[2] / "examples" / "captions_finetuning"))
sys.path.append(str(Path(__file__).parents[2] / "examples" / "emoji"))

import catalogue
import emoji_dataset
import finetuning_report
import rsicd

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "captions_finetuning"
FOX, OWL, CAT = ["a fox", "a red fox", "a fox"], ["an owl"], ["a cat", "a cat"]
DATASET = {
    "images": [
        {"filename": f"{name}.png", "split": split, "imgid": place, "sentences": [{"raw": text} for text in texts]}
        for place, (name, split, texts) in enumerate(
            [("fox", "train", FOX), ("owl", "restval", OWL), ("cat", "test", CAT), ("hen", "val", ["a hen", " "])]
        )
    ],
    "dataset": "animals",
}


@pytest.fixture
def animals(tmp_path):
    """A folder with a small data set in RSICD's format."""
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(DATASET["images"]):
        Image.new("RGB", (64, 64), (40 * number, 90, 0)).save(tmp_path / "pictures" / image["filename"])
    (tmp_path / "animals.json").write_text(json.dumps(DATASET))
    return tmp_path


def tables(animals, *options):
    arguments = [str(animals / name) for name in ("animals.json", "pictures", "tables")]
    assert rsicd.main([*arguments, *options]) == 0
    found = {}
    for name in ("train", "val", "test"):
        pairs = open_pairs(animals / "tables" / f"{name}.jsonl") if name == "train" else None
        lines = (animals / "tables" / f"{name}.jsonl").read_text().splitlines()
        found[name] = [(Path(row["file_name"]).stem, row["text"]) for row in map(json.loads, lines)]
        assert pairs is None or len(pairs) == len(lines)
    return found


@pytest.mark.parametrize(
    ("options", "train"),
    [
        ([], [("fox", FOX), ("owl", OWL)]),
        (["--distinct"], [("fox", FOX[:2]), ("owl", OWL)]),
        (["--each"], [("fox", FOX[0]), ("fox", FOX[1]), ("fox", FOX[2]), ("owl", OWL[0])]),
        (["--each", "--distinct"], [("fox", FOX[0]), ("fox", FOX[1]), ("owl", OWL[0])]),
    ],
)
def test_a_training_row_is_an_image_or_a_sentence_with_or_without_repetitions(animals, options, train):
    found = tables(animals, *options)
    assert found == {"train": train, "val": [("hen", ["a hen"])], "test": [("cat", ["a cat"])]}


def test_the_commands_of_the_page_train_a_model_and_evaluate_it(animals, run, monkeypatch):
    page = (EXAMPLE / "README.md").read_text()
    block = re.search(r"```\n(python .*?)```", page, re.DOTALL)[1]
    prepare, train, evaluate = map(shlex.split, block.replace("\\\n", "").splitlines())
    monkeypatch.chdir(animals)
    Path("animals.json").rename("dataset_rsicd.json")
    Path("pictures").rename("RSICD_images")
    assert ROOT / prepare[1] == Path(rsicd.__file__)
    assert rsicd.main([*prepare[2:], "--each"]) == 0
    checkpoint = str(ROOT / "examples" / "shapes" / "checkpoint")
    train[train.index("openai/clip-vit-base-patch32")] = checkpoint
    code, _, err = run(*train[1:], "--batch-size", 2, "--workers", 0, "--epochs", 2)
    assert code == 0, err
    assert len(finetuning_report.read_losses(Path("build/rsicd/run"))) == 4
    evaluate[-1] = evaluate[-1].replace("XXXXXXXX", "00000004")
    evaluate[evaluate.index("build/rsicd/test.jsonl")] = "build/rsicd/train.jsonl"  # the test has one image
    code, out, err = run(*evaluate[1:], "--workers", 0, "--json")
    assert code == 0, err
    measured = json.loads(out)
    assert (measured["pictures"], measured["texts"]) == (2, 3)
    assert {"1", "5", "10"} <= measured["image_to_text"]["recall"].keys()


def changed(**fields):
    return json.dumps({"images": [{**DATASET["images"][0], **fields}]})


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("not JSON", ["animals.json"]),
        ("[]", ["animals.json"]),
        ("[" * 100_000, ["animals.json"]),
        ('{"images": []}', ["animals.json", "images"]),
        ('{"annotations": []}', ["animals.json", "images"]),
        ('{"images": [{"file_name": "fox.png"}]}', ["animals.json", "images[0]", "filename"]),
        (changed(split="dev"), ["animals.json", "images[0]", "'dev'", "train", "val", "test"]),
        (changed(split=["train"]), ["animals.json", "images[0]", "['train']", "train"]),
        (changed(sentences=[]), ["animals.json", "images[0]"]),
        (changed(sentences=["a fox"]), ["animals.json", "images[0]", "raw"]),
        (changed(sentences=[{"raw": "a \ud800"}]), ["animals.json", "images[0]"]),
        (changed(filename="wolf.png"), ["animals.json", "wolf.png", "pictures", 1]),
    ],
)
def test_what_is_not_in_the_format_is_answered_in_one_line(animals, content, named, capsys):
    (animals / "animals.json").write_text(content)
    assert rsicd.main([str(animals / name) for name in ("animals.json", "pictures", "tables")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert mentions(line, *named)
    assert not (animals / "tables").exists()


def test_tables_are_not_written_among_the_images(animals, capsys):
    assert rsicd.main([str(animals / "animals.json"), str(animals / "pictures"), str(animals)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(animals) in line
    assert rsicd.main([str(animals / "none.json"), str(animals / "pictures"), str(animals / "tables")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "none.json" in line


def test_an_emoji_has_up_to_five_different_sentences_its_name_first():
    emoji = catalogue.Emoji("1f600", "grinning face", ("happy", "face", "smile"))
    short = ["grinning", "Grinning Face", "gleeful", "grin"]
    told = ["grinning face", "a picture of grinning face", "happy, smile", "grinning", "gleeful"]
    assert emoji_dataset.wordings(emoji, short) == told
    assert emoji_dataset.wordings(catalogue.Emoji("31", "one", ("one",)), []) == ["one", "a picture of one"]


@pytest.fixture
def packages(tmp_path):
    """Stand-ins for the npm packages of two emoji: three vendors' drawings, names and short names."""
    root = tmp_path / "packages"
    for package in (*emoji_dataset.VENDORS.values(), emoji_dataset.NAMES):
        (root / package.name).mkdir(parents=True)
        (root / package.name / "package.json").write_text(json.dumps({"version": package.version}))
    for package in emoji_dataset.VENDORS.values():
        (root / package.name / package.inside).mkdir(parents=True)
        for code in ("1f600", "2764-fe0f"):
            Image.new("RGBA", (72, 72), (200, 0, 0, 255)).save(root / package.name / package.inside / f"{code}.png")
    texts = root / emoji_dataset.NAMES.name / "en" / "shortcodes"
    texts.mkdir(parents=True)
    labels = {"1F600": "grinning face", "2764": "red heart"}
    rows = [{"hexcode": code, "label": label, "tags": ["smile"], "group": 0} for code, label in labels.items()]
    (texts.parent / "data.json").write_text(json.dumps(rows))
    for name in emoji_dataset.SHORT_NAMES:
        (texts / f"{name}.json").write_text(json.dumps({"1F600": ["grin_ning", "gleeful"], "2764": "heart"}))
    return root


def test_the_emoji_become_a_data_set_with_five_sentences_an_image(packages, tmp_path):
    assert emoji_dataset.main([str(tmp_path / "emoji"), "--packages", str(packages)]) == 0
    images = json.loads((tmp_path / "emoji" / "dataset_emoji.json").read_text())["images"]
    assert [image["filename"] for image in images] == [
        f"{vendor}-{code}.png" for vendor in emoji_dataset.VENDORS for code in ("1f600", "2764")
    ]
    for place, image in enumerate(images):
        raw = [sentence["raw"] for sentence in image["sentences"]]
        assert len(raw) == 5
        name = ("grinning face", "red heart")[place % 2]
        assert raw[:2] == [name, f"a picture of {name}"]
        assert raw[3] == ("grin ning", "heart")[place % 2]
        assert image["sentids"] == [sentence["sentid"] for sentence in image["sentences"]]
        assert image["sentences"][0]["tokens"] == name.split()
    assert sorted(image["split"] for image in images) == ["test", *["train"] * 5]
    pixels = np.asarray(Image.open(tmp_path / "emoji" / "images" / "google-1f600.png"))
    assert (pixels.shape, pixels[32, 32].tolist()) == ((64, 64, 3), [200, 0, 0])
    arguments = [str(tmp_path / "emoji" / name) for name in ("dataset_emoji.json", "images", "tables")]
    assert rsicd.main(arguments) == 0


def test_packages_that_were_unpacked_in_part_are_an_error(packages, tmp_path, capsys):
    (packages / emoji_dataset.NAMES.name / "en" / "shortcodes").rename(packages / "elsewhere")
    assert emoji_dataset.main([str(tmp_path / "emoji"), "--packages", str(packages)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert mentions(line, "shortcodes", packages / emoji_dataset.NAMES.name)
    assert not (tmp_path / "emoji" / "dataset_emoji.json").exists()


def test_a_report_holds_recall_and_the_largest_difference_of_losses(tmp_path, capsys):
    recall = {"recall": {"1": 0.125, "5": 0.25, "10": 0.5}}
    losses = {"torch": [4.0, 2.0], "tf": [4.0, 2.5], "flax": [4.1, 2.0]}
    for name in finetuning_report.RUNS:
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "retrieval.json").write_text(
            json.dumps(dict.fromkeys(finetuning_report.DIRECTIONS, recall))
        )
    for name in (*finetuning_report.RUNS[1:], *(f"curve-{name}" for name in losses)):
        (tmp_path / "runs" / name).mkdir(exist_ok=True)
        lines = [{"step": 1, "loss": loss} for loss in losses.get(name.removeprefix("curve-"), [3.0])]
        (tmp_path / "runs" / name / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert finetuning_report.main([str(tmp_path / "runs"), str(tmp_path / "out")]) == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["recall"]["each"] == {way: [0.125, 0.25, 0.5] for way in finetuning_report.DIRECTIONS}
    np.testing.assert_allclose(results["largest_difference"], 0.2, **FLOAT64_OPERATION)
    assert "| each | 12.5% | 25.0% | 50.0% | 12.5% | 25.0% | 50.0% |" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "curves.png") as curves:
        assert curves.size[0] > 600
    assert finetuning_report.main([str(tmp_path / "nowhere"), str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "nowhere" in line


def test_the_page_contains_what_was_measured():
    page, results = (EXAMPLE / "README.md").read_text(), json.loads((EXAMPLE / "results.json").read_text())
    heading, _, first, *others = finetuning_report.rows(results)
    assert all(row in page for row in (heading, first, *others))
    assert [len(list(filter(str.strip, line.split("|")))) for line in (heading, first)] == [7, 7]
    assert f"{results['largest_difference']:.1e}" in page
    assert f"{results['steps']} steps" in page
    before, after = (results["recall"][name]["image_to_text"] for name in ("before", "image"))
    assert after[2] > before[2]


def test_the_script_names_an_unknown_run(tmp_path):
    script = EXAMPLE / "finetune.sh"
    (tmp_path / "dataset_emoji.json").touch()
    for name in (
        *(f"{rows}/test.jsonl" for rows in ("image", "distinct", "each")),
        "start/config.json",
        "runs/before/retrieval.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    settings = {**os.environ, "BUILD": str(tmp_path), "RUNS": "sideways"}
    ran = subprocess.run(["sh", script], env=settings, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert mentions(ran.stderr, "RUNS", "sideways")
    named = set(re.findall(r"^        ([a-z-]+)\)", script.read_text(), re.MULTILINE)) | {"before"}
    assert named == set(finetuning_report.RUNS)
