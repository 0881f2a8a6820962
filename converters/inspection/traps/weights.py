"""Traps in the weights and their files; each check is a row of `TRAPS`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from clip_core.hub.printing import counted
from converters.sidecars.description import FROM_SHAPES

if TYPE_CHECKING:
    from converters.inspection.traps.facts import Facts

LARGEST_LOGIT_SCALE = math.log(100)


def misfit(facts: Facts) -> str | None:
    """Check for weights that do not fit the configuration."""
    return facts.misfit and f"it cannot be loaded: {facts.misfit}"


def several_formats(facts: Facts) -> str | None:
    """Check for a folder with several formats."""
    taken = facts.checkpoint.format
    others = [name for name in facts.formats if taken is None or name != taken.name]
    if not others or taken is None:
        return None
    differ = "; ".join(f"{name} has other weights: {how}" for name, how in facts.disagreeing.items())
    return f"the folder also contains {', '.join(others)}; {taken.name} is read" + (f", and {differ}" if differ else "")


def assumed_config(facts: Facts) -> str | None:
    """Check for a configuration that no file states."""
    is_openais = any(name.endswith("input_resolution") for name in facts.checkpoint.constants)
    if facts.description.origin != FROM_SHAPES or is_openais:
        return None
    return "no file states the activation; quick_gelu and heads of width 64 are assumed, as in OpenAI's code"


def constants(facts: Facts) -> str | None:
    """Check for constants among the weights."""
    found = [name for name in facts.checkpoint.constants if name.endswith("position_ids")]
    return f"{', '.join(found)} are in the file; they are not parameters and are ignored" if found else None


def no_metadata(facts: Facts) -> str | None:
    """Check for missing metadata about the format."""
    format_ = facts.checkpoint.format
    if format_ is None or format_.metadata is None:
        return None
    weights = [path for path in facts.checkpoint.files if path.suffix != ".json"]
    silent = [path.name for path in weights if "format" not in format_.metadata(path)]
    return f"{', '.join(silent)} has no format in its metadata; transformers rejects it" if silent else None


def other_names(facts: Facts) -> str | None:
    """Check for tensor names that are unusual in the format."""
    checkpoint = facts.checkpoint
    renamed = [name for name in checkpoint if checkpoint.names_in_file[name] != name]
    if checkpoint.format is None:
        return None
    if checkpoint.layout is not checkpoint.format.layout:
        return (
            f"the tensors have {checkpoint.layout.name}'s names, which readers of {checkpoint.format.name} may not know"
        )
    if not (checkpoint.layout.is_canonical and renamed):
        return None
    example = renamed[0]
    return (
        f"unusual names of {counted(len(renamed), 'tensor')}, such as {checkpoint.names_in_file[example]} for {example}"
    )


def not_finite(facts: Facts) -> str | None:
    """Check for NaN and infinity."""
    if not facts.not_finite:
        return None
    name, count = next(iter(facts.not_finite.items()))
    return f"NaN or infinity in {counted(len(facts.not_finite), 'tensor')}; in {name} {counted(count, 'time')}"


def logit_scale(facts: Facts) -> str | None:
    """Check for a temperature below the limit of training."""
    if facts.logit_scale is None or facts.logit_scale <= LARGEST_LOGIT_SCALE + 1e-3:
        return None
    return f"logit_scale is {facts.logit_scale:.4f}, above the ln 100 that training clamps it to"


def dtypes(facts: Facts) -> str | None:
    """Check for several dtypes."""
    names = {entry.dtype.name for entry in facts.checkpoint.entries.values()}
    return f"the weights have several dtypes: {', '.join(sorted(names))}" if len(names) > 1 else None


def half(facts: Facts) -> str | None:
    """Check for float16 weights."""
    names = {entry.dtype.name for entry in facts.checkpoint.entries.values()}
    return "the weights are float16; training them with Adam in float16 gives NaN" if "float16" in names else None
