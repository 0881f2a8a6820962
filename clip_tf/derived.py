"""Models of users' subclasses: their parameters by name, and the initialization of those that a checkpoint lacks."""
# ruff: noqa: SLF001  Keras offers no public access to the layers of a layer

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras

from clip_core.modeling.drawing import without_drawing
from clip_core.modeling.parameters import parameter_table
from clip_tf.initialization import draw
from clip_tf.tensors import Parameter, check_dtype, own_parameters, parameters
from converters.naming.derived import Parameters

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

# Attributes in which Keras stores layers a second time.
_KERAS_ATTRIBUTES = frozenset(vars(keras.Model()))


def build_derived(
    model_class: Any, args: Iterable[Any], dtype: Any, config: Any, resolve: Any, **kwargs: Any
) -> tuple[Any, Parameters]:
    """Create a model with all its weights, without drawing CLIP's, and return it with its parameters.

    Args:
        model_class: the class.
        args: further arguments in order.
        dtype: as given to `from_pretrained`; the dtype of every layer that does not choose another.
        config: the configuration.
        resolve: determines the dtype if it is None or "auto".
        **kwargs: further arguments by name.
    """
    policy = check_dtype(resolve(dtype, keras.config.dtype_policy()))
    with without_drawing(), _global_policy(policy):
        model = model_class(config, *args, **kwargs)
        build_all(model)
    return model, Parameters({name: found.entry().shape for name, found in named_parameters(model).items()})


def build_all(model: Any) -> None:
    """Create all weights of a model, by its `build` and, if layers do not state their input width, by a call."""
    if not model.built:
        model.build(None)
    if not all(layer.built for layer in model._flatten_layers()):
        model(model.dummy_inputs)


def parameters_to_save(model: Any) -> dict[str, Parameter]:
    """Return the parameters of a model by name, except those in `_keys_to_ignore_on_save`."""
    if not model.is_derived():
        return parameters(model, parameter_table(model.config, type(model).__name__))
    build_all(model)
    left_out = set(model._keys_to_ignore_on_save or ())
    return {name: found for name, found in named_parameters(model).items() if name not in left_out}


def named_parameters(model: Any) -> dict[str, Parameter]:
    """Return every parameter once, by its name in PyTorch: the path of attributes that leads to it from the model."""
    found: dict[int, tuple[str, Parameter]] = {}
    for name, parameter in _walk(model, "", set()):
        found.setdefault(id(parameter.variable), (name, parameter))
    return dict(found.values())


def start_afresh(model: Any, names: Collection[str]) -> None:
    """Draw those of the given parameters that belong to CLIP. Other layers were drawn when they were built."""
    fresh = {id(found.variable) for name, found in named_parameters(model).items() if name in names}
    for layer in model._flatten_layers():
        draw(layer, fresh)


def _walk(layer: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Parameter]]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    known = own_parameters(layer) if layer.built else {}  # a later call may build a user's layer
    for kind, parameter in known.items():
        yield prefix + kind, parameter
    if not known:
        names = {id(value): name for name, value in vars(layer).items() if isinstance(value, keras.Variable)}
        for variable in [*layer._trainable_variables, *layer._non_trainable_variables]:
            yield prefix + names.get(id(variable), variable.name), Parameter(variable)
    for name, child in _children(layer):
        yield from _walk(child, f"{prefix}{name}.", seen)


def _children(layer: Any) -> Iterator[tuple[str, Any]]:
    """Return the sublayers of a layer by attribute, by index in a list, or otherwise by their own names."""
    if isinstance(layer, keras.Sequential):
        yield from _layers("", layer.layers)
        return
    for name, value in vars(layer).items():
        if name not in _KERAS_ATTRIBUTES and not name.startswith("_self_"):  # TensorFlow's own references to them
            yield from _layers(name, value)
    for child in layer._layers:
        yield child.name, child


def _layers(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, keras.layers.Layer):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from _layers(f"{name}.{place}".removeprefix("."), item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _layers(f"{name}.{key}", item)


@contextmanager
def _global_policy(policy: Any) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
