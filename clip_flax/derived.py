"""Models of users' subclasses: their parameters by name, and their creation with and without weights."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
from flax import nnx

from clip_flax.structure import structure_of
from clip_flax.tensors import adopt, check_dtype, flatten, to_entry, unflatten
from converters.naming.derived import Parameters
from converters.naming.transforms import AS_IT_IS, TRANSFORMS, from_stored, to_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    from jax import Array

    from clip_flax.tensors import Params, Path
    from converters.tensors import TensorEntry

# For each kind of layer, the attribute that holds a parameter: its canonical name, and the transform of its layout.
_LAYOUTS: dict[type, dict[str, tuple[str, str]]] = {
    nnx.Linear: {"kernel": ("weight", "transpose")},
    nnx.Conv: {"kernel": ("weight", "OIHW to HWIO")},
    nnx.Embed: {"embedding": ("weight", AS_IT_IS)},
    nnx.LayerNorm: {"scale": ("weight", AS_IT_IS)},
    nnx.BatchNorm: {
        "scale": ("weight", AS_IT_IS),
        "mean": ("running_mean", AS_IT_IS),
        "var": ("running_var", AS_IT_IS),
    },
}


class Place(NamedTuple):
    """The location of a parameter in a model.

    Attributes:
        path: its path in the nested parameters.
        transform: the name of the transform from the canonical layout to this one.
    """

    path: Path
    transform: str

    def canonical(self, leaf: Any) -> TensorEntry:
        """Return a parameter, or its shape, in canonical layout, for the converters to write."""
        parts = from_stored(to_entry(leaf), self.transform)
        assert parts is not None  # noqa: S101  for the type checker; the parameter has the layout of its transform
        return parts[0]

    def read(self, entry: TensorEntry, dtype: np.dtype | None) -> Array:
        """Read a tensor of a checkpoint in the layout of this place; a dtype of None keeps the tensor's."""
        return adopt(to_stored([entry], self.transform).own(dtype))


class Built(NamedTuple):
    """A model of a user's subclass with shapes in place of weights.

    Attributes:
        model: the model.
        make: creates the same model with weights.
    """

    model: Any
    make: Callable[[], Any]

    def loaded(self, entries: Mapping[str, TensorEntry], dtype: np.dtype | None) -> Any:
        """Return the model with the weights of a checkpoint. Weights that it lacks are newly initialized.

        Args:
            entries: the tensors of the checkpoint by parameter.
            dtype: dtype of the parameters; None for that of each tensor.
        """
        found = places(self.model)
        model = self.model if len(entries) == len(structure_of(self.model).variables) else self.make()
        model.assign((found[name].path, found[name].read(entry, dtype)) for name, entry in entries.items())
        return model

    def apart(self, entries: Mapping[str, TensorEntry], dtype: np.dtype | None) -> tuple[Any, Params]:
        """Return the model without weights, and the parameters of a checkpoint. Takes the arguments of `loaded`."""
        found = places(self.model)
        self.model._is_initialized = False  # noqa: SLF001  as `_do_init=False` does
        leaves = {found[name].path: found[name].read(entry, dtype) for name, entry in entries.items()}
        return self.model, unflatten(leaves)


def build_derived(
    model_class: Any, args: Iterable[Any], options: Mapping[str, Any], config: Any, resolve: Any, **kwargs: Any
) -> tuple[Built, Parameters]:
    """Create a model without weights, and return it with its parameters.

    Args:
        model_class: the class.
        args: further arguments in order.
        options: `dtype`, `seed` and `input_shape`, as given to `from_pretrained`; the class gets those that it accepts.
        config: the configuration.
        resolve: determines the dtype if it is "auto".
        **kwargs: further arguments by name.
    """
    options = {**options, "dtype": check_dtype(resolve(options["dtype"], jnp.float32))}
    taken = inspect.signature(model_class).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        options = {name: value for name, value in options.items() if name in taken}
    make = partial(model_class, config, *args, **options, **kwargs)
    model = nnx.eval_shape(make)
    variables = structure_of(model).variables
    shapes = {
        name: place.canonical(variables[place.path].get_raw_value()).shape for name, place in places(model).items()
    }
    return Built(model, make), Parameters(shapes)


def canonical_of(model: nnx.Module, params: Mapping[str, Any]) -> dict[str, TensorEntry]:
    """Return the given parameters of a model by canonical name and in canonical layout."""
    leaves = flatten(params)
    return {name: place.canonical(leaves[place.path]) for name, place in places(model).items() if place.path in leaves}


def places(model: nnx.Module) -> dict[str, Place]:
    """Return the place of every parameter except random keys, by its name in PyTorch."""
    kinds = {tuple(map(str, path)): type(module) for path, module in nnx.iter_modules(model)}
    found = {}
    for path, variable in structure_of(model).variables.items():
        if isinstance(variable, nnx.RngState):
            continue
        *above, attribute = path
        layout = next((rows for kind, rows in _LAYOUTS.items() if issubclass(kinds[tuple(above)], kind)), {})
        name, transform = layout.get(attribute, (attribute, AS_IT_IS))
        if TRANSFORMS[transform].canonical_shapes(variable.get_raw_value().shape) is None:
            name, transform = attribute, AS_IT_IS  # a convolution over one or three axes
        found[".".join([*above, name])] = Place(path, transform)
    return found
