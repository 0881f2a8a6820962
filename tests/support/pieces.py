"""Parts of a CLIPModel called alone, as prompt tuning, textual inversion and captum do; ours or the reference's."""

from __future__ import annotations

from itertools import product
from types import MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from support.oracle import flatten

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH, SEQ = 3, 7
LOWEST = np.finfo(np.float32).min


def masks() -> tuple[np.ndarray, np.ndarray]:
    """Return padding `(batch, seq)`, on the right, on the left and of no token, and the causal bias."""
    padding = np.ones((BATCH, SEQ), np.int64)
    padding[0, 4:], padding[1, :3] = 0, 0
    return padding, np.triu(np.full((1, 1, SEQ, SEQ), LOWEST, np.float32), 1)


def outputs(model: Any, tensor: Callable[[np.ndarray], Any]) -> dict[str, np.ndarray]:
    """Return what the parts of a model return, by a name for each call."""
    random, config = np.random.default_rng(0), model.config
    text = tensor(random.standard_normal((BATCH, SEQ, config.text_config.hidden_size), np.float32))
    image = tensor(random.standard_normal((2, 5, config.vision_config.hidden_size), np.float32))
    ids, positions = tensor(random.integers(1, 90, (BATCH, SEQ))), tensor(np.arange(SEQ)[None, ::-1].copy())
    shape = (2, config.vision_config.num_channels, *2 * (config.vision_config.image_size,))
    pixels = tensor(random.standard_normal(shape, np.float32))
    rows, future = masks()
    hidden = np.where(rows == 0, LOWEST, np.float32(0))[:, None, None, :]
    padding, causal = tensor(np.broadcast_to(hidden, (BATCH, 1, SEQ, SEQ)).copy()), tensor(future)
    texts, images = model.text_model, model.vision_model
    attention = texts.encoder.layers[0].self_attn
    found = {
        "encoder": images.encoder(inputs_embeds=image),
        "encoder, all": images.encoder(image, output_attentions=True, output_hidden_states=True),
        "encoder, masked": texts.encoder(text, padding, causal),
        "encoder, causal": texts.encoder(inputs_embeds=text, causal_attention_mask=causal),
        "layer": images.encoder.layers[0](image, None, None),
        "layer, masked": texts.encoder.layers[1](text, padding, causal),
        "layer, padded": texts.encoder.layers[1](text, attention_mask=padding, causal_attention_mask=None),
        "layer, weights": texts.encoder.layers[0](text, None, causal, output_attentions=True),
        "attention": images.encoder.layers[0].self_attn(image),
        "attention, weights": attention(text, causal_attention_mask=causal, output_attentions=True),
        "text embeddings": texts.embeddings(inputs_embeds=text),
        "text embeddings, moved": texts.embeddings(inputs_embeds=text, position_ids=positions),
        "text embeddings, ids": texts.embeddings(input_ids=ids),
        "vision embeddings": images.embeddings(pixels),
    }
    return {name: array for call, output in found.items() for name, array in flatten(output, f"{call}.").items()}


def attributes(model: Any) -> dict[str, Any]:
    """Return the attributes of the parts that other code reads, as plain numbers and arrays."""
    found = {"text_model.eos_token_id": model.text_model.eos_token_id}
    for name in ("text_model", "vision_model"):
        tower = getattr(model, name)
        layer = tower.encoder.layers[0]
        of_attention = ("embed_dim", "num_heads", "head_dim", "scale", "is_causal")
        found |= {f"{name}.attention.{field}": getattr(layer.self_attn, field) for field in of_attention}
        found[f"{name}.embed_dim"] = layer.embed_dim
        found[f"{name}.config"] = all(part.config is tower.config for part in (layer.self_attn, tower.encoder))
        found[f"{name}.position_ids"] = np.asarray(tower.embeddings.position_ids)
    embeddings = model.vision_model.embeddings
    of_embeddings = ("embed_dim", "image_size", "patch_size", "num_patches", "num_positions")
    found |= {f"vision embeddings.{field}": getattr(embeddings, field) for field in of_embeddings}
    found["vision embeddings.config"] = embeddings.config is model.vision_model.config
    return found


def attend(
    self: Any,
    hidden_states: Any,
    attention_mask: Any = None,
    causal_attention_mask: Any = None,
    output_attentions=False,
) -> tuple[Any, Any]:
    """Compute attention from the masks that transformers' attention gets; a `forward` as many programs define it."""
    batch, seq, _ = hidden_states.shape
    projections = (self.q_proj, self.k_proj, self.v_proj)
    shape = (batch, seq, self.num_heads, self.head_dim)
    query, key, value = (layer(hidden_states).view(shape).transpose(1, 2) for layer in projections)
    scores = query @ key.transpose(-1, -2) * self.scale
    for mask in (attention_mask, causal_attention_mask):
        if mask is not None:
            assert mask.shape == (batch, 1, seq, seq)
            scores = scores + mask
    return self.out_proj((scores.softmax(-1) @ value).transpose(1, 2).reshape(batch, seq, -1)), scores


def of_own_parts(library: Any, folder: str) -> dict[str, np.ndarray]:
    """Return outputs of PyTorch models whose attention has another `forward`, or whose layers are a user's own."""
    import torch

    class Scaled(torch.nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, states, mask, causal_mask, output_attentions=False):
            states, *rest = self.layer(states, mask, causal_mask, output_attentions=output_attentions)
            return (1.1 * states, *rest)

    def patch(layers):
        for layer in layers:
            layer.self_attn.forward = MethodType(attend, layer.self_attn)

    def wrap(layers):
        layers[0] = Scaled(layers[0])

    random, found = np.random.default_rng(1), {}
    padding = torch.from_numpy(np.arange(SEQ)[None] < np.array([[SEQ], [4], [5]])).long()
    for change, implementation in product((patch, wrap), ("eager", "sdpa")):
        model = library.CLIPModel.from_pretrained(folder, attn_implementation=implementation)
        for tower in (model.text_model, model.vision_model):
            change(tower.encoder.layers)
        size = (BATCH, model.config.vision_config.num_channels, *2 * (model.config.vision_config.image_size,))
        texts = {"input_ids": torch.from_numpy(random.integers(1, 90, (BATCH, SEQ))), "attention_mask": padding}
        seen: list[Any] = []
        model.text_model.encoder.layers[-1].mlp.register_forward_hook(lambda *call, seen=seen: seen.append(call[2]))
        features = model.eval().get_text_features(**texts)
        model.train()
        model.gradient_checkpointing_enable()
        pixels = torch.from_numpy(random.standard_normal(size, np.float32))
        output = model(**texts, pixel_values=pixels, return_loss=True)
        output.loss.backward()
        of_call = {"features": features, "hook": seen[0], "loss": output.loss, "texts": output.text_embeds}
        of_call["gradient"] = model.text_projection.weight.grad
        name = f"{change.__name__}, {implementation}"
        found |= {f"{name}, {one}": tensor.detach().numpy() for one, tensor in of_call.items()}
    return found


def reference_of_own_parts(folder: str) -> dict[str, np.ndarray]:
    """Return `of_own_parts` of transformers."""
    import transformers

    return of_own_parts(transformers, folder)


def reference(folder: str) -> tuple[dict[str, np.ndarray], dict[str, Any], list[str]]:
    """Return both of transformers' CLIPModel, and the names of what it saves."""
    import torch
    import transformers

    model = transformers.CLIPModel.from_pretrained(folder, attn_implementation="eager")
    with torch.no_grad():
        return outputs(model, torch.from_numpy), attributes(model), sorted(model.state_dict())
