"""The reference, transformers 4.57.6, in a separate process.

The process imports transformers once and answers calls over a pipe; a call names a function of this file, or
`module.function` of another in this folder, and gives numpy arrays and plain values. So nothing that transformers does
to a process can help our code, and its cold import is paid once.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from importlib import import_module
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

import numpy as np


class Oracle:
    """The test's end of the pipe."""

    def __init__(self) -> None:
        self.listener = Listener(family="AF_UNIX")
        settings = {"HF_HUB_OFFLINE": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(Path(__file__).parents[1])}
        command = [sys.executable, "-W", "ignore", "-m", "support.oracle", str(self.listener.address)]
        self.process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.DEVNULL)
        self.connection: Connection = self.listener.accept()

    def __call__(self, function: str, **arguments: Any) -> Any:
        self.connection.send((function, arguments))
        ok, answer = self.connection.recv()
        if not ok:
            raise RuntimeError(f"the reference failed:\n{answer}")
        return answer

    def close(self) -> None:
        self.connection.close()
        self.listener.close()
        self.process.wait(timeout=60)


def flatten(output: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """Return a model's output, of any framework and library, as arrays by dotted name."""
    if output is None:
        return {}
    if hasattr(output, "items") or isinstance(output, (tuple, list)):
        items = output.items() if hasattr(output, "items") else enumerate(output)
        return {name: array for key, value in items for name, array in flatten(value, f"{prefix}{key}.").items()}
    if hasattr(output, "detach"):
        output = output.detach().cpu()
        output = output if str(output.dtype) == "torch.float64" else output.float()  # numpy has no bfloat16
    return {prefix.removesuffix("."): np.asarray(output)}


def torch_forward(
    folder: str,
    model_class: str,
    inputs: dict[str, np.ndarray],
    options: dict[str, Any],
    *,
    attn_implementation: str = "eager",
    dtype: str = "float32",
    gradients: bool = False,
) -> dict[str, np.ndarray]:
    """Return the outputs of a forward pass; with `gradients`, those of its loss, or else of `scalar`, too."""
    import transformers

    options_of_loading = {"attn_implementation": attn_implementation, "dtype": dtype}
    model = getattr(transformers, model_class).from_pretrained(folder, **options_of_loading)
    return torch_outputs(model, inputs, options, gradients=gradients)


def torch_outputs(
    model: Any, inputs: dict[str, np.ndarray], options: dict[str, Any], *, gradients: bool = False
) -> dict[str, np.ndarray]:
    """Return the same for a given model, ours or the reference's."""
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.set_grad_enabled(gradients):
        output = model(**tensors, **options)
    arrays = flatten(output)
    if gradients:
        loss = output["loss"] if "loss" in output else scalar(output)
        loss.backward()
        arrays |= {f"gradient.{name}": p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    return arrays


def scalar(output: Any) -> Any:
    """Return a number that depends on all of an output's tensors, to take gradients of.

    A weighted sum: one of squares would hardly change with what feeds a layer norm, and its gradients would be noise.
    """
    import torch

    tensors = [value for value in output.values() if isinstance(value, torch.Tensor)]

    def slopes(value: Any) -> Any:
        wide = torch.linspace(-1.0, 2.0, value.numel(), dtype=torch.float64)
        return wide.to(torch.promote_types(value.dtype, torch.float32))

    return sum((value.flatten() * slopes(value)).sum() for value in tensors)


def torch_features(folder: str, method: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return `get_text_features` or `get_image_features`."""
    import torch
    import transformers

    model = transformers.CLIPModel.from_pretrained(folder)
    with torch.no_grad():
        return np.asarray(getattr(model, method)(**{name: torch.from_numpy(array) for name, array in inputs.items()}))


def loads_without_remark(folder: str, model_class: str, **options: Any) -> dict[str, list[Any]]:
    """Return the reference's `output_loading_info` for a folder that we saved."""
    import transformers

    _, info = getattr(transformers, model_class).from_pretrained(folder, output_loading_info=True, **options)
    return {key: sorted(map(str, value)) for key, value in info.items()}


def save_reference(folder: str, model_class: str, *, seed: int = 0, dtype: str = "float32", **options: Any) -> None:
    """Add random weights, saved by the reference, to a folder with a config.json."""
    import torch
    import transformers

    torch.manual_seed(seed)
    cls = getattr(transformers, model_class)
    config = cls.config_class.from_pretrained(folder)
    cls(config).to(getattr(torch, dtype)).save_pretrained(folder, **options)


def classify(folder: str, images: list[str], texts: list[str]) -> np.ndarray:
    """Return probabilities `(images, texts)` as the reference's documentation computes them."""
    import torch
    from PIL import Image
    from transformers import CLIPModel, CLIPProcessor

    model, processor = CLIPModel.from_pretrained(folder), CLIPProcessor.from_pretrained(folder, use_fast=False)
    pictures = [Image.open(path) for path in images]
    batch = processor(text=texts, images=pictures, return_tensors="pt", padding=True)
    with torch.no_grad():
        return model(**batch).logits_per_image.softmax(dim=1).numpy()


def output_fields(class_name: str) -> list[str]:
    """Return the fields of one of the reference's output classes, in order."""
    import dataclasses

    from transformers import modeling_outputs
    from transformers.models.clip import modeling_clip

    cls = getattr(modeling_clip, class_name, None) or getattr(modeling_outputs, class_name)
    return [field.name for field in dataclasses.fields(cls)]


def config_fields(
    config_class: str, content: dict[str, Any] | None = None, folder: str | None = None, **options: Any
) -> dict[str, Any]:
    """Return `to_dict` of one of the reference's configurations, made of fields, or read from a folder."""
    import transformers

    cls = getattr(transformers, config_class)
    config = cls(**content) if folder is None else cls.from_pretrained(folder, **options)
    return config.to_dict()


def config_attributes(config_class: str) -> tuple[dict[str, Any], list[str]]:
    """Return the public attributes of a configuration of the reference with plain values, and what iteration gives."""
    import transformers

    config = getattr(transformers, config_class)()
    names = [name for name in dir(config) if not name.startswith("_") and name != "torch_dtype"]
    values = {name: getattr(config, name) for name in names}
    plain = (bool, int, float, str, list, dict, type(None))
    return {name: value for name, value in values.items() if isinstance(value, plain)}, list(config)


def save_config(config_class: str, content: dict[str, Any], folder: str) -> None:
    """Save one of the reference's configurations, made of fields."""
    import transformers

    getattr(transformers, config_class)(**content).save_pretrained(folder)


def parameter_shapes(model_class: str, folder: str) -> list[tuple[str, tuple[int, ...]]]:
    """Return names and shapes of the `state_dict` of a config.json's model, in order; nothing is allocated."""
    import torch
    import transformers
    from transformers.modeling_utils import no_init_weights

    cls = getattr(transformers, model_class)
    with torch.device("meta"), no_init_weights():
        model = cls(cls.config_class.from_pretrained(folder))
    return [(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items()]


def serve(address: str) -> None:
    """Answer calls until the other end closes."""
    with Client(address, family="AF_UNIX") as connection:
        while True:
            try:
                name, arguments = connection.recv()
            except EOFError:
                return
            try:
                module, function = name.split(".") if "." in name else ("oracle", name)
                call = getattr(import_module(f"support.{module}"), function)
                connection.send((True, call(**arguments)))
            except Exception:  # noqa: BLE001  whatever went wrong is the test's to show
                connection.send((False, traceback.format_exc()))


if __name__ == "__main__":
    serve(sys.argv[1])
