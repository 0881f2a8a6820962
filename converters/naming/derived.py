"""Comparison of a checkpoint with a user's subclass of a model class, which may have additional parameters.

The checkpoint may be of the subclass, with the same names, or a plain CLIP checkpoint. A plain CLIP checkpoint lacks
the prefix under which the subclass holds CLIP (`base_model_prefix`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from converters.checkpoint import CheckpointError
from converters.naming.matching import LoadReport, check_floats, fit_error
from converters.naming.names import ROOTS, canonical_names
from converters.naming.transforms import as_scalar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from converters.checkpoint import Checkpoint
    from converters.tensors import TensorEntry

# First segments of the names that a checkpoint must contain for a subclass, whose classifier is its own.
_CLIPS_OWN = ROOTS - {"classifier"}


@dataclass
class Parameters:
    """The parameters of a user's subclass.

    Attributes:
        shapes: shapes by name.
        tied: groups of names of the same parameter.
    """

    shapes: Mapping[str, tuple[int, ...]]
    tied: Sequence[Collection[str]] = field(default_factory=list)


def fit_derived(
    checkpoint: Checkpoint,
    parameters: Parameters,
    model_class: Any,
    *,
    strict: bool = True,
    may_lack: bool = False,
    ignore_mismatched_sizes: bool = False,
) -> tuple[LoadReport, list[str], dict[str, TensorEntry]]:
    """Compare a checkpoint with a user's subclass, as `matching.check_fit` compares it with a class of CLIP.

    Parameters that the subclass adds may be missing from the checkpoint, and unexpected tensors are ignored.

    Args:
        checkpoint: the checkpoint, opened with `as_named=True`; no tensor is read.
        parameters: the parameters of the model.
        model_class: the subclass, with its `base_model_prefix` and `_keys_to_ignore_on_load_...`.
        strict: raise an error for a checkpoint that lacks parameters of CLIP.
        may_lack: accept such a checkpoint even if `strict`, because the caller initializes them.
        ignore_mismatched_sizes: initialize parameters whose shape in the checkpoint differs.

    Returns:
        The report, the parameters to initialize, and the tensors for all other parameters.

    Raises:
        CheckpointError: the checkpoint does not fit.
    """
    prefix = model_class.base_model_prefix
    found, unused = _found(checkpoint, parameters.shapes, prefix)
    report, entries, fresh = LoadReport(), {}, []
    for name, shape in parameters.shapes.items():
        source = found.get(name)
        entry = None if source is None else checkpoint.entries[source]
        if entry is not None and (entry.shape, shape) == ((1,), ()):
            entry = as_scalar(entry)
        if entry is None:
            fresh.append(name)
        elif entry.shape != shape:
            report.mismatched.append((name, entry.shape, shape))
        else:
            entries[name] = entry
            report.matched.append(name)
    tied = {name for group in parameters.tied if any(name in found for name in group) for name in group}
    fresh = [name for name in fresh if name not in tied]
    missing, unexpected = (f"_keys_to_ignore_on_load_{kind}" for kind in ("missing", "unexpected"))
    report.missing = _without(fresh, getattr(model_class, missing))
    for name in _without(unused, getattr(model_class, unexpected)):
        is_part = not ROOTS.isdisjoint(name.split("."))
        (report.other_parts if is_part else report.unexpected).append(name)
    faults = LoadReport(
        missing=[name for name in report.missing if strict and not may_lack and _root(name, prefix) in _CLIPS_OWN],
        mismatched=[] if ignore_mismatched_sizes else report.mismatched,
    )
    if faults.sections():
        raise fit_error(faults, checkpoint, model_class.__name__)
    check_floats({name: entry for name, entry in entries.items() if _root(name, prefix) in _CLIPS_OWN}, checkpoint)
    return report, fresh + [name for name, *_ in report.mismatched], entries


def _found(checkpoint: Checkpoint, names: Iterable[str], prefix: str) -> tuple[dict[str, str], list[str]]:
    """Return the key in `checkpoint.entries` of each parameter found there, and the keys left over."""
    exact = {name: name for name in names if name in checkpoint.entries}
    others = [name for name in checkpoint.entries if name not in exact]
    try:
        elsewhere = canonical_names(others) if checkpoint.layout.is_canonical else {name: name for name in others}
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.source}: {error}") from error
    found = dict(exact)
    for name in names:
        for alias in (name, name.removeprefix(f"{prefix}."), f"{prefix}.{name}"):
            if name not in found and alias in elsewhere:
                found[name] = elsewhere[alias]
    used = set(found.values())
    return found, [key for key in elsewhere.values() if key not in used]


def _without(names: Iterable[str], patterns: Iterable[str] | None) -> list[str]:
    """Return the names, in order, that match no regular expression."""
    compiled = [re.compile(pattern) for pattern in patterns or ()]
    return [name for name in names if not any(pattern.search(name) for pattern in compiled)]


def _root(name: str, prefix: str) -> str:
    return name.removeprefix(f"{prefix}.").partition(".")[0]
