"""The report of the multilingual example: its scores, its subsets, and the tables of the page."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_core.evaluation import retrieval
from support.messages import mentions
from support.tolerances import FLOAT64_OPERATION

sys.path.append(str(Path(__file__).parents[2] / "examples" / "multilingual"))

import emoji_names
import multilingual_report
import parallel_texts
import shape_sentences
from parallel_texts import Row

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "multilingual"
TEACHER = ROOT / "examples" / "shapes" / "checkpoint"


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (["no JSON"], []),
        (["[" * 100_000], []),
        (['{"file_name": "a.png"}'], []),
        (['{"file_name": "a.png", "held_out": true, "texts": "a dog"}'], []),
        (['{"file_name": "a.png", "held_out": true, "texts": {"en": "a dog"}}'], [1]),
        (
            [
                '{"file_name": "a.png", "held_out": true, "texts": {"en": "a dog"}}',
                '{"file_name": "a.png", "held_out": true, "texts": {"de": "ein Hund"}}',
            ],
            ["line 2", "'de'"],
        ),
    ],
)
def test_tables_that_are_not_of_images_are_answered_in_one_line(lines, named, tmp_path, capsys):
    table = tmp_path / "test.jsonl"
    table.write_text("\n".join(lines))
    assert multilingual_report.main([str(table), str(TEACHER), str(TEACHER)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert mentions(line, table, *named)


def test_scores_are_those_of_the_librarys_retrieval():
    random = np.random.default_rng(0)
    images, texts = (random.normal(size=(size, 8)) for size in (20, 15))
    of_row = np.array([*range(20), 3, 4]), np.array([*range(15), *range(5), 7, 8])
    masks = {"all": np.ones(22, bool), "none": np.zeros(22, bool), "first": np.arange(22) < 3}
    found = multilingual_report.measure(images, texts, *of_row, masks)
    assert found["none"] == {}
    there, back = retrieval.from_embeddings(images, texts, of_row)
    once = multilingual_report.measure(images, texts, *of_row, {"images": np.arange(22) < 20})["images"]
    assert [once["image_to_text"][k] for k in ("1", "5", "10")] == list(there.recall.values())
    np.testing.assert_allclose(once["image_to_text"]["mrr"], there.mean_reciprocal_rank, **FLOAT64_OPERATION)
    once = multilingual_report.measure(images, texts, *of_row, {"texts": np.arange(22) < 15})["texts"]
    assert [once["text_to_image"][k] for k in ("1", "5", "10")] == list(back.recall.values())
    assert found["first"]["image_to_text"].keys() == {"1", "5", "10", "mrr"}


def test_texts_that_a_model_cuts_to_the_same_beginning_count_as_wrong(tmp_path):
    colours = {"red": (255, 0, 0), "blue": (0, 0, 255)}
    rows = []
    for name, colour in colours.items():
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{name}.png")
        rows.append(Row(f"{name}.png", False, {"en": f"a {name} star", "xx": f"{'word ' * 40}{name}"}))
    parallel_texts.write_rows(tmp_path / "test.jsonl", rows)
    models = dict.fromkeys(multilingual_report.MODELS, str(TEACHER))
    found = multilingual_report.report(tmp_path / "test.jsonl", models, "torch")["teacher"]["xx"]["all"]
    assert (found["image_to_text"]["1"], found["text_to_image"]["1"]) == (0, 0.5)


def test_held_out_texts_are_divided_by_their_words():
    texts = ["red fox", "red owl", "blue fox", "owl 2", "Fox: RED"]
    rows = [Row("", place > 1, {"en": text}) for place, text in enumerate(texts)]
    found = multilingual_report.subsets(rows, "en")
    assert {name: np.flatnonzero(mask).tolist() for name, mask in found.items()} == {
        "all": [0, 1, 2, 3, 4],
        "learned": [0, 1],
        "held_out": [2, 3, 4],
        "known_words": [4],
        "new_words": [2, 3],
    }


def test_images_with_the_same_pixels_are_one():
    red, blue, tall = (
        Image.new("RGB", size, colour) for size, colour in (((4, 2), "red"), ((4, 2), "blue"), ((2, 4), "red"))
    )
    images, places = multilingual_report.distinct([red, blue, red.copy(), tall])
    assert places.tolist() == [0, 1, 0, 2]
    assert images == [red, blue, tall]


@pytest.mark.parametrize("kind", ["shapes", "emoji"])
def test_the_page_contains_what_was_measured(kind):
    page = (EXAMPLE / "README.md").read_text()
    results = json.loads((EXAMPLE / f"results-{kind}.json").read_text())
    missing = [line for lines in multilingual_report.tables(results) for line in lines if line not in page]
    assert missing == []
    for heading, _, *lines in multilingual_report.tables(results):
        cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (heading, *lines)]
        assert {len(row) for row in cells} == {len(cells[0])}
        assert all(cells[0])
    assert list(results["student"]) == list({"shapes": shape_sentences.LANGUAGES, "emoji": emoji_names.TEMPLATES}[kind])
    for language, found in list(results["student"].items())[1:]:
        ours, theirs = (one["learned"]["image_to_text"]["mrr"] for one in (found, results["teacher"][language]))
        assert ours > theirs
