"""Training step of clip_torch with and without DistributedDataParallel, under `torchrun` with one process.

    torchrun --standalone --nproc_per_node=1 ddp_step.py CHECKPOINT RESULT.json [--device cuda] [--pairs 32]

The gradients are first compared in float32; then steps under bfloat16 autocast take turns.
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
from timing import orders
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
    """Return the difference of the gradients, and times and memory with and without DDP."""
    model = CLIPModel.from_pretrained(checkpoint, dtype=torch.float32).to(device).train()
    towers = Towers(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)
    whole, few = batch(pairs, device), batch(min(pairs, _FEWER_PAIRS), device)
    plain = gradients_of(model, towers, few)
    peak = {
        "one process": max(step(model, towers, whole, optimizer)[1] for _ in range(2))
    }  # before DDP allocates its buckets
    ways: dict[str, nn.Module] = {"one process": towers, "DDP": DistributedDataParallel(towers)}
    model.load_state_dict(CLIPModel.from_pretrained(checkpoint, dtype=torch.float32).state_dict())
    parallel = gradients_of(model, ways["DDP"], few)
    largest = max(float(gradient.abs().max()) for gradient in plain.values())
    difference = max(float((parallel[name] - gradient).abs().max()) for name, gradient in plain.items())
    del plain, parallel
    peak["DDP"] = max(step(model, ways["DDP"], whole, optimizer)[1] for _ in range(2))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for order in orders(ways, _TURNS):
        for name in order:
            seconds[name].append(step(model, ways[name], whole, optimizer)[0])
    found = {name: Measurement(name, taken) for name, taken in seconds.items()}
    return {
        "backend": distributed.get_backend(),
        "difference": difference / largest,
        "ways": {
            name: {"seconds": one.seconds, "median": one.median, "spread": one.spread, "peak": peak[name]}
            for name, one in found.items()
        },
    }


def step(
    model: CLIPModel, way: nn.Module, inputs: dict[str, Tensor], optimizer: torch.optim.AdamW
) -> tuple[float, int]:
    """Train on a batch; return the seconds, and the peak bytes of device memory."""
    on_gpu = model.device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(model.device.type, dtype=torch.bfloat16):
        images, texts = way(inputs)
    gathered_loss(images, texts, model.logit_scale.exp()).backward()
    optimizer.step()
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - start, torch.cuda.max_memory_allocated() if on_gpu else 0


def gradients_of(model: CLIPModel, way: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradients of the contrastive loss for every parameter."""
    model.zero_grad(set_to_none=True)
    gathered_loss(*way(inputs), model.logit_scale.exp()).backward()
    return {name: tensor.grad.clone() for name, tensor in model.named_parameters() if tensor.grad is not None}


def batch(pairs: int, device: str) -> dict[str, Tensor]:
    """Return image-text pairs."""
    arrays = checkpoints.texts(pairs) | {"pixel_values": checkpoints.pictures(pairs)}
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


if __name__ == "__main__":
    main()
