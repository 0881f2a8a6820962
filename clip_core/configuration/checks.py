"""Validation of configuration fields and arguments. Each error names the field, its value and the valid values."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from clip_core.configuration.arguments import check_one_of
from clip_core.hub.printing import shortened

# Valid values of `hidden_act`. Every backend implements all of them, as transformers computes them.
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "selu", "silu", "swish")

DTYPES = ("float32", "float16", "bfloat16", "float64")

LARGEST_INT = 2**53
_LARGEST_FLOAT = sys.float_info.max  # math.isfinite fails for larger integers
MOST_LAYERS = 1000  # 20 times as many as in the largest CLIP

PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")


def dtype_name(dtype: Any) -> str | None:
    """Return the name of a dtype of torch, numpy, jax or TensorFlow, such as "float16"; a name is returned unchanged.

    Args:
        dtype: the dtype or its name; None returns None.

    Raises:
        ValueError: if it is not a dtype for weights.
    """
    if dtype is None:
        return None
    name = spelled(dtype)
    if name not in DTYPES:
        check_one_of(dtype=(dtype, DTYPES))
    return name


def spelled(dtype: Any) -> str:
    """Return the name of a dtype of any framework without checking it; a name is returned unchanged.

    Args:
        dtype: the dtype, its name, a policy of Keras, or "auto".
    """
    # numpy and TensorFlow dtypes have a name, scalar classes such as jax.numpy.float16 a __name__, torch dtypes only a
    # repr.
    return str(getattr(dtype, "name", getattr(dtype, "__name__", None)) or str(dtype).removeprefix("torch."))


def check_int(
    config: object, *fields: str, minimum: int = 1, maximum: int = LARGEST_INT, optional: bool = False
) -> None:
    """Check that each field is an integer of at least `minimum`, and not absurdly large.

    Args:
        config: the configuration.
        *fields: names of the fields.
        minimum: the smallest valid value.
        maximum: the largest valid value.
        optional: allow None.

    Raises:
        ValueError: if one is not.
    """
    for field in fields:
        value = getattr(config, field)
        if optional and value is None:
            continue
        # Python's True is an int, but in a config it is a mistake.
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            raise _error(config, field, f"it must be an integer of at least {minimum}{' or None' * optional}")
        if value > maximum:
            raise _error(config, field, f"it must be at most {maximum}")


def check_float(
    config: object, *fields: str, minimum: float = -math.inf, below: float = math.inf, open_below: bool = False
) -> None:
    """Check that each field is a finite number in [minimum, below).

    Args:
        config: the configuration.
        *fields: names of the fields.
        minimum: the lower bound.
        below: the exclusive upper bound.
        open_below: exclude `minimum` as well.

    Raises:
        ValueError: if one is not.
    """
    for field in fields:
        value = getattr(config, field)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST_FLOAT
        if not is_number or not minimum <= value < below or (open_below and value == minimum):
            lower = "" if minimum == -math.inf else f" {'above' if open_below else 'of at least'} {minimum:g}"
            upper = "" if below == math.inf else f" and below {below:g}"
            raise _error(config, field, f"it must be a finite number{lower}{upper}")


def check_choice(config: object, field: str, choices: tuple[str | None, ...]) -> None:
    """Check that a field is one of the given choices.

    Args:
        config: the configuration.
        field: name of the field.
        choices: the valid values.

    Raises:
        ValueError: if it is not.
    """
    value = getattr(config, field)
    if not isinstance(value, str | None) or value not in choices:
        raise _error(config, field, f"it must be one of {', '.join(str(choice) for choice in choices)}")


def check_divides(config: object, divisor: str, field: str) -> None:
    """Check that one field divides another.

    Args:
        config: the configuration.
        divisor: name of the dividing field.
        field: name of the divided field.

    Raises:
        ValueError: if it does not.
    """
    value, parts = getattr(config, field), getattr(config, divisor)
    if value % parts:
        near = ", ".join(str(number) for number in _near_divisors(value, parts))
        raise _error(config, divisor, f"it must divide {field}={value}, as {near} would")


def check_pruned_heads(config: Any) -> None:
    """Check that `pruned_heads` names existing heads and leaves each layer at least one.

    Args:
        config: the tower's configuration.

    Raises:
        ValueError: if it does not.
    """
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    for layer, pruned in config.pruned_heads.items():
        are_heads = all(type(head) is int and 0 <= head < heads for head in pruned)
        if not 0 <= layer < layers or not are_heads or len(set(pruned)) >= heads:
            raise _error(
                config,
                "pruned_heads",
                f"it must map layers, 0 to {layers - 1}, to some but not all of their heads, 0 to {heads - 1}",
            )


def check_labels(config: object, *fields: str) -> None:
    """Check that `id2label` and `label2id` are dicts of names and numbers.

    Args:
        config: the configuration.
        *fields: the fields to check.

    Raises:
        ValueError: if one is not.
    """
    for field in fields:
        labels = getattr(config, field)
        if not isinstance(labels, Mapping) or not all(isinstance(label, str | int) for label in labels.values()):
            raise _error(config, field, "it must be a dict of names and numbers")
        names = labels.keys() if field == "label2id" else labels.values()
        if len({isinstance(name, str) for name in names}) > 1:  # JSON could not list them in order
            raise _error(config, field, "its names must be all texts or all numbers")


def with_int_keys(config: object, field: str, value: Mapping[Any, Any]) -> dict[int, Any]:
    """Return a dict with integer keys, which JSON stores as strings.

    Args:
        config: the configuration, for the message.
        field: name of the field, for the message.
        value: the dict.

    Raises:
        ValueError: if it is not a dict, or a key is not an integer.
    """
    try:
        return {int(key): item for key, item in value.items()}
    except (AttributeError, TypeError, ValueError) as error:
        shown = f"{type(config).__name__}: {field}={shortened(repr(value))}"
        raise ValueError(f"{shown} is invalid; it must be a dict whose keys are integers") from error


def _near_divisors(value: int, wanted: int) -> list[int]:
    """Return the two divisors of `value` nearest to `wanted`."""
    divisors = [number for number in range(1, min(value, 10_000) + 1) if value % number == 0]
    return sorted(sorted(divisors, key=lambda number: abs(number - wanted))[:2])


def _error(config: object, field: str, right: str) -> ValueError:
    return ValueError(f"{type(config).__name__}: {field}={shortened(repr(getattr(config, field)))} is invalid; {right}")
