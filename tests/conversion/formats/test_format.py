"""A format is one row of FORMATS: everything that depends on a format reads that row."""

from __future__ import annotations

import ast
import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from clip_core import CLIPConfig
from converters.checkpoint import open_checkpoint
from converters.conversion import convert
from converters.formats import FORMATS, companions_of, format_named, layouts, target_names
from converters.inspection.inspect import inspect
from converters.naming.rules import FLAX, HUGGING_FACE, OPENAI
from converters.sidecars.description import FROM_SHAPES, config_from_pretrained, describe
from support.checkpoints import ODD_STEPS, OPENAI_STEPS, odd_config, openai_config, save_checkpoint
from support.messages import mentions, naming

ROOT = Path(__file__).parents[3]
DOCUMENTATION = ROOT / "docs" / "converting.md"

# Its own names and layout: bars between the segments, and matrices in TensorFlow's layout.
TOY = """
import json

import numpy as np

from clip_core import CLIPConfig, CLIPImageProcessor
from converters.formats.format import Format
from converters.naming.rules import TENSORFLOW, Layout, Row
from converters.sidecars.companions import Companions
from converters.tensors import TensorEntry


def read(path):
    return {name: entry(np.array(value, dtype)) for name, (dtype, value) in json.loads(path.read_text()).items()}


def write(path, tensors):
    content = {name: (tensor.dtype.name, tensor.load().tolist()) for name, tensor in tensors.items()}
    path.write_text(json.dumps(content))


def entry(array):
    return TensorEntry(array.shape, array.dtype, lambda: array)


def layout(name, separator):
    rows = (Row(row.canonical, row.canonical.replace(".", separator), row.transform) for row in TENSORFLOW.rows)
    return Layout(name, tuple(rows), separator=separator)


def texts(description, tensors, libraries):
    content = {"model": description.config.to_dict(), "images": description.preprocessing.to_dict()}
    return {"toy.json": json.dumps(content)}


def config(content):
    if "model" not in content:
        raise ValueError("it lacks a model")
    return CLIPConfig.from_dict(content["model"])


def preprocessing(content, image_size):
    return CLIPImageProcessor.from_dict(content["images"])


def usual(content, image_size):
    assert content is None
    return CLIPImageProcessor(size=image_size, image_mean=[0.1, 0.2, 0.3])


OWN = Companions(texts, tokenizer="none", config_name="toy.json", config=config, preprocessing=preprocessing)
BARE = Companions(lambda *_: {}, tokenizer="none", config_name=None, preprocessing=usual)
FORMAT = Format("toy", "model.toy", (".toy",), read, write, layout("Toy", "|"), "nothing else")
OTHERS = [
    Format("toy-own", "model.own", (".own",), read, write, layout("Own", "^"), "toys", companions=OWN),
    Format("toy-bare", "model.bare", (".bare",), read, write, layout("Bare", "~"), "toys", companions=BARE),
]
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    (tmp_path / "toy_format.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    module = import_module("toy_format")
    rows = [module.FORMAT, *module.OTHERS]
    FORMATS.extend(rows)
    yield module.FORMAT
    for row in rows:
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


def test_a_row_is_enough_to_describe_a_model_in_files_of_its_own(tmp_path, folder):
    own = tmp_path / "own"
    convert(folder, own, "toy-own")
    assert sorted(path.name for path in own.iterdir()) == ["model.own", "toy.json"]
    found, source = (describe(open_checkpoint(place), place) for place in (own, tmp_path / "source"))
    assert (found.origin, found.class_name) == ("toy.json", "CLIPModel")
    assert found.config.text_config.to_dict() == source.config.text_config.to_dict()
    assert found.preprocessing.to_dict() == source.preprocessing.to_dict()
    config, _ = config_from_pretrained(CLIPConfig, own)
    assert config.vision_config.to_dict() == source.config.vision_config.to_dict()
    convert(own, tmp_path / "back", "safetensors")
    assert inspect(tmp_path / "back").towers == inspect(folder).towers
    (own / "config.json").write_text("{}")  # of the two, the one of the layout's library is read
    assert describe(open_checkpoint(own), own).origin == "toy.json"
    (own / "toy.json").write_text("{}")
    with pytest.raises(ValueError, match=naming(own / "toy.json", "model")):
        describe(open_checkpoint(own), own)


def test_an_earlier_model_in_such_files_is_replaced(tmp_path, folder):
    convert(folder, tmp_path / "target", "toy-own")
    (tmp_path / "target" / "model.own").unlink()
    convert(folder, tmp_path / "target", "torch", overwrite=True)
    assert not (tmp_path / "target" / "toy.json").exists()


def test_a_row_is_enough_for_weights_that_need_no_configuration(tmp_path, toy):
    save_checkpoint(tmp_path / "source", openai_config(), steps=OPENAI_STEPS)
    convert(tmp_path / "source", tmp_path / "bare", "toy-bare")
    assert [path.name for path in (tmp_path / "bare").iterdir()] == ["model.bare"]
    with pytest.warns(UserWarning, match=naming("toy.json")):
        found = describe(open_checkpoint(tmp_path / "bare"), tmp_path / "bare")
    assert (found.origin, found.preprocessing.image_mean) == (FROM_SHAPES, [0.1, 0.2, 0.3])
    save_checkpoint(tmp_path / "odd", odd_config(), steps=ODD_STEPS)
    convert(tmp_path / "odd", tmp_path / "strange", "toy-bare")
    with pytest.raises(ValueError, match=naming("width")):
        describe(open_checkpoint(tmp_path / "strange"), tmp_path / "strange")


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
    assert "toy," not in printed(run("convert", "--help"))
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
    names = {layout: [one.config_name for one in companions_of(layout)] for layout in (HUGGING_FACE, FLAX, OPENAI)}
    assert names[HUGGING_FACE] == names[FLAX] == ["config.json", "open_clip_config.json", None]
    assert names[OPENAI] == ["open_clip_config.json", None, "config.json"]
    assert len({one.name for one in FORMATS}) == len({one.file for one in FORMATS}) == len(FORMATS)


# Names of formats, of layouts and of backends, which only tables may contain.
NAMED = {"safetensors", "torch", "open_clip", "open_clip-torch", "tf", "flax", "openai", "pt", "jax"}
NAMED |= {"OPENAI", "TENSORFLOW", "FLAX", "HUGGING_FACE", "OPENAI_FILES", "OPEN_CLIP_FILES", "TRANSFORMERS_FILES"}
# The tokenizer's way of cleaning texts, as its files name it.
NOT_FORMATS = {("tokenizer.py", "openai"), ("text.py", "openai")}


def conditions(file):
    """Return the names and texts that the conditions of a file compare."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Compare | ast.MatchValue):
            for part in ast.walk(node):
                name = getattr(part, "id", None) or getattr(part, "value", None)
                if isinstance(name, str):
                    yield file.name, name


def test_no_condition_names_a_format_or_a_backend():
    files = [file for package in ("clip_core", "converters") for file in (ROOT / package).rglob("*.py")]
    compared = [found for file in files for found in conditions(file)]
    assert len(compared) > 500
    assert {found for found in compared if found[1] in NAMED} == NOT_FORMATS


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match=naming("onnx", "safetensors")):
        format_named("onnx")
