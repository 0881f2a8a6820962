"""A format is one row of FORMATS: everything that depends on a format reads that row."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from converters.checkpoint import open_checkpoint
from converters.conversion import convert
from converters.formats import FORMATS, format_named, layouts, target_names
from converters.inspection.inspect import inspect
from converters.naming.rules import HUGGING_FACE
from converters.sidecars.companions import COMPANIONS
from support.checkpoints import ODD_STEPS, odd_config, save_checkpoint
from support.messages import mentions, naming

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "converting.md"

# Its own names and layout: bars between the segments, and matrices in TensorFlow's layout.
TOY = """
import json

import numpy as np

from converters.formats.format import Format
from converters.naming.rules import TENSORFLOW, Layout, Row
from converters.tensors import TensorEntry


def read(path):
    return {name: entry(np.array(value, dtype)) for name, (dtype, value) in json.loads(path.read_text()).items()}


def write(path, tensors):
    content = {name: (tensor.dtype.name, tensor.load().tolist()) for name, tensor in tensors.items()}
    path.write_text(json.dumps(content))


def entry(array):
    return TensorEntry(array.shape, array.dtype, lambda: array)


rows = tuple(Row(row.canonical, row.canonical.replace(".", "|"), row.transform) for row in TENSORFLOW.rows)
FORMAT = Format("toy", "model.toy", (".toy",), read, write, Layout("Toy", rows, separator="|"), "nothing else")
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_format.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    row = import_module("toy_format").FORMAT
    FORMATS.append(row)
    yield row
    FORMATS.remove(row)
    del sys.modules["toy_format"]


@pytest.fixture
def folder(tmp_path, toy):
    """A checkpoint that was converted to the toy format."""
    save_checkpoint(tmp_path / "source", odd_config(), steps=ODD_STEPS)
    convert(tmp_path / "source", tmp_path / "toy", toy.name)
    return tmp_path / "toy"


def printed(done):
    """Return the words that a command printed, whatever the width of the columns."""
    code, out, _ = done
    assert code == 0
    return " ".join(out.split())


def test_a_row_is_enough_to_convert_to_a_format_and_from_it(tmp_path, folder, toy):
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.toy", "preprocessor_config.json"]
    checkpoint, source = open_checkpoint(folder), open_checkpoint(tmp_path / "source")
    assert (checkpoint.format, checkpoint.layout) == (toy, toy.layout)
    name = "text_model.encoder.layers.0.mlp.fc1.weight"
    in_file = json.loads((folder / "model.toy").read_text())[name.replace(".", "|")][1]
    assert np.array_equal(np.array(in_file, np.float32), source[name].T)
    convert(folder, tmp_path / "back", "safetensors")
    back = open_checkpoint(tmp_path / "back")
    assert back.entries.keys() == source.entries.keys()
    assert all(np.array_equal(back[name], source[name]) for name in source)


def test_a_row_is_enough_to_read_and_write_shards(tmp_path, folder):
    convert(tmp_path / "source", tmp_path / "shards", "toy", max_shard_size="40KB")
    assert (tmp_path / "shards" / "model.toy.index.json").exists()
    assert len(list((tmp_path / "shards").glob("model-*-of-*.toy"))) > 1
    assert inspect(tmp_path / "shards").sha256 == inspect(folder).sha256


def test_a_row_is_enough_to_inspect_a_format(tmp_path, folder):
    found, source = inspect(folder), inspect(tmp_path / "source")
    assert (found.format, found.formats, found.layout) == ("toy", ["toy"], "Toy")
    assert (found.sha256, found.parameters, found.towers) == (source.sha256, source.parameters, source.towers)
    assert "does not fit" not in found.warnings


def test_a_row_is_enough_for_from_pretrained(tmp_path, folder):
    import clip_torch

    loaded, expected = (clip_torch.CLIPModel.from_pretrained(place) for place in (folder, tmp_path / "source"))
    others = dict(expected.named_parameters())
    assert all(np.array_equal(one.detach(), others[name].detach()) for name, one in loaded.named_parameters())


def test_a_row_is_enough_for_the_commands(run, folder, toy):
    assert "format toy " in printed(run("inspect", folder))
    assert printed(run("formats")).partition("toy model.toy ")[2].split()[:3] == [".toy", "yes", "yes"]
    assert mentions(printed(run("convert", "--help")), "toy")
    FORMATS.remove(toy)
    assert "toy" not in printed(run("convert", "--help"))
    FORMATS.append(toy)


def test_the_documentation_lists_every_format_that_is_written():
    rows = [
        f"| `{one.name}` | `{one.file}` | {one.libraries} | {'yes' if one.sharded else 'no'} |"
        for one in FORMATS
        if one.written
    ]
    head = ["| name | file | also read by | shards |", "|---|---|---|---|"]
    assert "\n".join([*head, *rows, "", ""]) in DOCUMENTATION.read_text()


def test_the_rows():
    assert target_names() == ["safetensors", "torch", "open_clip", "tf", "flax", "openai"]
    assert layouts()[0] is HUGGING_FACE  # the one that wins a tie
    assert {one.companions for one in FORMATS} == COMPANIONS.keys()
    assert len({one.name for one in FORMATS}) == len({one.file for one in FORMATS}) == len(FORMATS)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=naming("onnx", "safetensors")):
        format_named("onnx")
