"""Training on several processes: each pair has the negatives of all, and the gradients equal those of one process.

Each process computes the loss of its own pairs against those of all processes. The gradient of a gathered embedding
returns to the process that computed it, so the mean over processes, which DDP takes, is the gradient of the whole
batch.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from clip_torch.model import unit_norm

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clip_torch.model import CLIPModel


def check_parallel(parallel: str | None) -> None:
    """Check the strategy for training on several processes.

    Raises:
        ValueError: there is no such strategy; or it is "fsdp" with only one process.
    """
    if parallel not in {None, "ddp", "fsdp"}:
        raise ValueError(f"parallel={parallel!r} is unknown; give ddp or fsdp")
    if parallel == "fsdp" and int(os.environ.get("WORLD_SIZE", "1")) < 2:
        raise ValueError(
            "parallel='fsdp' shards the weights over processes, but there is only one; start several: "
            "torchrun --nproc_per_node=2 --no-python clip-zoo train ..."
        )


def join_processes(device: torch.device) -> None:
    """Join the processes that `torchrun` started, if there are several."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)  # objects are exchanged through this device
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def local_device() -> str:
    """Return the device of this process: its own GPU if there are several processes, otherwise "auto"."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else "cpu"
    return "auto"


def process_index() -> int:
    """Return the index of this process among those that train together."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def process_count() -> int:
    """Return the number of processes that train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


class Towers(nn.Module):
    """Both towers and their projections as one module, because DDP tracks the outputs of a module's call.

    The temperature is not included: only the loss uses it, so DDP would wait for its gradient forever.
    """

    def __init__(self, model: CLIPModel) -> None:
        super().__init__()
        self.text_model, self.vision_model = model.text_model, model.vision_model
        self.text_projection, self.visual_projection = model.text_projection, model.visual_projection

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Embed images and texts in the joint space, each `(pairs, projection)`, with unit norm, in float32."""
        images = self.visual_projection(self.vision_model(batch["pixel_values"]).pooler_output)
        texts = self.text_model(batch["input_ids"], batch.get("attention_mask"))
        return unit_norm(images.float()), unit_norm(self.text_projection(texts.pooler_output).float())


class Replicated:
    """Towers with all weights on every process; DDP averages the gradients of several processes.

    Args:
        towers: the towers.

    Attributes:
        towers: the module to call for a pass with gradients.
    """

    def __init__(self, towers: Towers) -> None:
        self.towers: nn.Module = (
            towers if process_count() == 1 else DistributedDataParallel(towers, broadcast_buffers=False)
        )

    def added_up(self, *, is_last: bool) -> AbstractContextManager[Any]:
        """Wrap the backward pass of a piece of a batch: processes exchange gradients only after the last piece."""
        if is_last or not isinstance(self.towers, DistributedDataParallel):
            return nullcontext()
        return self.towers.no_sync()

    def own_part(self, tensor: Tensor) -> Tensor:
        """Return this process's part of a parameter or gradient, which is all of it."""
        return tensor

    def total_norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Return the Euclidean norm of all gradients."""
        return torch.nn.utils.get_total_norm(gradients)

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return complete tensors, which the first process saves. Every process must call this."""
        return dict(tensors)

    def placed(self, tensor: Tensor, parameter: Tensor) -> Tensor:
        """Return a complete tensor, in the form of the parameter."""
        return tensor.to(parameter.device).clone()


class _Gather(torch.autograd.Function):
    """The rows of all processes, concatenated; a row's gradient is the sum over all processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # noqa: ARG004  the signature is PyTorch's
        parts = [torch.empty_like(rows) for _ in range(process_count())]
        distributed.all_gather(parts, rows)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *of_rows: Tensor) -> Tensor:  # noqa: ARG004
        total = of_rows[0].contiguous()
        distributed.all_reduce(total)
        return total.chunk(process_count())[process_index()]


def gathered_loss(images: Tensor, texts: Tensor, scale: Tensor, chunk: int | None = None) -> Tensor:
    """Return the contrastive loss of this process's pairs against those of all processes: a scalar.

    Args:
        images: `(pairs, projection)` of this process, of unit norm.
        texts: `(pairs, projection)` of this process, of unit norm.
        scale: the factor of the cosines.
        chunk: rows of similarities in memory at a time; None for all of this process's.
    """
    all_images, all_texts = (_Gather.apply(part.contiguous()) for part in (images, texts))
    right = torch.arange(len(images), device=images.device) + process_index() * len(images)
    over_images = _mean_cross_entropy(texts, all_images, scale, right, chunk)
    over_texts = _mean_cross_entropy(images, all_texts, scale, right, chunk)
    return (over_images + over_texts) / 2.0


def _mean_cross_entropy(rows: Tensor, columns: Tensor, scale: Tensor, right: Tensor, chunk: int | None) -> Tensor:
    """Compute the loss of similarities `(rows, columns)` with known targets. The backward pass recomputes chunks."""
    if chunk is None:
        return F.cross_entropy(rows @ columns.t() * scale, right)
    parts = zip(rows.split(chunk), right.split(chunk), strict=True)
    sums = [checkpoint(_cross_entropy, part, columns, scale, answers, use_reentrant=False) for part, answers in parts]
    return torch.stack(sums).sum() / len(rows)


def _cross_entropy(rows: Tensor, columns: Tensor, scale: Tensor, right: Tensor) -> Tensor:
    return F.cross_entropy(rows @ columns.t() * scale, right, reduction="sum")


def mean_over_processes(tensor: Tensor) -> Tensor:
    """Replace a tensor by its mean over all processes, and return it."""
    if process_count() > 1:
        distributed.all_reduce(tensor)
        tensor /= process_count()
    return tensor


def gathered_objects(value: Any) -> list[Any]:
    """Return the plain values of all processes, in order."""
    values = [value] * process_count()
    if process_count() > 1:
        distributed.all_gather_object(values, value)
    return values
