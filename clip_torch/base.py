"""The handles that every model class offers: dtype and device, embeddings, pruning, gradient checkpointing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from clip_core.configuration.clip import own_config
from clip_core.modeling.embeddings import new_vocab_size, warn_of_legacy_pooling
from clip_core.modeling.pruning import heads_by_tower
from clip_torch.attention import check_implementation
from clip_torch.inference import check_change, check_preparable, prepare, refuse
from clip_torch.layers import CLIPEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


class CLIPBaseModel(nn.Module):
    """A model and its configuration.

    Args:
        config: the model's configuration. A class of one tower also takes a CLIPConfig and picks its tower's.
    """

    config_class: ClassVar[type[Any]]
    base_model_prefix = "clip"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _is_prepared = False

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.config: Any = own_config(config, self.config_class, type(self).__name__)
        for part in (self.config, *(getattr(self.config, key) for key in self.config.sub_configs)):
            check_implementation(part.attn_implementation)
        self._embedding_hook: torch.utils.hooks.RemovableHandle | None = None

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the floating-point parameters."""
        return next(parameter.dtype for parameter in self.parameters() if parameter.is_floating_point())

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    @property
    def name_or_path(self) -> str:
        """Where the configuration was read from."""
        return cast("str", self.config.name_or_path)

    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """The number of parameters; embeddings are the tables and the patch convolution."""
        return sum(
            parameter.numel()
            for name, parameter in self.named_parameters()
            if not (only_trainable and not parameter.requires_grad)
            and not (exclude_embeddings and "embedding." in name)
        )

    def set_attn_implementation(self, attn_implementation: str | dict[str, str]) -> None:
        """Change the attention implementation of a model at hand.

        Args:
            attn_implementation: one for all; or a dict that tells the towers apart, as in {"text_config": "eager"}.

        Raises:
            ValueError: no implementation has this name; nothing is changed then.
        """
        if isinstance(attn_implementation, dict):
            attn_implementation = {key: check_implementation(name) for key, name in attn_implementation.items()}
        else:
            attn_implementation = check_implementation(attn_implementation)
        self.config.attn_implementation = attn_implementation

    # Embeddings

    def _input_embedding(self) -> tuple[nn.Module, str]:
        """The module that holds the input embedding, and its name there."""
        tower: Any = getattr(self, "text_model", None)
        if tower is not None:
            return tower.embeddings, "token_embedding"
        tower = self.vision_model
        return tower.embeddings, "patch_embedding"

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding, or for a model without a text tower the patch embedding."""
        return cast("nn.Module", getattr(*self._input_embedding()))

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embedding, or for a model without a text tower the patch embedding."""
        setattr(*self._input_embedding(), value)

    def get_output_embeddings(self) -> None:
        """None: CLIP has no output embedding. Libraries for fine-tuning ask."""

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, mean_resizing: bool = True
    ) -> nn.Embedding:
        """Grow or cut the token embedding, and note the new `vocab_size` in the configuration.

        Args:
            new_num_tokens: the new number of tokens, `len(tokenizer)` after tokens were added; None to keep it.
            pad_to_multiple_of: round the number up to a multiple of this.
            mean_resizing: start new rows at the mean of the old (Hewitt 2021), where transformers draws them next to
                it; otherwise draw them as a fresh model does.

        Returns:
            The embedding, which is also in its place in the model.

        Raises:
            TypeError: the model has no text tower.
        """
        old = self.get_input_embeddings()
        if not isinstance(old, nn.Embedding):
            raise TypeError(f"{type(self).__name__} has no token embedding; resize_token_embeddings needs one")
        count = new_vocab_size(old.num_embeddings, new_num_tokens, pad_to_multiple_of)
        text_config = getattr(self.config, "text_config", self.config)
        warn_of_legacy_pooling(text_config, old.num_embeddings, count)
        if count != old.num_embeddings:
            weight = _resized(old.weight.detach(), count, text_config.initializer_factor, mean_resizing=mean_resizing)
            old.weight = nn.Parameter(weight, old.weight.requires_grad)
            old.num_embeddings = count
        text_config.vocab_size = count
        return old

    # Pruning

    def prune_heads(self, heads_to_prune: Mapping[Any, Any]) -> None:
        """Remove attention heads for good, and note them in the configuration.

        Args:
            heads_to_prune: layer index to heads, numbered as in the unpruned model. For a CLIPModel, one such mapping
                under "text_model", "vision_model" or both.

        Raises:
            ValueError: a layer or head does not exist, or a layer would lose its last head.
        """
        towers = [name for name in ("text_model", "vision_model") if hasattr(self, name)]
        for name, heads in heads_by_tower(heads_to_prune, towers).items():
            getattr(self, name).prune_heads(heads)

    # Inference

    def prepare_for_inference(self) -> Self:
        """Lay the model out for inference on this CPU: some fifth less time, for one picture or text and for many.

        A model in bfloat16 stays so, and takes some half of float32's time where the CPU multiplies it (with AMX).

        In place, and for good: a prepared model gives the same outputs within rounding (1e-5 in float32), and can no
        longer be trained, saved, pruned, moved or differentiated. Nothing happens to one that is prepared already.

        Returns:
            The model, in evaluation mode.

        Raises:
            ValueError: it is not in float32 on a CPU, nor in bfloat16 on one that multiplies it; this build of PyTorch
                is without oneDNN; or adapters are in it that were not merged.
        """
        check_preparable(self)
        prepare(self)
        self._is_prepared = True
        return self.eval()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, or with False evaluation mode.

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
        for encoder in self._encoders():
            encoder.gradient_checkpointing = True
            encoder.gradient_checkpointing_options = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}

    def gradient_checkpointing_disable(self) -> None:
        """Undo `gradient_checkpointing_enable`."""
        for encoder in self._encoders():
            encoder.gradient_checkpointing = False

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether any tower recomputes its layers."""
        return any(encoder.gradient_checkpointing for encoder in self._encoders())

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
