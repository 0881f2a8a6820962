"""The commands on checkpoints: output, JSON, exit codes, and one line for bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clip_core import CLIPImageProcessor
from converters.checkpoint import open_checkpoint
from converters.formats import FORMATS, format_named
from converters.inspection.inspect import inspect
from converters.writing import save_weights
from support.configs import tiny_config
from support.entries import assert_same, entry, random_entries
from support.messages import mentions


@pytest.fixture
def source(tmp_path):
    steps = CLIPImageProcessor(size=30, crop_size=30, image_mean=[0.5] * 3)
    texts = {
        "config.json": tiny_config(vision={"num_channels": 3}).to_json_string(),
        "preprocessor_config.json": steps.to_json_string(),
    }
    entries = random_entries(tiny_config(vision={"num_channels": 3}))
    format_ = format_named("safetensors")
    save_weights(tmp_path / "source", entries, format_, texts=texts)
    return tmp_path / "source"


def one_line(err):
    assert err.count("\n") == 1, err
    assert err.startswith("clip-zoo: ")
    return err


def test_convert_lists_the_files_it_wrote(run, source, tmp_path):
    code, out, err = run("convert", source, tmp_path / "flax", "--to", "flax")
    assert code == 0
    assert mentions(out, "safetensors", "flax", "flax_model.msgpack")
    assert err.count("\n") == 1
    assert mentions(err, "note", "tokenizer")
    assert_same(open_checkpoint(tmp_path / "flax").entries, open_checkpoint(source).entries)


def test_convert_in_json_with_dtype_and_shards(run, source, tmp_path):
    options = ["--to", "torch", "--dtype", "bfloat16", "--max-shard-size", "40KB", "--json"]
    code, out, err = run("convert", source, tmp_path / "torch", *options)
    result = json.loads(out)
    assert (code, err) == (0, "")
    assert set(result["files"]) == {path.name for path in (tmp_path / "torch").iterdir()}
    assert result["files"][0] == f"pytorch_model-00001-of-{len(result['files']) - 3:05d}.bin"
    assert {entry.dtype.name for entry in open_checkpoint(tmp_path / "torch").entries.values()} == {"bfloat16"}


def test_convert_out_of_a_subfolder(run, source, tmp_path):
    code, _, _ = run("convert", source.parent, tmp_path / "tf", "--to", "tf", "--subfolder", source.name)
    assert code == 0
    assert (tmp_path / "tf" / "tf_model.h5").is_file()


def test_convert_overwrites_only_when_asked(run, source, tmp_path):
    target = tmp_path / "target"
    assert run("convert", source, target, "--to", "tf")[0] == 0
    before = {path.name: path.stat().st_mtime_ns for path in target.iterdir()}
    code, _, err = run("convert", source, target, "--to", "tf")
    assert code == 2
    assert mentions(one_line(err), target, "tf_model.h5", "--overwrite")
    assert {path.name: path.stat().st_mtime_ns for path in target.iterdir()} == before
    assert run("convert", source, target, "--to", "tf", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--to", "onnx"], ["--to", "onnx", "safetensors", "torch", "tf", "flax"]),
        ([], ["--to"]),
        (["--to", "tf", "--dtype", "int8"], ["--dtype", "int8"]),
        (["--to", "tf", "--dtype", "bfloat16"], ["--dtype bfloat16", "--to tf", "float32"]),
        (["--to", "tf", "--max-shard-size", "big"], ["--max-shard-size", "big"]),
        (["--to", "openai", "--max-shard-size", "1GB"], ["one file"]),
        (["--to", "openai"], ["OpenAI's code"]),
        (["--to", "tf", "--subfolder", "gone"], ["--subfolder", "'gone'"]),
    ],
)
def test_convert_refuses_in_one_line_and_writes_nothing(run, source, tmp_path, options, named):
    code, out, err = run("convert", source, tmp_path / "target", *options)
    assert (code, out) == (2, "")
    assert mentions(one_line(err), *named)
    assert not (tmp_path / "target").exists()


def test_inspect_prints_and_warns(run, source):
    code, out, err = run("inspect", source)
    assert (code, err) == (0, "")
    assert mentions(out, "CLIPModel", "config.json", "layers 3", "width 40", "heads 5", "activations differ")
    assert mentions(out, inspect(source).sha256)


def test_inspect_in_json_and_without_reading_the_weights(run, source):
    _, whole, _ = run("inspect", source, "--json")
    code, quick, _ = run("inspect", source, "--no-hash", "--json")
    assert code == 0
    assert len(json.loads(whole)["sha256"]) == 64
    assert json.loads(quick) == {**json.loads(whole), "sha256": None}


def test_a_revision_of_a_local_folder_is_ignored_with_a_note(run, source, tmp_path):
    for command in (("inspect", source), ("convert", source, tmp_path / "out", "--to", "torch")):
        code, out, err = run(*command, "--revision", "v2")
        assert code == 0
        assert mentions(err.splitlines()[0], "--revision v2", source), err
        assert mentions(out, "CLIPModel")


def test_inspect_names_what_is_foreign(run, source):
    (source / "config.json").write_text('{"model_type": "siglip"}')
    code, out, err = run("inspect", source)
    assert (code, out) == (2, "")
    assert "SigLIP" in one_line(err)


def test_diff_exits_with_0_for_the_same_weights_in_another_format(run, source, tmp_path):
    run("convert", source, tmp_path / "flax", "--to", "flax")
    code, out, err = run("diff", source, tmp_path / "flax")
    assert (code, err) == (0, "")
    assert "nothing differs" in out


def test_diff_exits_with_1_and_tells_names_shapes_values_and_settings(run, source, tmp_path):
    other = random_entries(tiny_config(vision={"num_channels": 3}))
    other["logit_scale"] = entry(np.asarray(other["logit_scale"].load() + np.float32(0.5)))
    config = json.loads((source / "config.json").read_text())
    config["text_config"]["hidden_act"] = "quick_gelu"
    texts = {"config.json": json.dumps(config)}
    format_ = format_named("torch")
    save_weights(tmp_path / "other", other, format_, texts=texts)
    code, out, _ = run("diff", source, tmp_path / "other")
    assert code == 1
    values, settings = (
        next(line for line in out.splitlines() if name in line) for name in ("logit_scale", "hidden_act")
    )
    assert mentions(values, "values", 1, 0.5)
    assert mentions(settings, "configuration", "text_config.hidden_act", "gelu in A", "quick_gelu in B")
    code, out, _ = run("diff", source, tmp_path / "other", "--json")
    found = json.loads(out)
    assert code == 1
    assert (found["same"], found["largest"], found["identical"]) == (False, "logit_scale", len(other) - 1)


def test_formats_lists_all(run):
    code, out, _ = run("formats")
    assert code == 0
    assert all(format_.file in out for format_ in FORMATS)
    code, out, _ = run("formats", "--json")
    assert [row["name"] for row in json.loads(out) if row["written"]] == [f.name for f in FORMATS if f.written]


@pytest.mark.parametrize(
    "arguments", [["inspect", "GONE"], ["diff", "GONE", "GONE"], ["convert", "GONE", "x", "--to", "tf"]]
)
def test_a_source_that_is_not_there(run, tmp_path, arguments):
    arguments = [str(tmp_path / "gone") if argument == "GONE" else argument for argument in arguments]
    code, _, err = run(*arguments)
    assert code == 2
    assert mentions(one_line(err), tmp_path / "gone")


@pytest.mark.parametrize("command", ["convert", "inspect", "diff", "formats"])
def test_help_has_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"clip-zoo {command}" in out.replace("Usage: clip-zoo", "")


def test_the_installed_command_runs(source):
    command = Path(sys.executable).with_name("clip-zoo")
    done = subprocess.run([command, "inspect", source, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["class_name"] == "CLIPModel"
