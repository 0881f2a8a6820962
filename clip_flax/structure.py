"""A model taken apart once: its parameters as a nested dict, and its methods as functions of them.

NNX takes a module apart and puts it together at every call of what it transforms, which costs more than a small model
itself. Here that is done once: a call then hands the parameters, a plain nested dict, to a function compiled by
`jax.jit`, and looks only whether any module of the model had something exchanged.
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
    """A model's structure, and its weights as they stand at any time.

    Args:
        model: the model. It is not kept, only what it consists of.

    Attributes:
        variables: where each parameter is kept, by its path in `params`.
    """

    def __init__(self, model: nnx.Module) -> None:
        self._graph = nnx.graphdef(model)
        found = {path: node for path, node in nnx.iter_graph(model) if isinstance(node, nnx.Variable)}
        self._paths = {_names(path): path for path in found}  # those of the graph have numbers in them
        nested = unflatten({_names(path): variable for path, variable in found.items()})
        # An order of its own for the leaves: that in which JAX flattens the nested dict.
        self._variables, self._tree = jax.tree.flatten(nested, is_leaf=_is_variable)
        self.variables: dict[Path, nnx.Variable[Any]] = flatten(nested)
        self._shapes = {path: variable.get_raw_value().shape for path, variable in self.variables.items()}
        self._modules = [vars(module) for _, module in nnx.iter_modules(model)]
        self._parts = list(self._all_parts())
        # Which method, its options, and what it reads of the configuration are part of what is compiled.
        self.call = jax.jit(self._call, static_argnums=(0, 1, 2))

    def _all_parts(self) -> chain[Any]:
        return chain.from_iterable(map(dict.values, self._modules))

    def is_current(self) -> bool:
        """Tell whether every module still holds what it held."""
        return all(starmap(operator.is_, zip_longest(self._parts, self._all_parts())))

    def params(self) -> Params:
        """Return the parameters, nested by Flax's names. The dicts are new; the arrays are the model's own."""
        return jax.tree.unflatten(self._tree, [variable.get_raw_value() for variable in self._variables])

    def leaves(self, params: Mapping[str, Any]) -> dict[Path, Any]:
        """Pick the model's parameters out of nested ones, by path; others are left out.

        Raises:
            ValueError: some are missing, or have another shape than the model's.
        """
        given = flatten(params)
        missing = sorted("/".join(path) for path in self.variables.keys() - given.keys())
        if missing:
            raise ValueError(f"params lacks {', '.join(missing)}")
        faults = [
            f"{'/'.join(path)}: {given[path].shape}, and it has to be {shape}"
            for path, shape in self._shapes.items()
            if given[path].shape != shape
        ]
        if faults:
            raise ValueError(f"params of another shape: {'; '.join(faults)}")
        return {path: given[path] for path in self.variables}

    def accepted(self, params: Any) -> Params:
        """Return parameters as `call` takes them; errors as in `leaves`."""
        if jax.tree.structure(params) == self._tree:  # `call` itself looks at the shapes, once for each
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
    """Return a model's structure, taken apart again only if something in it was exchanged."""
    found = _structures.get(model)
    if found is None or not found.is_current():
        found = _structures[model] = Structure(model)
    return found


def _is_variable(node: Any) -> bool:
    return isinstance(node, nnx.Variable)


def _names(path: tuple[Any, ...]) -> Path:
    """Return a path with strings alone: Flax names the layers of a stack "0", "1" and so on."""
    return tuple(map(str, path))
