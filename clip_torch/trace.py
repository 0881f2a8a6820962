"""Every stage of a run as numpy arrays, which `clip-zoo verify` compares across frameworks."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

import clip_torch
from clip_core.modeling import stages
from clip_core.modeling.tracing import LOSS_CHUNK, call_arguments, run_stages, tracer
from clip_core.tasks.explain.tracing import explanation_stages
from clip_core.training.settings import decays
from clip_torch.arrays import to_numpy
from clip_torch.explain import layer_gradients, logit_gradients
from clip_torch.loss import chunked_clip_loss

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from torch import Tensor

    from clip_core.modeling.tracing import TraceRequest


class TracedModel:
    """A model as a `clip_core.modeling.tracing.Traced`.

    Args:
        request: the model to load, and its inputs.
    """

    def __init__(self, request: TraceRequest) -> None:
        model_class = getattr(clip_torch, request.class_name)
        self.model: Any = model_class.from_pretrained(request.source, dtype=request.dtype, **request.options)
        if request.prepared:
            self.model.prepare_for_inference()
        self.request = request

    @torch.no_grad()
    def stages(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run the forward pass on these inputs, and return every stage."""
        return {name: _array(tensor) for name, tensor in run_stages(self.model, self._arguments(inputs)).items()}

    @torch.no_grad()
    def chunked_loss(self, text_embeds: np.ndarray, image_embeds: np.ndarray) -> np.ndarray:
        """Return the contrastive loss of unit-norm embeddings `(pairs, projection)`, computed in chunks: a scalar."""
        texts, images = torch.from_numpy(text_embeds), torch.from_numpy(image_embeds)
        return _array(_chunked(texts, images, self.model.logit_scale.exp()))

    def backward(self) -> None:
        """Compute the gradients of the objective."""
        outputs = self.model(**self._arguments(self.request.inputs))
        name, factors = stages.objective(outputs)
        value = outputs[name] if factors is None else (outputs[name] * torch.from_numpy(factors)).sum()
        if self.request.class_name == "CLIPModel" and name == "loss":
            chunked = _chunked(outputs.text_embeds, outputs.image_embeds, self.model.logit_scale.exp())
            value = (value + chunked) / 2.0
        value.backward()

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the gradients of the parameters that the objective depends on."""
        named = self.model.named_parameters()
        return {name: _array(parameter.grad) for name, parameter in named if parameter.grad is not None}

    def updated(self) -> dict[str, np.ndarray]:
        """Take one step of AdamW, and return all parameters."""
        named = dict(self.model.named_parameters())
        groups = [
            {"params": [tensor for name, tensor in named.items() if decays(name) is decayed], "weight_decay": decay}
            for decayed, decay in ((True, stages.WEIGHT_DECAY), (False, 0.0))
        ]
        # Parameters without a gradient are not updated, as in every framework.
        betas = (stages.BETA_1, stages.BETA_2)
        torch.optim.AdamW(groups, lr=stages.LEARNING_RATE, betas=betas, eps=stages.EPSILON).step()
        return {name: _array(parameter) for name, parameter in named.items()}

    def explanations(self, inputs: Mapping[str, Any], text_embeds: np.ndarray) -> dict[str, np.ndarray]:
        """Return the explanations of images with texts, by stage; see `clip_core.tasks.explain.tracing`."""
        gradients = (partial(logit_gradients, self.model), partial(layer_gradients, self.model))
        return explanation_stages(self.model.config, inputs, text_embeds, *gradients)

    def _arguments(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return call_arguments(self.request.class_name, inputs, torch.from_numpy)


def _chunked(texts: Tensor, images: Tensor, scale: Tensor) -> Tensor:
    return chunked_clip_loss(texts.float(), images.float(), scale.float(), LOSS_CHUNK)


def _array(tensor: Tensor) -> np.ndarray:
    return to_numpy(tensor.float()).copy()


trace = tracer(TracedModel)
