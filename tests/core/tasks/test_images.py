"""Any number of images are encoded in order, a few at a time; an unreadable one is named or left out."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from PIL import Image

from clip_core.images.processor import CLIPImageProcessor
from clip_core.processing import CLIPProcessor
from clip_core.tasks.images import encode_image_batches, encode_images
from clip_core.tasks.texts import NotFiniteError
from clip_core.tasks.zero_shot import ZeroShotClassifier
from support.messages import mentions, naming


class Means:
    """An encoder whose embeddings identify images: the mean of each channel."""

    def __init__(self):
        self.batches = []

    def encode_images(self, pixel_values):
        self.batches.append(pixel_values.shape)
        return pixel_values.mean(axis=(2, 3))


class Overflowing(Means):
    """Embeddings are not finite for images that are dark."""

    def encode_images(self, pixel_values):
        means = super().encode_images(pixel_values)
        return np.where(means.mean(axis=1, keepdims=True) < 0, np.float32(np.nan), means)


@pytest.fixture
def encoder():
    return Means()


@pytest.fixture
def processor():
    """The joint processor's calls with images only, which need no tokenizer."""
    image_processor = CLIPImageProcessor(size=16, crop_size=12)
    tokenizer = type("NoTokenizer", (), {"model_input_names": ["input_ids"]})()
    return CLIPProcessor(image_processor, tokenizer)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def images(tmp_path):
    """Seven images: paths, strings that are paths, images and arrays."""
    arrays = [noise(20 + seed, 30, 3, seed=seed) for seed in range(7)]
    for place in (1, 4):
        Image.fromarray(arrays[place]).save(tmp_path / f"{place}.png")
    kinds = {1: tmp_path / "1.png", 4: str(tmp_path / "4.png"), 2: Image.fromarray(arrays[2])}
    return [kinds.get(place, array) for place, array in enumerate(arrays)]


def expected_of(processor, images):
    return np.stack(
        [Means().encode_images(processor(images=image, return_tensors="np").pixel_values)[0] for image in images]
    )


@pytest.mark.parametrize("batch_size", [1, 3, 7, 50])
@pytest.mark.parametrize("num_threads", [None, 1, 3])
def test_the_embeddings_are_in_the_order_of_the_images(encoder, processor, images, batch_size, num_threads):
    found = encode_images(encoder, processor, iter(images), batch_size=batch_size, num_threads=num_threads)
    np.testing.assert_array_equal(found, expected_of(processor, images))
    full, rest = divmod(7, batch_size)
    assert encoder.batches == [(size, 3, 12, 12) for size in [batch_size] * full + [rest] * (rest > 0)]


def test_no_more_than_two_batches_are_read_ahead(encoder, processor):
    read = []

    def generated():
        for place in range(100):
            read.append(place)
            yield noise(9, 8, 3, seed=place)

    for count, batch in enumerate(encode_image_batches(encoder, processor, generated(), batch_size=4), start=1):
        assert batch.places == list(range(4 * count - 4, 4 * count))
        assert len(read) <= 4 * (count + 2)
    assert count == 25


def test_images_are_read_while_the_model_runs(processor):
    runs, is_read = threading.Event(), threading.Event()

    def reading(images, **options):
        if images[0].shape[0] == 10:  # the second
            assert runs.wait(timeout=30)
            is_read.set()
        return processor(images=images, **options)

    class Waiting(Means):
        def encode_images(self, pixel_values):
            runs.set()
            assert is_read.wait(timeout=30)
            return super().encode_images(pixel_values)

    images = [noise(9, 8, 3), noise(10, 8, 3)]
    assert encode_images(Waiting(), reading, images, batch_size=1).shape == (2, 3)


def test_an_unreadable_image_is_an_error_that_names_it(encoder, processor, images, tmp_path):
    (tmp_path / "broken.jpg").write_text("no picture")
    images[5] = tmp_path / "broken.jpg"
    with pytest.raises(ValueError, match=naming("images[5]", tmp_path / "broken.jpg", "Pillow")):
        encode_images(encoder, processor, images, batch_size=2)
    images[3] = tmp_path / "missing.jpg"
    with pytest.raises(ValueError, match=naming("images[3]", tmp_path / "missing.jpg")):
        encode_images(encoder, processor, images, batch_size=2)


def test_an_unreadable_image_is_left_out_where_errors_are_taken(encoder, processor, images, tmp_path):
    expected = expected_of(processor, images[:3] + images[4:])
    images[3] = tmp_path / "missing.jpg"
    errors = []
    found = encode_images(encoder, processor, images, batch_size=2, on_error=lambda *error: errors.append(error))
    np.testing.assert_array_equal(found, expected)
    assert encoder.batches == [(2, 3, 12, 12)] * 3
    ((place, error),) = errors
    assert place == 3
    assert mentions(str(error), tmp_path / "missing.jpg")
    batches = encode_image_batches(encoder, processor, images, batch_size=2, on_error=lambda *_: None)
    assert [batch.places for batch in batches] == [[0, 1], [2, 4], [5, 6]]


def test_nothing_goes_on_after_an_error_or_when_no_more_is_asked_for(encoder, processor):
    before = threading.active_count()
    next(encode_image_batches(encoder, processor, [noise(9, 8, 3)] * 50, batch_size=2)).embeds.sum()
    with pytest.raises(ValueError, match=naming("images[5]", 1, "image_mean", 3)):
        encode_images(encoder, processor, [noise(9, 8, 3)] * 5 + [noise(9, 8, 1)] * 50, batch_size=2)
    assert threading.active_count() == before


def test_a_picture_of_three_rows_has_its_channels_last(encoder, processor, tmp_path):
    picture = Image.fromarray(noise(3, 30, 3))
    picture.save(tmp_path / "flat.png")
    found = encode_images(encoder, processor, [picture, tmp_path / "flat.png"])
    np.testing.assert_array_equal(found[0], found[1])


def test_images_that_make_no_batch_are_named(encoder, processor, images):
    processor.image_processor.do_center_crop = False
    with pytest.raises(ValueError, match=naming("images[0]", "images[1]")):
        encode_images(encoder, processor, images)


@pytest.mark.parametrize(
    ("bad", "kind", "named"),
    [
        ("cat.jpg", TypeError, ["images", str]),
        (Image.new("RGB", (9, 8)), TypeError, ["images", "Image"]),
        ([], ValueError, ["images"]),
        ([None], TypeError, ["images[0]", "NoneType"]),
        ([noise(4, 9, 8, 3)], ValueError, ["images[0]", 4]),
    ],
)
def test_what_is_no_series_of_images_is_an_error(encoder, processor, bad, kind, named):
    with pytest.raises(kind, match=naming(*named)):
        encode_images(encoder, processor, bad)


@pytest.mark.parametrize("bad", [{"batch_size": 0}, {"num_threads": 0}])
def test_numbers_that_make_no_sense_are_an_error_at_once(encoder, processor, bad):
    with pytest.raises(ValueError, match=naming(f"{next(iter(bad))}=0", 1)):
        encode_image_batches(encoder, processor, [], **bad)


def test_the_classifier_encodes_images_by_the_same_way(encoder, processor, images):
    found = ZeroShotClassifier(encoder, processor).encode_images(iter(images), batch_size=3)
    np.testing.assert_array_equal(found, expected_of(processor, images))
    assert [size for size, *_ in encoder.batches] == [3, 3, 1]


def test_an_embedding_that_is_not_finite_is_an_error_or_left_out(processor):
    pictures = [np.full((9, 8, 3), level, np.uint8) for level in (250, 0, 240, 230, 0, 0)]
    encoder, errors = Overflowing(), {}
    with pytest.raises(NotFiniteError, match=naming("images[1]")):
        encode_images(encoder, processor, pictures, batch_size=2)
    found = list(encode_image_batches(encoder, processor, pictures, batch_size=2, on_error=errors.__setitem__))
    assert [batch.places for batch in found] == [[0], [2, 3]]
    assert np.isfinite(np.concatenate([batch.embeds for batch in found])).all()
    assert {place: type(error) for place, error in errors.items()} == dict.fromkeys((1, 4, 5), NotFiniteError)
