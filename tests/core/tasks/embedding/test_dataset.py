from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from clip_core.tasks.embedding import EmbeddedDataset, embed
from clip_core.tasks.search import ImageIndex, OtherModelError
from clip_core.tasks.search.reading import read_caption
from support.embedding import read, write_images, write_shard, write_table
from support.messages import naming
from support.search import OTHER, save_image, stand_in
from support.tolerances import ROUNDING
from support.training_data import picture_bytes


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


def test_captions_of_a_source_are_those_of_the_files_beside_its_images(tmp_path):
    texts = [" a red\n bicycle \n", "\n", None, "word " * 5000]
    write_table(
        str(tmp_path / "a.parquet"),
        {"image": [picture_bytes(number) for number in range(4)], "text": texts},
    )
    embed(tmp_path / "a.parquet", tmp_path / "dataset", model="colours")
    captions = [row.caption for rows, _ in EmbeddedDataset(tmp_path / "dataset").batches() for row in rows]
    for text, caption in zip(texts, captions, strict=True):
        if text is not None:
            (tmp_path / "a.txt").write_text(text)
            assert caption == read_caption(tmp_path / "a.png")
    assert captions[:3] == ["a red bicycle", None, None]


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
    with pytest.raises(ValueError, match=naming(part)):
        len(EmbeddedDataset(tmp_path / "dataset"))


NONE = pa.nulls(1, pa.string())


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("path", NONE),
        ("path", pa.array([[1]])),
        ("size", pa.array(["large"])),
        ("sha256", pa.array([b"short"])),
        ("embedding", pa.array(["red"])),
        ("embedding", pa.array([[0.0, 0.0, 0.0]], pa.list_(pa.float32(), 3))),
        ("embedding", pa.array([[1.0, 0.0]], pa.list_(pa.float32(), 2))),
        ("embedding", pa.array([[float("nan"), 0.0, 0.0]], pa.list_(pa.float32(), 3))),
        ("embedding", pa.array([[1.0, None, 0.0]], pa.list_(pa.float32(), 3))),
        ("id", None),
    ],
)
def test_a_part_that_embed_did_not_write_is_refused_by_name(tmp_path, name, values):
    embed(write_images(str(tmp_path / "images"), [1]), tmp_path / "dataset", model="colours")
    (part,) = (tmp_path / "dataset/embeddings").iterdir()
    table = parquet.read_table(part)
    place = table.schema.get_field_index(name)
    table = table.drop([name]) if values is None else table.set_column(place, name, values)
    parquet.write_table(table, part)
    with pytest.raises(ValueError, match=naming(part)):
        list(EmbeddedDataset(tmp_path / "dataset").batches())


def test_a_part_that_another_library_rewrote_is_read(tmp_path):
    embed(write_images(str(tmp_path / "images"), [1]), tmp_path / "dataset", model="colours")
    ((rows, embeds),) = EmbeddedDataset(tmp_path / "dataset").batches()
    (part,) = (tmp_path / "dataset/embeddings").iterdir()
    table = parquet.read_table(part)
    place = table.schema.get_field_index("embedding")
    table = table.set_column(place, "embedding", pa.array(table["embedding"].to_pylist(), pa.list_(pa.float32())))
    parquet.write_table(table, part, store_schema=False)
    ((again, same),) = EmbeddedDataset(tmp_path / "dataset").batches()
    assert (again, same.tolist()) == (rows, embeds.tolist())


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "JSON"),
        ("[" * 100_000, "JSON"),
        ("[]", "JSON"),
        ('{"format": 1}', "source"),
        ('{"format": 7}', 7),
        (lambda facts: facts | {"dim": "3"}, "dim"),
        (lambda facts: facts | {"dim": 2}, "fingerprint"),
        (lambda facts: facts | {"fingerprint": [["a", 1.0, 2.0]]}, "fingerprint"),
        (lambda facts: facts | {"preprocessing": []}, "preprocessing"),
        (lambda facts: {name: value for name, value in facts.items() if name != "model"}, "model"),
    ],
)
def test_a_damaged_manifest_is_refused_by_name(tmp_path, content, named):
    folder = write_images(str(tmp_path / "images"), [1])
    embed(folder, tmp_path / "dataset", model="colours")
    manifest = tmp_path / "dataset/clip-zoo.json"
    text = content if isinstance(content, str) else json.dumps(content(json.loads(manifest.read_text())))
    manifest.write_text(text)
    for use in (EmbeddedDataset, lambda dataset: embed(folder, dataset, model="colours")):
        with pytest.raises(ValueError, match=naming(manifest, named)) as refused:
            use(tmp_path / "dataset")
        assert len(str(refused.value)) < 500


def test_a_time_of_more_than_64_bits_is_stored_as_the_nearest(tmp_path):
    folder = write_images(str(tmp_path / "images"), range(3))
    for path, far in ((Path(folder, "0/001.png"), 2**63 + 5), (Path(folder, "0/002.png"), -(2**63) - 5)):
        os.utime(path, ns=(far, far))  # as far as the file system goes
    assert embed(folder, tmp_path / "out", model="colours").images == 3
    stored = read(str(tmp_path / "out"))["modified"].cast("int64").to_pylist()
    for number in (1, 2):
        real = Path(f"{folder}/0/{number:03}.png").stat().st_mtime_ns
        assert stored[number] == min(max(real, 1 - 2**63), 2**63 - 1)
