"""Model tracing: every stage of a run by name and, on request, the gradients and a training step.

A backend implements `Traced`. The arguments of a trace and the order of its results are defined here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from clip_core.modeling.parameters import plain_class_name
from clip_core.modeling.stages import in_variant, stages

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from clip_core.backends import Tracer


# The variant of the inputs whose gradients are compared: some of its queries see no key.
DIFFERENTIATED = "padding"
# Rows at a time in the chunked loss: fewer than the pairs, and no divisor of their number.
LOSS_CHUNK = 3


@dataclass(frozen=True)
class TraceRequest:
    """The model to trace, and its inputs; see `clip_core.backends.Tracer`.

    Attributes:
        inputs: the inputs for the gradients.
        differentiated: True if gradients will be requested.
        prepared: True if the model is to be prepared for inference.
    """

    source: str | os.PathLike[str]
    inputs: Mapping[str, Any]
    class_name: str
    dtype: str
    options: Mapping[str, Any]
    differentiated: bool
    prepared: bool


class Traced(Protocol):
    """A model being traced. Parameters have their canonical names."""

    def stages(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run the forward pass on these inputs, and return every stage."""
        ...

    def chunked_loss(self, text_embeds: np.ndarray, image_embeds: np.ndarray) -> np.ndarray:
        """Return the contrastive loss of unit-norm embeddings `(pairs, projection)`, computed in chunks: a scalar."""
        ...

    def backward(self) -> None:
        """Compute the gradients of the objective, after `stages` was called with the inputs of the request.

        For a CLIPModel, it is the mean of the loss and the chunked loss, which are equal.
        """
        ...

    def gradients(self) -> dict[str, np.ndarray]:
        """Return the gradients of the parameters that the objective depends on."""
        ...

    def updated(self) -> dict[str, np.ndarray]:
        """Take one step of AdamW, after `backward`, and return all parameters."""
        ...

    def explanations(self, inputs: Mapping[str, Any], text_embeds: np.ndarray) -> dict[str, np.ndarray]:
        """Return the explanations of images with texts, by stage; see `clip_core.tasks.explain.tracing`.

        Args:
            inputs: `pixel_values`, `input_ids` and `attention_mask`.
            text_embeds: the model's embeddings of the texts, of unit norm: `(texts, projection)`.
        """
        ...


def tracer(load: Callable[[TraceRequest], Traced]) -> Tracer:
    """Return a `clip_core.backends.Tracer` of the models that `load` returns."""

    def trace(
        source: str | os.PathLike[str],
        inputs: Mapping[str, Any],
        *,
        class_name: str = "CLIPModel",
        dtype: str = "float32",
        variants: Mapping[str, Mapping[str, Any]] | None = None,
        prepared: bool = False,
        gradients: bool = False,
        train_step: bool = False,
        explain: bool = False,
        **options: Any,
    ) -> dict[str, np.ndarray]:
        """Run a model and return every stage; see `clip_core.backends.Tracer`."""
        differentiated = gradients or train_step
        own = (variants or {}).get(DIFFERENTIATED, inputs)
        traced = load(TraceRequest(source, own, class_name, dtype, options, differentiated, prepared))
        found = traced.stages(inputs)
        if class_name == "CLIPModel" and "loss" in found:
            found["chunked_loss"] = traced.chunked_loss(found["text_embeds"], found["image_embeds"])
        for variant, own_inputs in (variants or {}).items():
            found |= {in_variant(variant, stage): array for stage, array in traced.stages(own_inputs).items()}
        if explain:
            found |= traced.explanations(inputs, found["text_embeds"])
        if differentiated:
            traced.backward()
        if gradients:
            found |= {f"gradient.{name}": array for name, array in traced.gradients().items()}
        if train_step:
            found |= {f"updated.{name}": array for name, array in traced.updated().items()}
        return found

    return trace


def call_arguments(
    class_name: str, inputs: Mapping[str, Any], to_tensor: Callable[[np.ndarray], Any]
) -> dict[str, Any]:
    """Return the arguments of a model's call, which computes a loss if there are as many texts as images.

    Args:
        class_name: the model class.
        inputs: arrays, and options that are passed on unchanged.
        to_tensor: converts an array to a tensor.
    """
    arguments = {name: to_tensor(value) if isinstance(value, np.ndarray) else value for name, value in inputs.items()}
    if class_name == "CLIPModel" and len(arguments["input_ids"]) == len(arguments["pixel_values"]):
        arguments["return_loss"] = True
    return arguments


def run_stages(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run a backend's model, and return the tensor of every stage.

    Args:
        model: an instance of one of the six classes.
        arguments: see `call_arguments`.
    """
    class_name = plain_class_name(type(model).__name__)
    outputs = model(**arguments, output_hidden_states=True)
    features = None
    if class_name == "CLIPModel":
        of_images = ("pixel_values", "interpolate_pos_encoding")
        of_texts = ("input_ids", "attention_mask", "position_ids")
        features = {
            "image_features": model.get_image_features(**_given(arguments, of_images)),
            "text_features": model.get_text_features(**_given(arguments, of_texts)),
        }
    return stages(class_name, outputs, _attentions(model, arguments), features)


def _given(arguments: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: arguments[name] for name in names if name in arguments}


def _attentions(model: Any, arguments: Mapping[str, Any]) -> Any:
    """Run the model with eager attention, for its attention weights; all other stages use the configured one."""
    implementation = model.config.attn_implementation
    model.set_attn_implementation("eager")
    try:
        return model(**arguments, output_attentions=True)
    finally:
        model.set_attn_implementation(implementation)
