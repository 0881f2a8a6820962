"""Model families that are told by their tensors: what they are, and what loads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_OPEN_CLIP = "the package open_clip_torch"

# What a tensor's name has in it, at the start of a segment; what the model then is; and what loads it.
TELLTALES = (
    ("visual.layer1.", "CLIP with a ResNet as image tower (the RN50 family)", _OPEN_CLIP),
    ("visual.trunk.", "an open_clip model with an image tower of timm's", _OPEN_CLIP),
    ("visual.head.mlp", "an open_clip model with an image tower of timm's", _OPEN_CLIP),
    ("visual.blocks.", "EVA-CLIP", _OPEN_CLIP),
    ("text_decoder.", "CoCa or BLIP, which write captions", "open_clip_torch or transformers"),
    ("visual.attn_pool", "an open_clip model that pools by attention", _OPEN_CLIP),
    ("text.transformer.embeddings.", "an open_clip model with a text tower of transformers'", _OPEN_CLIP),
    ("text.transformer.shared.", "an open_clip model with a text tower of transformers'", _OPEN_CLIP),
    ("image_encoder.model.", "MobileCLIP", _OPEN_CLIP),
    ("ls_1.gamma", "an open_clip model with layer scale", _OPEN_CLIP),
    ("cls_emb", "an open_clip model whose text tower has a class token", _OPEN_CLIP),
    ("vision_model.head.", "SigLIP, which has another loss, pooling and tokenizer", "transformers.SiglipModel"),
    ("logit_bias", "SigLIP or a model of its kind, which has another loss", "transformers or open_clip_torch"),
    ("text_model.encoder.layer.", "Chinese CLIP, or another model with BERT as text tower", "transformers"),
    ("text_model.roberta.", "AltCLIP", "transformers.AltCLIPModel"),
    ("qformer.", "BLIP-2", "transformers.Blip2Model"),
    ("self_attn.qkv.", "BLIP or a model of its kind", "transformers"),
)


def foreign_tensors(names: Iterable[str]) -> str | None:
    """What a checkpoint is by the names of its tensors, in a sentence with what would load it; None for CLIP."""
    names = [f".{name}" for name in names]
    for telltale, what, loader in TELLTALES:
        found = next((name for name in names if f".{telltale}" in name), None)
        if found is not None:
            return f"{what}, as its tensor {found[1:]} tells; load it with {loader}"
    return None
