"""Traps in a model's configuration: tokens, activations, heads, projection; rows of `TRAPS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.sidecars.openai import HEAD_WIDTH, LARGEST_ID, LAYER_NORM_EPS, VOCAB_SIZE

if TYPE_CHECKING:
    from converters.inspection.traps.facts import Facts

POSITIONS = 77

# A part of a checkpoint's name -> the activation that such checkpoints were trained with.
_ACTIVATIONS_BY_NAME = {
    "openai": "quick_gelu",
    "dfn": "quick_gelu",
    "metaclip": "quick_gelu",
    "quickgelu": "quick_gelu",
}
_ACTIVATIONS_BY_NAME |= {"laion": "gelu", "datacomp": "gelu"}
# Widths of vision towers that OpenAI never trained (H, g, bigG); nearly all of them use gelu.
_LARGE_WIDTHS = {1280, 1408, 1664}


def legacy_eos(facts: Facts) -> str | None:
    """Check for pooling at the largest id."""
    text = facts.towers.get("text")
    if text is None or text.eos_token_id != LARGEST_ID:
        return None
    said = "eos_token_id is the legacy 2, which pools each text at its largest id"
    added = 0 if facts.tokenizer is None else facts.tokenizer.added
    if text.vocab_size > VOCAB_SIZE or added:
        return f"{said}; added tokens have larger ids than EOS, so a text with one is pooled at the wrong token"
    return said


def other_eos(facts: Facts) -> str | None:
    """Check for a tokenizer with another EOS token."""
    text, tokenizer = facts.towers.get("text"), facts.tokenizer
    if text is None or tokenizer is None or tokenizer.eos_token_id in {None, text.eos_token_id}:
        return None
    if text.eos_token_id == LARGEST_ID:
        return None
    return f"eos_token_id is {text.eos_token_id}, but the tokenizer ends texts with {tokenizer.eos_token_id}"


def pad_zero(facts: Facts) -> str | None:
    """Check for padding with a token that is also a word."""
    text, tokenizer = facts.towers.get("text"), facts.tokenizer
    pads = {None if tokenizer is None else tokenizer.pad_token_id, None if text is None else text.pad_token_id}
    if text is None or 0 not in pads:
        return None
    return 'texts are padded with 0, which is "!", as in OpenAI\'s code; other tokenizers pad with EOS'


def activation_unstated(facts: Facts) -> str | None:
    """Check for an activation that is not stated and falls back to the default."""
    silent = [
        name
        for name in facts.towers
        if facts.content and "hidden_act" not in facts.content and not facts.stated(name, "hidden_act")
    ]
    return (
        f"config.json does not state hidden_act for {' and '.join(silent)}; quick_gelu is the default"
        if silent
        else None
    )


def activations_differ(facts: Facts) -> str | None:
    """Check for towers with different activations."""
    acts = {name: tower.hidden_act for name, tower in facts.towers.items()}
    if len(set(acts.values())) < 2:
        return None
    return "the towers' activations differ: " + ", ".join(f"{act} in {name}" for name, act in acts.items())


def activation_doubtful(facts: Facts) -> str | None:
    """Check for a name or size that suggests another activation."""
    name = f"{facts.source} {facts.content.get('_name_or_path') or ''}".lower()
    expected = {act for part, act in _ACTIVATIONS_BY_NAME.items() if part in name}
    acts = {tower.hidden_act for tower in facts.towers.values()}
    if len(expected) == 1 and not acts & expected:
        return f"hidden_act is {acts.pop()}, but checkpoints with this name were trained with {expected.pop()}"
    vision = facts.towers.get("vision")
    if (
        not expected
        and vision is not None
        and vision.hidden_size in _LARGE_WIDTHS
        and vision.hidden_act == "quick_gelu"
    ):
        return (
            "hidden_act is quick_gelu; LAION's towers of this width use gelu, and those of DFN and MetaCLIP quick_gelu"
        )
    return None


def head_width(facts: Facts) -> str | None:
    """Check for heads that are not 64 wide."""
    widths = {name: tower.hidden_size // tower.num_attention_heads for name, tower in facts.towers.items()}
    odd = [f"{width} in {name}" for name, width in widths.items() if width != HEAD_WIDTH]
    return (
        f"heads have width {' and '.join(odd)}; code that assumes 64 computes the wrong number of heads"
        if odd
        else None
    )


def epsilon(facts: Facts) -> str | None:
    """Check for an unusual epsilon of the layer norms."""
    odd = [f"{t.layer_norm_eps} in {name}" for name, t in facts.towers.items() if t.layer_norm_eps != LAYER_NORM_EPS]
    return f"layer_norm_eps is {' and '.join(odd)}, not {LAYER_NORM_EPS}" if odd else None


def projection_size(facts: Facts) -> str | None:
    """Check for a projection size that is missing, or stated inconsistently."""
    if not facts.content or not any(name.endswith("projection.weight") for name in facts.checkpoint):
        return None
    top = facts.content.get("projection_dim")
    towers = {f"{name}_config": facts.stated(name, "projection_dim") for name in facts.towers}
    stated = {name: size for name, size in towers.items() if size is not None}
    if top is None and not stated:
        return "projection_dim is not stated; clip-zoo uses the weight's size, other code assumes 512"
    wrong = {name: size for name, size in stated.items() if top is not None and size != top}
    if wrong:
        return f"projection_dim is {top} at the top level but {wrong} in the towers; the top level applies"
    if not stated:
        return f"projection_dim {top} is stated only at the top level; other code that loads a single tower assumes 512"
    return None


def legacy_dicts(facts: Facts) -> str | None:
    """Check for legacy fields that override new ones."""
    found = []
    for name in facts.towers:
        old, new = facts.content.get(f"{name}_config_dict"), facts.content.get(f"{name}_config") or {}
        if old is not None:
            changed = sorted(key for key, value in old.items() if key in new and new[key] != value)
            found.append(
                f"{name}_config_dict overrides {name}_config" + (f" ({', '.join(changed)})" if changed else "")
            )
    return "; ".join(found) or None


def vocabulary(facts: Facts) -> str | None:
    """Check for a tokenizer whose size is not `vocab_size`."""
    text, tokenizer = facts.towers.get("text"), facts.tokenizer
    if text is None or tokenizer is None or tokenizer.size == text.vocab_size:
        return None
    fails = "; its last ids have no embedding" if tokenizer.size > text.vocab_size else ""
    return f"vocab_size is {text.vocab_size}, but the tokenizer has {tokenizer.size} ids{fails}"


def unusual_length(facts: Facts) -> str | None:
    """Check for a maximum length other than 77."""
    text = facts.towers.get("text")
    if text is None or text.max_position_embeddings == POSITIONS:
        return None
    return f"texts can have {text.max_position_embeddings} tokens, not {POSITIONS}"


def max_length(facts: Facts) -> str | None:
    """Check for a tokenizer that truncates to another length."""
    text, tokenizer = facts.towers.get("text"), facts.tokenizer
    if text is None or tokenizer is None or tokenizer.max_length in {None, text.max_position_embeddings}:
        return None
    positions = text.max_position_embeddings
    return f"the tokenizer truncates texts to {tokenizer.max_length} tokens, but the model has {positions} positions"
