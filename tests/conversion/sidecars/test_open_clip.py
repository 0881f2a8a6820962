"""open_clip's model_cfg to a configuration and back; other architectures are named."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_core.configuration import CLIPConfig
from converters.sidecars.open_clip import config_from_open_clip, open_clip_from_config
from support.checkpoints import odd_config
from support.configs import tiny_config
from support.messages import naming
from support.real_configs import FULL_CONFIGS
from support.tolerances import WRITTEN

# As open_clip's package holds them.
VIT_B_32 = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}
VIT_BIGG_14 = {
    "embed_dim": 1280,
    "vision_cfg": {
        "image_size": 224,
        "layers": 48,
        "width": 1664,
        "head_width": 104,
        "mlp_ratio": 4.9231,
        "patch_size": 14,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1280, "heads": 20, "layers": 32},
}
VIT_G_14 = {
    "embed_dim": 1024,
    "vision_cfg": {
        "image_size": 224,
        "layers": 40,
        "width": 1408,
        "head_width": 88,
        "mlp_ratio": 4.3637,
        "patch_size": 14,
    },
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 1024, "heads": 16, "layers": 24},
}


def changed(model_cfg=None, **changes):
    """Return a model_cfg with fields changed, `text__width` for one of a tower."""
    model_cfg = model_cfg or VIT_B_32
    result = {**model_cfg, "text_cfg": {**model_cfg["text_cfg"]}, "vision_cfg": {**model_cfg["vision_cfg"]}}
    for name, value in changes.items():
        part, _, field = name.rpartition("__")
        (result[f"{part}_cfg"] if part else result)[field] = value
    return result


def test_b32_is_the_librarys_defaults_but_for_gelu():
    found, plain = config_from_open_clip(VIT_B_32), CLIPConfig()
    assert found.text_config.hidden_act == found.vision_config.hidden_act == "gelu"
    for tower in ("text_config", "vision_config"):
        ours, theirs = getattr(found, tower), getattr(plain, tower)
        for field in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "layer_norm_eps"):
            assert getattr(ours, field) == getattr(theirs, field), field
    assert (found.projection_dim, found.vision_config.patch_size) == (512, 32)
    assert found.logit_scale_init_value == plain.logit_scale_init_value


def test_what_a_tower_leaves_out_is_open_clips_default():
    found = config_from_open_clip({"embed_dim": 8, "text_cfg": {}, "vision_cfg": {}})
    assert (found.text_config.hidden_size, found.text_config.num_attention_heads) == (512, 8)
    vision = found.vision_config
    assert (vision.hidden_size, vision.num_attention_heads, vision.patch_size) == (768, 12, 16)


@pytest.mark.parametrize(("model_cfg", "mlp", "heads"), [(VIT_BIGG_14, 8192, 16), (VIT_G_14, 6144, 16)])
def test_heads_and_mlps_of_the_large_models(model_cfg, mlp, heads):
    """Head widths of 104 and 88, and MLPs that are not an integer multiple of the width."""
    found = config_from_open_clip(model_cfg).vision_config
    assert (found.intermediate_size, found.num_attention_heads) == (mlp, heads)
    there = open_clip_from_config(config_from_open_clip(model_cfg))
    assert there["vision_cfg"]["mlp_ratio"] == pytest.approx(model_cfg["vision_cfg"]["mlp_ratio"], abs=WRITTEN)
    assert config_from_open_clip(there).to_dict() == config_from_open_clip(model_cfg).to_dict()


def test_bigg_is_what_its_family_publishes_for_transformers():
    found, published = config_from_open_clip(VIT_BIGG_14), CLIPConfig.from_dict(FULL_CONFIGS["laion bigG/14"])
    for tower in ("text_config", "vision_config"):
        for field in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act"):
            assert getattr(getattr(found, tower), field) == getattr(getattr(published, tower), field), field


@pytest.mark.parametrize(
    ("changes", "activation"),
    [
        ({}, "gelu"),
        ({"quick_gelu": False}, "gelu"),
        ({"quick_gelu": True}, "quick_gelu"),
        ({"text__act_kwargs": {"approximate": "tanh"}}, "gelu_pytorch_tanh"),
        ({"text__act_kwargs": {"approximate": "none"}}, "gelu"),
        ({"text__act_kwargs": {}}, "gelu"),
    ],
)
def test_activations(changes, activation):
    assert config_from_open_clip(changed(**changes)).text_config.hidden_act == activation


def test_the_odd_configuration_goes_there_and_back():
    there = open_clip_from_config(odd_config())
    assert there["vision_cfg"]["head_width"] == 12
    assert there["text_cfg"]["mlp_ratio"] == 1.3
    assert there["text_cfg"]["norm_kwargs"] == {"eps": 3e-4}
    assert there["vision_cfg"]["act_kwargs"] == {"approximate": "tanh"}
    assert there["init_logit_scale"] == 1.7
    assert (there["text_cfg"]["pool_type"], there["text_cfg"]["eos_id"]) == ("eos", 97)
    assert open_clip_from_config(config_from_open_clip(there)) == there


@given(
    width=st.integers(1, 60),
    mlp=st.integers(1, 400),
    eps=st.sampled_from([1e-5, 1e-6, 0.1]),
    act=st.sampled_from(["gelu", "quick_gelu", "gelu_pytorch_tanh"]),
    eos=st.sampled_from([2, 97, 98]),
)
@settings(max_examples=150, deadline=None)
def test_any_configuration_goes_there_and_back(width, mlp, eps, act, eos):
    """Above all the MLP's width, which open_clip stores as a ratio and truncates."""
    tower = {"hidden_act": act, "layer_norm_eps": eps, "intermediate_size": mlp, "num_attention_heads": 1}
    config = tiny_config(
        {"hidden_size": width, "eos_token_id": eos, **tower}, {"hidden_size": width, "num_channels": 3, **tower}
    )
    found = config_from_open_clip(open_clip_from_config(config))
    for part in ("text_config", "vision_config"):
        for field in (*tower, "hidden_size"):
            assert getattr(getattr(found, part), field) == getattr(getattr(config, part), field)
    assert found.text_config.eos_token_id == {2: 2, 97: 97, 98: 2}[eos]  # 98 is the largest, which 2 stands for


OTHER_ARCHITECTURES = [
    ({"vision__timm_model_name": "vit_base_patch16_siglip_224"}, ["vision_cfg.timm_model_name", "timm"]),
    ({"text__hf_model_name": "roberta-base"}, ["text_cfg.hf_model_name", "transformers"]),
    ({"multimodal_cfg": {"width": 768}}, ["model_cfg.multimodal_cfg", "CoCa"]),
    ({"init_logit_bias": -10}, ["model_cfg.init_logit_bias", "SigLIP"]),
    ({"vision__layers": [3, 4, 6, 3]}, ["vision_cfg.layers", [3, 4, 6, 3]]),
    ({"vision__attentional_pool": True}, ["vision_cfg.attentional_pool", "True"]),
    ({"vision__no_ln_pre": True}, ["vision_cfg.no_ln_pre", "True"]),
    ({"vision__ls_init_value": 0.1}, ["vision_cfg.ls_init_value", "0.1"]),
    ({"vision__pool_type": "avg"}, ["vision_cfg.pool_type", "'avg'"]),
    ({"text__embed_cls": True}, ["text_cfg.embed_cls", "True"]),
    ({"text__no_causal_mask": True}, ["text_cfg.no_causal_mask", "True"]),
    ({"text__proj_bias": True}, ["text_cfg.proj_bias", "True"]),
    ({"text__proj_type": "none"}, ["text_cfg.proj_type", "'none'"]),
    ({"text__pool_type": "last"}, ["text_cfg.pool_type", "'last'"]),
    ({"text__pool_type": "eos", "text__eos_id": 2}, ["text_cfg.pool_type", "'eos'", "eos_id", 2]),
    ({"text__qk_norm": True}, ["text_cfg.qk_norm", "True"]),
    ({"text__of_the_future": 3}, ["text_cfg.of_the_future", "3"]),
]


@pytest.mark.parametrize(("changes", "named"), OTHER_ARCHITECTURES)
def test_another_architecture_is_named_by_its_field(changes, named):
    with pytest.raises(ValueError, match=naming(*named)):
        config_from_open_clip(changed(**changes))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"text_cfg": None}, ["text_cfg", "None"]),
        ({"vision_cfg": [1]}, ["vision_cfg", "[1]"]),
        ({"embed_dim": "512"}, ["embed_dim", "'512'"]),
        ({"text__width": "512"}, ["text_cfg.width", "'512'"]),
        ({"text__width": None}, ["text_cfg.width", "None"]),
        ({"text__layers": True}, ["text_cfg.layers", "True"]),
        ({"vision__head_width": 0}, ["vision_cfg.head_width", "0"]),
        ({"vision__head_width": "64"}, ["vision_cfg.head_width", "'64'"]),
        ({"vision__head_width": 100}, ["vision_cfg.head_width", "100"]),
        ({"vision__mlp_ratio": "4"}, ["vision_cfg.mlp_ratio", "'4'"]),
        ({"text__norm_kwargs": "eps"}, ["text_cfg.norm_kwargs", "'eps'"]),
        ({"text__norm_kwargs": {"elementwise_affine": False}}, ["text_cfg.norm_kwargs", "eps"]),
        ({"text__act_kwargs": {"approximate": "sigmoid"}}, ["text_cfg.act_kwargs"]),
        ({"text__act_kwargs": {"approximate": "tanh"}, "quick_gelu": True}, ["text_cfg.act_kwargs"]),
        ({"text__act_kwargs": 3}, ["text_cfg.act_kwargs", "3"]),
        ({"init_logit_scale": "high"}, ["init_logit_scale", "'high'"]),
    ],
)
def test_a_value_that_is_none_is_refused_by_name(changes, named):
    with pytest.raises(ValueError, match=naming(*named)):
        config_from_open_clip(changed(**changes))


@pytest.mark.parametrize("field", ["embed_dim", "text_cfg", "vision_cfg"])
def test_a_part_that_is_missing_is_named(field):
    model_cfg = changed()
    del model_cfg[field]
    with pytest.raises(ValueError, match=naming("model_cfg", field)):
        config_from_open_clip(model_cfg)


def test_what_is_of_training_and_tokenizing_changes_nothing():
    extra = {"vision__patch_dropout": 0.5, "text__tokenizer_kwargs": {"strip_sep_token": True}, "custom_text": True}
    extra |= {"text__ls_init_value": None, "vision__timm_model_name": None}
    assert config_from_open_clip(changed(**extra)).to_dict() == config_from_open_clip(VIT_B_32).to_dict()


@pytest.mark.parametrize(
    ("text", "vision", "named"),
    [
        ({"hidden_act": "quick_gelu"}, {}, ["hidden_act", "quick_gelu"]),
        ({"hidden_act": "relu"}, {}, ["text_config.hidden_act", "'relu'", "gelu"]),
        ({}, {"num_channels": 1}, ["vision_config.num_channels", 1, 3]),
        ({"pruned_heads": {0: [1]}}, {}, ["text_config"]),
    ],
)
def test_what_open_clip_cannot_run_is_refused_by_field(text, vision, named):
    config = tiny_config(text, {"num_channels": 3, **vision})
    with pytest.raises(ValueError, match=naming("open_clip", *named)):
        open_clip_from_config(config)


def test_a_temperature_in_a_vector_is_the_same_model():
    model_cfg = {"embed_dim": 512, "text_cfg": {}, "vision_cfg": {}}
    found = config_from_open_clip({**model_cfg, "nonscalar_logit_scale": True})
    assert found.to_dict() == config_from_open_clip(model_cfg).to_dict()
