"""transformers' TensorFlow and Flax classes, live: ours give the same outputs, from files of either side."""

from __future__ import annotations

import inspect

import pytest

from support.backends import FLAX, TENSORFLOW, TORCH
from support.configs import inputs_for, tiny_config
from support.entries import part_of
from support.parity import NATIVE_CASES, assert_outputs

BY_LIBRARY = {"TF": TENSORFLOW, "Flax": FLAX}

# Its Flax classes assume images of three channels unless the input shape says otherwise.
CONFIG = tiny_config({}, {"num_channels": 3})


@pytest.mark.parametrize(("library", "class_name"), NATIVE_CASES)
def test_its_classes_give_our_outputs_on_our_files(oracle, tmp_path, library, class_name):
    backend, inputs = BY_LIBRARY[library], inputs_for(class_name, channels=3)
    model = backend.build(class_name, part_of(CONFIG, class_name))
    model.save_pretrained(tmp_path, safe_serialization=False)
    options = {"output_hidden_states": True, "output_attentions": True}
    arguments = {"folder": str(tmp_path), "library": library, "class_name": class_name, "inputs": inputs}
    theirs = oracle("oracle_native.forward_native", **arguments, **options)
    model = backend.load(class_name, tmp_path, attn_implementation="eager")
    assert_outputs(backend.forward(model, inputs, **options), theirs, class_name=class_name)


@pytest.mark.parametrize(("library", "class_name"), NATIVE_CASES)
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "native"])
def test_we_give_its_outputs_on_its_files(oracle, tmp_path, library, class_name, safe):
    backend, inputs = BY_LIBRARY[library], inputs_for(class_name, channels=3)
    TORCH.build(class_name, part_of(CONFIG, class_name)).save_pretrained(tmp_path / "torch", safe_serialization=False)
    folders = {"source": str(tmp_path / "torch"), "folder": str(tmp_path / "native")}
    names = {"library": library, "class_name": class_name}
    oracle("oracle_native.save_native", **folders, **names, safe_serialization=safe)
    theirs = oracle("oracle_native.forward_native", folder=folders["folder"], **names, inputs=inputs)
    assert_outputs(backend.forward(backend.load(class_name, folders["folder"]), inputs), theirs, class_name=class_name)


@pytest.mark.parametrize(("library", "class_name"), NATIVE_CASES)
def test_the_arguments_of_a_call_are_its_own_in_its_order_with_its_defaults(oracle, library, class_name):
    theirs = oracle("oracle_native.call_signature", library=library, class_name=class_name)
    model = BY_LIBRARY[library].build(class_name, part_of(CONFIG, class_name))
    ours = inspect.signature(model.call if library == "TF" else model.__call__).parameters
    ours = [(name, None if p.default is p.empty else repr(p.default)) for name, p in ours.items()]
    given = {name for name, _ in theirs}
    assert [(name, default) for name, default in ours if name in given] == [
        # An argument without a default there may have one here, with our own error for the missing value.
        (name, default or dict(ours)[name])
        for name, default in theirs
    ]
