"""Parquet files with the bytes of images, as pyarrow and the datasets library write them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pyarrow import parquet, table

from clip_core.data import parquet as module
from clip_core.data.pairs import Broken
from clip_core.data.parquet import ParquetPairs
from support.messages import mentions, naming
from support.training_data import picture_bytes


def write(path, columns, **options):
    parquet.write_table(table(columns), path, **options)
    return path


def columns_of(count):
    return {"image": [picture_bytes(n) for n in range(count)], "text": [f"cat {n}" for n in range(count)]}


def read_all(pairs):
    return [pair for shard, size in enumerate(pairs.sizes) for pair in pairs.read(shard, 0, size)]


def test_each_row_group_is_a_shard(tmp_path):
    pairs = ParquetPairs([write(tmp_path / f"{n}.parquet", columns_of(7), row_group_size=3) for n in range(2)])
    assert pairs.sizes == [3, 3, 1] * 2
    found = read_all(pairs)
    assert [pair.captions for pair in found] == [(f"cat {n}",) for n in range(7)] * 2
    assert [pair.image for pair in found[:7]] == [picture_bytes(n) for n in range(7)]
    assert found[5].key == f"{tmp_path / '0.parquet'} row 5"


@pytest.mark.parametrize("rows", [2, 256])
def test_a_part_of_a_row_group_is_read(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(module, "_ROWS", rows)
    pairs = ParquetPairs([write(tmp_path / "a.parquet", columns_of(9), row_group_size=7)])
    every = read_all(pairs)
    for start in range(8):
        for stop in range(start, 8):
            assert list(pairs.read(0, start, stop)) == every[start:stop]


def test_files_of_the_datasets_library_are_read(tmp_path):
    program = """
import sys, datasets
from PIL import Image
rows = {"image": [Image.new("RGB", (4, 4), (n, 0, 0)) for n in range(3)], "caption": [["a", "b"]] * 3}
features = datasets.Features({"image": datasets.Image(), "caption": datasets.Sequence(datasets.Value("string"))})
datasets.Dataset.from_dict(rows, features=features).to_parquet(sys.argv[1])
"""
    path = tmp_path / "a.parquet"
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, capture_output=True)
    found = read_all(ParquetPairs([path]))
    assert [pair.captions for pair in found] == [("a", "b")] * 3
    assert all(pair.image.startswith(b"\x89PNG") for pair in found)


def test_rows_that_lack_something_are_broken(tmp_path):
    path = write(tmp_path / "a.parquet", {"image": [b"x", None, b"x"], "text": [None, "a", ""]})
    broken = read_all(ParquetPairs([path]))
    assert all(isinstance(sample, Broken) for sample in broken)
    assert [sample.key for sample in broken] == [f"{path} row {row}" for row in range(3)]
    for sample, part in zip(broken, ("caption", "image", "caption"), strict=True):
        assert mentions(sample.reason, part)


def test_a_missing_column_is_told_with_those_that_are_there(tmp_path):
    path = write(tmp_path / "a.parquet", {"jpg": [b"x"], "label": ["a"]})
    with pytest.raises(ValueError, match=naming(path, "'text'", "'caption'", "'jpg'", "'label'", "caption_column")):
        ParquetPairs([path])
    with pytest.raises(ValueError, match=naming(path, "'photo'", "'jpg'", "'label'", "image_column")):
        ParquetPairs([path], image="photo")
    assert read_all(ParquetPairs([path], caption="label"))[0].captions == ("a",)


def test_a_file_that_is_cut_off_or_gone_is_told(tmp_path):
    path = write(tmp_path / "a.parquet", columns_of(3))
    content = path.read_bytes()
    for size in (0, 3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=naming(path)):
            ParquetPairs([path])
    with pytest.raises(ValueError, match=naming(tmp_path / "gone.parquet")):
        ParquetPairs([tmp_path / "gone.parquet"])


def test_a_damaged_page_is_told_by_row(tmp_path):
    path = write(tmp_path / "a.parquet", columns_of(40), compression="gzip", row_group_size=20)
    pairs = ParquetPairs([path])
    content = bytearray(path.read_bytes())
    end = parquet.ParquetFile(path).metadata.row_group(0).column(0).total_compressed_size
    content[30:end] = bytes(end - 30)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=naming(path, "row 0")):
        read_all(pairs)


def test_without_pyarrow_the_command_that_installs_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=naming("pyarrow", "pip install 'clip-zoo[train]'")):
        ParquetPairs([tmp_path / "a.parquet"])
