"""CLIP in numpy and float64: short enough to read as a definition, and the reference for every framework.

It follows Radford et al. 2021 and transformers' modeling_clip.py. Shapes: b batch, s sequence, d hidden, h heads, k
head width, p projection. Functions add their stages to `trace` by name, so that runs can be compared stage by stage.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from clip_core.configuration import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
    from clip_core.modeling.parameters import AnyConfig

    Array = np.ndarray[Any, np.dtype[np.float64]]
    Trace = dict[str, Array]

IGNORED_LABEL = -100  # a class that the loss leaves out, as in PyTorch's cross-entropy
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
erf: Any = np.frompyfunc(math.erf, 1, 1)

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2)).astype(np.float64)),
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x * _sigmoid(1.702 * x),
    "relu": lambda x: np.maximum(x, 0),
    "selu": lambda x: _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))),
    "silu": lambda x: x * _sigmoid(x),
    "swish": lambda x: x * _sigmoid(x),
}
ACTIVATIONS["gelu_pytorch_tanh"] = ACTIVATIONS["gelu_new"]


class Weights:
    """A checkpoint in float64, by canonical names relative to a prefix: `weights / "text_model"` is a tower."""

    def __init__(self, checkpoint: Mapping[str, np.ndarray], prefix: str = "") -> None:
        self.checkpoint, self.prefix = checkpoint, prefix

    def __truediv__(self, name: str) -> Weights:
        return Weights(self.checkpoint, f"{self.prefix}{name}.")

    def __getitem__(self, name: str) -> Array:
        return self.checkpoint[self.prefix + name].astype(np.float64)


def clip(
    checkpoint: Mapping[str, np.ndarray],
    config: CLIPConfig,
    pixel_values: np.ndarray,
    input_ids: np.ndarray,
    attention_mask: np.ndarray | None = None,
    position_ids: np.ndarray | None = None,
    interpolate_pos_encoding: bool = False,
) -> Trace:
    """Return all stages of CLIPModel by name, in order of computation.

    Args:
        checkpoint: the arrays by canonical name.
        config: the model's configuration.
        pixel_values: `(images, channels, height, width)`.
        input_ids: `(texts, s)`.
        attention_mask: `(texts, s)`, non-zero for tokens to attend to.
        position_ids: `(texts or 1, s)`, the position of each token; by default 0, 1, 2 and so on.
        interpolate_pos_encoding: interpolate the position embeddings to the size of the images.
    """
    trace: Trace = {}
    weights = Weights(checkpoint)
    vision(weights / "vision_model", config.vision_config, pixel_values, trace, interpolate_pos_encoding)
    text(weights / "text_model", config.text_config, input_ids, attention_mask, trace, position_ids)
    trace["image_features"] = trace["vision.pooled"] @ weights["visual_projection.weight"].T  # (b, p)
    trace["text_features"] = trace["text.pooled"] @ weights["text_projection.weight"].T
    trace["image_embeds"] = unit_norm(trace["image_features"])
    trace["text_embeds"] = unit_norm(trace["text_features"])
    scale = np.exp(weights["logit_scale"])
    trace["logits_per_text"] = scale * trace["text_embeds"] @ trace["image_embeds"].T
    trace["logits_per_image"] = trace["logits_per_text"].T
    if len(input_ids) == len(pixel_values):
        trace["loss"] = loss_of_pairs(trace["logits_per_text"])
    return trace


def stages_of(class_name: str, checkpoint: Mapping[str, np.ndarray], config: AnyConfig, **inputs: Any) -> Trace:
    """Return all stages of any of the model classes.

    Args:
        class_name: a key of `MODEL_CLASSES`, such as "CLIPModel", which determines the type of configuration.
        checkpoint: the arrays by canonical name.
        config: the model's configuration.
        **inputs: the arguments of `clip` that the class takes, and `labels` for a classifier.
    """
    settings: Any = config
    if class_name == "CLIPModel":
        return clip(checkpoint, settings, **inputs)
    trace: Trace = {}
    weights = Weights(checkpoint)
    if class_name == "CLIPForImageClassification":  # uses the mean of the patches, not the class token
        interpolate = inputs.get("interpolate_pos_encoding", False)
        own, pixels = weights / "vision_model", inputs["pixel_values"]
        states = _patches(own, settings.vision_config, pixels, trace, interpolate)
        mean = states[:, 1:].mean(axis=1)
        trace["logits"] = _linear(weights / "classifier", mean) if settings.num_labels else mean
        if "labels" in inputs:
            trace["loss"] = _classification_loss(trace["logits"], inputs["labels"], settings.problem_type)
    elif "Text" in class_name:
        text(weights / "text_model", settings, trace=trace, **{"attention_mask": None, **inputs})
    else:
        vision(weights / "vision_model", settings, trace=trace, **inputs)
    if class_name.endswith("WithProjection"):  # the projection replaces the pooled state
        tower, kind, projection = ("text", "text", "text") if "Text" in class_name else ("vision", "image", "visual")
        trace[f"{kind}_features"] = trace.pop(f"{tower}.pooled") @ weights[f"{projection}_projection.weight"].T
    return trace


def vision(
    weights: Weights,
    config: CLIPVisionConfig,
    pixel_values: np.ndarray,
    trace: Trace,
    interpolate_pos_encoding: bool = False,
) -> None:
    """Run the vision tower: patches, a transformer, and the class token's state."""
    states = _patches(weights, config, pixel_values, trace, interpolate_pos_encoding)
    trace["vision.pooled"] = layer_normalized(weights / "post_layernorm", config, states[:, 0])


def _patches(
    weights: Weights, config: CLIPVisionConfig, pixel_values: np.ndarray, trace: Trace, interpolate: bool = False
) -> Array:
    """Return the last layer's states of the class token and of the patches; partial patches are cut off."""
    batch, channels, *size = pixel_values.shape
    side = config.patch_size
    rows, columns = (length // side for length in size)
    pixels = pixel_values[:, :, : rows * side, : columns * side].astype(np.float64)
    patches = pixels.reshape(batch, channels, rows, side, columns, side)
    patches = patches.transpose(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * side * side)
    kernel = weights["embeddings.patch_embedding.weight"].reshape(config.hidden_size, -1)
    class_token = np.broadcast_to(weights["embeddings.class_embedding"], (batch, 1, config.hidden_size))
    states = np.concatenate([class_token, patches @ kernel.T], axis=1)  # (b, s, d)
    positions = weights["embeddings.position_embedding.weight"]  # the class token first, then the patches row by row
    states = states + (_interpolated(positions, rows, columns) if interpolate else positions)
    trace["vision.embeddings"] = layer_normalized(weights / "pre_layrnorm", config, states)
    return _encoder(weights / "encoder", config, trace["vision.embeddings"], np.zeros((1, 1)), trace, "vision")


def _interpolated(positions: Array, rows: int, columns: int) -> Array:
    """Interpolate the patches' positions bicubically to a grid of another size."""
    side = math.isqrt(len(positions) - 1)
    grid = positions[1:].reshape(side, side, -1)
    grid = np.einsum("ri,cj,ijd->rcd", _bicubic(side, rows), _bicubic(side, columns), grid)
    return np.concatenate([positions[:1], grid.reshape(rows * columns, -1)])


def _bicubic(size: int, new_size: int) -> Array:
    """Return the interpolation matrix `(new_size, size)` from old to new positions.

    The kernel is that of Keys 1981 with a = -0.75, with half-pixel centres; the outermost positions are repeated beyond
    the border.
    """
    matrix = np.zeros((new_size, size))
    for new in range(new_size):
        centre = (new + 0.5) * size / new_size - 0.5
        for old in range(math.floor(centre) - 1, math.floor(centre) + 3):
            x = abs(centre - old)
            weight = 1.25 * x**3 - 2.25 * x**2 + 1 if x < 1 else -0.75 * (x**3 - 5 * x**2 + 8 * x - 4)
            matrix[new, min(max(old, 0), size - 1)] += weight
    return matrix


def text(
    weights: Weights,
    config: CLIPTextConfig,
    input_ids: np.ndarray,
    attention_mask: np.ndarray | None,
    trace: Trace,
    position_ids: np.ndarray | None = None,
) -> None:
    """Run the text tower: tokens, a causal transformer, and the state at the first EOS token."""
    seq = input_ids.shape[1]
    tokens = weights["embeddings.token_embedding.weight"][input_ids]
    positions = weights["embeddings.position_embedding.weight"]
    trace["text.embeddings"] = tokens + positions[np.arange(seq) if position_ids is None else position_ids]
    bias = text_bias(seq, attention_mask)
    states = _encoder(weights / "encoder", config, trace["text.embeddings"], bias, trace, "text")
    trace["text.last_hidden_state"] = layer_normalized(weights / "final_layer_norm", config, states)
    trace["text.pooled"] = trace["text.last_hidden_state"][np.arange(len(input_ids)), eos_positions(config, input_ids)]


def text_bias(seq: int, attention_mask: np.ndarray | None) -> Array:
    """Return the bias `(b or 1, 1, s, s)` that masks later tokens and padding.

    A key masked twice, as a future token and as padding, scores lower than a key masked once, as in transformers. A
    query that sees no key therefore attends uniformly to the keys masked only once.
    """
    masked = np.triu(np.ones((seq, seq)), k=1)[None]
    if attention_mask is not None:
        masked = masked + (attention_mask == 0)[:, None, :]
    return -1e30 * masked[:, None]


def eos_positions(config: CLIPTextConfig, input_ids: np.ndarray) -> np.ndarray:
    """Return the position of the pooled token in each row of ids `(b, s)`: `(b,)`."""
    positions: np.ndarray = (input_ids if config.pools_at_largest_id else input_ids == config.eos_token_id).argmax(-1)
    return positions


def _encoder(
    weights: Weights,
    config: CLIPTextConfig | CLIPVisionConfig,
    states: Array,
    bias: Array,
    trace: Trace,
    tower: str,
) -> Array:
    for index in range(config.num_hidden_layers):
        states, attention = layer(weights / f"layers.{index}", config, states, bias)
        trace[f"{tower}.layers.{index}.attention"] = attention
        trace[f"{tower}.layers.{index}"] = states
    return states


def layer(
    weights: Weights, config: CLIPTextConfig | CLIPVisionConfig, states: Array, bias: Array, probe: Array | None = None
) -> tuple[Array, Array]:
    """Run one encoder layer over states `(b, s, d)`; return the new states, and the attention `(b, h, s, s)`.

    The bias `(b or 1, 1, s or 1, s or 1)` is added to the scores, and the probe `(b, h, s, s)` to the attention: the
    derivative of a result by the probe is its derivative by the attention.
    """
    normed = layer_normalized(weights / "layer_norm1", config, states)
    head_width = config.hidden_size // config.num_attention_heads
    attended, attention = _attention(weights / "self_attn", head_width, normed, bias, probe)
    states = states + attended
    normed = layer_normalized(weights / "layer_norm2", config, states)
    inner = ACTIVATIONS[config.hidden_act](_linear(weights / "mlp.fc1", normed))
    return states + _linear(weights / "mlp.fc2", inner), attention


def _attention(
    weights: Weights, head_width: int, states: Array, bias: Array, probe: Array | None
) -> tuple[Array, Array]:
    batch, seq, _ = states.shape

    def heads(name: str) -> Array:  # (b, h, s, k); a pruned layer has fewer heads of the same width
        return _linear(weights / name, states).reshape(batch, seq, -1, head_width).transpose(0, 2, 1, 3)

    sees_a_key = (bias == 0).any(axis=-1, keepdims=True)  # (b, 1, s, 1); the scores of other queries are constant
    scores = heads("q_proj") @ heads("k_proj").transpose(0, 1, 3, 2) * (head_width**-0.5 * sees_a_key) + bias
    exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
    attention = exponents / exponents.sum(axis=-1, keepdims=True)
    if probe is not None:
        attention = attention + probe
    attended = (attention @ heads("v_proj")).transpose(0, 2, 1, 3).reshape(batch, seq, -1)
    return _linear(weights / "out_proj", attended), attention


def _linear(weights: Weights, states: Array) -> Array:
    return states @ weights["weight"].T + weights["bias"]


def layer_normalized(weights: Weights, config: CLIPTextConfig | CLIPVisionConfig, states: Array) -> Array:
    """Normalize states to mean 0 and variance 1 over the last axis, then scale and shift them."""
    centred = states - states.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    normed: Array = centred / np.sqrt(variance + config.layer_norm_eps)
    return normed * weights["weight"] + weights["bias"]


def unit_norm(features: Array) -> Array:
    """Divide rows by their Euclidean norm."""
    norms: Array = np.sqrt((features**2).sum(axis=-1, keepdims=True))
    return features / norms


def loss_of_pairs(logits: Array) -> Array:
    """Return the mean of the cross-entropies of both directions; the targets are on the diagonal."""

    def cross_entropy(rows: Array) -> Array:
        highest = rows.max(axis=-1, keepdims=True)
        log_sum = np.log(np.exp(rows - highest).sum(axis=-1)) + highest[:, 0]
        mean: Array = (log_sum - rows.diagonal()).mean()
        return mean

    return (cross_entropy(logits) + cross_entropy(logits.T)) / 2


def _classification_loss(logits: Array, labels: np.ndarray, problem_type: str | None) -> Array:
    """Return the mean squared error of a regression, or the mean cross-entropy of classes or of independent labels.

    Images whose class is IGNORED_LABEL are left out.
    """
    by_dtype = "single_label_classification" if labels.dtype.kind in "iu" else "multi_label_classification"
    problem_type = problem_type or ("regression" if logits.shape[-1] == 1 else by_dtype)
    if problem_type == "regression":
        return np.asarray(((logits.reshape(labels.shape) - labels) ** 2).mean())
    if problem_type == "multi_label_classification":
        return np.asarray((np.logaddexp(0, logits) - labels * logits).mean())
    highest = logits.max(axis=-1, keepdims=True)
    log_sum = np.log(np.exp(logits - highest).sum(axis=-1)) + highest[:, 0]
    (counted,) = np.nonzero(labels != IGNORED_LABEL)
    return np.asarray((log_sum[counted] - logits[counted, labels[counted]]).mean())


def _sigmoid(x: Array) -> Array:
    return np.exp(-np.logaddexp(0, -x))
