"""A pair becomes the output of the model's own processor, or the reason why it cannot."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from clip_core.data.augmentation import RandomCrop
from clip_core.data.pairs import Broken, Pair
from clip_core.data.preparation import Chunk, Entry, Preparation
from support.messages import naming
from support.training_data import LENGTH, make_processor, picture, picture_bytes


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return make_processor(tmp_path_factory.mktemp("vocabulary"))


def prepared(processor, *pairs, augmentation=None):
    preparation = Preparation(processor, LENGTH, augmentation, seed=0)
    return list(preparation(Chunk(0, [Entry((number,), pair) for number, pair in enumerate(pairs)])).rows())


def test_a_picture_is_the_same_as_path_bytes_picture_or_array(processor, tmp_path):
    (tmp_path / "a.png").write_bytes(picture_bytes(9))
    array = np.asarray(picture(9))
    forms = [tmp_path / "a.png", picture_bytes(9), picture(9), array, array.transpose(2, 0, 1)]
    rows = prepared(processor, *(Pair("k", form, ("cat",)) for form in forms))
    expected = processor(text="cat", images=picture(9), padding="max_length", return_tensors="np")
    for row in rows:
        for name, array in row.arrays.items():
            assert np.array_equal(array, expected[name][0])


def test_grey_pictures_and_arrays_become_rgb(processor):
    grey = Image.new("L", (9, 9), 77)
    rows = prepared(processor, *(Pair("k", form, ("cat",)) for form in (grey, np.asarray(grey), grey.convert("RGB"))))
    assert all(np.array_equal(row.arrays["pixel_values"], rows[2].arrays["pixel_values"]) for row in rows)


def test_a_picture_lying_on_its_side_is_turned_as_its_file_says(processor, tmp_path):
    upright = Image.new("RGB", (8, 16), (200, 0, 0))
    upright.paste((0, 200, 0), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it right to see it
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    rows = prepared(
        processor,
        *(Pair("k", form, ("a",)) for form in (tmp_path / "a.png", (tmp_path / "a.png").read_bytes(), upright)),
    )
    for row in rows[:2]:
        assert np.array_equal(row.arrays["pixel_values"], rows[2].arrays["pixel_values"])


def test_a_picture_of_16_bits_is_scaled_by_its_file_and_clipped_with_a_warning_without(processor, tmp_path):
    levels = np.random.default_rng(0).integers(0, 256, (9, 9), dtype=np.uint8)
    deep = Image.fromarray(levels.astype(np.uint16) * 257)
    deep.save(tmp_path / "a.png")
    forms = [tmp_path / "a.png", (tmp_path / "a.png").read_bytes(), Image.fromarray(levels)]
    rows = prepared(processor, *(Pair("k", form, ("a",)) for form in forms))
    for row in rows[:2]:
        assert np.array_equal(row.arrays["pixel_values"], rows[2].arrays["pixel_values"])
    with pytest.warns(UserWarning, match=naming(repr("I;16"), "8 bits")):
        (clipped,) = prepared(processor, Pair("k", deep, ("a",)))
    assert (clipped.arrays["pixel_values"] >= rows[2].arrays["pixel_values"]).all()


@pytest.mark.parametrize("size", [(30, 3), (3, 30), (1, 1), (30, 1)])
def test_a_picture_of_few_rows_spoils_no_other(processor, size):
    flat = Image.new("RGB", size, (200, 0, 0))
    rows = prepared(processor, Pair("k", flat, ("a",)), Pair("k", picture(1), ("a",)), Pair("k", flat, ("a",)))
    alone = processor(images=picture(1), return_tensors="np")["pixel_values"][0]
    assert np.array_equal(rows[1].arrays["pixel_values"], alone)
    assert np.array_equal(rows[0].arrays["pixel_values"], rows[2].arrays["pixel_values"])
    assert np.ptp(rows[0].arrays["pixel_values"], axis=(1, 2)).max() == 0  # of one color


def test_an_augmented_picture_is_scaled_as_the_processor_does(processor):
    square = Image.new("RGB", (8, 8), (10, 200, 30))
    plain, augmented = (
        prepared(processor, Pair("k", square, ("a",)), augmentation=augmentation)[0].arrays["pixel_values"]
        for augmentation in (None, RandomCrop())
    )
    assert np.array_equal(plain, augmented)


def test_a_caption_in_a_file_is_read_without_the_space_around_it(processor, tmp_path):
    (tmp_path / "a.txt").write_text("\ufeffcat\n", encoding="utf-8")
    rows = prepared(processor, Pair("k", picture(1), tmp_path / "a.txt"), Pair("k", picture(1), ("cat",)))
    assert np.array_equal(rows[0].arrays["input_ids"], rows[1].arrays["input_ids"])


@pytest.mark.parametrize(
    ("image", "captions", "reason"),
    [
        (b"no picture", ("a",), "the image: .*Pillow"),
        (picture_bytes(1)[:50], ("a",), "the image: damaged"),
        (np.zeros((2, 2, 3), np.float32), ("a",), r"\(2, 2, 3\) .*float32.* uint8"),
        (np.zeros((2, 2, 7), np.uint8), ("a",), r"\(2, 2, 7\) .*channels"),
        (picture(1), b"\xff", "a.txt .*UTF-8"),
        (picture(1), b" ", "the caption in a.txt is empty"),
        (picture(1), None, "a.txt .*no such file"),
    ],
)
def test_what_is_wrong_is_a_reason_of_one_line(processor, tmp_path, image, captions, reason):
    if not isinstance(captions, tuple):
        if captions is not None:
            (tmp_path / "a.txt").write_bytes(captions)
        captions = tmp_path / "a.txt"
    good = Pair("good", picture(1), ("a",))
    rows = prepared(processor, good, Pair("bad", image, captions), good)
    assert [row.key for row in rows] == ["good", "bad", "good"]
    assert isinstance(rows[1], Broken)
    assert re.search(reason, rows[1].reason)
    assert "\n" not in rows[1].reason


def test_whatever_a_decoder_raises_makes_a_broken_sample(processor, monkeypatch):
    def load(path):
        raise KeyError("a decoder's own mistake")

    monkeypatch.setattr("clip_core.data.preparation.decode_image", lambda content, name: load(content))
    assert isinstance(prepared(processor, Pair("k", b"x", ("a",)))[0], Broken)


def test_a_chunk_without_a_good_sample_has_none(processor):
    assert prepared(processor, Broken("k", "gone")) == [Broken("k", "gone")]


def test_what_the_tokenizer_or_the_processor_refuses_is_broken_and_its_chunk_is_not(processor, monkeypatch):
    good = [Pair(f"good {number}", picture(number), ("cat",)) for number in range(2)]
    expected = prepared(processor, *good)
    process = type(processor.image_processor).__call__

    def refuse(self, images, **options):
        if any(image.width == 3 for image in images):
            raise ValueError("too narrow")
        return process(self, images, **options)

    monkeypatch.setattr(type(processor.image_processor), "__call__", refuse)
    narrow, unpaired = Pair("narrow", Image.new("RGB", (3, 9)), ("cat",)), Pair("half", picture(1), ("\ud800",))
    rows = prepared(processor, good[0], narrow, unpaired, good[1])
    assert [row.key for row in rows] == ["good 0", "narrow", "half", "good 1"]
    assert rows[1] == Broken("narrow", "too narrow")
    assert isinstance(rows[2], Broken)
    for row, same in zip((rows[0], rows[3]), expected, strict=True):
        assert all(np.array_equal(row.arrays[name], same.arrays[name]) for name in row.arrays)


def test_only_captions_that_are_too_long_are_cut(processor):
    captions = ("a", "a " * (LENGTH + 5), "cat")
    together = prepared(processor, *(Pair("k", picture(1), (caption,)) for caption in captions))
    for row, caption in zip(together, captions, strict=True):
        alone = processor.tokenizer(caption, padding="max_length", truncation=True, max_length=LENGTH)
        assert row.arrays["input_ids"].tolist() == alone["input_ids"]
        assert (row.length > LENGTH) == (caption == captions[1])
