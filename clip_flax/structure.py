"""Models split once into their parameters, a nested dict, and their methods, functions of these parameters.

NNX splits and merges a module at every call of a transformed function, which takes longer than a small model itself.
Here the split happens once. A call then passes the parameters, a plain nested dict, to a function compiled by
`jax.jit`, and only checks whether a module of the model was replaced.
"""

from __future__ import annotations

import operator
from itertools import chain, starmap, zip_longest
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import jax
from flax import nnx

from clip_flax.tensors import flatten, unflatten

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from jax import Array

    from clip_flax.tensors import Params, Path

_structures: WeakKeyDictionary[nnx.Module, Structure] = WeakKeyDictionary()


class Structure:
    """A model's structure, and its current weights.

    Args:
        model: the model; only its parts are stored.

    Attributes:
        variables: the variable of each parameter, by its path in `params`.
    """

    def __init__(self, model: nnx.Module) -> None:
        self._graph = nnx.graphdef(model)
        found = {path: node for path, node in nnx.iter_graph(model) if isinstance(node, nnx.Variable)}
        self._paths = {_names(path): path for path in found}  # paths in the graph may contain numbers
        nested = unflatten({_names(path): variable for path, variable in found.items()})
        # The leaves in the order in which JAX flattens the nested dict.
        self._variables, self._tree = jax.tree.flatten(nested, is_leaf=_is_variable)
        self.variables: dict[Path, nnx.Variable[Any]] = flatten(nested)
        self._shapes = {path: variable.get_raw_value().shape for path, variable in self.variables.items()}
        self._modules = [vars(module) for _, module in nnx.iter_modules(model)]
        self._parts = list(self._all_parts())
        # The method, its options and the configuration's fields are static: each combination is compiled.
        self.call = jax.jit(self._call, static_argnums=(0, 1, 2))

    def _all_parts(self) -> chain[Any]:
        return chain.from_iterable(map(dict.values, self._modules))

    def is_current(self) -> bool:
        """Return True if no module was replaced."""
        return all(starmap(operator.is_, zip_longest(self._parts, self._all_parts())))

    def params(self) -> Params:
        """Return the parameters, nested by Flax's names. The dicts are new, but the arrays are the model's own."""
        return jax.tree.unflatten(self._tree, [variable.get_raw_value() for variable in self._variables])

    def leaves(self, params: Mapping[str, Any], *, whole: bool = True) -> dict[Path, Any]:
        """Return the model's parameters found in nested ones, by path; other entries are ignored.

        Args:
            params: the nested parameters.
            whole: False allows some to be missing, but not all.

        Raises:
            ValueError: some are missing, or their shapes differ from the model's.
        """
        given = flatten(params)
        missing = sorted("/".join(path) for path in self.variables.keys() - given.keys())
        if missing and (whole or len(missing) == len(self.variables)):
            raise ValueError(f"params lacks {', '.join(missing)}; give all parameters of the model")
        faults = [
            f"{'/'.join(path)} has shape {given[path].shape} instead of {shape}"
            for path, shape in self._shapes.items()
            if path in given and given[path].shape != shape
        ]
        if faults:
            raise ValueError(f"params does not fit the model: {'; '.join(faults)}")
        return {path: given[path] for path in self.variables if path in given}

    def accepted(self, params: Any) -> Params:
        """Return parameters in the form that `call` takes; raises errors like `leaves`."""
        if jax.tree.structure(params) == self._tree:  # `call` checks each new combination of shapes
            return params
        return unflatten(self.leaves(params))

    def _call(
        self,
        method: str,
        options: tuple[tuple[str, Any], ...],
        _read_of_config: Hashable,
        params: Params,
        inputs: dict[str, Array | None],
        dropout_rng: Array | None,
    ) -> Any:
        state = unflatten({self._paths[path]: leaf for path, leaf in self.leaves(params).items()})
        return getattr(nnx.merge(self._graph, state), method)(**inputs, **dict(options), dropout_rng=dropout_rng)


def structure_of(model: nnx.Module) -> Structure:
    """Return a model's structure, which is computed again only if a module was replaced."""
    found = _structures.get(model)
    if found is None or not found.is_current():
        found = _structures[model] = Structure(model)
    return found


def _is_variable(node: Any) -> bool:
    return isinstance(node, nnx.Variable)


def _names(path: tuple[Any, ...]) -> Path:
    """Return a path of strings: Flax names the layers of a stack "0", "1" and so on."""
    return tuple(map(str, path))
