"""transformers' TensorFlow and Flax classes, live: ours give the same outputs, from files of either side."""

from __future__ import annotations

import numpy as np
import pytest

from support.backends import BACKENDS
from support.configs import pixel_values, tiny_config, token_ids
from support.tolerances import EMBEDDINGS, HIDDEN_STATES

CLASSES = {
    "tf": ("CLIPModel", "CLIPTextModel", "CLIPVisionModel"),
    "flax": ("CLIPModel", "CLIPTextModel", "CLIPTextModelWithProjection", "CLIPVisionModel"),
}
PREFIX = {"tf": "TF", "flax": "Flax"}
BY_NAME = {backend.name: backend for backend in BACKENDS}
CASES = [pytest.param(name, cls, id=PREFIX[name] + cls) for name in CLASSES for cls in CLASSES[name]]
UNIT_NORM = ("text_embeds", "image_embeds")


def inputs_for(class_name):
    ids, mask = token_ids()
    text, pixels = {"input_ids": ids, "attention_mask": mask}, {"pixel_values": pixel_values(4, channels=3)}
    return text | pixels if class_name == "CLIPModel" else text if "Text" in class_name else pixels


def config_for(class_name):
    # Its Flax classes assume images of three channels unless the input shape says otherwise.
    config = tiny_config({}, {"num_channels": 3})
    return config.text_config if "Text" in class_name else config.vision_config if "Vision" in class_name else config


def assert_same(ours, theirs, class_name):
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        difference = np.abs(ours[name] - array).max()
        if name in UNIT_NORM and class_name == "CLIPModel":
            assert difference <= EMBEDDINGS, name
        assert difference <= HIDDEN_STATES * np.abs(array).max(), name


@pytest.mark.parametrize(("library", "class_name"), CASES)
def test_its_classes_give_our_outputs_on_our_files(oracle, tmp_path, library, class_name):
    backend, inputs = BY_NAME[library], inputs_for(class_name)
    model = backend.build(class_name, config_for(class_name))
    model.save_pretrained(tmp_path, safe_serialization=False)
    options = {"output_hidden_states": True, "output_attentions": True}
    arguments = {"folder": str(tmp_path), "library": PREFIX[library], "class_name": class_name, "inputs": inputs}
    theirs = oracle("oracle_native.forward_native", **arguments, **options)
    model = backend.load(class_name, tmp_path, attn_implementation="eager")
    assert_same(backend.forward(model, inputs, **options), theirs, class_name)


@pytest.mark.parametrize(("library", "class_name"), CASES)
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "native"])
def test_we_give_its_outputs_on_its_files(oracle, tmp_path, library, class_name, safe):
    backend, inputs = BY_NAME[library], inputs_for(class_name)
    BY_NAME["torch"].build(class_name, config_for(class_name)).save_pretrained(
        tmp_path / "torch", safe_serialization=False
    )
    folders = {"source": str(tmp_path / "torch"), "folder": str(tmp_path / "native")}
    names = {"library": PREFIX[library], "class_name": class_name}
    oracle("oracle_native.save_native", **folders, **names, safe_serialization=safe)
    theirs = oracle("oracle_native.forward_native", folder=folders["folder"], **names, inputs=inputs)
    assert_same(backend.forward(backend.load(class_name, folders["folder"]), inputs), theirs, class_name)


@pytest.mark.parametrize(("library", "class_name"), CASES)
def test_the_arguments_of_a_call_are_its_own_in_its_order_with_its_defaults(oracle, library, class_name):
    theirs = oracle("oracle_native.call_signature", library=PREFIX[library], class_name=class_name)
    import inspect

    model = BY_NAME[library].build(class_name, config_for(class_name))
    ours = inspect.signature(model.call if library == "tf" else model.__call__).parameters
    ours = [(name, None if p.default is p.empty else repr(p.default)) for name, p in ours.items()]
    given = {name for name, _ in theirs}
    assert [(name, default) for name, default in ours if name in given] == [
        # An argument without a default there may have one here, with our own error for the missing value.
        (name, default or dict(ours)[name])
        for name, default in theirs
    ]
