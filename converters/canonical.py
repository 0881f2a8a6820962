"""Hugging Face's layouts of one and the same checkpoint, brought to the canonical names.

The canonical names are those of the PyTorch `state_dict` of transformers 4.57 (`text_model.encoder.layers.0...`).
Files hold them under prefixes of what CLIP was part of (`clip.`, `model.`, DDP's `module.`, `torch.compile`'s
`_orig_mod.`), and transformers 5.6 writes a tower alone without its `text_model.` (issue 44431 there).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# The first segments of canonical names.
ROOTS = frozenset({"text_model", "vision_model", "text_projection", "visual_projection", "logit_scale", "classifier"})

# The first segments inside a tower, and the one parameter that tells which tower it is.
_TOWER_SEGMENTS = frozenset({"embeddings", "encoder", "final_layer_norm", "pre_layrnorm", "post_layernorm"})
_TELLTALES = {"token_embedding": "text_model", "patch_embedding": "vision_model"}

# Position indices that old checkpoints carry: constants, not parameters.
_CONSTANTS = (".position_ids",)


def canonical_names(names: Iterable[str]) -> dict[str, str]:
    """Canonical name to the name in the file, without the constants; unknown names stay as they are.

    Raises:
        ValueError: two names in the file mean the same parameter.
    """
    names = [name for name in names if not f".{name}".endswith(_CONSTANTS)]
    towers = _flat_towers(names)
    found: dict[str, str] = {}
    for name in names:
        canonical = _canonical_name(name, towers)
        if canonical in found:
            raise ValueError(f"{found[canonical]} and {name} both mean {canonical}; keep one of them")
        found[canonical] = name
    return found


def _canonical_name(name: str, towers: dict[str, str]) -> str:
    segments = name.split(".")
    for place, segment in enumerate(segments):
        if segment in ROOTS:
            return ".".join(segments[place:])
        if segment in _TOWER_SEGMENTS:
            prefix = ".".join(segments[:place])
            return ".".join([towers[prefix], *segments[place:]]) if prefix in towers else name
    return name


def _flat_towers(names: Iterable[str]) -> dict[str, str]:
    """The prefixes under which a tower stands without its name, and which tower it is."""
    towers = {}
    for name in names:
        segments = name.split(".")
        if "embeddings" in segments and not ROOTS & set(segments):
            place = segments.index("embeddings")
            tower = _TELLTALES.get(segments[place + 1]) if place + 1 < len(segments) else None
            if tower is not None:
                towers[".".join(segments[:place])] = tower
    return towers
