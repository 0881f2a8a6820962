"""Writing weights: shards, names, and files that an interruption leaves intact."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from converters import writing
from converters.checkpoint import open_checkpoint
from converters.formats import format_named, safetensors
from converters.tensors import TensorEntry
from converters.writing import check_free_space, parse_size, plan_shards, save_weights
from support.messages import mentions


def entries(count=6, size=100, value=1.0):
    arrays = {f"tensor.{number}": np.full(size, value + number, np.float32) for number in range(count)}
    return {name: TensorEntry(a.shape, a.dtype, lambda a=a: a) for name, a in arrays.items()}


def save(folder, value=1.0, write=safetensors.write, **options):
    format_ = replace(format_named("safetensors"), write=write)
    return save_weights(folder, entries(value=value), format_, **options)


@pytest.mark.parametrize(
    ("size", "count"),
    [(7, 7), ("1KB", 1000), ("1.5 MB", 1_500_000), ("5gb", 5 * 10**9), ("2GiB", 2 * 2**30), ("1TB", 10**12)],
)
def test_sizes(size, count):
    assert parse_size(size) == count


@pytest.mark.parametrize("size", [0, -5, "", "5", "GB", "5 gigabytes", "0MB", None, 1.5, True])
def test_an_invalid_size_is_refused_with_an_example(size):
    with pytest.raises(ValueError, match="5GB"):
        parse_size(size)


def test_shards_keep_the_order_and_a_large_tensor_stands_alone():
    sizes = {"a": 3, "b": 3, "c": 20, "d": 1, "e": 9}
    assert plan_shards(sizes, 10) == [["a", "b"], ["c"], ["d", "e"]]
    assert plan_shards({}, 10) == [[]]


def test_few_weights_go_into_one_file(tmp_path):
    assert save(tmp_path) == ["model.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_many_go_into_shards_with_an_index(tmp_path, variant):
    names = save(tmp_path, max_shard_size=900, variant=variant)
    dotted = "" if variant is None else f".{variant}"
    assert names[:2] == [f"model{dotted}-00001-of-00003.safetensors", f"model{dotted}-00002-of-00003.safetensors"]
    assert names[-1] == f"model.safetensors.index{dotted}.json"
    index = json.loads((tmp_path / names[-1]).read_text())
    assert index["metadata"]["total_size"] == 2400
    assert set(index["weight_map"]) == set(entries())
    checkpoint = open_checkpoint(tmp_path, variant=variant)
    assert all(np.array_equal(checkpoint[name], entry.load()) for name, entry in entries().items())


def test_weights_of_an_earlier_save_are_removed_and_nothing_else(tmp_path):
    save(tmp_path, max_shard_size=500)
    (tmp_path / "model.fp16.safetensors").write_text("a variant")
    (tmp_path / "my-model.safetensors").write_text("the user's own")
    save(tmp_path, texts={"config.json": "{}"})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "model.fp16.safetensors",
        "model.safetensors",
        "my-model.safetensors",
    ]


@pytest.mark.parametrize(("free", "told"), [(0, "0.0"), (400_000, "0.4"), (10_000_123, "10.0")])
def test_a_disk_without_room_is_told_with_all_that_is_needed(tmp_path, monkeypatch, free, told):
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(OSError, match=str(tmp_path)) as error:
        check_free_space(tmp_path / "new", 200_000)
    assert mentions(str(error.value), "10.2 MB", f"{told} MB")  # with the files beside the weights
    check_free_space(tmp_path, free - writing._BESIDE_WEIGHTS)


def test_an_interrupted_save_leaves_the_old_files_whole(tmp_path):
    save(tmp_path, max_shard_size=900, texts={"config.json": "old"})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def interrupted(path, tensors):
        if "00002" in path.name:
            raise KeyboardInterrupt
        safetensors.write(path, tensors)

    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, value=9.0, write=interrupted, max_shard_size=900, texts={"config.json": "new"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
