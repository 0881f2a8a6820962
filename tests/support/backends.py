"""The backends for the shared suite: models by class name, numpy in, flat dictionaries of numpy out."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any
from unittest import mock

from support.backend_flax import FlaxBackend
from support.backend_tf import TensorFlowBackend
from support.entries import assert_same
from support.oracle import flatten, torch_outputs

if TYPE_CHECKING:
    import numpy as np


class TorchBackend:
    """PyTorch.

    Attributes:
        own_file: the name of the file that `safe_serialization=False` writes.
        precise: the dtype in which implementations of attention are compared.
        no_dropout: what its attention functions take for it.
        embedding_size: the attribute that holds an embedding's number of rows.
        dtype_keywords: what `from_pretrained` calls the dtype of the parameters.
    """

    name = "torch"
    own_file = "pytorch_model.bin"
    precise = "float64"
    no_dropout = 0.0
    embedding_size = "num_embeddings"
    dtype_keywords = ("dtype", "torch_dtype")

    def build(self, class_name: str, config: Any, seed: int = 0, dtype: str = "float32") -> Any:
        """Build a model with random weights, in evaluation mode."""
        import torch

        import clip_torch

        torch.manual_seed(seed)
        return getattr(clip_torch, class_name)(config).to(getattr(torch, dtype)).eval()

    def load(self, class_name: str, source: Any, *, seed: int = 0, **options: Any) -> Any:
        """Load a model; `seed` is that of newly initialized weights."""
        import torch

        import clip_torch

        torch.manual_seed(seed)
        return getattr(clip_torch, class_name).from_pretrained(source, **options)

    def module(self, name: str) -> Any:
        """Import a module of the package, such as "attention"."""
        return import_module(f"clip_torch.{name}")

    def tensor(self, array: Any, dtype: str | None = None) -> Any:
        """Return an array as the framework's tensor."""
        import torch

        return torch.as_tensor(array, dtype=None if dtype is None else getattr(torch, dtype))

    def double_precision(self) -> AbstractContextManager[Any]:
        """Allow float64."""
        return nullcontext()

    def dtype(self, name: str) -> Any:
        """Return a dtype of the framework by name."""
        import torch

        return getattr(torch, name)

    def other_layer(self) -> Any:
        """Return a layer that is not CLIP's."""
        import torch

        return torch.nn.Identity()

    def forward(self, model: Any, inputs: dict[str, np.ndarray], **options: Any) -> dict[str, np.ndarray]:
        return torch_outputs(model, inputs, options)

    def train(
        self, model: Any, inputs: dict[str, np.ndarray], seed: int, method: str = "__call__", **options: Any
    ) -> dict[str, np.ndarray]:
        """Return the outputs of a method in training mode; `seed` is that of dropout."""
        import torch

        torch.manual_seed(seed)
        outputs = torch_outputs(getattr(model.train(), method), inputs, options)
        model.eval()
        return outputs

    def dropout(self, layer: Any, seed: int) -> Any:
        """Return what attention functions take for dropout, as a layer of attention gives it to them in training."""
        import torch

        torch.manual_seed(seed)
        return layer.dropout

    def ways_to_run(self, model: Any, **options: Any) -> dict[str, Any]:
        """Return functions of a dictionary of arrays that give the model's own outputs: "plain", and compiled ones."""
        import torch

        def run(function: Any) -> Any:
            def outputs(inputs: dict[str, np.ndarray]) -> Any:
                with torch.no_grad():
                    return function(**self._tensors(inputs), **options)

            return outputs

        compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
        return {"plain": run(model), "one graph": run(compiled)}

    def exported(self, model: Any, inputs: dict[str, np.ndarray]) -> Any:
        """Return a model as an exported function of a dictionary of arrays, of as many rows as these are or others."""
        import torch

        shapes = {name: {0: torch.export.Dim.DYNAMIC} for name in inputs}
        program = torch.export.export(model, (), self._tensors(inputs), dynamic_shapes=shapes).module()
        return lambda inputs: program(**self._tensors(inputs))

    def gradients_by_sample(
        self, model: Any, pixels: np.ndarray
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Return gradients of the squared pooled states of images: vectorized over images and summed, and at once."""
        import torch

        parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}
        images = torch.from_numpy(pixels)

        def loss(weights: Any, image: Any) -> Any:
            return torch.func.functional_call(model, weights, (image[None],)).pooler_output.square().sum()

        by_image = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, images)
        together = torch.func.grad(lambda weights: sum(loss(weights, image) for image in images))(parameters)
        return flatten({name: array.sum(0) for name, array in by_image.items()}), flatten(together)

    def losses(self, model: Any, inputs: dict[str, np.ndarray], steps: int, rate: float) -> list[float]:
        """Return the losses of steps of the framework's own Adam."""
        import torch

        optimizer, tensors, found = torch.optim.Adam(model.parameters(), rate), self._tensors(inputs), []
        for _ in range(steps):
            optimizer.zero_grad()
            loss = model(**tensors, return_loss=True).loss
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        return found

    def runs_of_layers(self, model: Any, inputs: dict[str, np.ndarray], *, training: bool = True) -> int:
        """Count how often layers run for gradients, in the forward pass and the backward pass."""
        attention = self.module("attention")
        with mock.patch.object(attention, "attend", wraps=attention.attend) as attend:
            self.gradients(model, inputs, dropout_seed=0 if training else None)
        return attend.call_count

    def _tensors(self, inputs: dict[str, np.ndarray]) -> dict[str, Any]:
        import torch

        return {name: torch.from_numpy(array) for name, array in inputs.items()}

    def gradients(
        self, model: Any, inputs: dict[str, np.ndarray], *, dropout_seed: int | None = None, **options: Any
    ) -> dict[str, np.ndarray]:
        """Return outputs and gradients of the loss or of `support.oracle.scalar`; a seed implies training."""
        import torch

        if dropout_seed is not None:
            torch.manual_seed(dropout_seed)
        return torch_outputs(model.train(dropout_seed is not None), inputs, options, gradients=True)

    def value_and_gradient(self, function: Any, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the value of a scalar function of one tensor, and its gradient."""
        import torch

        tensor = torch.from_numpy(array).requires_grad_()
        value = function(tensor)
        value.backward()
        return value.detach().numpy(), tensor.grad.numpy()

    def call(self, method: Any, inputs: dict[str, np.ndarray], **options: Any) -> np.ndarray:
        """Return the result of a model's method that returns one array."""
        import torch

        with torch.no_grad():
            return flatten(method(**self._tensors(inputs), **options))[""]

    def activation(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return an activation by its name in a configuration, in float64."""
        import torch

        from clip_torch.layers import ACTIVATION_FUNCTIONS

        return ACTIVATION_FUNCTIONS[name](torch.from_numpy(values)).numpy()

    def weights(self, model: Any) -> dict[str, np.ndarray]:
        """Return the parameters by canonical name."""
        return {name: tensor.float().numpy() for name, tensor in model.state_dict().items()}

    def dtypes(self, model: Any) -> dict[str, str]:
        """Return the parameters' dtypes by canonical name."""
        return {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in model.state_dict().items()}

    def cast(self, model: Any, dtype: str) -> Any:
        """Return a model with its parameters in a dtype; it may be the same model."""
        return model.to(self.dtype(dtype))

    def state_dict(self, model: Any) -> Any:
        """Return the parameters as `from_pretrained(state_dict=...)` takes them."""
        return model.state_dict()

    def to_save(self, model: Any) -> dict[str, Any]:
        """Return the keyword of `save_pretrained` that gives it these parameters."""
        return {"state_dict": model.state_dict()}

    def assign(self, model: Any, name: str, array: Any) -> None:
        """Set a parameter by canonical name."""
        import torch

        model.get_parameter(name).data.copy_(torch.as_tensor(array))

    def add_one(self, model: Any) -> None:
        """Add 1 to every parameter in place, as an optimizer changes them."""
        import torch

        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1.0)


def assert_same_weights(backend: Any, one: Any, other: Any) -> None:
    """Check that two models of a backend have the same parameters in the same order, to the bit."""
    assert list(backend.weights(one)) == list(backend.weights(other))
    assert backend.dtypes(one) == backend.dtypes(other)
    assert_same(backend.weights(one), backend.weights(other))


TORCH, TENSORFLOW, FLAX = BACKENDS = TorchBackend(), TensorFlowBackend(), FlaxBackend()
