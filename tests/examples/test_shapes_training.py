"""`make demo-checkpoint`: drawing, training, measuring and the model card, and its result in the repository."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from clip_core import CLIPConfig, CLIPProcessor, ZeroShotClassifier

sys.path.append(str(Path(__file__).parents[2] / "examples"))
sys.path.append(str(Path(__file__).parents[2] / "examples" / "shapes"))

import card
import demo
import generate
import measure
import scenes

from support.tolerances import DRAWN_PIXELS, LITTLE_ABOVE_CHANCE, SHARE_OF_300

SHAPES = Path(__file__).parents[2] / "examples" / "shapes"
CHECKPOINT = SHAPES / "checkpoint"


def test_the_same_seed_draws_the_same_data_on_any_number_of_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(generate, "_CHUNK", 8)
    for name, seed, processes in (("one", 3, 1), ("two", 3, 2), ("other", 4, 1)):
        (tmp_path / name).mkdir()
        generate.write_pictures(tmp_path / name, "simple", 20, seed, processes)
    one, two, other = (
        pyarrow.parquet.read_table(tmp_path / name / "simple.parquet") for name in ("one", "two", "other")
    )
    assert one.equals(two)
    assert len(one) == 20
    assert one["image"] != other["image"]


@pytest.mark.parametrize(
    ("kind", "pairs"), [("simple", scenes.SEEN), ("full", scenes.SEEN), ("held-out", scenes.HELD_OUT)]
)
def test_training_and_test_data_show_pairs_of_their_own(kind, pairs):
    rows = generate.rows(kind, 0, 60, 0)
    named = {pair for pair in zip(rows["colour"], rows["shape"], strict=True) if pair[0]}
    assert named <= set(pairs)
    assert len(named) > 5


def test_the_pictures_of_the_demo_are_what_the_generator_draws(tmp_path):
    generate.write_examples(tmp_path, 0)
    for file in ("labels.txt", "pictures/labels.json"):
        assert (tmp_path / file).read_text() == (SHAPES / file).read_text()
    drawn = sorted((tmp_path / "pictures").glob("*.png"))
    assert len(drawn) == len(scenes.HELD_OUT) == len(list((SHAPES / "pictures").glob("*.png")))
    for path in drawn:
        pixels, kept = (np.asarray(Image.open(file), int) for file in (path, SHAPES / "pictures" / path.name))
        assert np.abs(pixels - kept).mean() < DRAWN_PIXELS


def test_the_checkpoint_has_the_vocabulary_and_settings_of_the_generator(tmp_path):
    generate.write_model(tmp_path, 0)
    assert (tmp_path / "vocab.json").read_text() == (CHECKPOINT / "vocab.json").read_text()
    empty, trained = CLIPConfig.from_pretrained(tmp_path), CLIPConfig.from_pretrained(CHECKPOINT)
    for tower in ("text_config", "vision_config"):
        made, kept = getattr(empty, tower).to_dict(), getattr(trained, tower).to_dict()
        assert {name: kept.get(name) for name in made} == made
    pictures = CLIPProcessor.from_pretrained(CHECKPOINT).image_processor
    assert pictures.image_mean == list(generate.MEAN)


def test_the_weights_are_at_most_four_megabytes():
    assert (CHECKPOINT / "model.safetensors").stat().st_size <= 4e6


@pytest.fixture(scope="module")
def classifier():
    return ZeroShotClassifier.from_pretrained(CHECKPOINT)


def test_the_checkpoint_knows_pairs_that_it_never_saw(classifier, tmp_path):
    generate.write_pictures(tmp_path, "held-out", 300, seed=99, processes=1)  # others than the card was measured on
    results = measure.measure(classifier, measure.read_rows(tmp_path / "held-out.parquet"))
    told = json.loads((CHECKPOINT / "results.json").read_text())
    for name in ("colour", "shape", "both", "text_to_image", "image_to_text"):
        assert abs(getattr(results, name) - told[name]) < SHARE_OF_300


def test_a_model_that_knows_nothing_is_measured_as_chance(tmp_path):
    generate.write_model(tmp_path, 0)

    class Mute:
        def encode_images(self, pixel_values):
            return np.random.default_rng(0).normal(size=(len(pixel_values), 8)).astype(np.float32)

        def encode_texts(self, input_ids, attention_mask):
            return np.random.default_rng(1).normal(size=(len(input_ids), 8)).astype(np.float32)

        def logits_per_image(self, image_embeds, text_embeds):
            return image_embeds @ text_embeds.T

    rows = [
        {"image": Image.new("RGB", (8, 8), (number, 0, 0)), "text": f"{number}", "size": "large", "number": "one"}
        | {"colour": colour, "shape": shape, "name": measure.name(colour, shape)}
        for number, (colour, shape) in enumerate(scenes.HELD_OUT * 10)
    ]
    results = measure.measure(ZeroShotClassifier(Mute(), CLIPProcessor.from_pretrained(tmp_path)), rows)
    assert results.both < LITTLE_ABOVE_CHANCE
    assert results.text_to_image < LITTLE_ABOVE_CHANCE


def test_the_card_contains_the_measurements():
    told = (CHECKPOINT / "README.md").read_text()
    results = measure.Results(**json.loads((CHECKPOINT / "results.json").read_text()))
    for share in (results.colour, results.shape, results.both, results.text_to_image, results.image_to_text):
        assert f"| {share:.2%} |" in told
    assert (CHECKPOINT / "curve.png").stat().st_size > 10_000
    records = [[{"step": 1, "loss": 3.0, "logit_scale": 14.0, "samples_per_second": 64.0}]] * 2
    assert "2 steps of 128" in card.card(CHECKPOINT, results, records)


def test_the_curve_is_drawn(tmp_path):
    records = [[{"step": n, "loss": 5 / n, "logit_scale": 14.0} for n in range(1, 40)]] * 2
    card.draw_curve(records, tmp_path / "curve.png")
    with Image.open(tmp_path / "curve.png") as curve:
        assert curve.size[0] > 600


def test_the_demo_names_every_picture_alike_in_every_framework(capsys):
    arguments = [str(CHECKPOINT), str(SHAPES / "pictures"), "--labels", str(SHAPES / "labels.txt")]
    assert demo.main(arguments) == 0
    shown = capsys.readouterr().out
    right = {line.split(": ")[1] for line in shown.splitlines() if " correct, among 100 labels" in line}
    assert {line.split(":")[0] for line in shown.splitlines() if " correct, among" in line} == set(demo.backend_names())
    assert len(right) == 1
    assert "FAIL" not in shown
