"""Parquet files as a source of images."""

from __future__ import annotations

import pyarrow as pa
import pytest

from support.embedding import opened, pictures, write, write_images, write_table
from support.messages import mentions, naming
from support.training_data import picture_bytes

BYTES = [picture_bytes(number) for number in range(10)]


def test_runs_of_rows_do_not_depend_on_row_groups(tmp_path):
    found = {}
    for size in (1, 4, 100):
        file = write_table(str(tmp_path / "a.parquet"), {"image": BYTES, "n": list(range(10))}, rows_per_group=size)
        source = opened(file, rows=3)
        assert [(piece.start, piece.stop) for piece in source.pieces()] == [(0, 3), (3, 6), (6, 9), (9, 10)]
        read = pictures(source)
        assert [picture.content for picture in read] == BYTES
        kept = source.table([picture.row for picture in read])
        found[size] = [picture.id for picture in read], kept["n"].to_pylist()
    assert found[1] == found[4] == found[100] == ([f"a.parquet#{n}" for n in range(10)], list(range(10)))


def test_kept_columns_have_the_types_of_the_source(tmp_path):
    columns = {
        "image": pa.array([{"bytes": image, "path": None} for image in BYTES[:2]]),
        "when": pa.array([1, 2], pa.timestamp("ns")),
        "kind": pa.array(["a", "b"]).dictionary_encode(),
        "tags": pa.array([["x"], []], pa.list_(pa.string())),
        "size": pa.array([7, None], pa.int8()),
    }
    source = opened(write_table(str(tmp_path / "a.parquet"), columns))
    table = source.table([picture.row for picture in pictures(source)])
    assert table.schema.names == ["when", "kind", "tags", "source_size"]
    assert table["when"].type == pa.timestamp("ns")
    assert table["tags"].to_pylist() == [["x"], []]
    assert table["source_size"].to_pylist() == [7, None]
    assert opened(tmp_path / "a.parquet", columns=["tags"]).schema().names == ["tags"]


def test_images_outside_the_folder_of_the_table_are_not_opened(tmp_path):
    write_images(str(tmp_path / "table"), [1])
    (tmp_path / "secret.png").write_bytes(BYTES[0])
    (tmp_path / "table/link.png").symlink_to(tmp_path / "secret.png")
    inside = [f"{tmp_path}/table/0/001.png", "0/001.png", f"file://{tmp_path}/table/0/001.png", "0/../0/001.png"]
    outside = ["../secret.png", f"{tmp_path}/secret.png", "http://localhost/a.png", "s3://bucket/a.png", "link.png"]
    file = write_table(str(tmp_path / "table/a.parquet"), {"image": [*inside, *outside, "", None]})
    found = pictures(opened(file))
    assert [picture.error is None for picture in found] == [True] * 4 + [False] * 7
    assert {picture.file for picture in found[:4]} == {inside[0]}
    for picture, path in zip(found[4:], outside, strict=False):
        assert mentions(picture.error, path)


@pytest.mark.parametrize(
    ("columns", "options", "named"),
    [
        ({"picture": BYTES}, {}, "picture"),
        ({"image": BYTES}, {"image": "photo"}, "photo"),
        ({"image": list(range(3))}, {}, "int64"),
        ({"image": BYTES, "text": ["a"] * 10}, {"columns": ["title"]}, "title"),
        ({"image": BYTES, "id": list(range(10)), "source_id": list(range(10))}, {}, "source_id"),
    ],
)
def test_columns_that_do_not_fit_are_named(tmp_path, columns, options, named):
    file = write_table(str(tmp_path / "a.parquet"), columns)
    with pytest.raises(ValueError, match=naming(named, file)):
        opened(file, **options)


def test_files_of_other_columns_are_told_when_they_are_read(tmp_path):
    write_table(str(tmp_path / "a.parquet"), {"image": BYTES[:2], "n": [1, 2]})
    write_table(str(tmp_path / "b.parquet"), {"image": BYTES[:2], "n": ["1", "2"]})
    write_table(str(tmp_path / "c.parquet"), {"image": BYTES[:2]})
    source = opened(tmp_path)
    first, *others = source.pieces()
    assert len(list(source.pictures(first))) == 2
    for piece, file in zip(others, ("b.parquet", "c.parquet"), strict=True):
        with pytest.raises(ValueError, match=naming(tmp_path / file, "n")):
            list(source.pictures(piece))


def test_a_file_that_is_not_parquet_is_named(tmp_path):
    write(str(tmp_path / "a.parquet"), b"PAR1 and more")
    with pytest.raises(ValueError, match=naming(tmp_path / "a.parquet")):
        opened(tmp_path)
