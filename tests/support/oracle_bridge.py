"""Facts about the bridge to transformers; see `support.oracle`. As a program, it prints those of this environment."""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from support.configs import CLASSES, tiny_config

TEXTS = ["a cat", "the cat and the dog!", "thing's café", ""]
_BATCH, _SEQ = 3, 7


def facts() -> dict[str, Any]:
    """Return everything that the tests ask, as plain values."""
    import transformers

    return {
        "version": transformers.__version__,
        "models": {name: model(name) for name in CLASSES},
        "states": states(),
        "training": training(),
        "configurations": configurations(),
        "tokenizers": tokenizers(),
        "images": images(),
        "refused": refused(),
        "overrides": overrides(),
    }


def _inputs(model: Any) -> dict[str, Any]:
    import torch

    generator, inputs = torch.Generator().manual_seed(0), {}
    config = tiny_config(vision={"num_channels": 3})
    if hasattr(model, "get_text_features") or model.main_input_name == "input_ids":
        inputs["input_ids"] = torch.randint(0, 90, (_BATCH, _SEQ), generator=generator)
        inputs["input_ids"][:, -1] = config.text_config.eos_token_id
    if hasattr(model, "get_image_features") or model.main_input_name == "pixel_values":
        size = config.vision_config.image_size
        inputs["pixel_values"] = torch.randn(_BATCH, 3, size, size, generator=generator)
    return inputs


def _made(name: str) -> Any:
    import torch

    import clip_torch

    torch.manual_seed(0)
    return getattr(clip_torch, name)(tiny_config(vision={"num_channels": 3})).eval()


def _distance(one: Any, other: Any, inputs: dict[str, Any]) -> float:
    import torch

    with torch.no_grad():
        outputs, others = one(**inputs), other(**inputs)
    fields = [key for key in outputs.keys() if isinstance(outputs[key], torch.Tensor)]  # noqa: SIM118
    return max(float((outputs[field] - others[field]).abs().max()) for field in fields)


def model(name: str) -> dict[str, Any]:
    """Return a model sent over and back."""
    import transformers
    from torch import nn

    import clip_torch

    ours = _made(name)
    theirs = clip_torch.to_transformers(ours)
    back = clip_torch.from_transformers(theirs)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        again = getattr(clip_torch, name).from_pretrained(folder)
    return {
        "class": type(theirs) is getattr(transformers, name) and isinstance(theirs, transformers.PreTrainedModel),
        "back": type(back) is getattr(clip_torch, name),
        "parameters": len(list(ours.parameters())),
        "shared": _shared(ours, theirs),
        "shared back": _shared(ours, back),
        "only parameters": all(type(one) is nn.Parameter for one in theirs.parameters()),
        "nothing on meta": not any(one.is_meta for one in (*theirs.parameters(), *theirs.buffers(), *back.buffers())),
        "distance": _distance(ours, theirs, _inputs(ours)),
        "distance back": _distance(ours, back, _inputs(ours)),
        "distance saved": _distance(ours, again, _inputs(ours)),
        "same config": _fields(back.config) == _fields(ours.config),
        "dtype": str(theirs.config.dtype).removeprefix("torch."),
    }


def _shared(one: Any, other: Any) -> int:
    """Return the number of parameters that are the same object in both."""
    return sum(a is b for a, b in zip(one.parameters(), other.parameters(), strict=True))


def _fields(config: Any) -> dict[str, Any]:
    """Return the fields of the configuration's file, except those that name its writer."""
    fields = json.loads(config.to_json_string())
    for part in (fields, fields.get("text_config", {}), fields.get("vision_config", {})):
        for key in ("transformers_version", "dtype", "architectures"):
            part.pop(key, None)
    return fields


def states() -> dict[str, Any]:
    """Return modes, dtype, attention and checkpointing of a model with an odd one of each, there and back."""
    import torch

    import clip_torch

    ours = _made("CLIPModel").to(torch.bfloat16)
    ours.train()
    ours.text_model.eval()
    ours.vision_model.requires_grad_(False)
    ours.set_attn_implementation({"text_config": "eager", "vision_config": "sdpa"})
    ours.gradient_checkpointing_enable()
    ours.name_or_path = ours.config.name_or_path = "somewhere/clip"
    theirs = clip_torch.to_transformers(ours)
    back = clip_torch.from_transformers(theirs)
    tower = _made("CLIPTextModel").train()
    tower.text_model.eval()
    return {
        name: {
            "modes": [one.training, one.text_model.encoder.training, one.vision_model.encoder.training],
            "trained": sorted({name.split(".")[0] for name, one in one.named_parameters() if one.requires_grad}),
            "dtype": [str(one.dtype), str(one.config.dtype).removeprefix("torch.")],
            "attention": [one.config.text_config._attn_implementation, one.config.vision_config._attn_implementation],
            "checkpointing": any(getattr(module, "gradient_checkpointing", False) for module in one.modules()),
            "name": one.name_or_path,
        }
        for name, one in {"ours": ours, "theirs": theirs, "back": back}.items()
    } | {"tower": clip_torch.from_transformers(clip_torch.to_transformers(tower)).text_model.encoder.training}


def training() -> dict[str, Any]:
    """Return how far a training step of theirs moves our weights, and how outputs differ after steps on each side."""
    import torch

    import clip_torch

    ours = _made("CLIPModel")
    theirs, inputs = clip_torch.to_transformers(ours), _inputs(ours)
    before = ours.text_projection.weight.detach().clone()
    theirs(**inputs, return_loss=True).loss.backward()
    gradient = ours.text_projection.weight.grad
    torch.optim.SGD(theirs.parameters(), lr=0.1).step()
    moved = float((ours.text_projection.weight - before).abs().max())
    there = _distance(ours, theirs, inputs)
    torch.optim.SGD(ours.parameters(), lr=0.1).step()
    return {"moved": moved, "gradient": gradient is not None, "there": there, "back": _distance(ours, theirs, inputs)}


def configurations() -> dict[str, Any]:
    """Return the configurations sent over and back, and whether transformers takes ours then."""
    import transformers

    import clip_torch

    full = tiny_config({"missing_eos": "error"}, {"num_channels": 3}, id2label={0: "cat", 1: "dog", 2: "car"})
    full.attn_implementation = "eager"
    found = {}
    for ours in (full, full.text_config, full.vision_config):
        theirs = clip_torch.to_transformers(ours)
        back = clip_torch.from_transformers(theirs)
        found[type(ours).__name__] = {
            "class": type(theirs) is getattr(transformers, type(ours).__name__),
            "same": _fields(back) == _fields(ours),
            "attention": [theirs._attn_implementation, back._attn_implementation],
            "labels": len(theirs.id2label) == len(ours.id2label),
        }
    return found


def tokenizers() -> dict[str, Any]:
    """Return the ids of both tokenizers on either side, with an added token."""
    import transformers

    import clip_torch
    from support.vocabulary import write_vocabulary

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        files = write_vocabulary(Path(folder))
        for name in ("CLIPTokenizer", "CLIPTokenizerFast"):
            ours = getattr(clip_torch, name)(**files, model_max_length=19)
            ours.add_tokens(["<cat-toy>"])
            theirs = clip_torch.to_transformers(ours)
            back = clip_torch.from_transformers(theirs)
            texts = [*TEXTS[:2], "a <cat-toy>"]
            options = {"padding": "max_length", "truncation": True}
            ids = [list(map(list, one(texts, **options)["input_ids"])) for one in (ours, theirs, back)]
            found[name] = {
                "class": isinstance(theirs, getattr(transformers, name)),
                "base": isinstance(theirs, (transformers.PreTrainedTokenizer, transformers.PreTrainedTokenizerFast)),
                "is_fast": [theirs.is_fast, back.is_fast],
                "ids": ids,
                "length": [len(one) for one in (ours, theirs, back)],
                "clean": back.clean,
            }
    return found


def images() -> dict[str, Any]:
    """Return the pixels of the image processor, alone and in a processor."""
    import numpy as np
    import transformers

    import clip_torch
    from support.training_data import make_processor

    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        ours = make_processor(Path(folder), 30)
    theirs = clip_torch.to_transformers(ours)
    back = clip_torch.from_transformers(theirs)
    alone = clip_torch.from_transformers(clip_torch.to_transformers(ours.image_processor))
    pixels = [
        np.asarray(one(images=image, return_tensors="np")["pixel_values"], np.float64)
        for one in (ours, theirs, back, alone)
    ]
    return {
        "class": type(theirs) is transformers.CLIPProcessor,
        "shape": list(pixels[0].shape),
        "distance": max(float(np.abs(one - pixels[0]).max()) for one in pixels),
        "ids": [one(text=TEXTS[:1])["input_ids"] for one in (ours, theirs, back)],
    }


def refused() -> dict[str, list[str]]:
    """Return the errors of what cannot be sent over: type and message."""
    import torch

    import clip_torch
    from support.vocabulary import write_vocabulary

    pruned, bare = _made("CLIPModel"), _made("CLIPModel")
    pruned.prune_heads({"text_model": {0: [1]}})
    foreign = clip_torch.to_transformers(_made("CLIPTextModel"))
    foreign.extra = torch.nn.Linear(2, 2)
    bare.text_model.encoder.layers[0].mlp.fc1 = torch.nn.Sequential(torch.nn.Linear(40, 52))
    with tempfile.TemporaryDirectory() as folder:
        cleaned = clip_torch.CLIPTokenizerFast(**write_vocabulary(Path(folder)), clean="openai")
    attempts = {
        "pruned": lambda: clip_torch.to_transformers(pruned),
        "prepared": lambda: clip_torch.to_transformers(_made("CLIPTextModel").prepare_for_inference()),
        "adapter": lambda: clip_torch.to_transformers(bare),
        "more": lambda: clip_torch.from_transformers(foreign),
        "clean": lambda: clip_torch.to_transformers(cleaned),
        "another": lambda: clip_torch.to_transformers(torch.nn.Linear(2, 2)),
        "ours": lambda: clip_torch.from_transformers(bare),
        "theirs": lambda: clip_torch.to_transformers(foreign),
    }
    found = {}
    for name, attempt in attempts.items():
        try:
            attempt()
        except Exception as error:  # noqa: BLE001  the test says what it expected
            found[name] = [type(error).__name__, str(error)]
    return found


def overrides() -> dict[str, list[str]]:
    """Return the warnings about methods that subclasses override, in either direction."""
    import torch
    import transformers

    import clip_torch
    from support.vocabulary import write_vocabulary

    class Scaled(clip_torch.CLIPModel):
        extra = 1

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return super().forward(*args, **kwargs)

        def helper(self) -> None:
            pass

    class Activation(torch.nn.GELU):
        def forward(self, states: Any) -> Any:
            return states

    class Plain(clip_torch.CLIPTextModel):
        pass

    class Spelled(clip_torch.CLIPTokenizerFast):
        def tokenize(self, *args: Any, **kwargs: Any) -> Any:
            return super().tokenize(*args, **kwargs)

    class Theirs(transformers.CLIPTextModel):
        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return super().forward(*args, **kwargs)

    made = {name: _made("CLIPTextModel") for name in ("plain", "module")}
    made["plain"].__class__ = Plain
    made["module"].text_model.encoder.layers[0].mlp.activation_fn = Activation()
    made["model"] = _made("CLIPModel")
    made["model"].__class__ = Scaled
    with tempfile.TemporaryDirectory() as folder:
        made["tokenizer"] = Spelled(**write_vocabulary(Path(folder)))
    made["theirs"] = clip_torch.to_transformers(_made("CLIPTextModel"))
    made["theirs"].__class__ = Theirs
    found = {}
    for name, thing in made.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            (clip_torch.from_transformers if name == "theirs" else clip_torch.to_transformers)(thing)
        found[name] = [str(one.message) for one in caught if "take over" in str(one.message)]
    return found


if __name__ == "__main__":
    print(json.dumps(facts()))  # noqa: T201  the pipe to the test
    sys.exit(0)
