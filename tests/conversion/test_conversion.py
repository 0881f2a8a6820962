"""Converting: every format to every format, every class, shards and dtypes, bit for bit."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

from clip_core.modeling.parameters import MODEL_CLASSES
from converters import writing
from converters.checkpoint import CheckpointError, open_checkpoint
from converters.conversion import convert
from converters.formats import target_names
from support.checkpoints import (
    ALL_FORMATS,
    OPENAI_STEPS,
    content,
    openai_config,
    pairs,
    save_as,
    save_checkpoint,
    with_values,
)
from support.configs import tiny_config
from support.entries import assert_same
from support.messages import naming


def test_an_existing_target_is_replaced_only_when_asked(tmp_path):
    save_checkpoint(tmp_path / "source", tiny_config())
    save_checkpoint(tmp_path / "target", tiny_config(projection_dim=8), max_shard_size="50KB")
    before = content(tmp_path / "target")
    with pytest.raises(FileExistsError, match=naming(tmp_path / "target", "config.json", "--overwrite")):
        convert(tmp_path / "source", tmp_path / "target", "safetensors")
    assert content(tmp_path / "target") == before
    convert(tmp_path / "source", tmp_path / "target", "safetensors", overwrite=True)
    assert sorted(content(tmp_path / "target")) == ["config.json", "model.safetensors"]
    assert open_checkpoint(tmp_path / "target").shape("text_projection.weight") == (24, 40)


def test_a_second_format_beside_the_first_is_noted(tmp_path):
    arrays = save_checkpoint(tmp_path / "source", tiny_config())
    convert(tmp_path / "source", tmp_path / "target", "flax")
    result = convert(tmp_path / "source", tmp_path / "target", "tf")
    assert any("also contains flax_model.msgpack" in note for note in result.notes)
    assert_same(open_checkpoint(tmp_path / "target", format="tf"), arrays)
    assert_same(open_checkpoint(tmp_path / "target", format="flax"), arrays)


@pytest.mark.parametrize("by_file", [True, False])
def test_a_second_format_can_be_put_beside_its_own_source(tmp_path, by_file):
    """The files beside the weights belong to them already, and are not changed."""
    arrays = save_checkpoint(tmp_path, tiny_config(), steps=OPENAI_STEPS)
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_text((tmp_path / name).read_text() + "\n")
    before = content(tmp_path)
    convert(tmp_path / "model.safetensors" if by_file else tmp_path, tmp_path, "flax")
    assert content(tmp_path).keys() - before.keys() == {"flax_model.msgpack"}
    assert {name: content(tmp_path)[name] for name in before} == before
    assert_same(open_checkpoint(tmp_path, format="flax"), arrays)


def test_a_folder_can_be_converted_onto_itself(tmp_path):
    arrays = save_checkpoint(tmp_path, tiny_config(), max_shard_size="50KB")
    convert(tmp_path, tmp_path, "safetensors", dtype="float16", overwrite=True)
    assert_same(open_checkpoint(tmp_path), {name: array.astype(np.float16) for name, array in arrays.items()})


@pytest.mark.parametrize("target", ["file", "file/below"])
def test_a_target_that_cannot_be_a_folder_is_refused_by_name(tmp_path, target):
    save_checkpoint(tmp_path / "source", tiny_config())
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OSError, match=naming(tmp_path / "file")):
        convert(tmp_path / "source", tmp_path / target, "flax")
    assert (tmp_path / "file").read_text() == "a file"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "source"]


@pytest.mark.parametrize("exists", [True, False])
def test_a_full_disk_is_seen_before_anything_is_written(tmp_path, monkeypatch, exists):
    save_checkpoint(tmp_path / "source", tiny_config())
    if exists:
        shutil.copytree(tmp_path / "source", tmp_path / "target")
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**7 + 1000))
    before = content(tmp_path)
    with pytest.raises(OSError, match=naming(tmp_path / "target", "10.0 MB")):
        convert(tmp_path / "source", tmp_path / "target", "flax", overwrite=True)
    assert content(tmp_path) == before
    assert (tmp_path / "target").exists() == exists


@pytest.mark.parametrize("exists", [True, False])
def test_a_failure_in_the_middle_leaves_the_target_as_it_was(tmp_path, exists):
    """The last weight overflows when its turn comes, after the others are written."""
    save_checkpoint(tmp_path / "source", tiny_config())
    with_values(tmp_path / "source", visual_projection__weight=np.full((24, 36), 7e4, np.float32))
    if exists:
        save_checkpoint(tmp_path / "target", tiny_config(projection_dim=8), max_shard_size="50KB")
    before = content(tmp_path)
    options = {"dtype": "float16", "max_shard_size": "20KB", "overwrite": True}
    with pytest.raises(CheckpointError):
        convert(tmp_path / "source", tmp_path / "target", "safetensors", **options)
    assert content(tmp_path) == before
    assert (tmp_path / "target").exists() == exists


SLOW = """
import sys, time
from converters import writing
from converters.conversion import convert

def slow(tensor, bar, usual=writing._watched, seen=[]):
    seen.append(tensor)
    if len(seen) == 40:
        print("in the middle", flush=True)
        time.sleep(60)
    return usual(tensor, bar)

writing._watched = slow
convert(*sys.argv[1:], max_shard_size="20KB", overwrite=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a process that can be killed outright")
@pytest.mark.parametrize("exists", [True, False])
def test_a_process_that_is_killed_in_the_middle_leaves_the_target_as_it_was(tmp_path, exists):
    save_checkpoint(tmp_path / "source", tiny_config())
    if exists:
        save_checkpoint(tmp_path / "target", tiny_config(projection_dim=8), max_shard_size="50KB")
    before = content(tmp_path / "target")
    command = [sys.executable, "-c", SLOW, str(tmp_path / "source"), str(tmp_path / "target"), "safetensors"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in the middle\n"
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    left = {name: text for name, text in content(tmp_path / "target").items() if not name.startswith(".")}
    assert left == before
    assert (tmp_path / "target").exists() == exists
    convert(tmp_path / "source", tmp_path / "target", "safetensors", overwrite=True)  # and what is left over is no bar
    assert open_checkpoint(tmp_path / "target").shape("text_projection.weight") == (24, 40)


def test_a_new_target_has_the_usual_permissions(tmp_path):
    save_checkpoint(tmp_path / "source", tiny_config())
    convert(tmp_path / "source", tmp_path / "target", "flax")
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "target").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize(("first", "second"), pairs(ALL_FORMATS))
def test_any_format_to_any_other_keeps_every_bit(tmp_path, first, second):
    arrays = save_as(tmp_path, first, openai_config(), steps=OPENAI_STEPS)
    result = convert(tmp_path / first, tmp_path / "target", second)
    assert result.source_format == first
    assert (result.tensors, result.bytes) == (len(arrays), sum(array.nbytes for array in arrays.values()))
    checkpoint = open_checkpoint(tmp_path / "target")
    assert checkpoint.format.name == second
    assert_same(checkpoint, arrays)


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
@pytest.mark.parametrize("to", ["torch", "tf", "flax"])
def test_every_class_can_be_converted(tmp_path, class_name, to):
    arrays = save_checkpoint(tmp_path / "source", tiny_config(num_labels=3), class_name)
    convert(tmp_path / "source", tmp_path / to, to)
    result = convert(tmp_path / to, tmp_path / "back", "safetensors")
    assert result.class_name == class_name
    assert_same(open_checkpoint(tmp_path / "back"), arrays)
    written = json.loads((tmp_path / "back" / "config.json").read_text())
    assert written == json.loads((tmp_path / to / "config.json").read_text())
    assert written["architectures"] == [class_name]


@pytest.mark.parametrize("to", ["safetensors", "torch", "tf", "flax"])
def test_shards_are_written_and_read(tmp_path, to):
    arrays = save_checkpoint(tmp_path / "source", tiny_config(), max_shard_size="50KB")
    result = convert(tmp_path / "source", tmp_path / to, to, max_shard_size="40KB")
    assert len([name for name in result.files if "-of-" in name]) > 2
    assert sorted(result.files) == sorted(path.name for path in (tmp_path / to).iterdir())
    assert_same(open_checkpoint(tmp_path / to), arrays)
    convert(tmp_path / to, tmp_path / "whole", "safetensors")
    assert_same(open_checkpoint(tmp_path / "whole"), arrays)


@pytest.mark.parametrize("to", ["openai", "open_clip"])
def test_shards_that_the_formats_library_cannot_read_are_not_written(tmp_path, to):
    save_checkpoint(tmp_path / "source", openai_config())
    with pytest.raises(ValueError, match=naming("max_shard_size", to)):
        convert(tmp_path / "source", tmp_path / "target", to, max_shard_size="40KB")
    convert(tmp_path / "source", tmp_path / "target", to)
    assert len(open_checkpoint(tmp_path / "target").files) == 1


@pytest.mark.parametrize("to", target_names())
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_dtype_of_weights_can_be_changed(tmp_path, to, dtype):
    arrays = save_checkpoint(tmp_path / "source", openai_config(), steps=OPENAI_STEPS)
    if (to, dtype) == ("tf", "bfloat16"):
        with pytest.raises(ValueError, match=naming("bfloat16", "'tf'", "float32")):
            convert(tmp_path / "source", tmp_path / "target", to, dtype=dtype)
        assert not (tmp_path / "target").exists()
        return
    convert(tmp_path / "source", tmp_path / "target", to, dtype=dtype)
    wanted = np.dtype(getattr(ml_dtypes, dtype, dtype))
    assert_same(open_checkpoint(tmp_path / "target"), {name: array.astype(wanted) for name, array in arrays.items()})
    if (tmp_path / "target" / "config.json").exists():
        assert json.loads((tmp_path / "target" / "config.json").read_text())["dtype"] == dtype


def test_without_a_dtype_each_weight_keeps_its_own(tmp_path):
    arrays = save_checkpoint(tmp_path / "source", tiny_config(), dtype=ml_dtypes.bfloat16)
    convert(tmp_path / "source", tmp_path / "target", "flax")
    assert_same(open_checkpoint(tmp_path / "target"), arrays)


def test_a_value_that_a_dtype_cannot_hold_is_refused_by_name_and_nothing_is_written(tmp_path):
    save_checkpoint(tmp_path / "source", tiny_config())
    with_values(tmp_path / "source", visual_projection__weight=np.full((24, 36), -7e4, np.float32))
    with pytest.raises(CheckpointError, match=naming("visual_projection.weight", "7e+04", "float16")):
        convert(tmp_path / "source", tmp_path / "target", "torch", dtype="float16")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]
    convert(tmp_path / "source", tmp_path / "target", "torch", dtype="bfloat16")


def test_infinity_in_the_source_is_not_an_overflow(tmp_path):
    save_checkpoint(tmp_path / "source", tiny_config())
    with_values(tmp_path / "source", logit_scale=np.array(np.inf, np.float32))
    convert(tmp_path / "source", tmp_path / "target", "torch", dtype="float16")
    assert open_checkpoint(tmp_path / "target")["logit_scale"] == np.inf


@pytest.mark.parametrize(("option", "value"), [("to", "onnx"), ("dtype", "int8"), ("max_shard_size", "many")])
def test_an_unknown_option_is_refused_before_anything_is_read(tmp_path, option, value):
    save_checkpoint(tmp_path / "source", tiny_config())
    with pytest.raises(ValueError, match=naming(f"{option}='{value}'")):
        convert(tmp_path / "source", tmp_path / "target", **{"to": "flax", option: value})
    assert not (tmp_path / "target").exists()


def test_a_source_in_a_subfolder_and_one_that_is_a_file(tmp_path):
    arrays = save_checkpoint(tmp_path / "model" / "text_encoder", tiny_config(), "CLIPTextModel")
    convert(tmp_path / "model", tmp_path / "one", "flax", subfolder="text_encoder")
    convert(tmp_path / "model" / "text_encoder" / "model.safetensors", tmp_path / "two", "flax")
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert_same(open_checkpoint(tmp_path / "two"), arrays)


def test_of_two_formats_in_a_folder_the_result_says_which_was_taken(tmp_path):
    save_checkpoint(tmp_path / "one", tiny_config())
    save_checkpoint(tmp_path / "two", tiny_config())
    with_values(tmp_path / "two", logit_scale=np.array(4.0, np.float32))
    convert(tmp_path / "two", tmp_path / "one", "tf", overwrite=True)
    result = convert(tmp_path / "one", tmp_path / "target", "flax")
    assert result.source_format == "safetensors"
    assert open_checkpoint(tmp_path / "target")["logit_scale"] != 4


def test_weights_with_the_names_of_another_format_are_reported(tmp_path):
    """transformers' TensorFlow classes write safetensors too, with their own names."""
    from converters.naming.names import to_file
    from converters.naming.rules import TENSORFLOW
    from support.entries import random_entries

    save_checkpoint(tmp_path, tiny_config())
    arrays = {name: e.load() for name, e in to_file(random_entries(tiny_config()), TENSORFLOW).items()}
    from safetensors.numpy import save_file

    save_file(arrays, tmp_path / "model.safetensors")
    result = convert(tmp_path, tmp_path / "target", "safetensors")
    assert result.source_format == "safetensors with TensorFlow's names"


def test_no_framework_is_needed_nor_loaded(tmp_path):
    save_checkpoint(tmp_path / "source", openai_config(), steps=OPENAI_STEPS)
    program = (
        "import sys; from converters.conversion import convert; from converters.formats import target_names\n"
        f"for to in target_names(): convert({str(tmp_path / 'source')!r}, f'{tmp_path}/{{to}}', to)\n"
        f"for to in target_names(): convert(f'{tmp_path}/{{to}}', f'{tmp_path}/{{to}}-back', 'safetensors')\n"
        "print({'torch', 'tensorflow', 'keras', 'jax', 'flax', 'transformers'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
