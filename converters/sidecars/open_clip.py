"""Translation of open_clip's `model_cfg` to a configuration and back, with tables of fields and unsupported values."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from clip_core.configuration import CLIPConfig
from converters.sidecars.companions import Companions, Description, whole_model
from converters.sidecars.openai import LARGEST_ID, LAYER_NORM_EPS, MLP_RATIO, pools_at_largest_id, token_ids

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig
    from clip_core.images.processor import CLIPImageProcessor
    from converters.tensors import TensorEntry

OPEN_CLIP_CONFIG_NAME = "open_clip_config.json"

# open_clip's field -> our field, and open_clip's default.
_TEXT = {
    "context_length": ("max_position_embeddings", 77),
    "vocab_size": ("vocab_size", 49408),
    "width": ("hidden_size", 512),
    "heads": ("num_attention_heads", 8),
    "layers": ("num_hidden_layers", 12),
}
_VISION = {
    "image_size": ("image_size", 224),
    "patch_size": ("patch_size", 16),
    "width": ("hidden_size", 768),
    "layers": ("num_hidden_layers", 12),
}
_HEAD_WIDTH = 64  # open_clip's default for the vision tower

# Different names of the same function.
TANH_GELU = ("gelu_pytorch_tanh", "gelu_new")

# open_clip's field -> its value in CLIP. Any other value means another architecture, which clip-zoo does not run.
_BLOCK: dict[str, Any] = {"ls_init_value": None, "block_type": None, "qk_norm": False, "scaled_cosine_attn": False}
_BLOCK |= {"scale_heads": False, "scale_attn_inner": False, "scale_attn": False, "scale_fc": False}
_PLAIN_TEXT = _BLOCK | {
    "embed_cls": False,
    "hf_model_name": None,
    "no_causal_mask": False,
    "proj_bias": False,
    "proj_type": "linear",
}
_PLAIN_VISION = _BLOCK | {
    "attentional_pool": False,
    "no_ln_pre": False,
    "pool_type": "tok",
    "timm_model_name": None,
}
_PLAIN_MODEL: dict[str, Any] = {"init_logit_bias": None, "multimodal_cfg": None}

# Fields that do not affect the forward pass: they concern training, the tokenizer or other libraries.
_NO_MATTER_TEXT = {"final_ln_after_pool", "hf_model_pretrained", "hf_pooler_type", "hf_proj_type", "hf_tokenizer_name"}
_NO_MATTER_TEXT |= {"output_tokens", "pad_id", "tokenizer_kwargs", "tokenizer_mode"}
_NO_MATTER_VISION = {"attn_pooler_heads", "attn_pooler_queries", "final_ln_after_pool", "output_tokens"}
_NO_MATTER_VISION |= {"patch_dropout", "pos_embed_type", "timm_drop", "timm_drop_path", "timm_model_pretrained"}
_NO_MATTER_VISION |= {"timm_pool", "timm_proj", "timm_proj_bias"}
_NO_MATTER_MODEL = {"cast_dtype", "custom_text", "output_dict"}
_NO_MATTER_MODEL |= {"nonscalar_logit_scale"}  # a vector of one element; it is read as a scalar

# The architecture that another value of a field means.
_MEANING = {
    "timm_model_name": "an image tower from timm",
    "hf_model_name": "a text tower from transformers",
    "multimodal_cfg": "CoCa, which writes captions",
    "init_logit_bias": "SigLIP's loss",
}


def config_from_open_clip(model_cfg: Mapping[str, Any]) -> CLIPConfig:
    """Return the configuration that open_clip's `model_cfg` describes.

    Raises:
        ValueError: the `model_cfg` is incomplete, or describes another architecture; the message names it.
    """
    for field in ("embed_dim", "text_cfg", "vision_cfg"):
        if field not in model_cfg:
            raise ValueError(f"model_cfg lacks {field}")
    text, vision = (_table(model_cfg, "model_cfg", tower) for tower in ("text_cfg", "vision_cfg"))
    of_model = {"embed_dim", "text_cfg", "vision_cfg", "quick_gelu", "init_logit_scale"}
    _check(model_cfg, "model_cfg", _PLAIN_MODEL, of_model | _NO_MATTER_MODEL)
    read = {"mlp_ratio", "act_kwargs", "norm_kwargs"}
    _check(text, "text_cfg", _PLAIN_TEXT, {*_TEXT, *read, "pool_type", "eos_id"} | _NO_MATTER_TEXT)
    _check(vision, "vision_cfg", _PLAIN_VISION, {*_VISION, *read, "head_width"} | _NO_MATTER_VISION)
    quick_gelu = bool(model_cfg.get("quick_gelu", False))
    vision_fields = _fields(vision, "vision_cfg", _VISION, quick_gelu=quick_gelu)
    vision_fields["num_attention_heads"] = _heads(vision_fields["hidden_size"], vision.get("head_width", _HEAD_WIDTH))
    text_fields = _fields(text, "text_cfg", _TEXT, quick_gelu=quick_gelu)
    start = model_cfg.get("init_logit_scale", CLIPConfig().logit_scale_init_value)
    return CLIPConfig(
        text_config={**text_fields, **_pooling(text, text_fields["vocab_size"])},
        vision_config=vision_fields,
        projection_dim=_whole(model_cfg["embed_dim"], "model_cfg.embed_dim"),
        logit_scale_init_value=_number(start, "model_cfg.init_logit_scale"),
    )


def open_clip_from_config(config: CLIPConfig) -> dict[str, Any]:
    """Return the `model_cfg` with which open_clip runs a model of this configuration.

    Raises:
        ValueError: open_clip cannot run it; the message names the field.
    """
    text, vision = config.text_config, config.vision_config
    if vision.num_channels != 3:
        raise ValueError(f"open_clip cannot run this model: vision_config.num_channels is {vision.num_channels}, not 3")
    quick = {tower.hidden_act == "quick_gelu" for tower in (text, vision)}
    if len(quick) > 1:
        raise ValueError(
            "open_clip cannot run this model: one tower's hidden_act is quick_gelu and the other's is not "
            f"({text.hidden_act!r} and {vision.hidden_act!r})"
        )
    pooling = {} if pools_at_largest_id(text) else {"pool_type": "eos", "eos_id": text.eos_token_id}
    start = config.logit_scale_init_value
    return {
        "embed_dim": config.projection_dim,
        **({"quick_gelu": True} if quick == {True} else {}),
        **({} if start == CLIPConfig().logit_scale_init_value else {"init_logit_scale": start}),
        "vision_cfg": {
            **_tower(vision, _VISION),
            "head_width": vision.hidden_size // vision.num_attention_heads,
        },
        "text_cfg": {**_tower(text, _TEXT), **pooling},
    }


def _check(given: Mapping[str, Any], where: str, plain: Mapping[str, Any], known: set[str]) -> None:
    for field, value in given.items():
        if field in known or value == plain.get(field, None):  # None is a default everywhere
            continue
        meaning = _MEANING.get(field, "an architecture that is not CLIP's own")
        raise ValueError(f"{where}.{field} is {value!r}: {meaning}; load it with open_clip")


def _fields(given: Mapping[str, Any], where: str, table: Mapping[str, Any], *, quick_gelu: bool) -> dict[str, Any]:
    fields = {
        ours: _whole(given.get(theirs, default), f"{where}.{theirs}") for theirs, (ours, default) in table.items()
    }
    norm_kwargs = _table(given, where, "norm_kwargs")
    if norm_kwargs.keys() - {"eps"}:
        raise ValueError(f"{where}.norm_kwargs is {norm_kwargs!r}; only eps is supported")
    mlp_ratio = _number(given.get("mlp_ratio", float(MLP_RATIO)), f"{where}.mlp_ratio")
    return {
        **fields,
        "intermediate_size": int(fields["hidden_size"] * mlp_ratio),  # as open_clip does
        "layer_norm_eps": norm_kwargs.get("eps", LAYER_NORM_EPS),
        "hidden_act": _activation(_table(given, where, "act_kwargs"), where, quick_gelu=quick_gelu),
    }


def _activation(act_kwargs: Mapping[str, Any], where: str, *, quick_gelu: bool) -> str:
    if quick_gelu and not act_kwargs:
        return "quick_gelu"
    names = {"none": "gelu", "tanh": "gelu_pytorch_tanh"}
    approximate = act_kwargs.get("approximate", "none")
    if quick_gelu or act_kwargs.keys() - {"approximate"} or approximate not in names:
        raise ValueError(f"{where}.act_kwargs is {act_kwargs!r}, which is not one of CLIP's activations")
    return names[approximate]


def _heads(width: int, head_width: Any) -> int:
    if width % _whole(head_width, "vision_cfg.head_width"):
        raise ValueError(f"vision_cfg.head_width is {head_width}, which does not divide the width {width}")
    return int(width // head_width)


def _table(given: Mapping[str, Any], where: str, field: str) -> Mapping[str, Any]:
    """Return a field that is an object; an empty object for None."""
    value = given.get(field)
    if value is None and field.endswith("_kwargs"):
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{where}.{field} is {value!r}; it must be an object")  # noqa: TRY004  the file is at fault
    return value


def _whole(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(
            f"{where} is {value!r}; it must be an integer of 1 or more, as in a vision transformer on square images"
        )
    return value


def _number(value: Any, where: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{where} is {value!r}, which is not a number")
    return value


def _pooling(text: Mapping[str, Any], vocab_size: int) -> dict[str, Any]:
    pool_type = text.get("pool_type", "argmax")
    if pool_type == "argmax":
        return token_ids(vocab_size)
    eos_id = text.get("eos_id", LARGEST_ID)
    if pool_type != "eos" or eos_id == LARGEST_ID:
        raise ValueError(
            f"text_cfg.pool_type is {pool_type!r}{f' with eos_id {eos_id}' * (pool_type == 'eos')}, which CLIP does "
            "not use; load it with open_clip"
        )
    return {"bos_token_id": None, "eos_token_id": eos_id, "pad_token_id": text.get("pad_id", 0)}


def _tower(config: CLIPTextConfig | CLIPVisionConfig, table: Mapping[str, Any]) -> dict[str, Any]:
    if config.pruned_heads:
        raise ValueError(f"open_clip cannot run this model: {config.base_config_key} has pruned heads")
    tower = {theirs: getattr(config, ours) for theirs, (ours, _) in table.items()}
    if config.intermediate_size != config.hidden_size * MLP_RATIO:
        tower["mlp_ratio"] = _ratio(config.intermediate_size, config.hidden_size)
    if config.layer_norm_eps != LAYER_NORM_EPS:
        tower["norm_kwargs"] = {"eps": config.layer_norm_eps}
    if config.hidden_act in TANH_GELU:
        tower["act_kwargs"] = {"approximate": "tanh"}
    elif config.hidden_act not in {"gelu", "quick_gelu"}:
        raise ValueError(
            f"open_clip cannot run this model: {config.base_config_key}.hidden_act is {config.hidden_act!r}; it "
            "supports gelu, gelu_pytorch_tanh and quick_gelu"
        )
    return tower


def _ratio(intermediate_size: int, hidden_size: int) -> float:
    """Return the shortest ratio from which open_clip's truncation computes `intermediate_size`."""
    exact = intermediate_size / hidden_size
    candidates = [round(exact, digits) for digits in range(1, 8)]
    candidates += [exact, math.nextafter(exact, math.inf)]
    return next(ratio for ratio in candidates if int(hidden_size * ratio) == intermediate_size)


def _texts(description: Description, _: Mapping[str, TensorEntry], libraries: str) -> dict[str, str]:
    from converters.sidecars.preprocessing import open_clip_from_preprocessing

    config = whole_model(description, libraries)
    content: dict[str, Any] = {"model_cfg": open_clip_from_config(config)}
    if description.preprocessing is not None:
        image_size = config.vision_config.image_size
        content["preprocess_cfg"] = open_clip_from_preprocessing(description.preprocessing, image_size)
    return {OPEN_CLIP_CONFIG_NAME: json.dumps(content, indent=2) + "\n"}


def _config(content: Any) -> CLIPConfig:
    if not isinstance(content, dict) or not isinstance(content.get("model_cfg"), dict):
        raise ValueError("it lacks open_clip's model_cfg")  # noqa: TRY004  the file is at fault
    return config_from_open_clip(content["model_cfg"])


def _preprocessing(content: Mapping[str, Any], image_size: int) -> CLIPImageProcessor:
    from converters.sidecars.preprocessing import preprocessing_from_open_clip

    return preprocessing_from_open_clip(content.get("preprocess_cfg") or {}, image_size)


OPEN_CLIP_FILES = Companions(
    _texts,
    tokenizer="optional",
    config_name=OPEN_CLIP_CONFIG_NAME,
    config=_config,
    preprocessing=_preprocessing,
)
