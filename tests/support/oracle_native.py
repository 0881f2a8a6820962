"""The reference's TensorFlow and Flax classes, and its own conversion from PyTorch; see `support.oracle`."""

from __future__ import annotations

from typing import Any

import numpy as np


def _class(library: str, class_name: str) -> Any:
    """Return a class of the reference; `library` is the prefix of its name."""
    import torch  # noqa: F401  before TensorFlow, which crashes otherwise
    import transformers
    from transformers import CLIPModel  # noqa: F401

    return getattr(transformers, library + class_name)


def _shapes(library: str, config: Any) -> dict[str, Any]:
    """Return the arguments with which Flax's classes initialize at a size other than 224."""
    vision = getattr(config, "vision_config", config)
    if library != "Flax" or not hasattr(vision, "image_size"):
        return {}
    pixels = (1, vision.image_size, vision.image_size, vision.num_channels)
    return {"input_shape": pixels if vision is config else ((1, 1), pixels)}


def save_native(source: str, folder: str, library: str, class_name: str, **options: Any) -> None:
    """Load a `pytorch_model.bin` into another framework's class, by the reference's own rules, and save that."""
    cls = _class(library, class_name)
    model = cls.from_pretrained(source, from_pt=True, **_shapes(library, cls.config_class.from_pretrained(source)))
    model.save_pretrained(folder, **options)


def load_native(folder: str, library: str, class_name: str) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return the weights of a folder as the reference's class loads them, by their names there, and what it misses."""
    cls = _class(library, class_name)
    config = cls.config_class.from_pretrained(folder)
    if library == "TF":
        model, info = cls.from_pretrained(folder, output_loading_info=True)
        missed = sorted(str(name) for names in info.values() for name in names)
        return {weight.name: weight.numpy() for weight in model.weights}, missed
    from flax.traverse_util import flatten_dict

    model, params = cls.from_pretrained(folder, _do_init=False, **_shapes(library, config))
    wanted = flatten_dict(model.params_shape_tree if hasattr(model, "params_shape_tree") else {}, sep="/")
    found = {name: np.asarray(value) for name, value in flatten_dict(params, sep="/").items()}
    return found, sorted(wanted.keys() ^ found.keys())


def chunked_msgpack(path: str, tensors: dict[str, np.ndarray], largest: int) -> None:
    """Write a nested dict as Flax does, with arrays of more than `largest` bytes in pieces."""
    from flax import serialization
    from flax.traverse_util import unflatten_dict

    usual, serialization.MAX_CHUNK_SIZE = serialization.MAX_CHUNK_SIZE, largest
    try:
        content = serialization.msgpack_serialize(unflatten_dict(tensors, sep="/"))
    finally:
        serialization.MAX_CHUNK_SIZE = usual
    with open(path, "wb") as file:  # noqa: PTH123
        file.write(content)


def restored_msgpack(path: str) -> dict[str, np.ndarray]:
    """Return the arrays that Flax reads from a file, by their joined names."""
    from flax import serialization
    from flax.traverse_util import flatten_dict

    with open(path, "rb") as file:  # noqa: PTH123
        tree = serialization.msgpack_restore(file.read())
    return {name: np.asarray(value) for name, value in flatten_dict(tree, sep="/").items()}


def forward_native(
    folder: str, library: str, class_name: str, inputs: dict[str, np.ndarray], **options: Any
) -> dict[str, np.ndarray]:
    """Return the outputs of the reference's class on a folder that holds its framework's file."""
    from support.oracle import flatten

    cls = _class(library, class_name)
    config = cls.config_class.from_pretrained(folder)
    model = cls.from_pretrained(folder, attn_implementation="eager", **_shapes(library, config))
    return flatten(model(**inputs, **options))


def call_signature(library: str, class_name: str) -> list[tuple[str, str | None]]:
    """Return the arguments of a class's call, and their defaults as text."""
    import inspect

    cls = _class(library, class_name)
    method = cls.call if library == "TF" else cls.__call__
    parameters = list(inspect.signature(inspect.unwrap(method)).parameters.values())[1:]
    return [(p.name, None if p.default is p.empty else repr(p.default)) for p in parameters]
