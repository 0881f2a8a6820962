"""Zero-shot classification with an encoder whose embeddings are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from clip_core.images.processor import CLIPImageProcessor
from clip_core.processing.batch import BatchFeature
from clip_core.tasks.zero_shot import ZeroShotClassifier, check_templates, fill, softmax
from support.messages import mentions, naming
from support.tolerances import ROUNDING


class Letters:
    """Encoder and processor in one: a text is the unit vector of its first letter, an image that of its red."""

    tokenizer = SimpleNamespace(model_max_length=7, pad_token_id=0)

    def __init__(self):
        self.batches = []

    def __call__(self, text=None, images=None, **options):
        if images is not None:
            return BatchFeature({"pixel_values": np.array([image.getpixel((0, 0))[0] for image in images])})
        self.texts = text
        ids = np.array([[ord(one[0]) - ord("a")] * 9 for one in text])
        mask = np.array([[index < len(one.split()) for index in range(9)] for one in text], np.int64)
        return BatchFeature({"input_ids": ids, "attention_mask": mask})

    def encode_texts(self, input_ids, attention_mask):
        self.batches.append(len(input_ids))
        return np.eye(4, dtype=np.float32)[input_ids[:, 0]]

    def encode_images(self, pixel_values):
        self.batches.append(len(pixel_values))
        return np.eye(4, dtype=np.float32)[pixel_values]

    def logits_per_image(self, image_embeds, text_embeds):
        return 10 * image_embeds @ text_embeds.T


@pytest.fixture
def letters():
    return Letters()


@pytest.fixture
def classifier(letters):
    return ZeroShotClassifier(letters, letters)


def picture(red):
    return Image.new("RGB", (1, 1), (red, 0, 0))


def test_a_picture_gets_the_label_that_it_is_nearest_to(classifier):
    probabilities = classifier([picture(2), picture(0)], ["a", "b", "c"])
    assert probabilities.argmax(-1).tolist() == [2, 0]
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=ROUNDING)
    assert probabilities[0, 2] == pytest.approx(np.exp(10) / (np.exp(10) + 2), rel=ROUNDING)


def test_pictures_and_texts_are_run_in_batches(classifier, letters):
    classifier([picture(0)] * 5, ["a", "b"], batch_size=2)
    assert letters.batches == [2, 2, 2, 1]
    letters.batches.clear()
    assert classifier.embed_labels(["a", "b", "c"], batch_size=2).shape == (3, 4)
    assert letters.batches == [2, 1]


def test_several_templates_are_averaged_and_normalised(classifier):
    embeds = classifier.embed_labels(["b", "c"], ["{}", "a {}"])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(embeds, [[half, half, 0, 0], [half, 0, half, 0]], rtol=ROUNDING)


def test_templates_are_filled_as_they_stand(classifier, letters):
    classifier.embed_labels(["cat {x}"], ["a photo of {}, {real}"])
    assert letters.texts == ["a photo of cat {x}, {real}"]
    assert fill("{}", "{}") == "{}"


def test_many_inputs_go_through_the_prepared_encoder(classifier, letters):
    assert classifier.prepared() is classifier  # an encoder of a plug-in may have none
    many = Letters()
    letters.prepared = lambda: many
    prepared = classifier.prepared()
    prepared([picture(0)], ["a", "b"])
    assert (many.batches, letters.batches) == ([2, 1], [])
    assert prepared.label_cache is classifier.label_cache
    assert classifier.encoder is letters


def test_an_encoder_that_passes_calls_on_to_another_is_kept(letters):
    class Passing:
        def encode_images(self, pixel_values):
            return -letters.encode_images(pixel_values)

        def __getattr__(self, name):
            return getattr(letters, name)

    letters.prepared = Letters
    passing = ZeroShotClassifier(Passing(), letters)
    assert passing.prepared() is passing


def test_a_few_inputs_are_not_worth_preparing(classifier, letters):
    letters.prepared = Letters
    assert classifier.prepared(1) is classifier
    assert classifier.prepared(10_000) is not classifier


def test_no_pictures_give_no_rows(classifier):
    assert classifier([], ["a", "b"]).shape == (0, 2)


def test_no_labels_and_templates_without_a_place_are_refused(classifier):
    with pytest.raises(ValueError, match=naming("labels")):
        classifier.embed_labels([])
    with pytest.raises(ValueError, match=naming("templates", "'{}'")):
        classifier.embed_labels(["a"], [])
    for template in ("a photo", "{} and {}"):
        with pytest.raises(ValueError, match=naming(repr(template), "{}")):
            check_templates(["{}", template])


def test_a_text_that_is_too_long_is_told_by_what_it_says(classifier):
    assert len(classifier.embed_labels(["b"], ["a photo of one small {} again"])) == 1  # 7 words
    for templates, named in (("{}", False), ("{} of many", True)):
        with pytest.raises(ValueError, match=naming("label", "d d d d d d d d", 7)) as refused:
            classifier.embed_labels(["b", "d d d d d d d d"], templates)
        assert mentions(str(refused.value), "template") is named
        assert not mentions(str(refused.value), "truncation=True")
    with pytest.raises(ValueError, match=naming(repr("d " * 40 + "..."))):
        classifier.embed_labels(["d " * 200])


def test_a_picture_of_few_rows_is_read_as_it_lies_and_an_array_as_the_processor_infers(letters):
    process, seen = CLIPImageProcessor(size=4, crop_size=4), []

    def encode_images(pixel_values):
        seen.append(pixel_values)
        return np.eye(4, dtype=np.float32)[:1]

    letters.encode_images = encode_images
    classifier = ZeroShotClassifier(letters, process)
    rows = np.arange(3 * 9 * 3, dtype=np.uint8).reshape(3, 9, 3)
    classifier.classify([Image.fromarray(rows)], np.eye(4, dtype=np.float32))
    classifier.classify([rows.transpose(2, 0, 1).repeat(4, axis=1)], np.eye(4, dtype=np.float32))
    expected = process(rows, input_data_format="channels_last", return_tensors="np")["pixel_values"]
    assert np.array_equal(seen[0], expected)
    assert seen[1].shape == expected.shape


def test_softmax_of_large_logits_is_finite():
    assert softmax(np.array([[1e4, 1e4, -1e4]], np.float32)).tolist() == [[0.5, 0.5, 0]]


def many(classifier, labels=64, templates=("{}",)):
    return classifier.embed_labels([f"{'abcd'[number % 4]} {number}" for number in range(labels)], templates)


@pytest.fixture
def known(letters):
    letters.text_fingerprint = lambda: "a model"
    return letters


def test_many_labels_are_encoded_once_for_the_same_model_and_tokens(known):
    classifier = ZeroShotClassifier(known, known)
    embeds = many(classifier)
    embeds[:] = 0  # the caller's own
    assert many(classifier).any(axis=-1).all()
    assert len(known.batches) == 1
    many(classifier, labels=65)
    many(classifier, templates=["{}", "a {}"])
    known.text_fingerprint = lambda: "the same model after a step of training"
    many(classifier)
    assert len(known.batches) == 4


def test_few_labels_and_those_of_an_encoder_without_a_fingerprint_are_not_kept(known):
    classifier = ZeroShotClassifier(known, known)
    for _ in range(2):
        many(classifier, labels=63)
    del known.text_fingerprint
    for _ in range(2):
        many(classifier)
    assert len(known.batches) == 4


def test_a_folder_keeps_label_embeddings_for_the_next_program(known, tmp_path):
    first = many(ZeroShotClassifier(known, known, label_cache=tmp_path / "cache"))
    assert np.array_equal(many(ZeroShotClassifier(known, known, label_cache=tmp_path / "cache")), first)
    assert len(known.batches) == 1


def test_equal_labels_have_equal_embeddings_and_are_encoded_once(classifier, letters):
    embeds = classifier.embed_labels(["b", "a", "b", "b"], ["{}", "{} c"])
    assert np.array_equal(embeds, np.eye(4)[[1, 0, 1, 1]])
    assert letters.texts == ["b", "b c", "a", "a c"]


def test_texts_are_encoded_by_the_classifier_too(classifier):
    assert np.array_equal(classifier.encode_texts(iter("cab")), np.eye(4)[[2, 0, 1]])
