"""Data sets that are objects: those of the datasets library, lists of dictionaries, and iterables."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clip_core.data import open_pairs
from clip_core.data.pairs import Broken
from clip_core.data.rows import RowPairs, RowStream
from support.messages import naming
from support.training_data import picture, picture_bytes


@pytest.fixture(scope="module")
def datasets():
    return pytest.importorskip("datasets")


@pytest.fixture
def dataset(datasets):
    columns = {"image": [picture(number) for number in range(5)], "caption": [f"cat {number}" for number in range(5)]}
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    return datasets.Dataset.from_dict(columns, features=features)


def test_pictures_of_a_dataset_stay_encoded_for_the_workers(dataset):
    pairs = open_pairs(dataset)
    assert isinstance(pairs, RowPairs)
    assert len(pairs) == 5
    assert pairs[3].captions == ("cat 3",)
    assert pairs[3].key == "row 3"
    assert pairs[3].image.startswith(b"\x89PNG")
    assert isinstance(dataset[3]["image"], Image.Image)  # the caller's own is as it was


@pytest.mark.parametrize("form", ["numpy", "torch", "pandas"])
def test_a_datasets_format_does_not_matter(dataset, form):
    if form == "torch":
        pytest.importorskip("torch")
    assert open_pairs(dataset.with_format(form))[1] == open_pairs(dataset)[1]


def test_a_datasets_own_transform_is_kept(dataset):
    def shout(rows):
        return {**rows, "caption": [caption.upper() for caption in rows["caption"]]}

    pair = open_pairs(dataset.with_transform(shout))[2]
    assert pair.captions == ("CAT 2",)
    assert isinstance(pair.image, Image.Image)


def test_an_iterable_dataset_is_a_stream_that_is_counted_or_told(dataset):
    stream = dataset.to_iterable_dataset()
    pairs = open_pairs(stream)
    assert isinstance(pairs, RowStream)
    assert pairs.sizes == [5]
    found = list(pairs.read(0, 2, 5))
    assert [(pair.key, pair.captions) for pair in found] == [(f"row {n}", (f"cat {n}",)) for n in (2, 3, 4)]
    assert found[0].image.startswith(b"\x89PNG")
    assert open_pairs(stream, length=4).sizes == [4]


def test_a_stream_that_ends_early_is_told(dataset):
    pairs = open_pairs(dataset.to_iterable_dataset(), length=9)
    with pytest.raises(ValueError, match=naming(5, 9)):
        list(pairs.read(0, 3, 9))


def test_a_dictionary_of_splits_is_refused_with_their_names(datasets, dataset):
    splits = datasets.DatasetDict(train=dataset, test=dataset)
    with pytest.raises(TypeError, match=naming("DatasetDict", "train", "test")):
        open_pairs(splits)


def test_pictures_may_be_bytes_mappings_pictures_and_arrays(tmp_path):
    (tmp_path / "a.png").write_bytes(picture_bytes(7))
    array = np.asarray(picture(7))
    images = [picture_bytes(7), bytearray(picture_bytes(7)), {"bytes": picture_bytes(7), "path": None}]
    images += [{"bytes": None, "path": str(tmp_path / "a.png")}, tmp_path / "a.png", picture(7), array]
    pairs = open_pairs([{"image": image, "text": "a"} for image in images])
    kinds = [type(pairs[place].image).__name__ for place in range(len(pairs))]
    assert kinds == ["bytes", "bytes", "bytes", "PosixPath", "PosixPath", "Image", "ndarray"]


def test_a_picture_whose_file_is_cut_off_is_a_broken_sample(tmp_path):
    path = tmp_path / "a.jpg"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:700])
    with Image.open(path) as lazy:
        broken = open_pairs([{"image": lazy, "text": "a"}])[0]
    assert isinstance(broken, Broken)
    assert "truncated" in broken.reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"image": b"x", "text": None}, "there is no caption"),
        ({"image": b"x", "text": []}, "there is no caption"),
        ({"image": b"x", "text": ["a", " "]}, "the caption is empty"),
        ({"image": b"x", "text": [3]}, "the caption is of type int, not a string"),
        ({"image": b"x", "text": 3}, "the caption is of type int, not a string"),
        ({"image": None, "text": "a"}, "there is no image"),
        ({"image": {"bytes": None, "path": None}, "text": "a"}, "there is no image"),
        ({"image": 3.5, "text": "a"}, "unsupported image of type float"),
    ],
)
def test_what_is_wrong_with_a_row_is_told(row, reason):
    rows = [{"image": b"x", "text": "a"}, row]
    assert open_pairs(rows)[1] == Broken("row 1", reason)


def test_missing_columns_are_told_with_those_that_are_there(dataset):
    with pytest.raises(ValueError, match=naming("Dataset", "'words'", "'image'", "'caption'", "caption_column")):
        open_pairs(dataset, caption_column="words")
    with pytest.raises(ValueError, match=naming(list, tuple)):
        open_pairs([(b"x", "a")])
