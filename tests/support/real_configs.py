"""The config.json of well-known checkpoints, as their families write them.

Each is the kind of file that transformers of its time wrote: all inherited keys spelt out, a legacy `text_config_dict`
beside `text_config`, sparse towers, or a tower alone.
"""

from __future__ import annotations

from typing import Any

from support.inherited_fields import OLD_TEXT, OLD_VISION, TOP


def _legacy(text: dict[str, Any], vision: dict[str, Any], projection_dim: int) -> dict[str, Any]:
    """Return a configuration of LAION's conversions: legacy dicts with differences, and new ones with everything."""
    return {
        **TOP,
        "projection_dim": projection_dim,
        "text_config": {**OLD_TEXT, **text},
        "text_config_dict": text,
        "torch_dtype": "float32",
        "transformers_version": None,
        "vision_config": {**OLD_VISION, **vision},
        "vision_config_dict": vision,
    }


_H_TEXT = {
    "hidden_act": "gelu",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
}
_L_VISION = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "patch_size": 14,
}

FULL_CONFIGS: dict[str, dict[str, Any]] = {
    "openai B/32": {
        **TOP,
        "text_config": OLD_TEXT,
        "text_config_dict": None,
        "transformers_version": None,
        "vision_config": OLD_VISION,
        "vision_config_dict": None,
    },
    "openai L/14-336": {
        **TOP,
        "_name_or_path": "openai/clip-vit-large-patch14-336",
        "projection_dim": 768,
        "text_config": {
            **OLD_TEXT,
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "projection_dim": 768,
        },
        "text_config_dict": {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "num_attention_heads": 12,
            "num_hidden_layers": 12,
            "projection_dim": 768,
        },
        "torch_dtype": "float32",
        "transformers_version": None,
        "vision_config": {**OLD_VISION, **_L_VISION, "image_size": 336, "projection_dim": 768},
        "vision_config_dict": {**_L_VISION, "image_size": 336, "projection_dim": 768},
    },
    "laion H/14": _legacy(
        _H_TEXT,
        {
            "hidden_act": "gelu",
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_attention_heads": 16,
            "num_hidden_layers": 32,
            "patch_size": 14,
        },
        1024,
    ),
    "laion g/14": _legacy(
        _H_TEXT,
        {
            "hidden_act": "gelu",
            "hidden_size": 1408,
            "intermediate_size": 6144,
            "num_attention_heads": 16,
            "num_hidden_layers": 40,
            "patch_size": 14,
        },
        1024,
    ),
    "laion bigG/14": {
        **TOP,
        "projection_dim": 1280,
        "text_config": {
            "bos_token_id": 0,
            "dropout": 0.0,
            "eos_token_id": 2,
            "hidden_act": "gelu",
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "model_type": "clip_text_model",
            "num_attention_heads": 20,
            "num_hidden_layers": 32,
        },
        "torch_dtype": "float32",
        "transformers_version": "4.24.0.dev0",
        "vision_config": {
            "dropout": 0.0,
            "hidden_act": "gelu",
            "hidden_size": 1664,
            "intermediate_size": 8192,
            "model_type": "clip_vision_model",
            "num_attention_heads": 16,
            "num_hidden_layers": 48,
            "patch_size": 14,
        },
    },
    "laion L/14, projection at the top level alone": {
        **TOP,
        "projection_dim": 768,
        "text_config": {
            "hidden_act": "gelu",
            "hidden_size": 768,
            "intermediate_size": 3072,
            "model_type": "clip_text_model",
            "num_attention_heads": 12,
        },
        "vision_config": {**_L_VISION, "hidden_act": "gelu", "model_type": "clip_vision_model"},
    },
    "fashion-clip": {
        "_name_or_path": "openai/clip-vit-base-patch32",
        **TOP,
        "text_config": {"bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2, "model_type": "clip_text_model"},
        "torch_dtype": "float32",
        "transformers_version": "4.29.2",
        "vision_config": {"dropout": 0.0, "model_type": "clip_vision_model"},
    },
    "XrayCLIP": {
        **TOP,
        "text_config": {"hidden_act": "gelu", "max_position_embeddings": 256, "model_type": "clip_text_model"},
        "vision_config": {"hidden_act": "gelu", "image_size": 512, "model_type": "clip_vision_model", "patch_size": 16},
    },
    "DFN5B-H-378": {
        **TOP,
        "projection_dim": 1024,
        "text_config": {**_H_TEXT, "hidden_act": "quick_gelu", "model_type": "clip_text_model"},
        "vision_config": {
            "hidden_size": 1280,
            "image_size": 378,
            "intermediate_size": 5120,
            "model_type": "clip_vision_model",
            "num_attention_heads": 16,
            "num_hidden_layers": 32,
            "patch_size": 14,
        },
    },
}

TEXT_CONFIGS: dict[str, dict[str, Any]] = {
    "SD1 text encoder": {
        "_name_or_path": "openai/clip-vit-large-patch14",
        "architectures": ["CLIPTextModel"],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "dropout": 0.0,
        "eos_token_id": 2,
        "hidden_act": "quick_gelu",
        "hidden_size": 768,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 3072,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77,
        "model_type": "clip_text_model",
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "pad_token_id": 1,
        "torch_dtype": "float32",
        "transformers_version": "4.22.0.dev0",
        "vocab_size": 49408,
    },
    "SD2 text encoder": {
        "_name_or_path": "hf-models/stable-diffusion-v2-768x768/text_encoder",
        "architectures": ["CLIPTextModel"],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "dropout": 0.0,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_size": 1024,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 4096,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77,
        "model_type": "clip_text_model",
        "num_attention_heads": 16,
        "num_hidden_layers": 23,
        "pad_token_id": 1,
        "projection_dim": 512,
        "torch_dtype": "float32",
        "transformers_version": "4.25.0.dev0",
        "vocab_size": 49408,
    },
    "SDXL text encoder 2": {
        "architectures": ["CLIPTextModelWithProjection"],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "dropout": 0.0,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_size": 1280,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 5120,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77,
        "model_type": "clip_text_model",
        "num_attention_heads": 20,
        "num_hidden_layers": 32,
        "pad_token_id": 1,
        "projection_dim": 1280,
        "torch_dtype": "float16",
        "transformers_version": "4.32.0.dev0",
        "vocab_size": 49408,
    },
}

VISION_CONFIGS: dict[str, dict[str, Any]] = {
    "IP-Adapter image encoder": {
        "_name_or_path": "./image_encoder",
        "architectures": ["CLIPVisionModelWithProjection"],
        "attention_dropout": 0.0,
        "dropout": 0.0,
        "hidden_act": "gelu",
        "hidden_size": 1280,
        "image_size": 224,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 5120,
        "layer_norm_eps": 1e-05,
        "model_type": "clip_vision_model",
        "num_attention_heads": 16,
        "num_channels": 3,
        "num_hidden_layers": 32,
        "patch_size": 14,
        "projection_dim": 1024,
        "torch_dtype": "float16",
        "transformers_version": "4.28.0.dev0",
    },
}

# All of them, with the class that reads the file.
REAL_CONFIGS = (
    {name: ("CLIPConfig", content) for name, content in FULL_CONFIGS.items()}
    | {name: ("CLIPTextConfig", content) for name, content in TEXT_CONFIGS.items()}
    | {name: ("CLIPVisionConfig", content) for name, content in VISION_CONFIGS.items()}
)
