from __future__ import annotations

import pytest

from clip_core.tasks.embedding import EmbeddedDataset, embed
from clip_core.tasks.search import ImageIndex, OtherModelError
from support.embedding import write_images, write_shard
from support.messages import naming
from support.search import OTHER, save_image, stand_in
from support.tolerances import ROUNDING


@pytest.fixture(autouse=True)
def colours():
    with stand_in():
        yield


def rows_of(index):
    rows, places, vectors = index._store.everything()
    return rows, vectors[places].tolist()


def test_an_index_of_a_dataset_is_that_of_the_folder(tmp_path):
    folder = write_images(str(tmp_path / "images"), range(9))
    embed(folder, tmp_path / "dataset", model="colours", rows_per_part=4)
    with ImageIndex(tmp_path / "direct", model="colours", create=True) as direct:
        direct.add([folder])
        expected = rows_of(direct)
    announced, stored = [], []
    with ImageIndex(tmp_path / "index", create=True) as index:
        changes = index.add_embedded(tmp_path / "dataset", on_start=announced.append, on_commit=stored.append)
        assert (changes.added, changes.unchanged) == (9, 0)
        assert (announced, sum(stored)) == ([9], 9)
        rows, vectors = rows_of(index)
        assert rows == expected[0]
        assert vectors == [pytest.approx(vector, abs=ROUNDING) for vector in expected[1]]
        assert index.add([folder]).unchanged == 9
        assert index.add_embedded(tmp_path / "dataset").unchanged == 9


def test_texts_of_a_source_are_captions_and_images_without_a_date_are_not_before_one(tmp_path):
    shard = write_shard(str(tmp_path / "a.tar"), [3])
    embed(shard, tmp_path / "dataset", model="colours")
    with ImageIndex(tmp_path / "index", create=True) as index:
        index.add_embedded(tmp_path / "dataset")
        (hit,) = index.search(["red"])
        assert (str(hit.path), hit.caption, hit.taken) == (f"{shard}/003", "cat 3", "")
        for condition in ("date<2030", "date<=2030", "date>1990"):
            assert index.search(["red"], where=[condition]) == []


def test_a_changed_image_replaces_that_of_before(tmp_path):
    folder = tmp_path / "images"
    save_image(folder / "a.png", (255, 0, 0))
    with ImageIndex(tmp_path / "index", model="colours", create=True) as index:
        index.add([folder])
        save_image(folder / "a.png", (0, 0, 255))
        embed(folder, tmp_path / "dataset", model="colours")
        assert index.add_embedded(tmp_path / "dataset").changed == 1
        assert len(index) == 1
        assert index.search(["blue"])[0].score > 0.9


def test_another_model_and_a_missing_or_damaged_dataset_are_refused(tmp_path):
    folder = write_images(str(tmp_path / "images"), range(3))
    embed(folder, tmp_path / "dataset", model="colours")
    with ImageIndex(tmp_path / "index", model=OTHER, create=True) as index:
        index.add([folder])
        with pytest.raises(OtherModelError, match=naming(OTHER, "colours")):
            index.add_embedded(tmp_path / "dataset")
        with pytest.raises(FileNotFoundError, match=naming(folder)):
            index.add_embedded(folder)
    (part,) = (tmp_path / "dataset/embeddings").iterdir()
    part.write_bytes(part.read_bytes()[:200])
    with pytest.raises(ValueError, match=naming(part)):
        list(EmbeddedDataset(tmp_path / "dataset").batches())
