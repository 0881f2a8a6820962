"""Files of transformers' PyTorch, TensorFlow and Flax classes: each side reads what the other writes, bit for bit."""

from __future__ import annotations

import json
import re

import ml_dtypes
import numpy as np
import pytest

from converters.checkpoint import open_checkpoint
from converters.formats import FORMATS, flax_msgpack, format_named
from converters.naming.names import bare_name, to_canonical, to_file
from converters.writing import save_weights
from support.configs import tiny_config
from support.entries import assert_same, entry, part_of, random_entries
from support.parity import NATIVE_CASES, NATIVE_CLASSES

FORMAT = {"TF": format_named("tf"), "Flax": format_named("flax")}


def save(folder, class_name, format_, **options):
    config, entries = part_of(tiny_config(), class_name), random_entries(tiny_config(), class_name)
    texts = {"config.json": config.to_json_string()}
    save_weights(folder, entries, format_, texts=texts, **options)
    return entries


@pytest.mark.parametrize(("library", "class_name"), NATIVE_CASES)
@pytest.mark.parametrize(
    "options", [{}, {"max_shard_size": "40KB"}, {"safe_serialization": True}], ids=["single", "shards", "safetensors"]
)
def test_we_read_what_the_reference_converts_and_writes(tmp_path, oracle, library, class_name, options):
    entries = save(tmp_path / "torch", class_name, format_named("torch"))
    folders = {"source": str(tmp_path / "torch"), "folder": str(tmp_path / "native")}
    oracle("oracle_native.save_native", **folders, library=library, class_name=class_name, **options)
    checkpoint = open_checkpoint(tmp_path / "native")
    assert checkpoint.layout is FORMAT[library].layout
    assert checkpoint.format.name == ("safetensors" if "safe_serialization" in options else FORMAT[library].name)
    assert (len(checkpoint.files) > 1) == ("max_shard_size" in options)
    assert_same(checkpoint.entries, entries)


@pytest.mark.parametrize(("library", "class_name"), NATIVE_CASES)
@pytest.mark.parametrize("max_shard_size", ["5GB", "40KB"])
def test_the_reference_reads_what_we_write(tmp_path, oracle, library, class_name, max_shard_size):
    entries = save(tmp_path, class_name, FORMAT[library], max_shard_size=max_shard_size)
    found, missed = oracle("oracle_native.load_native", folder=str(tmp_path), library=library, class_name=class_name)
    assert missed == []
    layout = FORMAT[library].layout
    assert_same({bare_name(layout, name): array for name, array in found.items()}, to_file(entries, layout))


def test_the_index_of_shards_is_the_references(tmp_path, oracle):
    for library in NATIVE_CLASSES:
        file = f"{FORMAT[library].file}.index.json"
        save(tmp_path / "torch", "CLIPModel", format_named("torch"))
        save(tmp_path / f"ours{library}", "CLIPModel", FORMAT[library], max_shard_size="40KB")
        folders = {"source": str(tmp_path / "torch"), "folder": str(tmp_path / library)}
        options = {"library": library, "class_name": "CLIPModel", "max_shard_size": "40KB"}
        oracle("oracle_native.save_native", **folders, **options)
        ours, theirs = (json.loads((tmp_path / folder / file).read_text()) for folder in (f"ours{library}", library))
        # Keras counts the models of a process in their names.
        names = {re.sub(r"^tfclip_model_\d+/", "tfclip_model/", name) for name in theirs["weight_map"]}
        assert ours["weight_map"].keys() == names
        assert ours["metadata"] == theirs["metadata"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_flax_reads_arrays_in_pieces_and_we_read_its(tmp_path, oracle, monkeypatch, dtype):
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    tensors = {
        name: e.load() for name, e in to_file(random_entries(tiny_config(), dtype=dtype), FORMAT["Flax"].layout).items()
    }
    ours, theirs = tmp_path / "ours.msgpack", tmp_path / "theirs.msgpack"
    monkeypatch.setattr(flax_msgpack, "LARGEST_PIECE", 3001)
    flax_msgpack.write(ours, {name: entry(array) for name, array in tensors.items()})
    oracle("oracle_native.chunked_msgpack", path=str(theirs), tensors=tensors, largest=3001)
    assert sorted(ours.read_bytes()) == sorted(theirs.read_bytes())  # Flax sorts the names
    assert_same(oracle("oracle_native.restored_msgpack", path=str(ours)), tensors)
    assert_same(flax_msgpack.read(theirs), tensors)


@pytest.mark.parametrize("class_name", ["CLIPModel", "CLIPVisionModelWithProjection", "CLIPForImageClassification"])
@pytest.mark.parametrize("max_shard_size", ["5GB", "40KB"])
def test_the_references_torch_classes_read_our_bin(tmp_path, oracle, class_name, max_shard_size):
    save(tmp_path, class_name, format_named("torch"), max_shard_size=max_shard_size)
    info = oracle("loads_without_remark", folder=str(tmp_path), model_class=class_name)
    assert not any(info.values())


def test_what_transformers_wrote_and_we_converted_twice_is_the_same(tmp_path, oracle):
    entries = save(tmp_path / "torch", "CLIPModel", format_named("torch"))
    folders = {"source": str(tmp_path / "torch"), "folder": str(tmp_path / "tf")}
    oracle("oracle_native.save_native", **folders, library="TF", class_name="CLIPModel")
    for layout in (format_.layout for format_ in FORMATS):
        there = to_file(open_checkpoint(tmp_path / "tf").entries, layout)
        assert_same(to_canonical(there, layout)[0], entries)
