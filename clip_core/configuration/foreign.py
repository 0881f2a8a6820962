"""Model families that are named after CLIP or resemble it but are not CLIP, with advice on loading them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# A `model_type` in config.json, or a class name in its `architectures` -> the model and its loader. Towers append
# `_text_model`, `_vision_model` and so on to the model type, and need no rows of their own.
FOREIGN_FAMILIES = {
    "align": ("ALIGN", "transformers.AlignModel"),
    "altclip": ("AltCLIP", "transformers.AltCLIPModel"),
    "blip": ("BLIP", "transformers.BlipForConditionalGeneration or BlipForImageTextRetrieval"),
    "blip-2": ("BLIP-2", "transformers.Blip2Model"),
    "blip_2": ("BLIP-2", "transformers.Blip2Model"),
    "bridgetower": ("BridgeTower", "transformers.BridgeTowerModel"),
    "chinese_clip": ("Chinese CLIP", "transformers.ChineseCLIPModel"),
    "clap": ("CLAP, which compares sounds and texts", "transformers.ClapModel"),
    "clipseg": ("CLIPSeg", "transformers.CLIPSegModel or CLIPSegForImageSegmentation"),
    "clvp": ("CLVP, a speech model", "transformers.ClvpModelForConditionalGeneration"),
    "flava": ("FLAVA", "transformers.FlavaModel"),
    "groupvit": ("GroupViT", "transformers.GroupViTModel"),
    "jina_clip": ("Jina CLIP", "transformers.AutoModel with trust_remote_code=True"),
    "M-CLIP": ("M-CLIP", "the package multilingual-clip"),
    "metaclip_2": ("MetaCLIP 2, with different text pooling and tokenization", "transformers.MetaClip2Model"),
    "owlv2": ("OWLv2", "transformers.Owlv2Model or Owlv2ForObjectDetection"),
    "owlvit": ("OWL-ViT", "transformers.OwlViTModel or OwlViTForObjectDetection"),
    "siglip": ("SigLIP, with a different loss, pooling and tokenizer", "transformers.SiglipModel"),
    "siglip2": ("SigLIP 2, with a different loss, pooling and tokenizer", "transformers.Siglip2Model"),
    "vision-text-dual-encoder": ("two towers of other kinds", "transformers.VisionTextDualEncoderModel"),
    "xclip": ("X-CLIP, which compares videos and texts", "transformers.XCLIPModel"),
    "EvaCLIPModel": ("EVA-CLIP", "transformers.AutoModel with trust_remote_code=True"),
    "LLM2CLIPModel": ("LLM2CLIP, whose text tower is a language model", "the code of its repository"),
    "MultilingualCLIP": ("M-CLIP", "the package multilingual-clip"),
}

_OPEN_CLIP = "the package open_clip_torch"

# The start of a part of a tensor's name -> the family, and the package or class that loads it.
TELLTALES = (
    ("visual.layer1.", "CLIP with a ResNet as image tower (the RN50 family)", _OPEN_CLIP),
    ("visual.trunk.", "an open_clip model with an image tower from timm", _OPEN_CLIP),
    ("visual.head.mlp", "an open_clip model with an image tower from timm", _OPEN_CLIP),
    ("visual.blocks.", "EVA-CLIP", _OPEN_CLIP),
    ("text_decoder.", "CoCa or BLIP, which write captions", "open_clip_torch or transformers"),
    ("visual.attn_pool", "an open_clip model that pools by attention", _OPEN_CLIP),
    ("text.transformer.embeddings.", "an open_clip model with a text tower from transformers", _OPEN_CLIP),
    ("text.transformer.shared.", "an open_clip model with a text tower from transformers", _OPEN_CLIP),
    ("image_encoder.model.", "MobileCLIP", _OPEN_CLIP),
    ("ls_1.gamma", "an open_clip model with layer scale", _OPEN_CLIP),
    ("cls_emb", "an open_clip model whose text tower has a class token", _OPEN_CLIP),
    ("vision_model.head.", "SigLIP, which has another loss, pooling and tokenizer", "transformers.SiglipModel"),
    ("logit_bias", "SigLIP or a similar model, which has another loss", "transformers or open_clip_torch"),
    ("text_model.encoder.layer.", "Chinese CLIP, or another model with BERT as text tower", "transformers"),
    ("text_model.roberta.", "AltCLIP", "transformers.AltCLIPModel"),
    ("qformer.", "BLIP-2", "transformers.Blip2Model"),
    ("self_attn.qkv.", "BLIP or a similar model", "transformers"),
)


def foreign_family(config: Mapping[str, Any]) -> str | None:
    """Describe the family that a config.json belongs to, and its loader; None if it names no known family.

    Args:
        config: the file's content.
    """
    architectures = config.get("architectures")
    names = [config.get("model_type"), *(architectures if isinstance(architectures, list | tuple) else ())]
    for name in names:
        family = name and _family_of(str(name))
        if family:
            what, loader = family
            return f"{what} ({name}); load it with {loader}"
    return None


def foreign_tensors(names: Iterable[str]) -> str | None:
    """Describe the family that a checkpoint's tensors belong to, and its loader; None for CLIP.

    Args:
        names: the names of the tensors in the file.
    """
    names = [f".{name}" for name in names]
    for telltale, what, loader in TELLTALES:
        found = next((name for name in names if f".{telltale}" in name), None)
        if found is not None:
            return f"{what}, according to its tensor {found[1:]}; load it with {loader}"
    return None


def _family_of(name: str) -> tuple[str, str] | None:
    base = name
    for part in ("_text", "_vision", "_audio"):
        base = base.partition(part)[0]
    return FOREIGN_FAMILIES.get(name) or FOREIGN_FAMILIES.get(base)
