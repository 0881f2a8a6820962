"""Methods shared by all model classes: dtype and device, embeddings, pruning, gradient checkpointing."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clip_core.modeling.drawing import is_drawing
from clip_core.modeling.handles import ModelHandles
from clip_torch.handles import TorchHandles, complete_trainer, make_traceable
from clip_torch.inference import check_preparable, pack, refuse
from clip_torch.initialization import draw, is_drawn
from clip_torch.plan import check_implementation
from clip_torch.tensors import check_dtype

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


class CLIPBaseModel(ModelHandles, TorchHandles, nn.Module):
    """A model and its configuration.

    Args:
        config: the model's configuration. A class with one tower also takes a CLIPConfig and uses that tower's part.
    """

    _check_implementation = staticmethod(check_implementation)
    _is_prepared = False
    _hf_peft_config_loaded = False
    model_tags: list[str] | None = None  # which training libraries set
    _tied_weights_keys: ClassVar[Sequence[str] | None] = None
    # The attention implementations of this package; those in transformers' registry are not used.
    _supports_sdpa = _supports_flash_attn = _supports_flash_attn_2 = True
    _supports_flex_attn = _supports_attention_backend = False
    # Plans and settings of transformers' loader and parallelism, which are empty for CLIP there, too.
    _tp_plan = _pp_plan = _ep_plan = tp_plan = pp_plan = MappingProxyType[str, Any]({})
    _checkpoint_conversion_mapping = can_record_outputs = MappingProxyType[str, Any]({})
    _tp_size = tp_size = _can_record_outputs = _keep_in_fp32_modules_strict = None
    _can_compile_fullgraph = use_kernels = False
    supports_tp_plan = supports_pp_plan = True
    _package = __name__.partition(".")[0]
    framework = "pt"

    def __init__(self, config: Any) -> None:
        super().__init__()
        make_traceable(CLIPBaseModel)
        complete_trainer(CLIPBaseModel)
        self.config: Any = self._own_config(config)
        self.name_or_path = self.config.name_or_path  # PEFT reads it from the instance's `__dict__`
        self.warnings_issued: dict[str, bool] = {}  # by training scripts for transformers
        self.loss_type = "ForImageClassification" if "ForImageClassification" in type(self).__name__ else None
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
            exclude_embeddings: leave out the embedding tables.
        """
        tables = {id(module.weight) for module in self.modules() if isinstance(module, nn.Embedding)}
        return sum(
            parameter.numel()
            for parameter in self.parameters()
            if (parameter.requires_grad or not only_trainable) and not (exclude_embeddings and id(parameter) in tables)
        )

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Return the number of bytes of the parameters.

        Args:
            return_buffers: count the buffers too.
        """
        tensors = [*self.parameters(), *(self.buffers() if return_buffers else ())]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @classmethod
    def _from_config(cls, config: Any, *, dtype: Any = None, torch_dtype: Any = None, **kwargs: Any) -> Any:
        """Create a model with newly initialized weights from a copy of a configuration.

        Args:
            config: the configuration.
            dtype: dtype of the weights; None for PyTorch's default.
            torch_dtype: the deprecated name of `dtype`.
            **kwargs: `attn_implementation`, and further arguments of the class.
        """
        dtype = torch_dtype if dtype is None else dtype
        model = super()._from_config(config, **kwargs)
        return model if dtype is None else model.to(check_dtype(dtype))

    # Initialization

    def post_init(self) -> None:
        """Initialize the modules that a subclass adds. As in transformers, its `__init__` calls this last."""
        if self.is_derived() and is_drawing():
            self.init_weights()

    def init_weights(self) -> None:
        """Call `_init_weights` once for every module not marked as initialized. An inner CLIP model calls its own."""
        self._initialize(self)
        self.tie_weights()

    def tie_weights(self) -> None:
        """Tie the weights that a subclass shares; CLIP shares none.

        An output embedding shares the weight of the input embedding if `config.tie_word_embeddings` is true. The method
        `_tie_weights` of every module that has one is called.
        """
        module: Any
        for module in self.modules():
            output = module.get_output_embeddings() if isinstance(module, CLIPBaseModel) else None
            if output is not None and self.config.tie_word_embeddings:
                output.weight = module.get_input_embeddings().weight
            if hasattr(module, "_tie_weights"):
                module._tie_weights()  # noqa: SLF001  transformers' name, which users define

    def _initialize(self, module: Any) -> None:
        for child in module.children():
            if isinstance(child, CLIPBaseModel):
                child.init_weights()
            else:
                self._initialize(child)
        if not getattr(module, "_is_hf_initialized", False):
            overrides = type(self)._init_weights is not CLIPBaseModel._init_weights  # noqa: SLF001  of this class
            if overrides or not is_drawn(module):
                self._init_weights(module)
            module._is_hf_initialized = True  # noqa: SLF001  transformers' name, which users set too

    def _init_weights(self, module: nn.Module) -> None:
        """Draw the weights of a module. A subclass may override this method.

        Args:
            module: any module of the model. The parameters of its children are not drawn.
        """
        draw(module)

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
        """Optimize the model in place for inference on this CPU: about a fifth faster at every batch size.

        A bfloat16 model keeps its dtype and takes about half the time of float32 on a CPU with AMX.

        This cannot be undone. A prepared model has the same outputs up to rounding (1e-5 in float32), but can no longer
        be trained, saved, pruned, moved or differentiated. Preparing it again has no effect.

        Returns:
            The model, in evaluation mode.

        Raises:
            ValueError: the model is not on a CPU, is neither in float32 nor in bfloat16 that the CPU supports, or has
                adapters that were not merged; or this build of PyTorch lacks oneDNN.
        """
        check_preparable(self)
        pack(self)
        self._is_prepared = True
        return self.eval()

    def train(self, mode: bool = True) -> Self:
        """Switch to training mode or, with False, to evaluation mode.

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
            changed = fn(torch.empty(0, dtype=self.dtype))
            if changed.device.type != "cpu" or changed.dtype != self.dtype:
                refuse("move it or change its dtype")
        complete_trainer(CLIPBaseModel)  # which moves its model, and may have been imported after the model was made
        return super()._apply(fn, recurse)

    # Training

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Mapping[str, Any] | None = None) -> None:
        """Recompute each layer in the backward pass instead of storing its activations: less memory, more time.

        Args:
            gradient_checkpointing_kwargs: keywords of `torch.utils.checkpoint.checkpoint`; `use_reentrant` is False
                unless given.
        """
        super().gradient_checkpointing_enable()
        options = {"use_reentrant": False, **(gradient_checkpointing_kwargs or {})}
        for encoder in self._encoders():
            encoder._gradient_checkpointing_func = partial(checkpoint, **options)  # noqa: SLF001  transformers' name

    def _encoders(self) -> Iterable[Any]:
        """Return every module that can recompute its layers; a subclass may add some."""
        return (module for module in self.modules() if hasattr(module, "gradient_checkpointing"))

    def enable_input_require_grads(self) -> None:
        """Let gradients flow through the output of the embeddings, for adapters on a frozen, checkpointed model."""

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
