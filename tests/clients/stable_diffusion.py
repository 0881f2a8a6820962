"""A tiny Stable Diffusion of random weights."""

from __future__ import annotations

import pytest
import torch

from support.configs import TEXT

diffusers = pytest.importorskip("diffusers")
peft = pytest.importorskip("peft")

CONTEXT = TEXT["hidden_size"]
ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]


def bridged(library, thing):
    """Return what diffusers takes by `isinstance`: the counterpart of ours, or transformers' own object."""
    return library.to_transformers(thing) if hasattr(library, "to_transformers") else thing


def text_parts(library, folder, bridge=bridged):
    """Return the text encoder and the tokenizer of a pipeline."""
    encoder = library.CLIPTextModel.from_pretrained(folder)
    tokenizer = library.CLIPTokenizer.from_pretrained(folder)
    return {"text_encoder": bridge(library, encoder), "tokenizer": bridge(library, tokenizer)}


def make_pipeline(**parts):
    """Return a Stable Diffusion pipeline of random weights, those of the `parts` given."""
    torch.manual_seed(0)
    widths = {"block_out_channels": (4, 8), "norm_num_groups": 2}
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        cross_attention_dim=CONTEXT,
        attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **widths,
    )
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, **widths
    )
    optional = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    made = diffusers.StableDiffusionPipeline(
        **{"unet": unet, "vae": vae, "scheduler": diffusers.DDIMScheduler(), **optional, **parts}
    )
    made.set_progress_bar_config(disable=True)
    return made


def save_adapter(encoder, out):
    """Save a random LoRA that PEFT put on an encoder, as diffusers reads it."""
    from diffusers.utils import convert_state_dict_to_diffusers

    torch.manual_seed(0)
    adapted = peft.get_peft_model(encoder, peft.LoraConfig(r=2, target_modules=ATTENTION, init_lora_weights=False))
    state = peft.get_peft_model_state_dict(adapted)
    state = {name.removeprefix("base_model.model."): tensor for name, tensor in state.items()}
    layers = convert_state_dict_to_diffusers(state)
    diffusers.StableDiffusionPipeline.save_lora_weights(out, text_encoder_lora_layers=layers)
