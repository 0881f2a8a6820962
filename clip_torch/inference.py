"""Encoders and patch embeddings optimized for inference on a CPU.

One matrix product computes queries, keys and values; activations and residuals are fused into products; and the weights
are stored in the blocked layout of oneDNN's kernels instead of being rearranged by each call. A single image or text is
memory-bound: reading the weights dominates, and that layout is most of the gain. A large batch runs through the layers
in parts. Their intermediate results stay in the caches, and the allocator reuses their memory; it would return larger
tensors to the system and fetch new pages for the next ones. The same applies to bfloat16, at about twice the speed on a
CPU with AMX.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, cast

import torch
from torch import Tensor, nn

from clip_core.modeling.outputs import BaseModelOutput, outputs_asked
from clip_torch.attention import CLIPAttention, attend
from clip_torch.layers import CLIPMLP, Activation, CLIPEncoder, CLIPEncoderLayer
from clip_torch.plan import given_plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clip_torch.plan import AttentionPlan

# oneDNN's name and algorithm of an activation, and a factor that multiplies its input and divides its output.
_FUSED = {
    "gelu": ("gelu", "none", 1.0),
    "gelu_new": ("gelu", "tanh", 1.0),
    "gelu_pytorch_tanh": ("gelu", "tanh", 1.0),
    # x * sigmoid(1.702 x) is silu(1.702 x) / 1.702, and oneDNN calls silu swish.
    "quick_gelu": ("swish", "", 1.702),
    "relu": ("relu", "", 1.0),
    "silu": ("swish", "", 1.0),
}

# The parts of a layer that its prepared form computes without calling them.
_TAKEN: dict[str, type[nn.Module]] = {"self_attn": CLIPAttention, "mlp": CLIPMLP, "mlp.activation_fn": Activation}
_TAKEN |= dict.fromkeys((*(f"self_attn.{one}_proj" for one in ("q", "k", "v", "out")), "mlp.fc1", "mlp.fc2"), nn.Linear)

# Tokens that run through the layers together; fewer make products slower. A layer of ViT-B/32 then needs 12 MB, which
# the allocator reuses. All 64 images at once need 39 MB, in new pages each time: 140,000 page faults in all.
TOKENS_AT_ONCE = 1024


class PackedLinear(nn.Module):
    """A linear layer in oneDNN's layout, fused with an activation or a sum.

    Args:
        weight: `(out, in)`, float32 or bfloat16.
        bias: `(out,)`, or None.
        activation: oneDNN's name of the activation.
        algorithm: oneDNN's variant of the activation.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, activation: str = "none", algorithm: str = "") -> None:
        super().__init__()
        # A private function of torch, which the frozen graphs of torch.compile also call (torch/_inductor/fx_passes).
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())  # noqa: SLF001
        self._bias = None if bias is None else bias.detach()
        self._dtype = weight.dtype
        self._activation: tuple[str, list[float], str] = (activation, [], algorithm)

    def forward(self, states: Tensor, residual: Tensor | None = None) -> Tensor:
        """Map `(..., in)` to `(..., out)`, and add `residual` `(..., out)`."""
        states = states.to(self._dtype)  # of another dtype after attention under autocast
        linear = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
        if residual is None:
            return cast("Tensor", linear(states, self._packed, self._bias, *self._activation))
        return cast("Tensor", linear.binary(states, residual, self._packed, self._bias, "add"))

    def unpacked(self) -> dict[str, Tensor]:
        """Return copies of the weight and the bias in the usual layout."""
        weight = {"weight": self._packed.to_dense()}
        return weight if self._bias is None else weight | {"bias": self._bias}

    def __deepcopy__(self, _: dict[int, Any]) -> PackedLinear:
        """Return this object: it is immutable, and torch cannot copy oneDNN's layout."""
        return self

    def __getstate__(self) -> NoReturn:
        """Raise an error: the layer cannot be pickled."""
        refuse("pickle it")


def _bias(linear: nn.Linear) -> Tensor:
    """Return the bias of a layer, `(out,)`; zeros if it has none."""
    return linear.weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias


class PackedPatchEmbedding(nn.Module):
    """A convolution whose stride equals its kernel size, computed as a linear layer on patches.

    Args:
        convolution: the layer to pack.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.side = convolution.kernel_size[0]
        self.linear = PackedLinear(convolution.weight.flatten(1), convolution.bias)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Map `(batch, channels, height, width)` to `(batch, hidden, rows, columns)`; partial patches are cut off."""
        rows, columns = (length // self.side for length in pixel_values.shape[2:])
        pixels = pixel_values[:, :, : rows * self.side, : columns * self.side]
        pixels = pixels.unflatten(2, (rows, self.side)).unflatten(4, (columns, self.side))
        patches = pixels.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (batch, patches, channels * side * side)
        return self.linear(patches).transpose(1, 2).unflatten(2, (rows, columns))


class PreparedEncoderLayer(nn.Module):
    """A CLIPEncoderLayer without gradients, optimized for inference.

    Args:
        layer: the layer to pack.
    """

    def __init__(self, layer: CLIPEncoderLayer) -> None:
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self.config = attention.config
        self.heads, self.scale = (attention.num_heads, attention.head_dim), attention.scale
        fused = _FUSED.get(mlp.activation_fn.name) if isinstance(mlp.activation_fn, Activation) else None
        activation, algorithm, factor = fused or ("none", "", 1.0)
        self.activation = mlp.activation_fn if fused is None else None
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.layer_norm1, self.layer_norm2 = layer.layer_norm1, layer.layer_norm2
        weight, bias = torch.cat([one.weight for one in projections]), torch.cat([*map(_bias, projections)])
        self.qkv_proj = PackedLinear(weight, bias)
        self.out_proj = PackedLinear(attention.out_proj.weight, attention.out_proj.bias)
        self.fc1 = PackedLinear(mlp.fc1.weight * factor, _bias(mlp.fc1) * factor, activation, algorithm)
        self.fc2 = PackedLinear(mlp.fc2.weight / factor, mlp.fc2.bias)

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        causal_attention_mask: Tensor | None = None,
        output_attentions: bool = False,
        plan: AttentionPlan | None = None,
    ) -> tuple[Tensor, ...]:
        """Run the layer. Takes the arguments of `CLIPEncoderLayer`."""
        if plan is None:
            masks = (attention_mask, causal_attention_mask)
            plan = given_plan(self.config, masks, hidden_states, output_attentions=output_attentions)
        states = self.qkv_proj(self.layer_norm1(hidden_states)).unflatten(-1, (3, *self.heads))
        query, key, value = states.unbind(-3)  # each (batch, seq, heads, head_dim)
        attended, attention_weights = attend(query, key, value, plan, scale=self.scale, dropout=0.0)
        hidden_states = self.out_proj(attended.flatten(-2), hidden_states)
        states = self.fc1(self.layer_norm2(hidden_states))
        states = states if self.activation is None else self.activation(states)
        hidden_states = self.fc2(states, hidden_states)
        return (hidden_states, cast("Tensor", attention_weights)) if output_attentions else (hidden_states,)

    @property
    def self_attn(self) -> NoReturn:
        """Raise an error: the heads of a prepared layer cannot be pruned, and its logits cannot be explained."""
        refuse("prune its heads or explain its logits")

    def state_dict(self, *_: Any, **__: Any) -> NoReturn:
        """Raise an error: no other library can read these weights."""
        refuse("save it")


class PreparedEncoder(CLIPEncoder):
    """A CLIPEncoder without gradients, optimized for inference.

    Layers are replaced one by one, so at most one layer's weights are in memory twice.

    Args:
        encoder: the encoder whose layers are packed.
    """

    tokens_multiple = 4  # oneDNN keeps kernels for each number of tokens: 130 instead of 460 MB after many short texts

    def __init__(self, encoder: CLIPEncoder) -> None:
        nn.Module.__init__(self)
        self.config = encoder.config
        self.gradient_checkpointing = False
        self.layers = encoder.layers
        for index, layer in enumerate(self.layers):
            self.layers[index] = PreparedEncoderLayer(cast("CLIPEncoderLayer", layer))

    def forward(
        self,
        inputs_embeds: Tensor,
        attention_mask: Tensor | None = None,
        causal_attention_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        plan: AttentionPlan | None = None,
    ) -> BaseModelOutput[Tensor]:
        """Run the layers. Takes the arguments of `CLIPEncoder`."""
        output_attentions, output_hidden_states = outputs_asked(self.config, output_attentions, output_hidden_states)
        options: dict[str, Any] = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        if plan is None:
            masks = (attention_mask, causal_attention_mask)
            plan = given_plan(self.config, masks, inputs_embeds, output_attentions=output_attentions)
        batch, seq, _ = inputs_embeds.shape
        count = -(-batch // max(TOKENS_AT_ONCE // max(seq, 1), 1))
        if count <= 1:
            return super().forward(inputs_embeds, plan=plan, **options)
        parts, start = [], 0
        for states in inputs_embeds.tensor_split(count):
            stop = start + len(states)
            parts.append(super().forward(states, plan=plan.of_rows(start, stop), **options))
            start = stop
        return _joined(parts)


def _joined(parts: list[BaseModelOutput[Tensor]]) -> BaseModelOutput[Tensor]:
    """Join the outputs of the parts of a batch."""

    def joined(layers: list[Any]) -> tuple[Tensor, ...] | None:
        return None if layers[0] is None else tuple(torch.cat(states) for states in zip(*layers, strict=True))

    return BaseModelOutput(
        last_hidden_state=torch.cat([part[0] for part in parts]),
        hidden_states=joined([part.hidden_states for part in parts]),
        attentions=joined([part.attentions for part in parts]),
    )


def pack(model: nn.Module) -> None:
    """Replace the modules of a model that have an optimized form and have not been replaced yet."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, CLIPEncoder) and not isinstance(child, PreparedEncoder):
                setattr(parent, name, PreparedEncoder(child))
            elif _embeds_patches(name, child):
                setattr(parent, name, PackedPatchEmbedding(cast("nn.Conv2d", child)))


def unpacked_parameters(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield a model's parameters by name, prepared or not; packed layers are unpacked one at a time."""
    for prefix, module in model.named_modules():
        own = module.unpacked() if isinstance(module, PackedLinear) else dict(module.named_parameters(recurse=False))
        for name, tensor in own.items():
            yield f"{prefix}.{name}".removeprefix("."), tensor


def check_preparable(model: nn.Module) -> None:
    """Check that oneDNN's kernels can run a model.

    Raises:
        ValueError: the model is not on a CPU, or is neither in float32 nor in bfloat16 that the CPU supports; this
            build of PyTorch lacks oneDNN; or a part to pack was replaced, for example by a LoRA adapter, or has hooks.
    """
    if not torch.backends.mkldnn.is_available():
        raise ValueError("this build of PyTorch lacks oneDNN, which prepare_for_inference() needs")
    for name, part, kind in _taken(model):
        if type(part) is not kind or "forward" in vars(part):
            raise ValueError(
                f"{name} is a {type(part).__name__}, not CLIP's own {kind.__name__}, and may compute something else; "
                "merge adapters into the model first (PEFT: merge_and_unload())"
            )
        if part._forward_hooks or part._forward_pre_hooks or nn.modules.module._has_any_global_hook():  # noqa: SLF001  no public names
            raise ValueError(f"{name} has hooks, which a prepared model does not call; remove them first")
    _check_parameters(dict(model.named_parameters()))


def _check_parameters(named: dict[str, nn.Parameter]) -> None:
    dtype = next(iter(named.values())).dtype
    for name, parameter in named.items():
        kind = "" if type(parameter) is nn.Parameter else f"a {type(parameter).__name__} "  # sharded or quantized
        if kind or parameter.device.type != "cpu" or parameter.dtype not in (torch.float32, torch.bfloat16):
            raise ValueError(
                f"{name} is {kind}in {parameter.dtype} on {parameter.device}, but inference can be prepared only for "
                "plain parameters in float32 or bfloat16 on a CPU; elsewhere use model.compile(mode='reduce-overhead')"
            )
        if parameter.dtype != dtype:
            raise ValueError(
                f"{name} is in {parameter.dtype} and others in {dtype}; convert all to one: model.to({dtype})"
            )
    if dtype == torch.bfloat16 and not multiplies_bfloat16():
        raise ValueError("this CPU lacks instructions for bfloat16 (AVX-512 or AMX); prepare the model in float32")


def _taken(model: nn.Module) -> Iterator[tuple[str, nn.Module, type[nn.Module]]]:
    """Yield the name of each part that `pack` replaces, the part, and the class that it must have; parents first."""
    for name, module in model.named_modules():
        if isinstance(module, CLIPEncoder) and not isinstance(module, PreparedEncoder):
            yield name, module, CLIPEncoder
            for index, layer in enumerate(module.layers):
                prefix = f"{name}.layers.{index}".removeprefix(".")
                yield prefix, layer, CLIPEncoderLayer
                for path, kind in _TAKEN.items():
                    part = layer.get_submodule(path)
                    if kind is not Activation or isinstance(part, Activation):  # other activations are called
                        yield f"{prefix}.{path}", part, kind
        elif _embeds_patches(name, module):
            yield name, module, nn.Conv2d


def _embeds_patches(name: str, module: nn.Module) -> bool:
    """Return True for CLIP's patch embedding; a user's own convolutions stay as they are."""
    if not (name.endswith("patch_embedding") and isinstance(module, nn.Conv2d)):
        return False
    is_plain = module.padding in ((0, 0), "valid") and module.dilation == (1, 1) and module.groups == 1
    return is_plain and len({*module.kernel_size, *module.stride}) == 1


def prepares(dtype: str) -> bool:
    """Return True if models in a dtype, such as "float32", can be prepared on this CPU."""
    with_kernels = {"float32": True, "bfloat16": multiplies_bfloat16()}
    return torch.backends.mkldnn.is_available() and with_kernels.get(dtype, False)


def multiplies_bfloat16() -> bool:
    """Return True if oneDNN has kernels for bfloat16 on this CPU."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001


def refuse(what: str) -> NoReturn:
    """Raise the error for an operation that a prepared model does not support."""
    raise ValueError(f"prepare_for_inference() has changed this model; to {what}, load it again")
