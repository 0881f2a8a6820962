"""Zero-shot classification with chosen embeddings, from every kind of source."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clip_core.evaluation import metrics as blocks
from clip_core.evaluation import zero_shot
from clip_core.evaluation.classification import classification
from clip_core.evaluation.labelled import classes_of, open_labelled
from clip_core.tasks.labels import LabelFile
from support.known_encoder import known_classifier
from support.messages import naming
from support.tolerances import FLOAT64_ROUNDING
from support.training_data import make_processor, picture, picture_bytes

CLASSES = ("big cat", "ox", "tin can", "ant", "hen", "eel", "elk")


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return make_processor(tmp_path_factory.mktemp("vocabulary"))


def axis(number):
    return np.eye(len(CLASSES))[number]


def classifier_of(processor, images):
    return known_classifier(processor, images, {name: axis(number) for number, name in enumerate(CLASSES)})


def rows(*labels):
    return [{"image": picture(number), "label": label} for number, label in enumerate(labels)]


@pytest.fixture
def pictures(tmp_path):
    """Folders of two, one and one images, numbered by their reds."""
    for number, place in enumerate(("big_cat/0", "big_cat/deeper/1", "ox/2", "tin_can/3")):
        path = tmp_path / "pictures" / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture_bytes(number))
    return tmp_path / "pictures"


def test_a_folder_of_classes_is_evaluated(processor, pictures):
    # The first cat is taken for a tin can, the others for what they are; the ox with a tin can close behind.
    images = {0: axis(2) + 0.5 * axis(0), 1: axis(0), 2: axis(1) + 0.5 * axis(2), 3: axis(2)}
    report = zero_shot.evaluate(classifier_of(processor, images), pictures)
    result = report.result
    assert (result.pictures, result.classes) == (4, 3)
    assert (result.top_1, result.top_5) == (0.75, 1)
    assert result.mean_per_class == pytest.approx((1 / 2 + 1 + 1) / 3, rel=FLOAT64_ROUNDING)
    worst = result.by_class[0]
    assert (worst.name, worst.pictures, worst.accuracy, worst.taken_for) == ("big cat", 2, 0.5, {"tin can": 1})
    assert [one.name for one in result.by_class] == ["big cat", "ox", "tin can"]
    assert json.loads(json.dumps(report.to_dict()))["result"]["top_1"] == 0.75


def test_classes_without_pictures_are_choices_too(processor, pictures):
    images = {0: axis(0), 1: sum((n * axis(n) for n in range(7)), axis(0)), 2: axis(4) + 0.1 * axis(1), 3: axis(2)}
    result = zero_shot.evaluate(classifier_of(processor, images), pictures, labels=CLASSES).result
    assert result.classes == 7
    assert (result.top_1, result.top_5) == (0.5, 0.75)
    assert result.mean_per_class == pytest.approx((1 / 2 + 0 + 1) / 3, rel=FLOAT64_ROUNDING)
    assert result.by_class[0].taken_for == {"hen": 1}


def test_templates_are_averaged(processor):
    texts = {"ox a": axis(0), "ox b": axis(1), "ant a": axis(2), "ant b": axis(3)}
    images = {0: axis(0) + axis(1) + 1.2 * axis(2), 1: axis(2) + axis(3)}
    classifier = known_classifier(processor, images, texts)
    both = zero_shot.evaluate(classifier, rows("ox", "ant"), templates=["{} a", "{} b"])
    assert (both.result.top_1, both.templates) == (1, ["{} a", "{} b"])
    assert zero_shot.evaluate(classifier, rows("ox", "ant"), templates=["{} a"]).result.top_1 == 0.5


def test_names_that_the_tokenizer_cannot_tell_apart_are_one_class(processor):
    classifier = classifier_of(processor, {0: axis(1), 1: axis(1), 2: axis(3)})
    result = zero_shot.evaluate(classifier, rows("ox", "OX", "ant")).result
    assert (result.classes, result.top_1) == (2, 1)
    assert [(one.name, one.pictures) for one in result.by_class] == [("OX", 2), ("ant", 1)]


def test_a_tie_is_no_hit_and_names_its_rival(processor):
    classifier = classifier_of(processor, {0: axis(1) + axis(3), 1: axis(3)})
    result = zero_shot.evaluate(classifier, rows("ox", "ant")).result
    assert result.top_1 == 0.5
    assert result.by_class[0].taken_for == {"ant": 1}


def test_scores_are_counted_the_same_in_blocks(monkeypatch):
    random = np.random.default_rng(0)
    scores, truths = random.standard_normal((30, 7)), random.integers(0, 7, 30)
    whole = classification(lambda rows: scores[rows], truths, CLASSES)
    monkeypatch.setattr(blocks, "_CELLS", 40)
    assert classification(lambda rows: scores[rows], truths, CLASSES) == whole
    assert whole.top_1 == np.mean(scores.argmax(-1) == truths)
    assert whole.top_5 == np.mean([truth in row.argsort()[-5:] for row, truth in zip(scores, truths, strict=True)])
    confused = {(truth, guess) for truth, guess in zip(truths, scores.argmax(-1), strict=True) if truth != guess}
    told = {(one.name, rival) for one in whole.by_class for rival in one.taken_for}
    assert told <= {(CLASSES[truth], CLASSES[guess]) for truth, guess in confused}


def test_one_class_alone_is_refused(processor):
    with pytest.raises(ValueError, match=naming("'ox'")):
        zero_shot.evaluate(classifier_of(processor, {0: axis(1)}), rows("ox"))


def test_a_template_without_a_place_is_refused_before_anything_is_read(processor):
    with pytest.raises(ValueError, match=naming("'a photo'", "{}")):
        zero_shot.evaluate(classifier_of(processor, {}), "nowhere", templates=["a photo"])


# Sources of labels.


def labels_in(pairs):
    count = len(pairs)
    samples = [pairs[n] for n in range(count)] if hasattr(pairs, "__getitem__") else list(pairs.read(0, 0, count))
    return [pair.captions for pair in samples]


def test_labels_are_read_from_a_table(tmp_path):
    (tmp_path / "0.png").write_bytes(picture_bytes(0))
    (tmp_path / "metadata.csv").write_text("file_name,text,label,kind\n0.png,a cat,cat,animal\n")
    assert labels_in(open_labelled(tmp_path)) == [("cat",)]
    assert labels_in(open_labelled(tmp_path, label_column="kind")) == [("animal",)]


def test_labels_by_file_name_go_before_the_folder(pictures):
    (pictures / "flat.png").write_bytes(picture_bytes(9))
    known = LabelFile(["hen", "eel"], {"flat.png": "hen", "2.png": "eel"})
    found = labels_in(open_labelled(pictures, labels=known))
    assert found == [("big_cat",), ("big_cat",), ("hen",), ("eel",), ("tin_can",)]
    with pytest.raises(ValueError, match=naming(pictures, 1, "flat.png", "labels")):
        open_labelled(pictures)


def test_numbers_of_classes_get_the_names_that_the_data_has_for_them(tmp_path):
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ox", "big_cat"])})
    content = {"image": [{"bytes": picture_bytes(n), "path": None} for n in range(3)], "label": [1, 0, 1]}
    data = datasets.Dataset.from_dict(content, features=features)
    data.to_parquet(tmp_path / "data.parquet")
    expected = [("big_cat",), ("ox",), ("big_cat",)]
    for source in (data, data.to_iterable_dataset(), tmp_path / "data.parquet", tmp_path):
        assert labels_in(open_labelled(source)) == expected


def test_labels_become_classes():
    names, truths = classes_of(["tin_can", "ox", "tin_can"])
    assert names == ["ox", "tin can"]
    assert truths.tolist() == [1, 0, 1]
    given = LabelFile(["tin can", "ant", "ox"])
    assert classes_of(["tin_can", "ox"], given).truths.tolist() == [0, 2]
    assert classes_of(["2", "0"], given).truths.tolist() == [2, 0]  # numbers, as of WebDataset's .cls
    by_key = LabelFile(["tench", "shark"], {"n01440764": "tench", "n01484850": "shark"})
    assert classes_of(["n01484850", "tench"], by_key).truths.tolist() == [1, 0]


def test_a_class_whose_pictures_are_all_broken_stays_a_choice(processor, pictures):
    (pictures / "ox" / "2.png").write_text("no picture")
    report = zero_shot.evaluate(classifier_of(processor, {0: axis(0), 1: axis(1), 3: axis(2)}), pictures)
    assert (report.result.pictures, report.result.classes) == (3, 3)
    assert report.result.by_class[0].taken_for == {"ox": 1}
    assert [broken.key for broken in report.broken] == [str(pictures / "ox" / "2.png")]


def test_no_labels_to_choose_from_are_refused(processor, pictures):
    with pytest.raises(ValueError, match=naming("labels")):
        zero_shot.evaluate(classifier_of(processor, {}), pictures, labels=[])


def test_a_name_that_is_too_long_is_told_before_a_picture_is_read(processor):
    classifier = classifier_of(processor, {})
    with pytest.raises(ValueError, match=naming(repr("q " * 15), 17, 12)):
        zero_shot.evaluate(classifier, rows("ox", "ant"), labels=["ox", "ant", "q " * 15])
    assert classifier.encoder.image_batches == []


def test_labels_that_are_not_among_those_given_are_told_before_a_picture_is_read(processor, pictures):
    with pytest.raises(ValueError, match=naming(2, "'big_cat'", "'tin_can'")):
        zero_shot.evaluate(classifier_of(processor, {}), pictures, labels=["ox", "ant"])
    with pytest.raises(ValueError, match=naming(1, "'3'")):
        classes_of(["3"], LabelFile(["a", "b", "c"]))


def test_several_labels_of_one_picture_are_refused(processor):
    classifier = classifier_of(processor, {0: axis(1)})
    with pytest.raises(ValueError, match=naming("'ox'", "'ant'")):
        zero_shot.evaluate(classifier, rows(["ox", "ant"]))
