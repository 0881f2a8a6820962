"""The backends as the shared suite sees them: models by class name, numpy in, flat dictionaries of numpy out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.backend_flax import FlaxBackend
from support.backend_tf import TensorFlowBackend
from support.oracle import flatten, torch_outputs

if TYPE_CHECKING:
    import numpy as np


class TorchBackend:
    name = "torch"

    def build(self, class_name: str, config: Any, seed: int = 0) -> Any:
        """A model with fresh weights, in evaluation mode."""
        import torch

        import clip_torch

        torch.manual_seed(seed)
        return getattr(clip_torch, class_name)(config).eval()

    def load(self, class_name: str, source: Any, **options: Any) -> Any:
        import clip_torch

        return getattr(clip_torch, class_name).from_pretrained(source, **options)

    def forward(self, model: Any, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
        return torch_outputs(model, inputs, options)

    def gradients(self, model: Any, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
        return torch_outputs(model, inputs, options, gradients=True)

    def call(self, method: Any, inputs: dict[str, np.ndarray], **options: Any) -> np.ndarray:
        """A method of a model that returns one array."""
        import torch

        with torch.no_grad():
            return flatten(method(**{name: torch.from_numpy(array) for name, array in inputs.items()}, **options))[""]

    def activation(self, name: str, values: np.ndarray) -> np.ndarray:
        """An activation by its name in a configuration, in float64."""
        import torch

        from clip_torch.layers import ACTIVATION_FUNCTIONS

        return ACTIVATION_FUNCTIONS[name](torch.from_numpy(values)).numpy()

    def weights(self, model: Any) -> dict[str, np.ndarray]:
        """The parameters by canonical name."""
        return {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}


BACKENDS = [TorchBackend(), TensorFlowBackend(), FlaxBackend()]
