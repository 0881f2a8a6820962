"""Every output of every class equals the reference's, on configurations that differ from every default."""

from __future__ import annotations

import numpy as np
import pytest

from support.configs import CLASSES, TEXT, VISION, inputs_for, pixel_values, tiny_config, token_ids
from support.entries import part_of
from support.parity import assert_outputs
from support.tolerances import HIDDEN_STATES

EVERYTHING = {"output_attentions": True, "output_hidden_states": True}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, oracle):
    """A checkpoint of each class, saved by the reference with random weights."""
    folders = {}
    for class_name in CLASSES:
        folder = tmp_path_factory.mktemp(class_name)
        part_of(tiny_config(num_labels=7), class_name).save_pretrained(folder)
        oracle("save_reference", folder=str(folder), model_class=class_name)
        folders[class_name] = str(folder)
    return folders


@pytest.mark.parametrize("mask", [True, False], ids=["padded", "unpadded"])
@pytest.mark.parametrize("class_name", CLASSES)
def test_outputs_states_and_attentions_equal_the_references(backend, oracle, checkpoints, class_name, mask):
    folder, inputs = checkpoints[class_name], inputs_for(class_name)
    if not mask:
        inputs.pop("attention_mask", None)
    model = backend.load(class_name, folder, attn_implementation="eager")
    ours = backend.forward(model, inputs, **EVERYTHING)
    reference = oracle("torch_forward", folder=folder, model_class=class_name, inputs=inputs, options=EVERYTHING)
    assert_outputs(ours, reference, class_name=class_name)


@pytest.mark.parametrize("class_name", CLASSES)
def test_gradients_equal_the_references(backend, oracle, checkpoints, class_name):
    folder, inputs = checkpoints[class_name], inputs_for(class_name)
    options = {"return_loss": True} if class_name == "CLIPModel" else {}
    ours = backend.gradients(backend.load(class_name, folder), inputs, **options)
    arguments = {"folder": folder, "model_class": class_name, "inputs": inputs, "options": options}
    reference = oracle("torch_forward", **arguments, gradients=True)
    assert sum(name.startswith("gradient.") for name in reference) > 20
    assert_outputs(ours, reference)


@pytest.mark.parametrize("padding", ["left", "hole", "all", "none"])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_masks_of_any_shape_equal_the_references(backend, oracle, checkpoints, padding, implementation):
    ids, mask = token_ids()
    mask[:] = 1
    if padding == "left":
        mask[0, :4] = 0
    elif padding == "hole":
        mask[1, 2:5] = 0
    elif padding == "all":
        mask[2] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    folder = checkpoints["CLIPTextModel"]
    ours = backend.forward(
        backend.load("CLIPTextModel", folder, attn_implementation=implementation), inputs, output_hidden_states=True
    )
    arguments = {"folder": folder, "model_class": "CLIPTextModel", "inputs": inputs}
    reference = oracle("torch_forward", **arguments, options={"output_hidden_states": True}, attn_implementation="sdpa")
    assert all(np.isfinite(array).all() for array in ours.values())
    assert_outputs(ours, reference)


ODD = {
    "activations": ({"hidden_act": "silu"}, {"hidden_act": "relu"}),
    "tanh gelu": ({"hidden_act": "gelu_pytorch_tanh"}, {"hidden_act": "gelu"}),
    "quick_gelu and a legacy eos": ({"hidden_act": "quick_gelu", "eos_token_id": 2}, {"hidden_act": "quick_gelu"}),
    "wide heads": ({"hidden_size": 104, "num_attention_heads": 1}, {"hidden_size": 88, "num_attention_heads": 1}),
    "one layer": ({"num_hidden_layers": 1}, {"num_hidden_layers": 1, "num_channels": 1, "patch_size": 15}),
    "narrow MLP": ({"intermediate_size": 3}, {"intermediate_size": 5, "layer_norm_eps": 0.1}),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_configurations_equal_the_reference(backend, oracle, tmp_path, case):
    text, vision = ODD[case]
    config = tiny_config(text, vision, projection_dim=17)
    config.save_pretrained(tmp_path)
    oracle("save_reference", folder=str(tmp_path), model_class="CLIPModel", seed=3)
    inputs = inputs_for("CLIPModel", channels=config.vision_config.num_channels)
    options = {"return_loss": True, "output_hidden_states": True}
    ours = backend.forward(backend.load("CLIPModel", tmp_path), inputs, **options)
    reference = oracle("torch_forward", folder=str(tmp_path), model_class="CLIPModel", inputs=inputs, options=options)
    assert_outputs(ours, reference, class_name="CLIPModel")


@pytest.mark.parametrize("size", [24, 30, 48])
def test_interpolated_positions_equal_the_references(backend, oracle, checkpoints, size):
    folder, inputs = checkpoints["CLIPVisionModel"], inputs_for("CLIPVisionModel", size=size)
    options = {"interpolate_pos_encoding": True}
    ours = backend.forward(backend.load("CLIPVisionModel", folder), inputs, **options)
    arguments = {"folder": folder, "model_class": "CLIPVisionModel", "inputs": inputs, "options": options}
    assert_outputs(ours, oracle("torch_forward", **arguments))


def test_pictures_that_are_not_square_equal_the_references(backend, oracle, checkpoints):
    folder = checkpoints["CLIPVisionModel"]
    inputs = {"pixel_values": pixel_values(size=48)[:, :, :31, :]}
    options = {"interpolate_pos_encoding": True}
    ours = backend.forward(backend.load("CLIPVisionModel", folder), inputs, **options)
    arguments = {"folder": folder, "model_class": "CLIPVisionModel", "inputs": inputs, "options": options}
    assert_outputs(ours, oracle("torch_forward", **arguments))


def test_position_ids_are_used_as_the_reference_uses_them(backend, oracle, checkpoints):
    inputs = inputs_for("CLIPTextModel")
    inputs["position_ids"] = np.arange(11)[None, ::-1].copy()
    folder = checkpoints["CLIPTextModel"]
    ours = backend.forward(backend.load("CLIPTextModel", folder), inputs)
    arguments = {"folder": folder, "model_class": "CLIPTextModel", "inputs": inputs, "options": {}}
    assert_outputs(ours, oracle("torch_forward", **arguments))


@pytest.mark.parametrize("tower", ["text", "image"])
def test_features_equal_the_references(backend, oracle, checkpoints, tower):
    folder, method = checkpoints["CLIPModel"], f"get_{tower}_features"
    inputs = inputs_for("CLIPTextModel" if tower == "text" else "CLIPVisionModel")
    ours = backend.call(getattr(backend.load("CLIPModel", folder), method), inputs)
    reference = oracle("torch_features", folder=folder, method=method, inputs=inputs)
    assert np.abs(ours - reference).max() / np.abs(reference).max() < HIDDEN_STATES


LABELS = {
    "single_label_classification": (7, np.array([0, 6, 2, 2])),
    "multi_label_classification": (7, np.eye(7, dtype=np.float32)[[1, 2, 3, 4]]),
    "regression": (1, np.array([0.5, -1.0, 2.0, 0.0], np.float32)),
}


@pytest.mark.parametrize("named", [True, False], ids=["named problem", "problem told from the labels"])
@pytest.mark.parametrize("problem", LABELS)
def test_classification_losses_equal_the_references(backend, oracle, tmp_path, problem, named):
    num_labels, labels = LABELS[problem]
    tiny_config(num_labels=num_labels, problem_type=problem if named else None).save_pretrained(tmp_path)
    oracle("save_reference", folder=str(tmp_path), model_class="CLIPForImageClassification")
    inputs = inputs_for("CLIPForImageClassification") | {"labels": labels}
    ours = backend.forward(backend.load("CLIPForImageClassification", tmp_path), inputs)
    arguments = {"folder": str(tmp_path), "model_class": "CLIPForImageClassification", "inputs": inputs, "options": {}}
    reference = oracle("torch_forward", **arguments)
    assert "loss" in reference
    assert_outputs(ours, reference)


@pytest.mark.parametrize("class_name", CLASSES)
def test_what_we_save_loads_in_the_reference_with_nothing_missing(backend, oracle, tmp_path, class_name):
    model = backend.build(class_name, part_of(tiny_config(num_labels=7), class_name))
    model.save_pretrained(tmp_path)
    info = oracle("loads_without_remark", folder=str(tmp_path), model_class=class_name)
    assert info == {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": [], "error_msgs": []}
    inputs = inputs_for(class_name)
    reference = oracle("torch_forward", folder=str(tmp_path), model_class=class_name, inputs=inputs, options={})
    assert_outputs(backend.forward(model, inputs), reference)


FULL_SIZE = {
    "ViT-B/32": ({}, {}, 512),
    "ViT-L/14": (
        {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "hidden_act": "gelu"},
        {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "patch_size": 14,
            "hidden_act": "gelu",
        },
        768,
    ),
}


@pytest.fixture(scope="module", params=FULL_SIZE)
def full_size(request, oracle, tmp_path_factory):
    """A checkpoint of full size, inputs, options, and what the reference makes of them."""
    import torch

    from clip_core import CLIPConfig
    from clip_torch import CLIPModel

    text, vision, width = FULL_SIZE[request.param]
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=width)
    folder = tmp_path_factory.mktemp("full_size")
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(folder)
    random = np.random.default_rng(5)
    ids = random.integers(0, 49406, (2, 77))
    ids[:, 0], ids[0, 9:], ids[1, 76] = 49406, 49407, 49407
    inputs = {
        "input_ids": ids,
        "attention_mask": np.stack([np.arange(77) < 10, np.ones(77)]).astype(np.int64),
        "pixel_values": pixel_values(2, 224, 3),
    }
    options = {"output_hidden_states": True}
    arguments = {"folder": str(folder), "model_class": "CLIPModel", "inputs": inputs, "options": options}
    yield folder, inputs, options, oracle("torch_forward", **arguments, attn_implementation="sdpa")
    for path in folder.iterdir():  # pytest keeps the folders of three runs, and these are large
        path.unlink()


def test_full_size_models_equal_the_reference(backend, full_size):
    folder, inputs, options, reference = full_size
    ours = backend.forward(backend.load("CLIPModel", folder), inputs, **options)
    assert_outputs(ours, reference, class_name="CLIPModel")


def test_the_tiny_configuration_differs_from_every_default():
    from clip_core import CLIPTextConfig, CLIPVisionConfig

    for fields, config in ((TEXT, CLIPTextConfig()), (VISION, CLIPVisionConfig())):
        assert all(getattr(config, name) != value for name, value in fields.items())
