"""The model of an index: its name, preprocessing and versions, and a fingerprint that every framework reproduces.

The fingerprint is the model's embeddings of fixed images and texts. It depends on all weights of both towers, the
tokenizer and the preprocessing; the format of the checkpoint and the framework change it only by rounding.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from clip_core.backends import load_backend
from clip_core.hub.printing import shortened
from clip_core.hub.targets import expanded
from clip_core.tasks.texts import NotFiniteError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clip_core.tasks.zero_shot import ZeroShotClassifier

_TEXTS = ["a photo", "two red bicycles by the sea", "12 %"]
_SHAPES = [(61, 97), (240, 180)]  # heights and widths of the images
# Distances of unit-norm embeddings: rounding, and TF32 in a convolution; half precision rounds far more.
_SAME = 5e-3
_SAME_IN_HALF = 1e-1


# The facts of `describe_model`, as JSON returns them.
MODEL_FACTS: dict[str, type] = {
    "model": str, "backend": str, "dtype": str, "versions": dict, "preprocessing": dict, "fingerprint": list,
}  # fmt: skip


class OtherModelError(ValueError):
    """A model that is not the one that an index was made with."""


def describe_model(model: ZeroShotClassifier, source: str, backend: str, dtype: str | None) -> dict[str, Any]:
    """Return the facts about a model that an index stores.

    Args:
        model: the model.
        source: its folder or hub id.
        backend: the framework.
        dtype: dtype of the weights; None for float32.
    """
    versions = {"python": platform.python_version(), "clip-zoo": _own_version(), **load_backend(backend).versions()}
    return {
        "model": stored_source(source),
        "backend": backend,
        "dtype": dtype or "float32",
        "versions": versions,
        "preprocessing": _plain(model.processor.image_processor.to_dict()),
        "fingerprint": model_fingerprint(model).tolist(),
    }


def stored_source(source: str) -> str:
    """Return the name of a model's source as an index stores it: the whole path of a folder, or the hub id.

    Args:
        source: its folder or hub id.
    """
    path = expanded(source)
    return str(path.resolve()) if path.exists() else source


def model_fingerprint(model: ZeroShotClassifier) -> np.ndarray:
    """Return the model's embeddings of fixed texts and images: `(texts and images, projection)`, float32.

    Args:
        model: the model.

    Raises:
        NotFiniteError: if one is not finite.
    """
    random = np.random.default_rng(0)
    images = [Image.fromarray(random.integers(0, 256, (*shape, 3), np.uint8)) for shape in _SHAPES]
    try:
        rows: np.ndarray = np.concatenate([model.encode_texts(_TEXTS, truncation=True), model.encode_images(images)])
    except NotFiniteError as error:  # of inputs that the user did not give
        raise NotFiniteError("the model's embedding of a test input") from error
    return rows


def check_model(
    model: ZeroShotClassifier, source: str, dtype: str | None, facts: dict[str, Any], kind: str = "index"
) -> None:
    """Check that a model is the one of an index, or of a dataset of embeddings.

    Args:
        model: the model.
        source: its folder or hub id.
        dtype: dtype of its weights; None for float32.
        facts: a return value of `describe_model`.
        kind: the thing that the facts belong to, for the message.

    Raises:
        OtherModelError: if its weights, tokenizer or preprocessing differ; the message names both models.
    """
    found = {
        "preprocessing": _plain(model.processor.image_processor.to_dict()),
        "dtype": dtype or "float32",
        "fingerprint": model_fingerprint(model),
    }
    check_facts(found, facts, f"{source} is not the model of the {kind}, which was made with {facts['model']}", kind)


def check_facts(found: dict[str, Any], expected: dict[str, Any], told: str, kind: str) -> None:
    """Check that two sets of facts describe the same model.

    Args:
        found: the facts about one, as in `describe_model`.
        expected: the facts about the other.
        told: the beginning of the message; it names both models.
        kind: the thing that the expected facts belong to.

    Raises:
        OtherModelError: if the weights, the tokenizer or the preprocessing differ.
    """
    ours, kept = found["preprocessing"], expected["preprocessing"]
    for name in sorted(kept.keys() | ours.keys()):
        if kept.get(name) != ours.get(name):
            raise OtherModelError(
                f"{told}: its preprocessing has {name}={ours.get(name)!r}, the {kind} {kept.get(name)!r}"
            )
    rows, others = (np.array(facts["fingerprint"], np.float32) for facts in (found, expected))
    limit = _SAME if {found["dtype"], expected["dtype"]} == {"float32"} else _SAME_IN_HALF
    if rows.shape != others.shape or not (np.linalg.norm(rows - others, axis=1) < limit).all():
        raise OtherModelError(f"{told}: the weights or the tokenizer differ; use that model, or make a new {kind}")


def check_types_of_facts(facts: dict[str, Any], types: Mapping[str, type], where: str, advice: str) -> None:
    """Check facts that were read from a file of an index or a dataset, so that a damaged one is noticed at once.

    Args:
        facts: the facts.
        types: the type that each of them has to have; all of them have to be there.
        where: the file, for the message.
        advice: what to do if it is damaged.

    Raises:
        ValueError: if one is missing or has another type; the message names the file and the fact.
    """
    for name, kind in types.items():
        if type(facts.get(name)) is not kind:
            found = shortened(repr(facts.get(name)))
            raise ValueError(f"{where} is damaged (its {name} is {found}, not of type {kind.__name__}); {advice}")
    rows = facts["fingerprint"] if "fingerprint" in types else []
    widths = {len(row) if isinstance(row, list) else 0 for row in rows}
    if len(widths) > 1 or 0 in widths or not all(type(value) is float for row in rows for value in row):
        raise ValueError(f"{where} is damaged (its fingerprint is not rows of numbers); {advice}")


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings as JSON would return them."""
    import json

    plain: dict[str, Any] = json.loads(json.dumps(settings, default=str))
    return plain


def _own_version() -> str:
    try:
        return version("clip-zoo")
    except PackageNotFoundError:  # run from a folder
        return "unknown"
