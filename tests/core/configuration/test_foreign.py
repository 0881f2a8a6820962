"""Models other than CLIP are recognized, and their loader is named; CLIP in any layout is accepted."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from clip_core.configuration.foreign import TELLTALES, foreign_tensors
from converters.checkpoint import CheckpointError, open_checkpoint
from converters.formats import layouts
from converters.naming.names import to_file
from support.configs import tiny_config
from support.entries import random_entries
from support.messages import mentions, naming

ALL = [CLIPConfig, CLIPTextConfig, CLIPVisionConfig]

# A tensor in the family's published files, and the family's name.
FAMILIES = [
    ("visual.layer1.0.conv1.weight", "RN50 family"),
    ("visual.trunk.blocks.0.attn.qkv.weight", "timm"),  # open_clip's SigLIP and DFN
    ("visual.head.mlp.fc1.weight", "timm"),  # BiomedCLIP
    ("visual.blocks.0.attn.q_bias", "EVA-CLIP"),
    ("text_decoder.resblocks.0.attn.in_proj_weight", "CoCa or BLIP"),
    ("visual.attn_pool.query", "attention"),
    ("text.transformer.embeddings.word_embeddings.weight", "from transformers"),
    ("text.transformer.shared.weight", "from transformers"),
    ("image_encoder.model.patch_embed.0.rbr_conv.0.conv.weight", "MobileCLIP"),
    ("visual.transformer.resblocks.0.ls_1.gamma", "layer scale"),
    ("text.cls_emb", "class token"),
    ("vision_model.head.attention.in_proj_weight", "SigLIP"),
    ("logit_bias", "SigLIP"),
    ("text_model.encoder.layer.0.attention.self.query.weight", "Chinese CLIP"),
    ("text_model.roberta.embeddings.word_embeddings.weight", "AltCLIP"),
    ("qformer.encoder.layer.0.attention.attention.key.weight", "BLIP-2"),
    ("vision_model.encoder.layers.0.self_attn.qkv.weight", "BLIP"),
]


@pytest.mark.parametrize(("name", "family"), FAMILIES)
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_family_is_named_with_its_telltale_and_what_loads_it(name, family, prefix):
    family_and_loader = foreign_tensors(["logit_scale", prefix + name])
    assert family in family_and_loader
    assert mentions(family_and_loader, f"{prefix}{name}", "load")


def test_every_telltale_is_tried():
    used = [telltale for name, _ in FAMILIES for telltale, *_ in TELLTALES if f".{telltale}" in f".{name}"]
    assert set(used) == {telltale for telltale, *_ in TELLTALES}


@pytest.mark.parametrize("layout", layouts(), ids=lambda layout: layout.name)
def test_clip_in_any_layout_is_no_foreigner(layout):
    names = to_file(random_entries(tiny_config()), layout)
    assert foreign_tensors(names) is None
    assert foreign_tensors([f"text.{name}" for name in names]) is None  # open_clip's CustomTextCLIP


def test_a_telltale_stands_at_the_start_of_a_segment_only():
    assert foreign_tensors(["text_model.my_logit_bias"]) is None


def test_opening_such_a_file_says_it_in_one_line(tmp_path):
    save_file({"visual.layer1.0.conv1.weight": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=naming(tmp_path, "ResNet", "visual.layer1.0.conv1.weight")) as caught:
        open_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


class TestForeignModels:
    @pytest.mark.parametrize(
        ("content", "named"),
        [
            ({"model_type": "siglip", "text_config": {"model_type": "siglip_text_model"}}, ["SigLIP", "SiglipModel"]),
            ({"model_type": "siglip", "vision_config": {}}, ["SigLIP"]),
            ({"model_type": "siglip2", "vision_config": {}}, ["SigLIP 2"]),
            ({"model_type": "metaclip_2", "text_config": {}}, ["MetaCLIP 2", "MetaClip2Model"]),
            ({"model_type": "chinese_clip", "text_config": {}}, ["Chinese CLIP"]),
            ({"model_type": "blip"}, ["BLIP"]),
            ({"model_type": "blip-2"}, ["BLIP-2"]),
            ({"model_type": "align"}, ["ALIGN"]),
            ({"model_type": "altclip"}, ["AltCLIP"]),
            ({"model_type": "clipseg"}, ["CLIPSeg"]),
            ({"model_type": "clap", "text_config": {}}, ["CLAP"]),
            ({"model_type": "M-CLIP"}, ["M-CLIP"]),
            ({"model_type": "clip", "architectures": ["LLM2CLIPModel"]}, ["LLM2CLIP"]),
            ({"model_type": "clip", "architectures": ["EvaCLIPModel"], "vision_config": {}}, ["EVA-CLIP"]),
            ({"model_type": "siglip_vision_model"}, ["SigLIP"]),
            ({"model_type": "metaclip_2_vision_model_with_projection"}, ["MetaCLIP 2"]),
        ],
    )
    @pytest.mark.parametrize("config_class", ALL)
    def test_known_families_are_named(self, write, config_class, content, named):
        with pytest.raises(ValueError, match=naming(*named, config_class)):
            config_class.from_pretrained(write(content))

    @pytest.mark.parametrize("config_class", ALL)
    def test_other_models(self, write, config_class):
        with pytest.raises(ValueError, match=naming("model_type='bert'", config_class)):
            config_class.from_pretrained(write({"model_type": "bert", "hidden_size": 768}))

    def test_a_tower_where_the_whole_is_wanted(self, write):
        folder = write({"model_type": "clip_text_model"})
        with pytest.raises(
            ValueError, match=naming("model_type='clip_text_model'", "'clip'", CLIPConfig, CLIPTextConfig)
        ):
            CLIPConfig.from_pretrained(folder)
        with pytest.raises(
            ValueError, match=naming("model_type='clip_text_model'", "'clip_vision_model'", CLIPTextConfig)
        ):
            CLIPVisionConfig.from_pretrained(folder)

    @pytest.mark.parametrize("content", [{}, {"architecture": "vit_base_patch16_224", "num_classes": 0}])
    @pytest.mark.parametrize("config_class", ALL)
    def test_configs_of_nothing_known(self, write, config_class, content):
        with pytest.raises(ValueError, match=naming("config.json", "model_type", config_class)):
            config_class.from_pretrained(write(content))

    def test_without_model_type_the_fields_tell(self, write):
        assert CLIPTextConfig.from_pretrained(write({"hidden_size": 640, "num_attention_heads": 10})).hidden_size == 640
        assert CLIPConfig.from_pretrained(write({"text_config": {"num_hidden_layers": 2}})).projection_dim == 512
