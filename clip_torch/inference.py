"""Encoder layers laid out for inference on a CPU.

One product makes queries, keys and values; activations and the residual are added within products; and the weights lie
in the blocks that oneDNN's kernels read, where otherwise each call would rearrange them. That last is most of the gain
for one picture or text, as weights are then read more often than inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, cast

import torch
from torch import Tensor, nn

from clip_torch.attention import attend
from clip_torch.layers import ACTIVATION_FUNCTIONS, CLIPEncoder, CLIPEncoderLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clip_torch.attention import AttentionMask, AttentionOutput

# oneDNN's name and algorithm of an activation, and a factor on what goes in, which is taken back behind it.
_FUSED = {
    "gelu": ("gelu", "none", 1.0),
    "gelu_new": ("gelu", "tanh", 1.0),
    "gelu_pytorch_tanh": ("gelu", "tanh", 1.0),
    # x * sigmoid(1.702 x) is silu(1.702 x) / 1.702, and oneDNN calls silu swish.
    "quick_gelu": ("swish", "", 1.702),
    "relu": ("relu", "", 1.0),
    "silu": ("swish", "", 1.0),
}
_FUSED_FUNCTIONS = {ACTIVATION_FUNCTIONS[name]: fused for name, fused in _FUSED.items()}


class PackedLinear(nn.Module):
    """A linear layer in oneDNN's layout, with an activation or a sum behind it in the same kernel.

    Args:
        weight: `(out, in)`, float32.
        bias: `(out,)`.
        activation: oneDNN's name of it.
        algorithm: its variant.
    """

    def __init__(self, weight: Tensor, bias: Tensor, activation: str = "none", algorithm: str = "") -> None:
        super().__init__()
        # Private in torch, and what the frozen graphs of torch.compile call (torch/_inductor/fx_passes).
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())  # noqa: SLF001
        self._bias = bias.detach()
        self._activation: tuple[str, list[float], str] = (activation, [], algorithm)

    def forward(self, states: Tensor, residual: Tensor | None = None) -> Tensor:
        """`(..., in)` to `(..., out)`; `residual` `(..., out)` is added."""
        linear = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
        if residual is None:
            return cast("Tensor", linear(states, self._packed, self._bias, *self._activation))
        return cast("Tensor", linear.binary(states, residual, self._packed, self._bias, "add"))

    def unpacked(self) -> dict[str, Tensor]:
        """The weight and the bias again, in memory of their own."""
        return {"weight": self._packed.to_dense(), "bias": self._bias}

    def __deepcopy__(self, _: dict[int, Any]) -> PackedLinear:
        """Itself, as nothing can change it; torch has no copy of oneDNN's layout."""
        return self

    def __getstate__(self) -> NoReturn:
        """Refused."""
        refuse("pickle it")


class PreparedEncoderLayer(nn.Module):
    """What a CLIPEncoderLayer computes, without gradients.

    Args:
        layer: whose weights are taken.
    """

    def __init__(self, layer: CLIPEncoderLayer) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self.heads, self.scale = (attention.num_heads, attention.head_dim), attention.scale
        activation, algorithm, factor = _FUSED_FUNCTIONS.get(mlp.activation_fn, ("none", "", 1.0))
        self.activation = None if mlp.activation_fn in _FUSED_FUNCTIONS else mlp.activation_fn
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.layer_norm1, self.layer_norm2 = layer.layer_norm1, layer.layer_norm2
        self.qkv_proj = PackedLinear(
            torch.cat([projection.weight for projection in projections]),
            torch.cat([projection.bias for projection in projections]),
        )
        self.out_proj = PackedLinear(attention.out_proj.weight, attention.out_proj.bias)
        self.fc1 = PackedLinear(mlp.fc1.weight * factor, mlp.fc1.bias * factor, activation, algorithm)
        self.fc2 = PackedLinear(mlp.fc2.weight / factor, mlp.fc2.bias)

    def forward(self, hidden_states: Tensor, mask: AttentionMask) -> AttentionOutput:
        """See CLIPEncoderLayer."""
        states = self.qkv_proj(self.layer_norm1(hidden_states)).unflatten(-1, (3, *self.heads))
        query, key, value = states.unbind(-3)  # each (batch, seq, heads, head_dim)
        attended, weights = attend(query, key, value, mask, scale=self.scale, dropout=0.0)
        hidden_states = self.out_proj(attended.flatten(-2), hidden_states)
        states = self.fc1(self.layer_norm2(hidden_states))
        states = states if self.activation is None else self.activation(states)
        return self.fc2(states, hidden_states), weights

    @property
    def self_attn(self) -> NoReturn:
        """What pruning asks for."""
        refuse("prune its heads")

    def state_dict(self, *_: Any, **__: Any) -> NoReturn:
        """Refused: there are no weights here that another library would know."""
        refuse("save it")


def prepare_encoder(encoder: CLIPEncoder) -> None:
    """Replace an encoder's layers, one by one, so that the weights are in memory once and a layer's twice at most."""
    for index, layer in enumerate(encoder.layers):
        if isinstance(layer, CLIPEncoderLayer):
            encoder.layers[index] = PreparedEncoderLayer(layer)


def weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What a model computes with, by name, whether it was prepared or not; packed layers are unpacked one at a time."""
    for prefix, module in model.named_modules():
        own = module.unpacked() if isinstance(module, PackedLinear) else dict(module.named_parameters(recurse=False))
        for name, tensor in own.items():
            yield f"{prefix}.{name}".removeprefix("."), tensor


def check_change(change: Callable[[Tensor], Tensor]) -> None:
    """Refuse to change a prepared model's tensors, as by moving them; what leaves them as they are is no change.

    Raises:
        ValueError: they would not be in float32 on a CPU any more.
    """
    changed = change(torch.empty(0))
    if changed.device.type != "cpu" or changed.dtype != torch.float32:
        refuse("move it or change its dtype")


def check_preparable(model: nn.Module) -> None:
    """Refuse a model that oneDNN's kernels are not for.

    Raises:
        ValueError: it is on another device than a CPU, or not in float32; or oneDNN is not in this build of PyTorch.
    """
    if not torch.backends.mkldnn.is_available():
        raise ValueError("this build of PyTorch is without oneDNN, whose kernels a prepared model runs on")
    for name, parameter in model.named_parameters():
        if parameter.device.type != "cpu" or parameter.dtype != torch.float32:
            raise ValueError(
                f"{name} is in {parameter.dtype} on {parameter.device}, and inference is prepared for float32 on a CPU "
                "alone; elsewhere use model.compile(mode='reduce-overhead')"
            )


def refuse(what: str) -> NoReturn:
    """Raise the error that says what a prepared model can no longer do."""
    raise ValueError(f"the model was prepared for inference; to {what}, load it again")
