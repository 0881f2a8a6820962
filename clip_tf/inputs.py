"""Inputs of models: by keyword, in order, or all in a dict, list or tuple, as in transformers."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf

Method = TypeVar("Method", bound=Callable[..., Any])

_TENSORS = frozenset({"input_ids", "pixel_values", "attention_mask", "position_ids", "labels"})


def unpack(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by name, converted to tensors.

    Args:
        signature: the method's signature, without `self`.
        args: positional arguments. The first may contain all inputs, by name in a mapping or in order in a list or
            tuple.
        kwargs: keyword arguments, added to those in `args`.

    Raises:
        TypeError: an argument is given twice, or there are more arguments than the method takes.
    """
    names = [name for name, parameter in signature.parameters.items() if parameter.kind is not parameter.VAR_KEYWORD]
    if names[:1] == ["inputs"]:  # a call in Keras' style, in a user's own class
        return dict(zip(names, args, strict=False)) | kwargs
    named: dict[str, Any] = {}
    if args and isinstance(args[0], Mapping):
        named, args = dict(args[0]), args[1:]
        names = [name for name in names if name not in named]
    elif args and isinstance(args[0], (list, tuple)):
        args = (*args[0], *args[1:])
    if len(args) > len(names):
        raise TypeError(f"{len(args)} positional inputs are given, but only {', '.join(names)} are accepted")
    named |= dict(zip(names, args, strict=False))
    twice = named.keys() & kwargs.keys()
    if twice:
        raise TypeError(f"{', '.join(sorted(twice))} is given twice; give it once")
    named |= kwargs
    return {name: as_tensor(value) if name in _TENSORS else value for name, value in named.items()}


def as_tensor(value: Any) -> Any:
    """Convert arrays and nested lists to tensors; keep None, and Keras and TensorFlow objects."""
    if value is None or tf.is_tensor(value) or isinstance(value, (keras.KerasTensor, tf.Variable, keras.Variable)):
        return value
    return tf.convert_to_tensor(np.asarray(value))


def call_signature(model_class: type[Any]) -> inspect.Signature:
    """Return the signature of a class's `call` without `self`; if it takes `*args`, that of its parent class."""
    for one in model_class.__mro__:
        if "call" in vars(one):
            signature = inspect.signature(vars(one)["call"])
            own = list(signature.parameters.values())[1:]
            if all(parameter.kind is not parameter.VAR_POSITIONAL for parameter in own):
                break
    return signature.replace(parameters=own)


def unpacked(method: Method) -> Method:
    """Decorate a method so that it takes its inputs like a model's call."""
    signature = inspect.signature(method)
    own = signature.replace(parameters=list(signature.parameters.values())[1:])

    @functools.wraps(method)
    def unpacking(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self, **unpack(own, args, kwargs))

    return unpacking  # type: ignore[return-value]
