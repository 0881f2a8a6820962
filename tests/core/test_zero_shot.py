"""Zero-shot classification with an encoder whose embeddings are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clip_core.batch import BatchFeature
from clip_core.zero_shot import ZeroShotClassifier, check_templates, fill, softmax


class Letters:
    """Encoder and processor in one: a text is the unit vector of its first letter, a picture that of its red."""

    def __init__(self):
        self.batches = []

    def __call__(self, text=None, images=None, **options):
        if images is not None:
            return BatchFeature({"pixel_values": np.array([image.getpixel((0, 0))[0] for image in images])})
        self.texts = text
        ids = np.array([[ord(one[0]) - ord("a")] for one in text])
        return BatchFeature({"input_ids": ids, "attention_mask": np.ones_like(ids)})

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
    assert np.allclose(probabilities.sum(-1), 1)
    assert probabilities[0, 2] == pytest.approx(np.exp(10) / (np.exp(10) + 2))


def test_pictures_and_texts_are_run_in_batches(classifier, letters):
    classifier([picture(0)] * 5, ["a", "b"], batch_size=2)
    assert letters.batches == [2, 2, 2, 1]
    letters.batches.clear()
    assert classifier.embed_labels(["a", "b", "c"], batch_size=2).shape == (3, 4)
    assert letters.batches == [2, 1]


def test_several_templates_are_averaged_and_normalised(classifier):
    embeds = classifier.embed_labels(["b", "c"], ["{}", "a {}"])
    half = np.sqrt(0.5)
    assert np.allclose(embeds, [[half, half, 0, 0], [half, 0, half, 0]])


def test_templates_are_filled_as_they_stand(classifier, letters):
    classifier.embed_labels(["cat {x}"], ["a photo of {}, {real}"])
    assert letters.texts == ["a photo of cat {x}, {real}"]
    assert fill("{}", "{}") == "{}"


def test_no_pictures_give_no_rows(classifier):
    assert classifier([], ["a", "b"]).shape == (0, 2)


def test_no_labels_and_templates_without_a_place_are_refused(classifier):
    with pytest.raises(ValueError, match="no labels"):
        classifier.embed_labels([])
    with pytest.raises(ValueError, match="no templates"):
        classifier.embed_labels(["a"], [])
    for template in ("a photo", "{} and {}"):
        with pytest.raises(ValueError, match="needs one {}"):
            check_templates(["{}", template])


def test_softmax_of_large_logits_is_finite():
    assert np.allclose(softmax(np.array([[1e4, 1e4, -1e4]], np.float32)), [[0.5, 0.5, 0]])
