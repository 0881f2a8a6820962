"""The command clip-zoo evaluate: in every framework the result of a loop over single images, and bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_core import CLIPImageProcessor, CLIPProcessor, CLIPTokenizerFast
from support.configs import tiny_config
from support.messages import mentions
from support.tolerances import FLOAT64_ROUNDING
from support.vocabulary import write_vocabulary

DOCUMENT = Path(__file__).parents[3] / "docs/evaluating.md"
NAMES = ("cat", "ox", "big hen", "tin", "ant", "in land", "the eel")
EACH = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model with random weights and a processor, in a folder."""
    import torch

    import clip_torch

    folder = tmp_path_factory.mktemp("model")
    tokenizer = CLIPTokenizerFast(**write_vocabulary(folder), model_max_length=19)
    text = {"vocab_size": len(tokenizer), "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    clip_torch.CLIPModel(tiny_config(text, {"num_channels": 3})).save_pretrained(folder)
    CLIPProcessor(CLIPImageProcessor(size=30, crop_size=30), tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with a subfolder for each class, and a caption beside each image."""
    root, random = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name in NAMES:
        colour = random.integers(0, 235, 3)
        for number in range(EACH):
            path = root / name.replace(" ", "_") / f"{number}.png"
            path.parent.mkdir(exist_ok=True)
            pixels = colour + random.integers(0, 20, (30, 40, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(path)
            path.with_suffix(".txt").write_text(f"{name} {number // 2}")
    return root


@pytest.fixture(scope="module")
def similarities(model, pictures):
    """A function from texts to the similarities of all images, in order of their names: `(images, texts)`."""
    import torch

    from clip_torch import CLIPModel

    clip, processor = CLIPModel.from_pretrained(model), CLIPProcessor.from_pretrained(model)

    def of(*sides):
        inputs = [processor(**side, return_tensors="pt", padding=True) for side in sides]
        with torch.no_grad():
            found = [
                clip.get_image_features(**one) if "pixel_values" in one else clip.get_text_features(**one)
                for one in inputs
            ]
        rows = np.concatenate([one.double().numpy() for one in found])
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    images = of(*({"images": Image.open(path)} for path in sorted(pictures.rglob("*.png"))))
    return lambda texts: images @ of(*({"text": [text]} for text in texts)).T


def evaluated(run, *arguments):
    code, out, err = run("evaluate", *arguments, "--json", "--workers", 0)
    assert code == 0, err
    return json.loads(out)


def test_zero_shot_is_what_a_loop_finds_in_every_framework(run, model, pictures, similarities, backend):
    names = sorted(NAMES)
    truths = [names.index(path.parent.name.replace("_", " ")) for path in sorted(pictures.rglob("*.png"))]
    rows = similarities([f"a {name}" for name in names])
    places = [sorted(row, reverse=True).index(row[truth]) for row, truth in zip(rows, truths, strict=True)]
    options = ["--data", pictures, "--model", model, "--template", "a {}", "--backend", backend.name, "--batch-size", 8]
    result = evaluated(run, "zero-shot", *options)["result"]
    assert (result["pictures"], result["classes"]) == (len(NAMES) * EACH, len(NAMES))
    assert result["top_1"] == np.mean([place < 1 for place in places])
    assert result["top_5"] == np.mean([place < 5 for place in places])
    accuracies = {one["name"]: one["accuracy"] for one in result["by_class"]}
    for number, name in enumerate(names):
        its = [place < 1 for place, truth in zip(places, truths, strict=True) if truth == number]
        assert accuracies[name] == np.mean(its)


def test_retrieval_is_what_a_loop_finds_in_every_framework(run, model, pictures, similarities, backend):
    captions = [path.read_text() for path in sorted(pictures.rglob("*.txt"))]
    texts = list(dict.fromkeys(captions))
    right = np.array([[caption == text for text in texts] for caption in captions])
    scores = similarities(texts)
    options = ["--data", pictures, "--model", model, "--backend", backend.name, "--batch-size", 8]
    report = evaluated(run, "retrieval", *options)
    assert (report["pictures"], report["texts"], report["pairs"]) == (21, 14, 21)
    for way, rows, its in (("image_to_text", scores, right), ("text_to_image", scores.T, right.T)):
        ranks = [
            min(sorted(row, reverse=True).index(score) for score in row[good]) + 1
            for row, good in zip(rows, its, strict=True)
        ]
        assert report[way]["mean_reciprocal_rank"] == pytest.approx(
            np.mean([1 / rank for rank in ranks]), rel=FLOAT64_ROUNDING
        )
        for k in (1, 5, 10):
            assert report[way]["recall"][str(k)] == np.mean([rank <= k for rank in ranks])


def test_a_probe_learns_what_it_is_tested_on(run, model, pictures):
    report = evaluated(run, "probe", "--data", pictures, "--test-data", pictures, "--model", model)
    assert (report["training_pictures"], report["result"]["pictures"]) == (21, 21)
    assert report["result"]["top_1"] > 0.8
    held_out = evaluated(run, "probe", "--data", pictures, "--model", model, "--test-share", 0.3)
    assert (held_out["training_pictures"], held_out["result"]["pictures"]) == (14, 7)


def test_tables_say_what_was_measured(run, model, pictures, tmp_path):
    code, out, _ = run("evaluate", "zero-shot", "--data", pictures, "--model", model, "--template", "a {}", "the {}")
    assert code == 0
    for shown in ("top-1", "top-5", "chance", "14.3%", "21 images", "7 classes", "2 templates", "worst"):
        assert shown in out
    code, out, _ = run("evaluate", "retrieval", "--data", pictures, "--model", model, "--workers", 1)
    assert code == 0
    for shown in ("recall@10", "reciprocal", "21 images", "14 texts", "21 pairs"):
        assert shown in out
    code, out, _ = run("evaluate", "probe", "--data", pictures, "--model", model)
    assert code == 0
    assert mentions(out, "7 images", "7 classes", "14 images", "penalty")


def test_pictures_that_cannot_be_read_are_named_and_the_exit_code_says_so(run, model, pictures, tmp_path):
    for name in ("cat", "ox"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "good.png").write_bytes((pictures / name / "0.png").read_bytes())
    (tmp_path / "ox" / "bad.png").write_text("no picture")
    arguments = ["evaluate", "zero-shot", "--data", tmp_path, "--model", model, "--workers", 0]
    code, out, _ = run(*arguments)
    assert code == 2
    assert mentions(out, "2 images", "2 classes", 1, tmp_path / "ox" / "bad.png", "Pillow")
    code, out, _ = run(*arguments, "--json")
    assert code == 2
    assert [broken["key"] for broken in json.loads(out)["broken"]] == [str(tmp_path / "ox" / "bad.png")]


def test_the_documents_example_runs(model, pictures, tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    for name, folder in (("clip", model), ("classes", pictures), ("captioned", pictures)):
        (tmp_path / name).symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    exec(example, {})  # noqa: S102  our own


def test_a_trained_model_does_on_emoji_what_its_card_says(run, shared):
    emoji = shared / "emoji"
    options = ["--model", emoji / "checkpoint", "--labels-file", emoji / "labels.json"]
    report = evaluated(run, "zero-shot", "--data", emoji / "pictures", *options, "--template", "a picture of {}")
    assert report["result"]["top_1"] == 0.625
    assert report["result"]["mean_per_class"] == 0.625


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["zero-shot", "--data", "nowhere"], ["nowhere"]),
        (["zero-shot", "--data", "PICTURES", "--template", "a photo"], ["--template a photo", "{}"]),
        (["zero-shot", "--data", "PICTURES", "--template-set", "imagenet-80"], ["tokens", 19]),
        (["zero-shot", "--data", "PICTURES", "--labels-file", "no.txt"], ["--labels-file no.txt"]),
        (["zero-shot", "--data", "PICTURES", "--batch-size", 0], ["--batch-size 0", 1]),
        (["zero-shot", "--data", "PICTURES", "--backend", "mxnet"], ["--backend mxnet"]),
        (["retrieval", "--data", "PICTURES/cat", "--workers", -1], ["--workers -1", 0]),
        (["probe", "--data", "PICTURES", "--test-share", 1.5], ["test", 1.5, 0, 1]),
        (["zero-shot", "--data", "PICTURES/cat"], ["3 (0.png, 1.png, 2.png)"]),
    ],
)
def test_bad_input_is_one_line(run, model, pictures, arguments, named):
    given = [str(argument).replace("PICTURES", str(pictures)) for argument in arguments]
    code, out, err = run("evaluate", *given, "--model", model)
    assert (code, out) == (2, "")
    assert mentions(err, *named)
    assert err.count("\n") == 1
    assert err.startswith("clip-zoo: ")
