"""PyTorch behind the tasks of clip_core: numpy in, numpy out."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from clip_core.backends import Backend
from clip_core.modeling.inputs import check_ids
from clip_core.modeling.trimming import trimmed
from clip_core.tasks.labels import fingerprint
from clip_torch import explain
from clip_torch.arrays import framework, to_numpy
from clip_torch.inference import check_preparable, prepares, unpacked_parameters
from clip_torch.model import CLIPModel, unit_norm
from clip_torch.trace import trace
from clip_torch.training import check_options, make_trainer

if TYPE_CHECKING:
    import os

    import numpy as np

    from clip_core.configuration import CLIPConfig
    from clip_core.tasks.explain.gradients import LayerAttention, LogitGradients


class ModelEncoder:
    """A CLIPModel as a `clip_core.backends.Encoder`.

    Args:
        model: the model, on its final device and in its final dtype.
    """

    _fingerprint: str | None = None  # of a prepared model

    def __init__(self, model: CLIPModel) -> None:
        self.model = model

    @torch.inference_mode()
    def encode_images(self, pixel_values: np.ndarray) -> np.ndarray:
        """Embed images `(batch, channels, height, width)` with unit norm: `(batch, projection)`, float32."""
        return _float32(unit_norm(self.model.get_image_features(self._on_device(pixel_values))))

    @torch.inference_mode()
    def encode_texts(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> np.ndarray:
        """Embed ids and mask `(batch, seq)` with unit norm: `(batch, projection)`, float32."""
        check_ids(input_ids, self.model.config.text_config.vocab_size)
        if self.model.device.type != "cpu":  # the model would wait for the values of the ids to know how far to read
            known = torch.from_numpy(input_ids), torch.from_numpy(attention_mask)
            lengths = self.model.text_model.lengths_to_read(*known, training=self.model.training)
            input_ids, attention_mask = trimmed(input_ids, attention_mask, lengths)
        features = self.model.get_text_features(self._on_device(input_ids), self._on_device(attention_mask))
        return _float32(unit_norm(features))

    def text_fingerprint(self) -> str:
        """Return a fingerprint of the text tower; see `clip_core.tasks.labels`."""
        if self._fingerprint is not None:
            return self._fingerprint
        own = ((name, to_numpy(tensor)) for name, tensor in unpacked_parameters(self.model) if name.startswith("text_"))
        found = fingerprint("torch", self.model.config.text_config, own)
        if self.model._is_prepared:  # noqa: SLF001  our own
            self._fingerprint = found  # unpacking takes as long as encoding 64 texts, and its weights do not change
        return found

    @torch.inference_mode()
    def logits_per_image(self, image_embeds: np.ndarray, text_embeds: np.ndarray) -> np.ndarray:
        """Return scaled similarities `(images, texts)`, float32, computed in the model's dtype."""
        images, texts = (self._on_device(embeds).to(self.model.dtype) for embeds in (image_embeds, text_embeds))
        return _float32((texts @ images.t() * self.model.logit_scale.exp()).t())

    def prepared(self) -> ModelEncoder:
        """Return an encoder for many inputs: a prepared copy that shares the weights, or this one if none can be made.

        See `CLIPBaseModel.prepare_for_inference`. This encoder still returns gradients, and the copy does not. Prepare
        again after the weights have changed: the copy holds some of them as they were.
        """
        try:
            check_preparable(self.model)
        except ValueError:  # not on a CPU, in float16, or with adapters: correct as it is, and not slower than before
            return self
        prepared = copy.copy(self)  # keeps what a subclass adds
        prepared.model = _copied(self.model, {}).prepare_for_inference()
        return prepared

    @property
    def config(self) -> CLIPConfig:
        """The model's configuration."""
        return self.model.config

    def logit_gradients(
        self,
        pixel_values: np.ndarray,
        input_ids: np.ndarray,
        attention_mask: np.ndarray,
        *,
        first_image_layer: int,
        first_text_layer: int,
    ) -> LogitGradients:
        """Differentiate the logit of an image with each text; see `ExplainableEncoder.logit_gradients`."""
        check_ids(input_ids, self.config.text_config.vocab_size)
        first = {"first_image_layer": first_image_layer, "first_text_layer": first_text_layer}
        return explain.logit_gradients(self.model, pixel_values, input_ids, attention_mask, **first)

    def layer_gradients(
        self, pixel_values: np.ndarray, text_embeds: np.ndarray, *, first_layer: int
    ) -> list[LayerAttention]:
        """Differentiate each layer's similarity with each text; see `ExplainableEncoder.layer_gradients`."""
        return explain.layer_gradients(self.model, pixel_values, text_embeds, first_layer=first_layer)

    def _on_device(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.model.device)


def load(
    source: str | os.PathLike[str], *, device: str | None = None, dtype: str | None = None, **options: Any
) -> ModelEncoder:
    """Load a CLIPModel for the tasks.

    Args:
        source: a folder, file or hub id.
        device: "cpu", "cuda" and so on; by default the accelerator with the most memory, otherwise the CPU.
        dtype: "float32", "float16", "bfloat16", or "auto"; float32 by default.
        **options: further keywords of `CLIPModel.from_pretrained`.
    """
    return ModelEncoder(CLIPModel.from_pretrained(source, device_map=device or "auto", dtype=dtype, **options))


def versions() -> dict[str, str]:
    """Return the versions of the framework, and its device."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {"torch": torch.__version__, "torch device": f"{device}, {torch.get_num_threads()} threads"}


def _copied(module: nn.Module, copies: dict[int, nn.Module]) -> Any:
    """Return a copy of a module and its children, which shares tensors and everything else, such as hooks.

    A deep copy would also copy the objects that hooks belong to, and fail for those that cannot be copied.

    Args:
        module: the module.
        copies: the copies so far, by the `id` of the original, since several modules may share a child.
    """
    if id(module) not in copies:
        new = copies[id(module)] = module.__new__(type(module))
        own = {name: dict(module.__dict__[name]) for name in ("_parameters", "_buffers", "_modules")}
        new.__dict__ = module.__dict__ | own
        for name, child in own["_modules"].items():
            own["_modules"][name] = None if child is None else _copied(child, copies)
    return copies[id(module)]


def _float32(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.float().cpu().numpy()
    return array


backend = Backend(load, trace, make_trainer, framework.name, versions, prepares, check=check_options)
