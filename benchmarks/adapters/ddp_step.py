"""A training step of clip_torch with and without DistributedDataParallel, under `torchrun` with one process.

    torchrun --standalone --nproc_per_node=1 ddp_step.py CHECKPOINT RESULT.json [--device cuda] [--pairs 32]

First the gradients of both are compared in float32, then steps under bfloat16 autocast take turns.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import checkpoints
import torch
from interleaved import Measurement
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from clip_torch import CLIPModel
from clip_torch.distributed import Towers, gathered_loss

if TYPE_CHECKING:
    from torch import Tensor, nn

_TURNS = 10
_FEWER_PAIRS = 8  # for the gradients in float32


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("result", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--pairs", type=int, default=32)
    options = parser.parse_args()
    distributed.init_process_group("nccl" if options.device == "cuda" else "gloo")
    try:
        options.result.write_text(json.dumps(measure(options.checkpoint, options.device, options.pairs)))
    finally:
        distributed.destroy_process_group()


def measure(checkpoint: str, device: str, pairs: int) -> dict[str, Any]:
    """Return the difference of the gradients, and the times and memory of both ways."""
    model = CLIPModel.from_pretrained(checkpoint, dtype=torch.float32).to(device).train()
    towers = Towers(model)
    ways: dict[str, nn.Module] = {"DDP": DistributedDataParallel(towers), "one process": towers}
    few = batch(min(pairs, _FEWER_PAIRS), device)
    gradients = [gradients_of(model, way, few) for way in ways.values()]
    largest = max(float(gradient.abs().max()) for gradient in gradients[1].values())
    difference = max(float((gradients[0][name] - gradients[1][name]).abs().max()) for name in gradients[1])
    del gradients
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    whole = batch(pairs, device)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    peak: dict[str, int] = {}
    for turn in range(_TURNS + 2):  # the first two are not counted
        for name, way in ways.items():
            _synchronize(device, reset=True)
            start = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, dtype=torch.bfloat16):
                images, texts = way(whole)
            gathered_loss(images, texts, model.logit_scale.exp()).backward()
            optimizer.step()
            _synchronize(device)
            if turn >= 2:
                seconds[name].append(time.perf_counter() - start)
                peak[name] = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    found = {name: Measurement(name, taken) for name, taken in seconds.items()}
    return {
        "backend": distributed.get_backend(),
        "difference": difference / largest,
        "ways": {
            name: {"seconds": one.seconds, "median": one.median, "spread": one.spread, "peak": peak[name]}
            for name, one in found.items()
        },
    }


def gradients_of(model: CLIPModel, way: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradients of the contrastive loss by every parameter."""
    model.zero_grad(set_to_none=True)
    gathered_loss(*way(inputs), model.logit_scale.exp()).backward()
    return {name: tensor.grad.clone() for name, tensor in model.named_parameters() if tensor.grad is not None}


def batch(pairs: int, device: str) -> dict[str, Tensor]:
    """Return pairs of a picture and a text."""
    arrays = checkpoints.texts(pairs) | {"pixel_values": checkpoints.pictures(pairs)}
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def _synchronize(device: str, *, reset: bool = False) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
        if reset:
            torch.cuda.reset_peak_memory_stats()


if __name__ == "__main__":
    main()
