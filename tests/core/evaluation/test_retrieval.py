"""Retrieval with chosen embeddings: matches are correct, and duplicates count once."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clip_core.data import IndexedPairs, Pair
from clip_core.evaluation import metrics as blocks
from clip_core.evaluation import retrieval
from support.known_encoder import known_classifier
from support.messages import mentions, naming
from support.tolerances import FLOAT64_ROUNDING
from support.training_data import LENGTH, make_processor, picture, picture_bytes


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return make_processor(tmp_path_factory.mktemp("vocabulary"))


def axis(number, size=6):
    return np.eye(size)[number]


def rows(*captions):
    return [{"image": picture(number), "text": text} for number, text in enumerate(captions)]


def test_both_directions_are_those_of_the_matrix_of_similarities(processor):
    images = np.array([[1, 0, 0], [0.6, 0.8, 0], [0.6, 0, 0.8]])
    texts = np.array([[0.8, 0.6, 0], [0, 1, 0], [0.6, 0, 0.8]])
    # Similarities: picture 0: 0.8 0.0 0.6; picture 1: 0.96 0.8 0.36; picture 2: 0.48 0.0 1.0.
    classifier = known_classifier(processor, dict(enumerate(images)), dict(zip("abc", texts, strict=True)))
    report = retrieval.evaluate(classifier, rows("a", "b", "c"), batch_size=2)
    assert (report.pictures, report.texts, report.pairs, report.truncated, report.broken) == (3, 3, 3, 0, [])
    there, back = report.image_to_text, report.text_to_image
    assert there.recall == {1: 2 / 3, 5: 1, 10: 1}
    assert there.mean_reciprocal_rank == pytest.approx((1 + 1 / 2 + 1) / 3, rel=FLOAT64_ROUNDING)
    assert back.recall[1] == 2 / 3  # text 0 finds picture 1 first
    assert back.mean_reciprocal_rank == pytest.approx((1 / 2 + 1 + 1) / 3, rel=FLOAT64_ROUNDING)
    assert there.chance == {1: pytest.approx(1 / 3, rel=FLOAT64_ROUNDING), 5: 1, 10: 1}
    assert there.median_rank == 1


def test_random_embeddings_give_what_a_loop_gives(monkeypatch):
    monkeypatch.setattr(blocks, "_CELLS", 50)  # several blocks
    random = np.random.default_rng(0)
    images, texts = random.standard_normal((13, 5)), random.standard_normal((17, 5))
    right = random.choice([True, False], (13, 17), p=[0.1, 0.9])
    right[np.arange(13), np.arange(13)] = right[np.arange(17) % 13, np.arange(17)] = True
    there, back = retrieval.from_embeddings(images, texts, np.nonzero(right))
    for way, scores, is_right in ((there, images @ texts.T, right), (back, texts @ images.T, right.T)):
        found = [
            1 + sum(wrong >= row[its].max() for wrong in row[~its]) for row, its in zip(scores, is_right, strict=True)
        ]
        assert (way.queries, way.candidates) == is_right.shape
        assert way.mean_reciprocal_rank == pytest.approx(np.mean([1 / rank for rank in found]), rel=FLOAT64_ROUNDING)
        assert way.recall == {k: np.mean([rank <= k for rank in found]) for k in (1, 5, 10)}


def test_the_same_caption_of_several_pictures_is_right_for_each(processor):
    classifier = known_classifier(processor, {0: axis(0), 1: axis(0), 2: axis(1)}, {"a cat": axis(0), "ox": axis(1)})
    report = retrieval.evaluate(classifier, rows("a cat", " A  CAT", "ox"))
    assert (report.pictures, report.texts, report.pairs) == (3, 2, 3)
    assert report.image_to_text.recall[1] == report.text_to_image.recall[1] == 1
    assert report.text_to_image.chance[1] == pytest.approx((2 / 3 + 1 / 3) / 2, rel=FLOAT64_ROUNDING)
    assert classifier.encoder.text_batches == [2]


def test_several_captions_of_a_picture_are_all_right(processor):
    texts = {"a": axis(0), "b": axis(1), "c": axis(2)}
    images = {0: (axis(0) + 0.1 * axis(2)), 1: axis(2)}
    classifier = known_classifier(processor, images, texts)
    report = retrieval.evaluate(classifier, rows(["a", "b", "a"], "c"))
    assert (report.pictures, report.texts, report.pairs) == (2, 3, 3)
    assert report.image_to_text.recall[1] == 1  # "a" is enough
    # "b" is equally far from both images: a tie is not a hit.
    assert report.text_to_image.recall[1] == 2 / 3


def test_a_picture_that_comes_again_is_one_picture(processor, tmp_path):
    texts = {"a": axis(0), "b": axis(1), "c": axis(2)}
    classifier = known_classifier(processor, {0: axis(0) + axis(1), 1: axis(2)}, texts)
    for name, number in (("x.png", 0), ("y.png", 1), ("copy of x.png", 0)):
        (tmp_path / name).write_bytes(picture_bytes(number))
    table = [("x.png", "a"), ("x.png", "b"), ("y.png", "c"), ("copy of x.png", "b")]
    lines = [json.dumps({"file_name": name, "text": text}) for name, text in table]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    report = retrieval.evaluate(classifier, tmp_path)
    assert (report.pictures, report.texts, report.pairs) == (2, 3, 3)
    assert report.image_to_text.recall[1] == report.text_to_image.recall[1] == 1
    assert classifier.encoder.image_batches == [3]  # a file is read once, whatever its captions


def test_long_texts_are_cut_and_counted(processor):
    words = ["q"] * LENGTH
    texts = {" ".join([*words, end]): axis(0) for end in ("x", "z")} | {"ox": axis(1)}
    classifier = known_classifier(processor, {number: axis(number // 2) for number in range(3)}, texts)
    report = retrieval.evaluate(classifier, rows(*texts))
    assert (report.texts, report.truncated) == (2, 2)  # cut, the two are one
    assert report.image_to_text.recall[1] == 1


@pytest.mark.parametrize("workers", [0, 1])
def test_what_cannot_be_read_is_left_out_and_named(processor, tmp_path, workers, caplog):
    for number in range(5):
        content = picture_bytes(number)
        (tmp_path / f"{number}.png").write_bytes(content if number != 1 else content[:40])
        (tmp_path / f"{number}.txt").write_text(f"cat {number}" if number != 3 else " ")
    numbers = (0, 2, 4)
    classifier = known_classifier(processor, {n: axis(n) for n in numbers}, {f"cat {n}": axis(n) for n in numbers})
    done = []
    report = retrieval.evaluate(classifier, tmp_path, batch_size=2, workers=workers, tell=done.append)
    assert (report.pictures, report.texts) == (3, 3)
    assert report.image_to_text.recall[1] == report.text_to_image.recall[1] == 1
    assert [broken.key for broken in report.broken] == [str(tmp_path / "1.png"), str(tmp_path / "3.png")]
    assert mentions(report.broken[0].reason, "Pillow")
    assert mentions(report.broken[1].reason, "caption", "3.txt")
    assert sum(done) == 5
    assert "1.png" in caplog.text
    assert json.dumps(report.to_dict())


class OneName(IndexedPairs):
    """Samples that all have the same name, as in two shards."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return Pair("row", picture(index), (f"cat {index}",))


def test_samples_of_one_name_keep_their_own_captions(processor):
    classifier = known_classifier(processor, {n: axis(n) for n in range(3)}, {f"cat {n}": axis(n) for n in range(3)})
    assert retrieval.evaluate(classifier, OneName()).image_to_text.recall[1] == 1


def test_nothing_to_evaluate_is_an_error_that_says_why(processor):
    classifier = known_classifier(processor, {}, {})
    with pytest.raises(ValueError, match=naming(2, "row 0", "row 1")):
        retrieval.evaluate(classifier, rows(" ", " "))


def test_embeddings_that_are_no_numbers_are_told_by_their_sample(processor):
    bad = known_classifier(processor, {0: axis(0), 1: axis(1) * np.nan}, {"a": axis(0), "b": axis(1)})
    with pytest.raises(ValueError, match=naming("'row 1'", 1, 2)):
        retrieval.evaluate(bad, rows("a", "b"))
    bad = known_classifier(processor, {0: axis(0), 1: axis(1)}, {"a": axis(0), "b": np.full(6, np.inf)})
    with pytest.raises(ValueError, match=naming("'b'", 1, 2)):
        retrieval.evaluate(bad, rows("a", "b"))
