"""Models of users' subclasses, and parts of a model that users replace or whose `forward` they override.

For a subclass: its parameters, and the initialization of those that a checkpoint lacks. For a part: the masks it gets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from clip_core.modeling.drawing import without_drawing
from clip_torch.packing import is_own, takes_packed
from clip_torch.plan import AttentionPlan, causal_bias
from converters.naming.derived import Parameters

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from torch import Tensor, nn

    Masks = tuple[Tensor | None, Tensor | None]


_OPTIONS = ("output_attentions", "output_hidden_states")
_TEXT_ARGUMENTS = ("input_ids", "attention_mask", "position_ids", *_OPTIONS)
_VISION_ARGUMENTS = ("pixel_values", *_OPTIONS, "interpolate_pos_encoding")


def build_derived(
    model_class: Any, args: Iterable[Any], config: Any, _dtype: Any, **kwargs: Any
) -> tuple[Any, Parameters]:
    """Create a model on the CPU without drawing CLIP's weights, and return it with its parameters.

    The modules that the subclass adds are initialized.
    """
    with torch.device("cpu"), without_drawing():
        model = model_class(config, *args, **kwargs)
        model.tie_weights()
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return model, Parameters(shapes, _tied(model))


def start_afresh(model: Any, names: Collection[str]) -> None:
    """Initialize all modules that hold one of these parameters, directly or in a submodule, as `init_weights` does."""
    without = {".".join(name.split(".")[:depth]) for name in names for depth in range(name.count(".") + 1)}
    for name, module in model.named_modules():
        module._is_hf_initialized = name not in without  # noqa: SLF001  transformers' name; users set it, too
    model.init_weights()


def assign(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a model. Its parameters remain the same objects: some may be tied or referenced elsewhere."""
    own = model.state_dict()
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(tensor)


def to_save(model: Any, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights to save: only the first of tied weights, and none in `_keys_to_ignore_on_save`."""
    ignored = model._keys_to_ignore_on_save or ()  # noqa: SLF001  transformers' name
    left_out = {name for group in _tied(model) for name in group[1:]} | set(ignored)
    return {name: tensor for name, tensor in weights.items() if name not in left_out}


def _tied(model: nn.Module) -> list[list[str]]:
    groups: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        groups.setdefault(id(parameter), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def plan_or_masks(
    part: Any, masks: Masks, plan: AttentionPlan | None, hidden_states: Tensor
) -> tuple[Masks, dict[str, Any]]:
    """Return the masks of an encoder, a layer or its attention, and its keyword `plan`.

    A user's own part takes no plan. Like a part of transformers, it gets the masks instead: the bias of padding and of
    causality together `(batch, 1, seq, seq)`, and with FlashAttention a padding mask `(batch, seq)`.
    """
    if is_own(part):
        return masks, {"plan": plan}
    if plan is None:
        return masks, {}
    padding, bias = None, plan.bias
    if plan.unpadding is not None:
        packing = plan.unpadding.packing
        padding = packing.padded(hidden_states.new_ones(1, len(packing.indices)))
    if plan.is_causal and bias is None:
        bias = causal_bias(hidden_states.shape[1], hidden_states)
    return (padding, None if bias is None else bias.expand(len(hidden_states), -1, -1, -1)), {}


def encoder_options(encoder: Any, plan: AttentionPlan, hidden_states: Tensor | None = None) -> dict[str, Any]:
    """Return the plan for an encoder; or for a user's own, the masks of texts with `hidden_states`, by name."""
    if is_own(encoder):
        return {"plan": plan}
    if hidden_states is None:
        return {}
    masks, _ = plan_or_masks(encoder, (None, None), plan, hidden_states)
    return dict(zip(("attention_mask", "causal_attention_mask"), masks, strict=True))


def call_text(tower: Any, *values: Any) -> Any:
    """Call a text tower, which may be a user's own, by the names of the arguments of `CLIPTextTransformer`."""
    return tower(**dict(zip(_TEXT_ARGUMENTS, values, strict=False)))


def call_vision(tower: Any, *values: Any) -> Any:
    """Call a vision tower, which may be a user's own, by the names of the arguments of `CLIPVisionTransformer`."""
    return tower(**dict(zip(_VISION_ARGUMENTS, values, strict=False)))


def pooled_output(tower: Any, input_ids: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None) -> Tensor:
    """Return the pooled output `(batch, hidden)` of a text tower, by its quickest way if nothing can notice that."""
    if position_ids is None and takes_packed(tower):
        pooled: Tensor = tower.pooled(input_ids, attention_mask)
    else:
        pooled = call_text(tower, input_ids, attention_mask, position_ids).pooler_output
    return pooled


def call_attention(
    attention: Any, hidden_states: Tensor, masks: Masks, plan: AttentionPlan | None, *, output_attentions: bool
) -> tuple[Tensor, Any]:
    """Return what a layer's attention returns, also a user's own, which gets its arguments by name."""
    (padding, causal), options = plan_or_masks(attention, masks, plan, hidden_states)
    options |= {"attention_mask": padding, "causal_attention_mask": causal, "output_attentions": output_attentions}
    attended, attention_weights = attention(hidden_states=hidden_states, **options)
    return attended, attention_weights if output_attentions else None
