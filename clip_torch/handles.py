"""Methods that only transformers' PyTorch models have: masks, counts and inputs."""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from clip_core.modeling.parameters import plain_class_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

_TOKENS = ((7, 6, 0, 0, 1), (1, 2, 3, 0, 0), (0, 0, 0, 4, 5))


def make_traceable(model_class: type[Any]) -> None:
    """Let transformers' `symbolic_trace` make inputs for a class as for its own; only if it is loaded already.

    Args:
        model_class: the class, which has `dummy_inputs`; its subclasses count too.
    """
    tracer: Any = getattr(sys.modules.get("transformers.utils.fx"), "HFTracer", None)
    if model_class not in getattr(tracer, "supported_archs", (model_class,)):
        tracer.supported_archs += (model_class,)


def complete_trainer(model_class: type[Any]) -> None:
    """Let transformers' `Trainer` save the configuration beside the weights of a class; only if it is loaded already.

    `Trainer` calls `save_pretrained` only for a `PreTrainedModel`. For any other module, it writes the weights alone,
    and has no hook for more.

    Args:
        model_class: the class; its subclasses count too.
    """
    trainer: Any = getattr(sys.modules.get("transformers.trainer"), "Trainer", None)
    save = getattr(trainer, "_save", None)
    if save is None or hasattr(save, "__wrapped__"):
        return

    @wraps(save)
    def save_all(self: Any, output_dir: str | None = None, *args: Any, **kwargs: Any) -> None:
        save(self, output_dir, *args, **kwargs)
        save_config(self.model, Path(self.args.output_dir if output_dir is None else output_dir), model_class)

    trainer._save = save_all  # noqa: SLF001  the only method that knows the folder of every save


def save_config(model: Any, folder: Path, model_class: type[Any]) -> None:
    """Save the configuration of a model beside its weights.

    Args:
        model: the model, which `torch.compile` may have wrapped. Any other module is ignored.
        folder: the folder.
        model_class: the class of models to save.
    """
    model = getattr(model, "_orig_mod", model)  # the module inside torch.compile's wrapper
    if not isinstance(model, model_class):  # for example PEFT's, which saves its own adapter
        return
    model.config.architectures = [plain_class_name(type(model).__name__)]
    model.config.dtype = model.dtype
    model.config.save_pretrained(folder)


class TorchHandles:
    """A mixin for a model with a `config`, a `dtype` and a `device`."""

    if TYPE_CHECKING:
        config: Any
        main_input_name: str
        num_parameters: Callable[..., int]
        get_parameter: Callable[[str], Any]
        get_buffer: Callable[[str], Any]
        _towers: Callable[[], dict[str, Any]]

        @property
        def dtype(self) -> torch.dtype: ...  # noqa: D102  declared in the base class
        @property
        def device(self) -> torch.device: ...  # noqa: D102  declared in the base class

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """A batch of three inputs for a call: texts of five tokens, images, or both."""
        towers = self._towers()
        inputs = {}
        if "text_model" in towers:
            inputs["input_ids"] = torch.tensor(_TOKENS, device=self.device) % towers["text_model"].config.vocab_size
        if "vision_model" in towers:
            vision = towers["vision_model"].config
            shape = (len(_TOKENS), vision.num_channels, vision.image_size, vision.image_size)
            inputs["pixel_values"] = torch.zeros(shape, dtype=self.dtype, device=self.device)
        return inputs

    def get_parameter_or_buffer(self, target: str) -> Any:
        """Return a parameter or a buffer.

        Args:
            target: its name, such as "text_model.embeddings.position_ids".

        Raises:
            AttributeError: there is none of this name.
        """
        for get in (self.get_parameter, self.get_buffer):
            with suppress(AttributeError):
                return get(target)
        raise AttributeError(f"{target!r} is neither a parameter nor a buffer of this {type(self).__name__}")

    def estimate_tokens(self, input_dict: Mapping[str, Tensor]) -> int:
        """Return the number of elements of the main input; 0 if it is missing.

        Args:
            input_dict: the inputs of a call.
        """
        return input_dict[self.main_input_name].numel() if self.main_input_name in input_dict else 0

    def floating_point_ops(self, input_dict: Mapping[str, Tensor], exclude_embeddings: bool = True) -> int:
        """Return an estimate of the floating-point operations of a forward and a backward pass, which `Trainer` logs.

        The estimate is six operations for each parameter and element of the main input (Kaplan et al. 2020, section
        2.1). For images, alone or with texts, it is as rough as in transformers.

        Args:
            input_dict: the inputs of a call.
            exclude_embeddings: leave out the embedding tables.
        """
        return 6 * self.estimate_tokens(input_dict) * self.num_parameters(exclude_embeddings=exclude_embeddings)

    def invert_attention_mask(self, encoder_attention_mask: Tensor) -> Tensor:
        """Return a bias for attention scores: 0 where a mask is 1, and the lowest value where it is 0.

        Args:
            encoder_attention_mask: `(batch, keys)` or `(batch, queries, keys)`.

        Returns:
            `(batch, 1, 1 or queries, keys)`, in the model's dtype.

        Raises:
            ValueError: the mask has another number of dimensions.
        """
        return _bias(_by_head(encoder_attention_mask), self.dtype)

    def get_extended_attention_mask(
        self,
        attention_mask: Tensor,
        input_shape: Sequence[int],
        device: torch.device | None = None,  # noqa: ARG002  deprecated in transformers
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Return a bias for attention scores like `invert_attention_mask`, causal if `config.is_decoder` is true.

        Args:
            attention_mask: `(batch, keys)`, 1 for keys to attend to; or `(batch, queries, keys)`, to which no causal
                mask is added.
            input_shape: `(batch, queries)`.
            device: ignored; the mask's device is used.
            dtype: dtype of the bias; by default that of the model.

        Returns:
            `(batch, 1, 1 or queries, keys)`.

        Raises:
            ValueError: the mask has another number of dimensions.
        """
        extended = _by_head(attention_mask)
        if attention_mask.ndim == 2 and self.config.is_decoder:
            extended = self.create_extended_attention_mask_for_decoder(input_shape, attention_mask)
        return _bias(extended, self.dtype if dtype is None else dtype)

    @staticmethod
    def create_extended_attention_mask_for_decoder(
        input_shape: Sequence[int],
        attention_mask: Tensor,
        device: torch.device | None = None,  # noqa: ARG004  deprecated in transformers
    ) -> Tensor:
        """Return a causal mask `(batch, 1, queries, keys)` of ones and zeros that also masks padding.

        Args:
            input_shape: `(batch, queries)`; the queries are the last of the keys.
            attention_mask: `(batch, keys)`, 1 for keys to attend to.
            device: ignored; the mask's device is used.
        """
        keys, queries = attention_mask.shape[1], input_shape[1]
        causal = torch.ones(queries, keys, dtype=attention_mask.dtype, device=attention_mask.device)
        return causal.tril(keys - queries) * attention_mask[:, None, None, :]

    def get_head_mask(
        self, head_mask: Tensor | None, num_hidden_layers: int, is_attention_chunked: bool = False
    ) -> Tensor | list[None]:
        """Return a head mask for each layer. CLIP's own layers do not use one.

        Args:
            head_mask: `(heads,)` or `(layers, heads)`, 1 for heads to keep; or None.
            num_hidden_layers: number of layers.
            is_attention_chunked: add a dimension at the end.

        Returns:
            `(layers, 1, heads, 1, 1)` in the model's dtype, or a list of None.
        """
        if head_mask is None:
            return [None] * num_hidden_layers
        by_layer = head_mask.expand(num_hidden_layers, -1) if head_mask.ndim == 1 else head_mask
        extended = by_layer[:, None, :, None, None].to(self.dtype) if by_layer.ndim == 2 else by_layer.to(self.dtype)
        return extended.unsqueeze(-1) if is_attention_chunked else extended


def _by_head(mask: Tensor) -> Tensor:
    if mask.ndim not in {2, 3}:
        raise ValueError(
            f"attention_mask has shape {tuple(mask.shape)}; it must be (batch, keys) or (batch, queries, keys)"
        )
    return mask[:, None, None, :] if mask.ndim == 2 else mask[:, None]


def _bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return (1.0 - mask.to(dtype)) * torch.finfo(dtype).min
