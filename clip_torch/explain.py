"""Attention probabilities and the gradients by them, for `clip_core.tasks.explain`: numpy in, numpy out.

A probe of zeros is added to a layer's probabilities. The gradient by the probe is the gradient by the probabilities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clip_core.tasks.explain.gradients import LayerAttention, LogitGradients
from clip_torch.model import CLIPModel, unit_norm
from clip_torch.plan import AttentionPlan, text_plan

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from clip_torch.layers import CLIPEncoderLayer


def logit_gradients(
    model: CLIPModel,
    pixel_values: np.ndarray,
    input_ids: np.ndarray,
    attention_mask: np.ndarray,
    *,
    first_image_layer: int,
    first_text_layer: int,
) -> LogitGradients:
    """Differentiate the logit of an image with each text; see `ExplainableEncoder.logit_gradients`."""
    vision, text = model.vision_model, model.text_model
    pixels, ids, mask = (
        torch.from_numpy(array).to(model.device) for array in (pixel_values, input_ids, attention_mask)
    )
    with torch.no_grad():
        image_states = vision(pixels, output_attentions=False, output_hidden_states=True).hidden_states
        text_states = text(ids, mask, output_attentions=False, output_hidden_states=True).hidden_states
    image = ProbedLayers(vision.encoder.layers[first_image_layer:], AttentionPlan("eager"))
    words = ProbedLayers(text.encoder.layers[first_text_layer:], text_plan("eager", mask, text_states[0]))
    with torch.enable_grad():
        states = image.run(image_states[first_image_layer].expand(len(ids), -1, -1))
        image_embeds = unit_norm(model.visual_projection(vision.post_layernorm(states[:, 0])))
        states = text.final_layer_norm(words.run(text_states[first_text_layer]))
        pooled = states[torch.arange(len(ids), device=states.device), text.eos_positions(ids)]
        text_embeds = unit_norm(model.text_projection(pooled))
        logits = (text_embeds * image_embeds).sum(dim=-1) * model.logit_scale.exp()
        found = torch.autograd.grad(logits.sum(), [*image.probes, *words.probes])
    count = len(image.probes)
    return LogitGradients(image.attention(found[:count]), words.attention(found[count:]))


def layer_gradients(
    model: CLIPModel, pixel_values: np.ndarray, text_embeds: np.ndarray, *, first_layer: int
) -> list[LayerAttention]:
    """Differentiate each layer's similarity with each text; see `ExplainableEncoder.layer_gradients`."""
    vision = model.vision_model
    pixels = torch.from_numpy(pixel_values).to(model.device)
    texts = torch.from_numpy(text_embeds).to(model.device)
    with torch.no_grad():
        states = vision(pixels, output_attentions=False, output_hidden_states=True).hidden_states
    found = []
    for index in range(first_layer, len(vision.encoder.layers)):
        layer = ProbedLayers(vision.encoder.layers[index : index + 1], AttentionPlan("eager"))
        with torch.enable_grad():
            pooled = layer.run(states[index].expand(len(texts), -1, -1)).mean(dim=1)
            similarity = (unit_norm(model.visual_projection(vision.post_layernorm(pooled))) * texts).sum()
            found += layer.attention(torch.autograd.grad(similarity, layer.probes))
    return found


class ProbedLayers:
    """Encoder layers that run with a probe each.

    Args:
        layers: the layers.
        plan: the plan of their attention, with the implementation "eager".

    Attributes:
        probes: the probe of each layer that has run, `(batch, heads, seq, seq)`.
    """

    def __init__(self, layers: Iterable[CLIPEncoderLayer], plan: AttentionPlan) -> None:
        self.layers, self.plan = list(layers), plan
        self.probes: list[Tensor] = []
        self._probabilities: list[Tensor] = []

    def run(self, states: Tensor) -> Tensor:
        """Map `(batch, seq, hidden)` to the same shape."""
        batch, seq, _ = states.shape
        for layer in self.layers:
            probe = states.new_zeros((batch, layer.self_attn.num_heads, seq, seq), requires_grad=True)
            states, probabilities = layer(states, output_attentions=True, plan=self.plan._replace(probe=probe))
            self.probes.append(probe)
            self._probabilities.append(probabilities)
        return states

    def attention(self, gradients: Iterable[Tensor]) -> list[LayerAttention]:
        """Return the attention of each layer, given the gradient by each probe."""
        pairs = zip(self._probabilities, gradients, strict=True)
        return [LayerAttention(_float32(probabilities), _float32(gradient)) for probabilities, gradient in pairs]


def _float32(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().float().cpu().numpy()
    return array
