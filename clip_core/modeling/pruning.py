"""Attention-head pruning: requests are validated and resolved before a backend touches any weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from clip_core.configuration.arguments import is_integer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from clip_core.configuration import CLIPTextConfig, CLIPVisionConfig


def heads_by_tower(
    heads_to_prune: Mapping[Any, Any], towers: Sequence[str]
) -> Mapping[str, Mapping[int, Iterable[int]]]:
    """Resolve a pruning request into heads by tower.

    Args:
        heads_to_prune: layer index to heads, by tower name; a model with one tower may omit the name.
        towers: names of the model's towers.

    Raises:
        ValueError: if the model has no such tower.
    """
    if len(towers) == 1 and not set(heads_to_prune) & set(towers):
        return {towers[0]: heads_to_prune}
    unknown = set(heads_to_prune) - set(towers)
    if unknown:
        raise ValueError(
            f"prune_heads: unknown towers {sorted(map(str, unknown))}; give heads by tower: {sorted(towers)}"
        )
    return heads_to_prune


def plan_pruning(
    heads_to_prune: Mapping[int, Iterable[int]], config: CLIPTextConfig | CLIPVisionConfig
) -> dict[int, tuple[list[int], list[int]]]:
    """Plan the pruning of each affected layer.

    Args:
        heads_to_prune: layer index to heads, by original index; heads already pruned are skipped.
        config: the tower's configuration; its `pruned_heads` lists those already pruned. Not modified.

    Returns:
        For each layer: the indices to remove among the remaining heads, and all heads pruned afterwards.

    Raises:
        ValueError: if a layer or head does not exist, or a layer would lose its last head.
    """
    plan = {}
    for layer, heads in heads_to_prune.items():
        if not is_integer(layer) or layer not in range(config.num_hidden_layers):
            raise ValueError(f"layer {layer!r} does not exist; the layers are 0 to {config.num_hidden_layers - 1}")
        wanted = set(heads)
        known = range(config.num_attention_heads)
        unknown = [head for head in heads if not is_integer(head) or head not in known]
        if unknown:
            raise ValueError(f"heads {unknown} do not exist; the heads are 0 to {config.num_attention_heads - 1}")
        pruned = set(config.pruned_heads.get(layer, ()))
        left = [head for head in range(config.num_attention_heads) if head not in pruned]
        removed = [place for place, head in enumerate(left) if head in wanted]
        if len(removed) == len(left):
            raise ValueError(f"layer {layer} would lose its last attention head; keep at least one")
        if removed:
            plan[layer] = (removed, sorted(pruned | wanted))
    return plan


def prune_projections(attention: Any, heads: Iterable[int], keep: Callable[..., None]) -> None:
    """Remove heads from the linear layers of a self-attention.

    Args:
        attention: has `num_heads`, `head_dim`, `q_proj`, `k_proj`, `v_proj` and `out_proj`.
        heads: indices among the remaining heads.
        keep: `keep(attention, name, features, of_outputs=True)` reduces the layer of that name to some of its outputs;
            with False, of its inputs.
    """
    kept = kept_features(heads, attention.num_heads, attention.head_dim)
    for name in ("k_proj", "v_proj", "q_proj"):
        keep(attention, name, kept, of_outputs=True)
    keep(attention, "out_proj", kept, of_outputs=False)
    attention.num_heads = len(kept) // attention.head_dim


def kept_features(heads: Iterable[int], num_heads: int, head_dim: int) -> np.ndarray:
    """Return the features of a projection that remain without some heads: `(heads left * head_dim,)`, int64.

    Args:
        heads: indices of the heads to remove.
        num_heads: number of heads before.
        head_dim: number of features of each head.
    """
    features = np.arange(num_heads * head_dim, dtype=np.int64).reshape(num_heads, head_dim)
    return np.delete(features, list(heads), axis=0).ravel()
