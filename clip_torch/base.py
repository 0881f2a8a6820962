"""The methods of every model class: dtype and device, embeddings, pruning, gradient checkpointing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from clip_core.modeling.handles import ModelHandles
from clip_torch.inference import check_change, check_preparable, prepare, refuse
from clip_torch.layers import CLIPEncoder
from clip_torch.plan import check_implementation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class CLIPBaseModel(ModelHandles, nn.Module):
    """A model and its configuration.

    Args:
        config: the model's configuration. A class of one tower also takes a CLIPConfig, and uses its tower's part.
    """

    _check_implementation = staticmethod(check_implementation)
    _is_prepared = False

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config: Any = self._own_config(config)
        self.name_or_path = self.config.name_or_path  # PEFT reads it from the instance's `__dict__`
        self._embedding_hook: torch.utils.hooks.RemovableHandle | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the floating-point parameters."""
        return next(parameter.dtype for parameter in self.parameters() if parameter.is_floating_point())

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return the number of parameters.

        Args:
            only_trainable: count only trainable parameters.
            exclude_embeddings: leave out the embedding tables and the patch convolution.
        """
        return sum(
            parameter.numel()
            for name, parameter in self.named_parameters()
            if not (only_trainable and not parameter.requires_grad)
            and not (exclude_embeddings and "embedding." in name)
        )

    def _vocab_size(self) -> int | None:
        embeddings = self.get_input_embeddings()
        return embeddings.num_embeddings if isinstance(embeddings, nn.Embedding) else None

    def _resize(self, count: int, initializer_factor: float, *, mean_resizing: bool) -> None:
        old: nn.Embedding = self.get_input_embeddings()
        weight = _resized(old.weight.detach(), count, initializer_factor, mean_resizing=mean_resizing)
        old.weight = nn.Parameter(weight, old.weight.requires_grad)
        old.num_embeddings = count

    # Inference

    def prepare_for_inference(self) -> Self:
        """Optimize the model in place for inference on this CPU: about a fifth faster, for one input and for many.

        A model in bfloat16 keeps its dtype, and takes about half the time of float32 on a CPU with AMX.

        This cannot be undone. A prepared model has the same outputs up to rounding (1e-5 in float32), but can no longer
        be trained, saved, pruned, moved or differentiated. Preparing it again has no effect.

        Returns:
            The model, in evaluation mode.

        Raises:
            ValueError: it is not on a CPU in float32, or in bfloat16 with support by the CPU; this build of PyTorch
                lacks oneDNN; or it has adapters that were not merged.
        """
        check_preparable(self)
        prepare(self)
        self._is_prepared = True
        return self.eval()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, or with False evaluation mode.

        Args:
            mode: True for training.

        Returns:
            The model.

        Raises:
            ValueError: the model was prepared for inference.
        """
        if mode and self._is_prepared:
            refuse("train it")
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        if self._is_prepared:
            check_change(fn, self.dtype)
        return super()._apply(fn, recurse)

    # Training

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None) -> None:
        """Recompute each layer in the backward pass instead of keeping its inner states: less memory, more time.

        Args:
            gradient_checkpointing_kwargs: keywords of `torch.utils.checkpoint.checkpoint`; `use_reentrant` is False
                unless given.
        """
        super().gradient_checkpointing_enable()
        for encoder in self._encoders():
            encoder.gradient_checkpointing_options = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}

    def _encoders(self) -> Iterable[CLIPEncoder]:
        return (module for module in self.modules() if isinstance(module, CLIPEncoder))

    def enable_input_require_grads(self) -> None:
        """Let gradients flow from the embeddings' output, for adapters on a frozen model with checkpointing."""

        def require_grad(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            output.requires_grad_(True)

        self._embedding_hook = self.get_input_embeddings().register_forward_hook(require_grad)

    def disable_input_require_grads(self) -> None:
        """Undo `enable_input_require_grads`."""
        if self._embedding_hook is not None:
            self._embedding_hook.remove()
            self._embedding_hook = None


def _resized(table: Tensor, count: int, initializer_factor: float, *, mean_resizing: bool) -> Tensor:
    if count <= len(table):
        return table[:count].clone()
    added = torch.empty(count - len(table), table.shape[1], dtype=torch.float32, device=table.device)
    if mean_resizing:
        added.copy_(table.float().mean(dim=0))
    else:
        added.normal_(std=0.02 * initializer_factor)
    return torch.cat([table, added.to(table.dtype)])
