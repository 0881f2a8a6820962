"""PyTorch models in which a user replaced a part, patched its `forward` or hooked it; ours or the reference's."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from support.configs import EOS_TOKEN_ID
from support.oracle import flatten

if TYPE_CHECKING:
    from collections.abc import Callable

_TOWERS = ("text_model", "vision_model")
_OF_A_TOWER = (*_TOWERS, *(f"{tower}.{part}" for tower in _TOWERS for part in ("encoder", "embeddings")))
_NORM = "text_model.final_layer_norm"


def doubled(output: Any) -> Any:
    """Return an array, or an output with its states, times two."""
    if isinstance(output, torch.Tensor):
        return 2 * output
    for name in ("last_hidden_state", "pooler_output"):
        if name in output:
            setattr(output, name, 2 * output[name])
    return output


class Doubled(torch.nn.Module):
    """A part around another."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.part = part

    def forward(self, *args: Any, **options: Any) -> Any:
        """Double what the part returns."""
        return doubled(self.part(*args, **options))


class ByName(Doubled):
    """A part that takes its arguments by name, in no order."""

    def forward(self, *, output_hidden_states: Any = None, output_attentions: Any = None, **inputs: Any) -> Any:
        """Double what the part returns."""
        options = {"output_hidden_states": output_hidden_states, "output_attentions": output_attentions}
        return doubled(self.part(**inputs, **options))


class ByPlace(Doubled):
    """A part whose result depends on the row and the position of each token."""

    def forward(self, *args: Any) -> Any:
        """Multiply the state of each token by its place in the batch."""
        states = self.part(*args)
        places = torch.arange(1.0, states[..., 0].numel() + 1)
        return states * places.view(*states.shape[:-1], 1)


def _replace(model: Any, name: str, kind: type[Doubled]) -> list[Any]:
    holder, _, last = name.rpartition(".")
    setattr(model.get_submodule(holder), last, kind(model.get_submodule(name)))
    return []


def _patch(model: Any, name: str) -> list[Any]:
    part = model.get_submodule(name)
    part.forward = partial(lambda forward, *args, **options: doubled(forward(*args, **options)), part.forward)
    return []


def _hook(model: Any, name: str) -> list[Any]:
    seen: list[Any] = []
    model.get_submodule(name).register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    return seen


_CHANGES: dict[str, tuple[Callable[[Any, str], list[Any]], tuple[str, ...]]] = {
    "replaced": (partial(_replace, kind=Doubled), (*_OF_A_TOWER, _NORM)),
    "by name": (partial(_replace, kind=ByName), (*_TOWERS, "text_model.encoder", "vision_model.encoder")),
    "by place": (
        partial(_replace, kind=ByPlace),
        (_NORM, "text_model.embeddings.token_embedding", "text_model.encoder.layers.0.mlp.fc1"),
    ),
    "patched": (_patch, (*_OF_A_TOWER, _NORM)),
    "hooked": (_hook, (*_TOWERS, "text_model.encoder", _NORM)),
}


def outputs(library: Any, folder: str) -> dict[str, np.ndarray]:
    """Return the embeddings of every changed model, its features, and what its hook saw."""
    ids = torch.from_numpy(np.random.default_rng(1).integers(1, 90, (3, 7)))
    for row, end in enumerate((2, 6, 4)):
        ids[row, end] = EOS_TOKEN_ID
    found = {}
    for change, (apply, names) in _CHANGES.items():
        for name in names:
            model = library.CLIPModel.from_pretrained(folder)
            seen, vision = apply(model, name), model.config.vision_config
            shape = (2, vision.num_channels, vision.image_size, vision.image_size)
            pixels = torch.linspace(-1, 2, torch.Size(shape).numel()).view(shape)
            with torch.no_grad():
                output = model(input_ids=ids, pixel_values=pixels)
                features = model.get_text_features(ids), model.get_image_features(pixels)
            found |= flatten((output.text_embeds, output.image_embeds, *features, seen), f"{name}, {change}.")
    return found


def reference(folder: str) -> dict[str, np.ndarray]:
    """Return `outputs` of transformers."""
    import transformers

    return outputs(transformers, folder)
