"""Checkpoints as published by each family, made small: each loads with its peculiarities."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clip_core import CLIPConfig, CLIPImageProcessor
from clip_core.modeling.parameters import number_of_parameters
from support.configs import pixel_values, tiny_config, token_ids
from support.messages import naming

PARAMETERS = {  # as published, without position_ids
    "openai B/32": ({}, {}, 512, 151_277_313),
    "openai L/14": (
        {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "projection_dim": 768},
        {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "patch_size": 14,
        },
        768,
        427_616_513,
    ),
    "laion H/14": (
        {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
        {
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_attention_heads": 16,
            "patch_size": 14,
        },
        1024,
        986_109_441,
    ),
    "laion g/14": (
        {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
        {
            "hidden_size": 1408,
            "intermediate_size": 6144,
            "num_hidden_layers": 40,
            "num_attention_heads": 16,
            "patch_size": 14,
        },
        1024,
        1_366_678_273,
    ),
    "laion bigG/14": (
        {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20},
        {
            "hidden_size": 1664,
            "intermediate_size": 8192,
            "num_hidden_layers": 48,
            "num_attention_heads": 16,
            "patch_size": 14,
        },
        1280,
        2_539_567_105,
    ),
}


@pytest.mark.parametrize("family", PARAMETERS)
def test_families_have_their_published_number_of_parameters(family):
    text, vision, projection, count = PARAMETERS[family]
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=projection)
    assert number_of_parameters(config, "CLIPModel") == count


def save(backend, folder, class_name, config, changes=None):
    """Save a model, then change its config.json as a family's is; None removes a field."""
    backend.build(class_name, config).save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text())
    for path, value in (changes or {}).items():
        *parents, name = path.split(".")
        target = written
        for parent in parents:
            target = target[parent]
        target.pop(name, None)
        if value is not None:
            target[name] = value
    (folder / "config.json").write_text(json.dumps(written))
    return folder


def test_a_projection_that_stands_only_at_the_top_level(backend, tmp_path):
    """laion L/14 and H/14: the towers' parts do not state the size, and 512 would be wrong."""
    changes = {"text_config.projection_dim": None, "vision_config.projection_dim": None}
    save(backend, tmp_path, "CLIPModel", tiny_config(projection_dim=17), changes)
    text = backend.load("CLIPTextModelWithProjection", tmp_path)
    vision = backend.load("CLIPVisionModelWithProjection", tmp_path)
    assert backend.forward(text, {"input_ids": token_ids()[0]})["text_embeds"].shape == (4, 17)
    assert backend.forward(vision, {"pixel_values": pixel_values()})["image_embeds"].shape == (3, 17)


def test_a_projection_that_stands_nowhere(backend, tmp_path):
    config = tiny_config().vision_config
    save(backend, tmp_path, "CLIPVisionModelWithProjection", config, {"projection_dim": None})
    model = backend.load("CLIPVisionModelWithProjection", tmp_path)
    assert backend.forward(model, {"pixel_values": pixel_values()})["image_embeds"].shape == (3, 24)


def test_the_text_encoder_of_stable_diffusion_2_in_its_subfolder(backend, tmp_path):
    """A single text tower, truncated, whose pad token is 0 and whose eos is the legacy 2."""
    config = tiny_config({"num_hidden_layers": 2, "eos_token_id": 2, "pad_token_id": 0}).text_config
    save(backend, tmp_path / "text_encoder", "CLIPTextModel", config)
    model = backend.load("CLIPTextModel", tmp_path, subfolder="text_encoder")
    outputs = backend.forward(model, {"input_ids": np.array([[96, 5, 98, 0, 0]])}, output_hidden_states=True)
    assert np.array_equal(outputs["pooler_output"][0], outputs["last_hidden_state"][0, 2])
    assert "hidden_states.2" in outputs


def test_the_image_encoder_of_ip_adapter(backend, tmp_path):
    config = tiny_config({}, {"hidden_size": 80, "num_attention_heads": 1}).vision_config
    save(backend, tmp_path / "models" / "image_encoder", "CLIPVisionModelWithProjection", config)
    model = backend.load("CLIPVisionModelWithProjection", tmp_path, subfolder="models/image_encoder")
    assert backend.forward(model, {"pixel_values": pixel_values()})["image_embeds"].shape == (3, 24)


def test_a_sentence_transformers_folder(backend, tmp_path):
    save(backend, tmp_path / "0_CLIPModel", "CLIPModel", tiny_config())
    (tmp_path / "modules.json").write_text("[]")
    backend.load("CLIPModel", tmp_path, subfolder="0_CLIPModel")
    with pytest.raises(FileNotFoundError, match=naming(tmp_path, "config.json", "0_CLIPModel/config.json")):
        backend.load("CLIPModel", tmp_path)


def test_long_texts_and_large_pictures(backend, tmp_path):
    """XrayCLIP: 256 positions and 512 pixels."""
    config = tiny_config({"max_position_embeddings": 256}, {"image_size": 512, "patch_size": 64})
    model = backend.load("CLIPModel", save(backend, tmp_path, "CLIPModel", config))
    inputs = {"input_ids": np.full((1, 256), 97), "pixel_values": pixel_values(1, 512)}
    assert backend.forward(model, inputs)["logits_per_image"].shape == (1, 1)


def test_nearly_empty_parts_mean_the_references_defaults():
    """fashion-clip: fields missing from config.json are those of ViT-B/32."""
    config = CLIPConfig.from_dict({"model_type": "clip", "text_config": {}, "vision_config": {"dropout": 0.0}})
    assert number_of_parameters(config, "CLIPModel") == 151_277_313
    assert config.text_config.hidden_act == config.vision_config.hidden_act == "quick_gelu"


def test_squash_resize_has_no_crop(tmp_path):
    """DFN5B-H-378: both sides are resized, whatever the image's shape."""
    settings = {"size": {"height": 30, "width": 30}, "do_center_crop": False, "crop_size": 30}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    picture = np.zeros((20, 90, 3), np.uint8)
    picture[:, 60:] = 255
    pixels = CLIPImageProcessor.from_pretrained(tmp_path)(picture, return_tensors="np")["pixel_values"]
    assert pixels.shape == (1, 3, 30, 30)
    assert pixels[0, 0, :, :18].max() < 0 < pixels[0, 0, :, 22:].min()
