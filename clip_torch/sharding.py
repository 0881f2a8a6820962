"""Weights sharded over processes (FSDP2): each process keeps a part of every tensor, and gathers a layer to run it.

Imported only when used, because PyTorch's FSDP takes most of a second to load.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from clip_torch.distributed import process_count, process_index
from clip_torch.layers import CLIPEncoderLayer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clip_core.training.settings import Precision
    from clip_torch.distributed import Towers


class Sharded:
    """The towers with a part of every weight on each process; twin of `clip_torch.distributed.Replicated`.

    Args:
        towers: the towers, with the same weights on every process. Each parameter is replaced by this process's part.
        precision: precision of the computation. In bf16 the layers' weights are also gathered in bf16; gradients are
            averaged in float32.

    Attributes:
        towers: the module to call for a pass with gradients.
    """

    def __init__(self, towers: Towers, precision: Precision) -> None:
        mesh = init_device_mesh(next(towers.parameters()).device.type, (process_count(),))
        layers = [module for module in towers.modules() if isinstance(module, CLIPEncoderLayer)]
        policy = MixedPrecisionPolicy()
        if precision == "bf16":
            # Weights that autocast rounds before each product are gathered in rounded form, so that results equal those
            # of one process. Autocast does not round norms, so they are sharded separately. The root holds the
            # embeddings.
            fully_shard([norm for layer in layers for norm in (layer.layer_norm1, layer.layer_norm2)], mesh=mesh)
            policy = MixedPrecisionPolicy(torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False)
        for layer in layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        self.towers: nn.Module = towers
        fully_shard(towers, mesh=mesh)

    def added_up(self, *, is_last: bool) -> AbstractContextManager[Any]:  # noqa: ARG002  the signature is its twin's
        """Wrap the backward pass of a piece: gradients are reduced immediately, and no process keeps all of them."""
        return nullcontext()

    def own_part(self, tensor: Tensor) -> Tensor:
        """Return this process's part of a parameter or gradient."""
        return tensor.to_local() if isinstance(tensor, DTensor) else tensor

    def total_norm(self, gradients: Sequence[Tensor]) -> Tensor:
        """Return the Euclidean norm of all gradients; each process holds a part of them."""
        parts = [tensor.to_local() for tensor in gradients if isinstance(tensor, DTensor)]
        squares = torch.nn.utils.get_total_norm(parts).square()
        distributed.all_reduce(squares)
        rest = torch.nn.utils.get_total_norm([tensor for tensor in gradients if not isinstance(tensor, DTensor)])
        return (squares + rest.square()).sqrt()

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return complete tensors, which the first process saves. Every process must call this.

        Returns:
            All tensors on the first process's CPU; an empty dict on the others.
        """
        gathered = {}
        for name, tensor in tensors.items():
            full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
            if process_index() == 0:
                gathered[name] = full.cpu()
        return gathered

    def placed(self, tensor: Tensor, parameter: Tensor) -> Tensor:
        """Return a complete tensor, equal on every process, sharded like the parameter."""
        tensor = tensor.to(parameter.device)
        if not isinstance(parameter, DTensor):
            return tensor.clone()
        return distribute_tensor(tensor, parameter.device_mesh, parameter.placements, src_data_rank=None)
