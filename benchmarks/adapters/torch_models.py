"""Adapter for CLIP in PyTorch: ours, or that of transformers 4 or 5, which differ only in the import."""

from __future__ import annotations

import importlib
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

# transformers 4.57 loads every framework it finds; only PyTorch should run here.
os.environ |= {"USE_TF": "0", "USE_FLAX": "0"}

_FULL = ("logits_per_image", "image_embeds", "text_embeds")


class TorchModel:
    """A loaded model.

    Args:
        model: in evaluation mode, on its device.
        versions: versions of the libraries that run it.
    """

    def __init__(self, model: Any, versions: dict[str, str]) -> None:
        self.model = model
        self.versions = versions
        self.graph = False
        self.runs_to_settle = 1
        if self.device.type == "cuda":
            self.memory, self.reset = self._device_memory, torch.cuda.reset_peak_memory_stats

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return next(self.model.parameters()).device

    def work(self, stage: str, inputs: dict[str, np.ndarray], **options: Any) -> Callable[[], dict[str, Any]]:
        """Return the timed function: one complete run of the stage, on inputs already on the device."""
        tensors = {name: self._given(torch.from_numpy(array)) for name, array in inputs.items()}
        run = partial(getattr(self, f"_{stage}"), tensors, options)
        if self.graph:
            run = self._recorded(run)

        def work() -> dict[str, Any]:
            with torch.inference_mode():
                result = run()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            return result

        return work

    def arrays(self, results: dict[str, Any]) -> dict[str, np.ndarray]:
        """Return results as numpy arrays, with unit-norm features, so that one tolerance applies to all."""
        return {name: unit_features(name, tensor.float()).cpu().numpy() for name, tensor in results.items()}

    def _recorded(self, run: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
        """Record the kernels of a run as a CUDA graph, following PyTorch's notes; return a function that replays it."""
        if self.device.type != "cuda":  # a rehearsal
            return run
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside), torch.inference_mode():
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            results = run()

        def replay() -> dict[str, Any]:
            graph.replay()
            return results

        return replay

    def _given(self, tensor: torch.Tensor) -> torch.Tensor:
        dtype = next(self.model.parameters()).dtype if tensor.is_floating_point() else tensor.dtype
        return tensor.to(self.device, dtype)

    def _images(self, inputs: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        if not hasattr(self.model, "get_image_features"):  # a tower; its forward pass is compiled
            return {"image_features": self.model(**inputs, **options).image_embeds}
        return {"image_features": _tensor(self.model.get_image_features(**inputs, **options))}

    def _texts(self, inputs: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        return {"text_features": _tensor(self.model.get_text_features(**inputs, **options))}

    def _full(self, inputs: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        output = self.model(**inputs, **options)
        return {name: output[name] for name in _FULL}

    def _tower(self, inputs: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        return {"pooler_features": self.model(**inputs, **options).pooler_output}

    def _device_memory(self) -> dict[str, int]:
        return {"now": torch.cuda.memory_allocated(), "peak": torch.cuda.max_memory_allocated()}


def load(
    library: str,
    checkpoint: str,
    threads: int,
    *,
    class_name: str = "CLIPModel",
    device: str = "cpu",
    dtype: str = "float32",
    attn_implementation: str = "sdpa",
    compiled: str = "",
    prepared: bool = False,
    rehearse: bool = False,
) -> TorchModel:
    """Load a checkpoint.

    Args:
        library: "clip_torch" or "transformers".
        checkpoint: the folder.
        threads: number of threads to use.
        class_name: the model class.
        device: the device.
        dtype: dtype of the weights and the computation.
        attn_implementation: same names in both libraries.
        compiled: replay CUDA graphs of TorchInductor's kernels ("inductor") or of the model's own ("graph").
        prepared: prepare for inference on a CPU; ours only.
        rehearse: run GPU code on a CPU, with stand-ins for FlashAttention's kernels.
    """
    torch.set_num_threads(threads)
    if rehearse and library == "clip_torch":
        _replace_flash_attention()
    package = importlib.import_module(library)
    options = {"attn_implementation": attn_implementation, "dtype": getattr(torch, dtype)}
    model = getattr(package, class_name).from_pretrained(checkpoint, **options).eval().to(device)
    if prepared:
        model.prepare_for_inference()
    if compiled == "inductor":  # separately for each shape, so that a row does not depend on earlier ones
        model.compile(mode="reduce-overhead" if device == "cuda" else "default", dynamic=False)
    found = {"torch": torch.__version__}
    if library == "transformers":
        major = package.__version__.partition(".")[0]
        found["transformers" if major == "4" else f"transformers {major}"] = package.__version__
    if device == "cuda":
        found |= {"CUDA": str(torch.version.cuda), "GPU": torch.cuda.get_device_name()}
    made = TorchModel(model, found)
    made.graph = compiled == "graph"
    made.runs_to_settle = 3 if compiled else 1  # a graph is recorded in the second run, and replayed from the third
    return made


def _replace_flash_attention() -> None:
    sys.path.append(str(Path(__file__).parents[2] / "tests"))
    import pytest

    from support import flash_kernels

    flash_kernels.install("torch 2.11", pytest.MonkeyPatch())


def unit_features(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return features normalized to unit norm; anything else unchanged."""
    return torch.nn.functional.normalize(tensor, dim=-1) if name.endswith("features") else tensor


def _tensor(result: Any) -> Any:
    """Return features, which transformers 5 wraps in an object."""
    return getattr(result, "pooler_output", result)
