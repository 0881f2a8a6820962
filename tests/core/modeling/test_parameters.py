"""The canonical table: names and shapes from a configuration alone."""

from __future__ import annotations

import pytest

from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from clip_core.modeling.parameters import MODEL_CLASSES, number_of_parameters, parameter_table
from support.configs import TEXT, VISION, tiny_config
from support.messages import naming

# As published with the checkpoints.
B32 = CLIPConfig()
L14 = CLIPConfig(
    {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12},
    {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
    },
    projection_dim=768,
)
H14 = CLIPConfig(
    {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
    {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "patch_size": 14,
    },
    projection_dim=1024,
)


@pytest.mark.parametrize(("config", "count"), [(B32, 151_277_313), (L14, 427_616_513), (H14, 986_109_441)])
def test_known_sizes(config, count):
    assert number_of_parameters(config, "CLIPModel") == count


def test_every_name_and_shape_of_a_one_layer_text_tower():
    config = CLIPTextConfig(**{**TEXT, "num_hidden_layers": 1})
    layer = "text_model.encoder.layers.0."
    assert list(parameter_table(config, "CLIPTextModelWithProjection").items()) == [
        ("text_model.embeddings.token_embedding.weight", (99, 40)),
        ("text_model.embeddings.position_embedding.weight", (19, 40)),
        (f"{layer}self_attn.k_proj.weight", (40, 40)),
        (f"{layer}self_attn.k_proj.bias", (40,)),
        (f"{layer}self_attn.v_proj.weight", (40, 40)),
        (f"{layer}self_attn.v_proj.bias", (40,)),
        (f"{layer}self_attn.q_proj.weight", (40, 40)),
        (f"{layer}self_attn.q_proj.bias", (40,)),
        (f"{layer}self_attn.out_proj.weight", (40, 40)),
        (f"{layer}self_attn.out_proj.bias", (40,)),
        (f"{layer}layer_norm1.weight", (40,)),
        (f"{layer}layer_norm1.bias", (40,)),
        (f"{layer}mlp.fc1.weight", (52, 40)),
        (f"{layer}mlp.fc1.bias", (52,)),
        (f"{layer}mlp.fc2.weight", (40, 52)),
        (f"{layer}mlp.fc2.bias", (40,)),
        (f"{layer}layer_norm2.weight", (40,)),
        (f"{layer}layer_norm2.bias", (40,)),
        ("text_model.final_layer_norm.weight", (40,)),
        ("text_model.final_layer_norm.bias", (40,)),
        ("text_projection.weight", (24, 40)),
    ]


def test_vision_tower_around_its_layers():
    table = parameter_table(CLIPVisionConfig(**VISION), "CLIPVisionModelWithProjection")
    assert [(name, shape) for name, shape in table.items() if ".layers." not in name] == [
        ("vision_model.embeddings.class_embedding", (36,)),
        ("vision_model.embeddings.patch_embedding.weight", (36, 2, 6, 6)),
        ("vision_model.embeddings.position_embedding.weight", (26, 36)),
        ("vision_model.pre_layrnorm.weight", (36,)),
        ("vision_model.pre_layrnorm.bias", (36,)),
        ("vision_model.post_layernorm.weight", (36,)),
        ("vision_model.post_layernorm.bias", (36,)),
        ("visual_projection.weight", (24, 36)),
    ]


def test_the_whole_takes_the_projection_of_the_top_level():
    table = parameter_table(tiny_config(projection_dim=31), "CLIPModel")
    assert table["text_projection.weight"] == (31, 40)
    assert table["visual_projection.weight"] == (31, 36)
    assert table["logit_scale"] == ()


def test_towers_alone_have_no_projection():
    config = tiny_config()
    assert not [name for name in parameter_table(config.text_config, "CLIPTextModel") if "projection" in name]
    assert not [name for name in parameter_table(config.vision_config, "CLIPVisionModel") if "projection" in name]


def test_classifier():
    table = parameter_table(tiny_config(num_labels=7), "CLIPForImageClassification")
    assert table["classifier.weight"] == (7, 36)
    assert table["classifier.bias"] == (7,)
    assert all(name.startswith(("vision_model.", "classifier.")) for name in table)


def test_no_classifier_without_labels():
    table = parameter_table(tiny_config(num_labels=0), "CLIPForImageClassification")
    assert not [name for name in table if name.startswith("classifier")]


def test_pruned_heads_shrink_their_layer_alone():
    config = CLIPTextConfig(**TEXT, pruned_heads={1: [0, 3]})
    table = parameter_table(config, "CLIPTextModel")
    layer = "text_model.encoder.layers.1.self_attn."
    for projection in ("q_proj", "k_proj", "v_proj"):
        assert table[f"{layer}{projection}.weight"] == (24, 40)
        assert table[f"{layer}{projection}.bias"] == (24,)
    assert table[f"{layer}out_proj.weight"] == (40, 24)
    assert table[f"{layer}out_proj.bias"] == (40,)
    assert table["text_model.encoder.layers.0.self_attn.out_proj.weight"] == (40, 40)


def test_unknown_class():
    with pytest.raises(ValueError, match=naming("'SiglipModel'", "CLIPModel", "CLIPTextModel")):
        parameter_table(CLIPConfig(), "SiglipModel")


@pytest.mark.parametrize("class_name", MODEL_CLASSES)
def test_each_class_takes_its_own_configuration(class_name):
    config = tiny_config()
    for given in (config, config.text_config, config.vision_config):
        if isinstance(given, MODEL_CLASSES[class_name]):
            assert number_of_parameters(given, class_name) > 0
        else:
            with pytest.raises(TypeError, match=naming(class_name, MODEL_CLASSES[class_name], type(given))):
                parameter_table(given, class_name)
